"""Results of a run as a tidy table, and their mean over seeds; its recipe and its plan."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pandas.api.types import is_hashable, is_numeric_dtype

from analysis.statistics import binomial_ends, seed_ends
from trainables.errors import DataError

RESULTS_FILE = "results.parquet"
RECIPE_FILE, PLAN_FILE = "recipe.yaml", "plan.json"
COLUMNS = (
    *("cell", "table", "dataset", "model", "strategy", "n_high", "n_low"),
    *("high_level", "low_level", "seed", "resolution_px", "canvas_px", "status"),
    *("accuracy_high", "accuracy_low", "n_test", "n_classes", "stage_key", "trial_id", "train_s"),
)
TESTS = ("high", "low")
# Of several seeds the first that applies is the status of the cell: what a person must know first.
#: Accuracies nearer than this to each other are the same; NaN of one seed is never above it.
ROUNDING = 1e-9
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
    except Exception as error:  # damaged files fail in any of a dozen ways
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


def load_plan(run: Path) -> dict[str, Any]:
    """Read the plan of a run: `cells` with their last stages, `stages` with their specs.

    Args:
        run: the run's folder.

    Returns:
        A plan without cells and stages where there is no file, as of a run of which a part is kept.

    Raises:
        DataError: when the file is torn.
    """
    file = run / PLAN_FILE
    if not file.is_file():
        return {"cells": {}, "stages": {}}
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"{file} cannot be read ({error}); f2c run RECIPE writes it again"
        raise DataError(text) from error
    if not isinstance(plan, dict) or not {"cells", "stages"} <= plan.keys():
        raise DataError(f"{file} has not cells and stages; f2c run RECIPE writes it again")
    return plan


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


def _kind_faults(frame: pd.DataFrame) -> list[str]:
    """Columns whose values are of another kind than the tests after this one can compare."""
    if not frame.columns.is_unique:
        return ["columns that are there twice"]
    numbers = ("accuracy_high", "accuracy_low", "n_test")
    faults = [f"no numbers in {name}" for name in numbers if not is_numeric_dtype(frame[name])]
    compared = (*IDENTITY, "seed", "cell", "status")
    objects = [name for name in compared if frame[name].dtype == object]
    lists = [name for name in objects if not all(map(is_hashable, frame[name]))]
    return [*faults, f"lists in {', '.join(lists)}"] if lists else faults


def _faults(frame: pd.DataFrame) -> list[str]:
    faults = _kind_faults(frame)
    if faults:
        return faults
    unknown = sorted(set(map(str, frame["status"])) - set(STATUSES))
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
        faults.append(f"cells that occur twice: {', '.join(sorted(set(map(str, twice))))}")
    return faults


def with_most_photos(frame: pd.DataFrame) -> pd.DataFrame:
    """The cells with none or most of the photos of each kind: of a resolution one a strategy.

    Args:
        frame: of `load`, of strategies.
    """
    sides = [frame[side] for side in ("high_level", "low_level")]
    high, low = (side.isin([0, side.max()]) for side in sides)
    return frame.loc[high & low]


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of every cell over its seeds, in the order of the frame.

    The interval is Student's t over two or more seeds, Wilson's of the tested photos for one and
    where all agree to the photo, which says nothing against the chance of these. The former is of
    other seeds on the same test photos: their chance is not in it.

    Args:
        frame: of `load`.

    Returns:
        One row per cell-without-seed: `cell` (its name without the seed), `IDENTITY`, `status` (the
        gravest of its seeds), `done_seeds` (sorted), `n_seeds` (done), `n_planned`, `n_test`,
        `n_classes`, and for the test `high` and `low` the fractions `accuracy_T`,
        `accuracy_T_from`, `accuracy_T_to`, NaN where no seed is done.
    """
    group = frame.groupby(list(IDENTITY), sort=False, observed=True).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    done = (frame["status"] == "done").to_numpy()
    n_done = np.bincount(group[done], minlength=len(first))
    ranks = frame["status"].map(STATUSES.index).to_numpy(dtype=np.int64)
    gravest = np.full(len(first), len(STATUSES) - 1)
    np.minimum.at(gravest, group, ranks)
    n_test, n_classes = (frame[name].to_numpy() for name in ("n_test", "n_classes"))
    names = frame["cell"].iloc[first].astype(str).tolist()
    columns: dict[str, Any] = {"cell": [name.rpartition("/")[0] for name in names]}
    columns |= {name: frame[name].to_numpy()[first] for name in IDENTITY}
    columns |= {
        "status": np.array(STATUSES)[gravest],
        "done_seeds": _seeds_of(frame["seed"].to_numpy()[done], group[done], n_done),
        "n_seeds": n_done,
        "n_planned": np.bincount(group, minlength=len(first)),
        "n_test": _of_first(n_test, group, done, len(first)),
        "n_classes": n_classes[first],
    }
    for test in TESTS:
        columns |= _accuracies(frame, f"accuracy_{test}", group, done, len(first))
    return pd.DataFrame(columns)


def _seeds_of(
    seeds: NDArray[np.int64], group: NDArray[np.int64], counts: NDArray[np.int64]
) -> list[tuple[int, ...]]:
    """The seeds of each group, sorted."""
    in_groups = seeds[np.lexsort((seeds, group))]
    return [tuple(of.tolist()) for of in np.split(in_groups, np.cumsum(counts))[:-1]]


def _of_first(
    values: NDArray[Any], group: NDArray[np.int64], chosen: NDArray[np.bool_], n_groups: int
) -> NDArray[np.int64]:
    """The value of the first chosen row of each group; 0 where none is chosen."""
    found = np.zeros(n_groups, np.int64)
    groups, first = np.unique(group[chosen], return_index=True)
    found[groups] = values[chosen][first]
    return found


def _accuracies(
    frame: pd.DataFrame, name: str, group: NDArray[np.int64], done: NDArray[np.bool_], n_groups: int
) -> dict[str, NDArray[np.float64]]:
    """Mean and interval of a column of fractions over the done seeds of each group."""
    measured = done & frame[name].notna().to_numpy()
    values, of = frame[name].to_numpy(dtype=np.float64)[measured], group[measured]
    counts = np.bincount(of, minlength=n_groups)
    n_test = _of_first(frame["n_test"].to_numpy(), group, measured, n_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(of, values, n_groups) / counts
        squares = np.bincount(of, (values - means[of]) ** 2, n_groups)
        photos = binomial_ends(np.rint(means * n_test) / n_test, n_test)
        deviations = np.sqrt(squares / (counts - 1))
        seeds = seed_ends(means, deviations, counts)
    ends = [
        np.where(deviations > ROUNDING, of_seeds, of_photos)
        for of_seeds, of_photos in zip(seeds, photos, strict=True)
    ]
    return {name: means, f"{name}_from": ends[0], f"{name}_to": ends[1]}
