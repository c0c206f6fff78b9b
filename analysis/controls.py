"""Staged beside what could explain its gain and what could beat it, each minus the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cost import passes_of
from analysis.difference_texts import accuracy_text, difference_text, interval_note
from analysis.pages import Page, write_page
from analysis.paired import Pair, tested_pairs
from analysis.photos import Photos
from analysis.runs import over_seeds, with_most_photos
from analysis.setting import setting_of

#: What a row is compared with, in the order of the columns.
AGAINST = ("low", "mixed", "staged_hl", "low_low", "low_long")
#: Rows that make a run one of controls.
CONTROLS = frozenset({"low_low", "low_long", "mixed_matched", "high_high"})


def write_controls(
    frame: pd.DataFrame,
    differences: pd.DataFrame,
    plan: Mapping[str, Any],
    recipe: Mapping[str, Any],
    folder: Path,
) -> list[Path]:
    """Write `controls.csv`, `.md` and `.html` for a run with controls at one low resolution.

    Args:
        frame: of `runs.load`.
        differences: of `differences_of` its controlled cells.
        plan: of `plan.json`.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; none for any other run.
    """
    done = controlled_cells(frame)
    if done.empty:
        return []
    title = f"Controls and rivals of Staged on low-res test: {setting_of(frame, recipe).title}"
    page = Page(title, [_texts(done, differences, plan)], _notes(done))
    return write_page(folder, "controls", page, differences)


def controlled_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Finished cells of a run with controls at one low resolution; none of any other run.

    Of cells of several sizes those with most photos.
    """
    cells = with_most_photos(frame.loc[frame["table"] != "table2"])
    done = cells.loc[cells["status"] == "done"]
    controlled = CONTROLS & set(done["strategy"]) and len(set(done["resolution_px"])) == 1
    return done if controlled else done.iloc[:0]


def differences_of(done: pd.DataFrame, photos: Photos) -> pd.DataFrame:
    """Every cell minus each of `AGAINST` on the same photos and seeds; Holm over each column.

    Args:
        done: of `controlled_cells`.
        photos: the low-res test's.

    Returns:
        As of `paired.tested_pairs`; `table` is the strategy that is compared with.
    """
    if done.empty:
        return done
    cells = dict(zip(done["strategy"], done["cell"].str.rpartition("/")[0], strict=True))
    pairs = [
        Pair(other, cells[name], cells[other], float("nan"))
        for other in AGAINST
        for name in cells
        if other in cells and name != other
    ]
    return tested_pairs(pairs, sorted(set(done["seed"].tolist())), photos)


def _texts(done: pd.DataFrame, differences: pd.DataFrame, plan: Mapping[str, Any]) -> pd.DataFrame:
    written = {
        (row["first"], row["table"]): difference_text(row) for row in differences.to_dict("records")
    }
    keys = dict(zip(done["cell"].str.rpartition("/")[0], done["stage_key"], strict=True))
    rows = {}
    for row in over_seeds(done).sort_values("accuracy_low", ascending=False).to_dict("records"):
        passes = passes_of(plan, keys[row["cell"]])
        columns = {
            "photo passes": f"{passes:,}" if passes else "not known",
            "seeds": str(row["n_seeds"]),
            "low-res test, %": accuracy_text(row),
        }
        minus = {f"minus {o}": written.get((row["cell"], o), "") for o in AGAINST}
        rows[str(row["strategy"])] = columns | minus
    return pd.DataFrame.from_dict(rows, orient="index")


def _notes(done: pd.DataFrame) -> list[str]:
    return [
        interval_note(len(set(done["seed"]))),
        "Photo passes: of all stages of a row; that a network also taught does not count.",
        "low_low: as many updates and the same restart as Staged, without high photos. low_long: "
        "the same updates without the restart. mixed_matched: Mixed in the updates of Low.",
    ]
