"""Where staged training helps: accuracies and differences over low resolutions. S seeds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.difference_texts import accuracy_text, difference_text, interval_note
from analysis.pages import Page, write_page
from analysis.paired import STAGED, Pair, tested_pairs
from analysis.photos import Photos
from analysis.runs import over_seeds, with_most_photos
from analysis.setting import setting_of
from analysis.statistics import PairedDifference, paired_difference

#: What Staged is compared with at each resolution.
AGAINST = ("low", "mixed", "low_low")


def is_sweep(frame: pd.DataFrame) -> bool:
    """Whether a run has finished cells at several low resolutions."""
    done = frame.loc[(frame["status"] == "done") & (frame["table"] != "table2")]
    return len(set(done["resolution_px"])) > 1


def write_resolutions(
    frame: pd.DataFrame, photos: Photos, recipe: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write `resolutions.csv`, `.md` and `.html` for a run at several low resolutions.

    Args:
        frame: of `runs.load`.
        photos: the low-res test's.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; none for any other run.
    """
    if not is_sweep(frame):
        return []
    differences, together = advantages(frame, photos), over_all(frame, photos)
    setting = setting_of(frame, recipe)
    title = f"Low-res test by low resolution: {setting.title_without_resolution}"
    tables, notes = [_accuracies(frame)], [interval_note(_n_seeds(frame))]
    if not differences.empty:
        tables.append(_differences(differences))
        notes += [*_notes(differences), *_notes_of_all(together)]
    page = Page(title, tables, notes)
    return write_page(folder, "resolutions", page, differences)


def over_all(frame: pd.DataFrame, photos: Photos) -> dict[str, PairedDifference]:
    """Staged minus each of `AGAINST` over all resolutions that both have, by its name.

    Resolutions and seeds count as runs: `statistics.paired_difference` crosses them with photos.
    """
    done = _done(frame)
    found: dict[str, PairedDifference] = {}
    for other in AGAINST:
        cells = [(p.first, p.second) for (_, name), p in _pairs(done) if name == other]
        runs = [
            (photos.of(first, [seed]), photos.of(second, [seed]))
            for first, second in cells
            for seed in sorted(set(done["seed"].tolist()))
            if photos.has(first, seed) and photos.has(second, seed)
        ]
        if runs:
            first, second = (np.concatenate(part) for part in zip(*runs, strict=True))
            found[other] = paired_difference(first, second)
    return found


def advantages(frame: pd.DataFrame, photos: Photos) -> pd.DataFrame:
    """Staged minus each of `AGAINST` at each resolution, paired; Holm over each one's resolutions.

    Args:
        frame: of `runs.load`.
        photos: the low-res test's.

    Returns:
        As of `paired.tested_pairs` with a column `resolution_px`, rising; `table` is the strategy
        that Staged is compared with. Empty where no resolution has a pair.
    """
    done = _done(frame)
    pairs = dict(_pairs(done))
    table = tested_pairs(pairs.values(), sorted(set(done["seed"].tolist())), photos)
    if table.empty:
        return table
    sides_px = {(pair.first, pair.second): px for (px, _), pair in pairs.items()}
    names = table[["first", "second"]].itertuples(index=False, name=None)
    return table.assign(resolution_px=[sides_px[pair] for pair in names])


def _done(frame: pd.DataFrame) -> pd.DataFrame:
    """Finished cells; of cells of several sizes those with most photos."""
    cells = with_most_photos(frame)
    return cells.loc[cells["status"] == "done"]


def _pairs(done: pd.DataFrame) -> Iterator[tuple[tuple[int, str], Pair]]:
    for other in AGAINST:
        for px, cells in done.groupby("resolution_px", sort=True):
            names = dict(zip(cells["strategy"], cells["cell"].str.rpartition("/")[0], strict=True))
            if {other, STAGED} <= set(names):
                pair = Pair(other, names[STAGED], names[other], float("nan"))
                yield (int(str(px)), other), pair


def accuracies(frame: pd.DataFrame) -> pd.DataFrame:
    """`runs.over_seeds` of the finished cells, by strategy and rising resolution."""
    return over_seeds(_done(frame)).sort_values("resolution_px", kind="stable")


def _accuracies(frame: pd.DataFrame) -> pd.DataFrame:
    table = accuracies(frame)
    texts = table.assign(text=[accuracy_text(row) for row in table.to_dict("records")])
    return _by_resolution(texts, "strategy", list(dict.fromkeys(frame["strategy"])))


def _differences(differences: pd.DataFrame) -> pd.DataFrame:
    texts = differences.assign(text=[difference_text(r) for r in differences.to_dict("records")])
    texts = texts.assign(table="Staged minus " + texts["table"])
    return _by_resolution(texts, "table", list(dict.fromkeys(texts["table"])))


def _by_resolution(texts: pd.DataFrame, column: str, order: list[str]) -> pd.DataFrame:
    grid = texts.pivot_table(index="resolution_px", columns=column, values="text", aggfunc="first")
    grid.index = pd.Index([f"{px} px" for px in grid.index])
    return grid.reindex(columns=order, fill_value="").fillna("")


def _notes_of_all(together: Mapping[str, PairedDifference]) -> list[str]:
    return [
        f"Over all resolutions, Staged minus {other}: {100 * found.difference:+.1f} points "
        f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}], p {found.p:.2g} (photos, and "
        "resolutions with their seeds, as crossed factors)."
        for other, found in together.items()
    ]


def _n_seeds(frame: pd.DataFrame) -> int:
    return len(set(_done(frame)["seed"]))


def _notes(differences: pd.DataFrame) -> list[str]:
    lines = []
    for other, rows in differences.groupby("table", sort=False):
        real = rows.loc[rows["finding"] != "open"]
        sides = {
            sign: [f"{px} px" for px in real.loc[real["finding"] == sign, "resolution_px"]]
            for sign in ("first", "second")
        }
        lines.append(
            f"Staged above {other}: at {', '.join(sides['first']) or 'no resolution'}; below: at "
            f"{', '.join(sides['second']) or 'no resolution'}; open at the others."
        )
    return lines
