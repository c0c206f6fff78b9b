"""Figure 3's sentence as numbers: do the second network's heat maps cover more, are they stronger?

N photos.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.compare import DASH
from analysis.heat_runs import HeatRun
from analysis.heatmaps import Paired, paired
from analysis.pages import Page, write_page
from analysis.statistics import holm

#: Fewer photos are drawn, but say nothing of the claim.
ENOUGH_PHOTOS = 200
SIGNIFICANCE = 0.05
#: Measure: its name for readers, factor, digits after the point.
COVERS = {
    "area_0.25": ("area above 1/4 of both maps' maximum, %", 100, 1),
    "area_0.5": ("area above 1/2 of both maps' maximum, %", 100, 1),
    "participation": ("participation area, %", 100, 1),
}
STRENGTHS = {
    "energy": ("energy, thousands", 1e-3, 1),
    "relative": ("strength relative to the logits' spread", 1, 4),
}
OTHERS = {
    "own_area": ("area above 1/2 of its own maximum, %", 100, 1),
    "entropy_area": ("entropy area, %", 100, 1),
    "deletion": ("deletion, % of confidence (small: faithful)", 100, 1),
    "insertion": ("insertion, % of confidence (large: faithful)", 100, 1),
}
MEASURES = COVERS | STRENGTHS | OTHERS
ALL = "all photos"
GROUPS = ("both right", "only the second right", "only the first right", "both wrong")


def write_heat_page(heat: HeatRun, setting: str, folder: Path) -> list[Path]:
    """Write `heatmaps.csv`, `.md` and `.html`.

    Args:
        heat: maps of two cells.
        setting: the run's data set and network, in words.
        folder: made where it is not there.

    Returns:
        The files written.
    """
    numbers = compare_maps(heat)
    title = f"Heat maps of {heat.cells[1]} against {heat.cells[0]}: {setting}"
    tables = [_whole(numbers, heat.names), *_split(numbers, heat.names)]
    return write_page(folder, "heatmaps", Page(title, tables, _notes(heat, numbers)), numbers)


def compare_maps(heat: HeatRun) -> pd.DataFrame:
    """Every measure over the photos, paired; all of them and split by which network was right.

    Returns:
        One row a measure and group of photos: `measure`, `group`, `n_photos`, `first`, `second`
        (means), `difference` with its 95 % bootstrap interval `from`, `to`, Wilcoxon's `p`, and
        `holm_p` over the measures of a group. A measure that a network lacks on a photo is not
        compared: NaN, and a p-value of 1.
    """
    first, second = (
        heat.measures.loc[heat.measures["cell"] == cell].reset_index(drop=True)
        for cell in heat.cells
    )
    rows = []
    for group, chosen_N in _groups(first, second):
        found = [_measured(name, first[chosen_N], second[chosen_N]) for name in MEASURES]
        adjusted = holm([row["p"] for row in found])
        rows += [
            {"group": group} | row | {"holm_p": p} for row, p in zip(found, adjusted, strict=True)
        ]
    return pd.DataFrame(rows)


def _groups(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    rights = [(of["predicted"] == of["label"]).to_numpy() for of in (first, second)]
    yield ALL, np.ones(len(first), bool)
    masks = (
        rights[0] & rights[1],
        ~rights[0] & rights[1],
        rights[0] & ~rights[1],
        ~rights[0] & ~rights[1],
    )
    yield from ((name, mask) for name, mask in zip(GROUPS, masks, strict=True) if mask.any())


def _measured(name: str, first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    values = first[name].to_numpy(float), second[name].to_numpy(float)
    known = not np.isnan(values).any()
    found = paired(*values) if known else Paired(math.nan, math.nan, math.nan, p_value=1.0)
    return {
        "measure": name,
        "n_photos": len(first),
        "first": float(values[0].mean()),
        "second": float(values[1].mean()),
        "difference": found.difference,
        "from": found.low,
        "to": found.high,
        "p": found.p_value,
    }


def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
    """Both halves of the paper's sentence (section 4.3): `held`, `did not hold` or `undecided`.

    A half holds when all of its measures are larger with the second network, their intervals above
    zero and Holm's p below 0.05; it does not when one is shown to be smaller.
    """
    whole = numbers.loc[numbers["group"] == ALL].set_index("measure")
    return {
        "cover larger areas": _verdict(whole.loc[list(COVERS)]),
        "are stronger": _verdict(whole.loc[list(STRENGTHS)]),
    }


def verdicts_of(heat: HeatRun) -> Iterator[str]:
    """The same in sentences."""
    n = len(heat.measures) // 2
    for claim, verdict in verdicts(compare_maps(heat)).items():
        yield f"over {n} photos, the heat maps of {heat.cells[1]} {claim}: {verdict}"


def _verdict(rows: pd.DataFrame) -> str:
    if rows["n_photos"].to_numpy().max() < ENOUGH_PHOTOS:
        return "undecided"
    shown = rows["holm_p"].to_numpy() < SIGNIFICANCE
    if bool(((rows["to"].to_numpy() < 0) & shown).any()):
        return "did not hold"
    return "held" if bool(((rows["from"].to_numpy() > 0) & shown).all()) else "undecided"


def _whole(numbers: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    first, second = names
    rows = numbers.loc[numbers["group"] == ALL].to_dict("records")
    lines = [
        {
            "measure": MEASURES[str(row["measure"])][0],
            first: _number(row, "first"),
            second: _number(row, "second"),
            f"{second} \N{MINUS SIGN} {first} [95 %]": _difference(row),
            "Wilcoxon's p": _p_value(row, "p"),
            "Holm's p": _p_value(row, "holm_p"),
        }
        for row in rows
    ]
    return pd.DataFrame(lines).set_index("measure")


def _split(numbers: pd.DataFrame, names: tuple[str, str]) -> Iterator[pd.DataFrame]:
    """Differences by who was right, of groups that have more than one photo."""
    columns: dict[str, list[str]] = {}
    for row in numbers.to_dict("records"):
        if row["group"] != ALL and row["n_photos"] > 1:
            group = row["group"].replace("the first", names[0]).replace("the second", names[1])
            name = f"{group} ({row['n_photos']})"
            columns.setdefault(name, []).append(_difference(row))
    if columns:
        yield pd.DataFrame(columns, index=pd.Index([text for text, _, _ in MEASURES.values()]))


def _number(row: Mapping[Any, Any], name: str) -> str:
    _, factor, digits = MEASURES[str(row["measure"])]
    return DASH if math.isnan(row[name]) else f"{factor * row[name]:.{digits}f}"


def _p_value(row: Mapping[Any, Any], name: str) -> str:
    return DASH if math.isnan(row["difference"]) else f"{row[name]:.2g}"


def _difference(row: Mapping[Any, Any]) -> str:
    _, factor, digits = MEASURES[str(row["measure"])]
    if math.isnan(row["difference"]):
        return DASH
    middle, low, high = (factor * row[name] for name in ("difference", "from", "to"))
    return f"{middle:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _notes(heat: HeatRun, numbers: pd.DataFrame) -> list[str]:
    n = int(numbers["n_photos"].to_numpy().max())
    said = "; ".join(f"they {claim}: {verdict}" for claim, verdict in verdicts(numbers).items())
    lines = [
        f"The same {n} low-res test photos for both, chosen at random; patch {heat.patch_px} px, "
        f"every {heat.settings.stride_px} px.",
        f"The paper (section 4.3) says of the maps of {heat.names[1]}: {said}.",
        "Areas share one threshold for both maps of a photo; energy is the sum of the squared "
        "distances of the logits, and larger for a network whose logits are larger throughout; the "
        "relative strength is not. Intervals: bootstrap over photos; of the chance in training one "
        "network of each kind says nothing.",
        "Deletion and insertion: mean confidence in the predicted class while pixels turn grey, or "
        "come back, hottest first.",
    ]
    if numbers["difference"].hasnans:
        lines.append(
            f"{DASH}: there are photos whose logits are all equal, as a network's that has "
            "collapsed; nothing is relative to them."
        )
    if n < ENOUGH_PHOTOS:
        lines.append(f"{n} photos are too few to judge the claim; f2c heatmap computes more.")
    return lines
