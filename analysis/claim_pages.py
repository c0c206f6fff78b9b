"""`claims.csv`, `claims.md` and `claims.html`: what the paper claims of Table 2, and ours."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims import Claim, claims_of
from analysis.compare import AT_CHANCE
from analysis.grid import Grid
from analysis.pages import Page, write_page
from analysis.setting import setting_of

_WHOLE = ("correlation", "points a level")


def write_claims(
    frame: pd.DataFrame, grid: Grid | None, recipe: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write the claims of Table 2.

    Args:
        frame: of `runs.load`.
        grid: of `grid.grid_of`; None for a run without Table 2.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; none where the cells allow no claim.
    """
    found = [] if grid is None else claims_of(grid)
    if grid is None or not found:
        return []
    held = (frame["table"] == "table2") & ~frame["seed"].isin(grid.left_out)
    setting = setting_of(frame.loc[held], recipe)
    title = f"What the paper claims of Table 2, and ours with 95 % intervals: {setting.title}"
    tables = [table for table in (_main(found), _gains(found, grid)) if not table.empty]
    page = Page(title, tables, _notes(found, grid))
    return write_page(folder, "claims", page, _numbers(found))


def _numbers(found: list[Claim]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "claim": claim.name,
            "place": claim.place,
            "unit": claim.unit,
            "ours": round(claim.ours.value, 4),
            "from": round(claim.ours.low, 4),
            "to": round(claim.ours.high, 4),
            "paper": round(claim.paper, 4),
            "shown": {True: "yes", False: "no"}[claim.made] if claim.sign else "",
            "nulls": "; ".join(f"{words}: {number:.2f}" for words, number in claim.nulls),
        }
        for claim in found
    )


def _main(found: list[Claim]) -> pd.DataFrame:
    """Every claim but the gains of single cells."""
    rows = [
        {
            "claim": " ".join(filter(None, [claim.name, claim.place])),
            "ours [95 %]": _interval(claim),
            "paper": _number(claim.paper, claim.unit),
            "unit": claim.unit,
            "shown": ("yes" if claim.made else "no") if claim.sign else "",
            "without the effect": "; ".join(f"{n:.2f} {words}" for words, n in claim.nulls),
        }
        for claim in found
        if claim.name != "gain" or claim.place.startswith("H8 ")
    ]
    return pd.DataFrame(rows).set_index("claim")


def _interval(claim: Claim) -> str:
    value, low, high = claim.ours
    if math.isnan(low):
        return f"{_number(value, claim.unit)} [none]"
    if claim.unit == "correlation":
        low, high = max(low, -1.0), min(high, 1.0)
    ends = f"[{_number(low, claim.unit)}, {_number(high, claim.unit)}]"
    return f"{_number(value, claim.unit)} {ends}"


def _number(value: float, unit: str) -> str:
    return f"{value:+.2f}" if unit in _WHOLE else f"{value:+.1f}"


def _gains(found: list[Claim], grid: Grid) -> pd.DataFrame:
    """G(H, L) with half its interval, H by L."""
    cells = {claim.place: claim for claim in found if claim.name == "gain"}
    rows = [f"H{row}" for row in range(1, 9)]
    columns = [f"L{column}" for column in range(1, 9)]
    texts = pd.DataFrame("", index=rows, columns=columns)
    for place, claim in cells.items():
        row, column = place.split()
        half = claim.ours.high - claim.ours.value
        reach = "" if math.isnan(half) else f"±{half:.1f}"
        marked = not grid.above_chance[int(row[1:]), int(column[1:]) - 1]
        texts.loc[row, column] = f"{claim.ours.value:+.1f}{reach}{AT_CHANCE * marked}"
    empty = texts.eq("")
    return texts.loc[~empty.all(axis=1), ~empty.all(axis=0)]


def _chance(grid: Grid) -> list[str]:
    """What the intervals know, and which seeds and cells are not in them."""
    draws = f"{grid.n_draws} draws of the {grid.right_SRLN.shape[-1]} test photos"
    if grid.n_seeds > 1:
        how = f"{draws} and {grid.n_seeds} seeds as crossed random factors, Student's t"
    else:
        how = (
            f"one seed, so {draws}, the same for all cells (1.96 standard deviations); the chance "
            "in training is not in them"
        )
    lines = [f"Intervals: {how}."]
    if grid.left_out:
        seeds = f"seed{'s' * (len(grid.left_out) > 1)} {', '.join(map(str, grid.left_out))}"
        lines.append(f"Left out: {seeds}, with too few of the cells.")
    if grid.n_lacking:
        lines.append(f"Left out: {grid.n_lacking} cells that not every seed has.")
    return lines


def _notes(found: list[Claim], grid: Grid) -> list[str]:
    lines = [*_chance(grid), "Gain: accuracy minus that of H0 in the same column, points."]
    if any(math.isnan(claim.ours.low) for claim in found):
        lines.append("[none]: every draw of the photos gives the same, so no interval can be told.")
    lines.append(
        "Shown: the whole interval has the sign that the paper claims; each claim alone, without a "
        "correction for their number."
    )
    if any(claim.nulls for claim in found):
        lines.append(
            "A rank correlation says little: the last column has what a ranking without any "
            "measurement gets against the paper's numbers."
        )
    n_chance = int(np.sum(~grid.above_chance))
    if n_chance:
        lines.append(
            f"{AT_CHANCE}: {n_chance} cells are not above chance ({100 / grid.n_classes:.2g} %; "
            "exact binomial, Holm over the cells, 5 %); slopes, relative gains and correlations "
            "leave them out."
        )
    return lines
