"""Results of a run as a tidy table, and their mean over seeds."""

import math
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.statistics import Interval, binomial_interval, seed_interval
from trainables.errors import DataError

RESULTS_FILE = "results.parquet"
RECIPE_FILE = "recipe.yaml"
COLUMNS = (
    *("cell", "table", "dataset", "model", "strategy", "n_high", "n_low"),
    *("high_level", "low_level", "seed", "resolution_px", "canvas_px", "status"),
    *("accuracy_high", "accuracy_low", "n_test", "n_classes", "stage_key", "trial_id", "train_s"),
)
TESTS = ("high", "low")
# Of several seeds the first that applies is the status of the cell: what a person must know first.
STATUSES = ("failed", "diverged", "blocked", "missing", "done")
# Everything that identifies a cell but its seed.
IDENTITY = (
    *("table", "dataset", "model", "strategy", "n_high", "n_low", "high_level", "low_level"),
    *("resolution_px", "canvas_px"),
)


def load(run: str | Path) -> pd.DataFrame:
    """Read the results of a run, one row per cell.

    Args:
        run: the run's folder, such as `runs/table2-cars`, or its `results.parquet`.

    Returns:
        The columns `COLUMNS`; accuracies are fractions, NaN where the cell is not done.

    Raises:
        DataError: when there is no such file, or it is not a table of results.
    """
    path = Path(run)
    file = path / RESULTS_FILE if path.is_dir() else path
    return check(check_file(file, COLUMNS), str(file))


def check_file(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table of a run.

    Raises:
        DataError: when there is no such file, or it lacks some of the columns.
    """
    if not file.is_file():
        raise DataError(
            f"no results at {file}: give the folder of a run, such as runs/demo, "
            "or make it first with: f2c run RECIPE"
        )
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read ({error}); f2c run RECIPE writes it again"
        ) from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}; write it again")
    return frame


def load_recipe(run: str | Path) -> dict[str, Any]:
    """Read the recipe that a run was made with.

    Args:
        run: the run's folder, or a file in it.

    Raises:
        DataError: when there is no such file, or it is not a mapping.
    """
    path = Path(run)
    file = (path if path.is_dir() else path.parent) / RECIPE_FILE
    try:
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        text = f"{file} cannot be read ({error}); f2c run RECIPE writes it again"
        raise DataError(text) from error
    if not isinstance(recipe, dict):
        raise DataError(f"{file} is not a mapping of fields; f2c run RECIPE writes it again")
    return recipe


def check(frame: pd.DataFrame, source: str = "results") -> pd.DataFrame:
    """Return the frame if it is a table of results.

    Raises:
        DataError: lists all that is wrong with it.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(f"{source} lacks the columns {', '.join(missing)}; write it again")
    faults = _faults(frame)
    if faults:
        raise DataError(f"{source} is not a table of results:\n  " + "\n  ".join(faults))
    return frame


def _faults(frame: pd.DataFrame) -> list[str]:
    faults: list[str] = []
    unknown = sorted(set(frame["status"].astype(str)) - set(STATUSES))
    if unknown:
        faults.append(f"unknown status {', '.join(unknown)} (known: {', '.join(STATUSES)})")
    empty = [name for name in IDENTITY if frame[name].hasnans]
    if empty:
        faults.append(f"empty values in {', '.join(empty)}")
    for test in TESTS:
        accuracy = frame[f"accuracy_{test}"].dropna()
        if not accuracy.between(0, 1).all():
            faults.append(f"accuracy_{test} must be a fraction, 0 to 1; found {accuracy.max():g}")
    if not frame.loc[frame["status"] == "done", "n_test"].ge(1).all():
        faults.append("n_test must be 1 or more where a cell is done")
    twice = frame.loc[frame.duplicated([*IDENTITY, "seed"]), "cell"]
    if len(twice):
        faults.append(f"cells that occur twice: {', '.join(sorted(set(twice.astype(str))))}")
    return faults


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of every cell over its seeds, in the order of the frame.

    The interval is Student's t over two or more seeds, Wilson's of the tested photos for one.

    Args:
        frame: of `load`.

    Returns:
        One row per cell-without-seed: `cell` (its name without the seed), `IDENTITY`, `status` (the
        gravest of its seeds), `n_seeds` (done), `n_planned`, `n_test`, `interval` (`seeds`,
        `photos` or nothing), and for the test `high` and `low` the fractions `accuracy_T`,
        `accuracy_T_from`, `accuracy_T_to`, NaN where no seed is done.
    """
    groups: dict[tuple[object, ...], list[dict[Hashable, Any]]] = {}
    for row in frame.to_dict("records"):
        groups.setdefault(tuple(row[name] for name in IDENTITY), []).append(row)
    rows = [dict(zip(IDENTITY, key, strict=True)) | _summary(of) for key, of in groups.items()]
    names = ("cell", *IDENTITY, "status", "n_seeds", "n_planned", "n_test", "interval")
    accuracies = [f"accuracy_{test}{end}" for test in TESTS for end in ("", "_from", "_to")]
    return pd.DataFrame(rows, columns=pd.Index([*names, *accuracies]))


def _summary(seeds: list[dict[Hashable, Any]]) -> dict[str, Any]:
    done = [row for row in seeds if row["status"] == "done"]
    summary: dict[str, Any] = {
        "cell": seeds[0]["cell"].rpartition("/")[0],
        "status": min((row["status"] for row in seeds), key=STATUSES.index),
        "n_seeds": len(done),
        "n_planned": len(seeds),
        "n_test": int(done[0]["n_test"]) if done else 0,
        "interval": ("", "photos", "seeds")[min(len(done), 2)],
    }
    for test in TESTS:
        name = f"accuracy_{test}"
        mean, low, high = _interval(done, test)
        summary |= {name: mean, f"{name}_from": low, f"{name}_to": high}
    return summary


def _interval(done: list[dict[Hashable, Any]], test: str) -> Interval:
    measured = [row for row in done if not math.isnan(row[f"accuracy_{test}"])]
    values = [float(row[f"accuracy_{test}"]) for row in measured]
    if len(values) > 1:
        return seed_interval(values)
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    n_test = int(measured[0]["n_test"])
    interval = binomial_interval(round(values[0] * n_test), n_test)
    return interval._replace(mean=values[0])
