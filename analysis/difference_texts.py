"""How a paired difference and an accuracy are written on the pages."""

from collections.abc import Hashable, Mapping
from typing import Any

#: After a difference that Holm's correction leaves significant.
REAL = "*"


def difference_text(row: Mapping[Hashable, Any]) -> str:
    """`+3.1 [+0.4, +5.8]*` of a row of `paired.tested_pairs`; the star: it is real."""
    ends = f"[{row['from_points']:+.1f}, {row['to_points']:+.1f}]"
    return f"{row['difference_points']:+.1f} {ends}{REAL * (row['finding'] != 'open')}"


def accuracy_text(row: Mapping[Hashable, Any]) -> str:
    """`62.1 [61.0, 63.1]` of a row of `runs.over_seeds`, in percent."""
    ends = (row[f"accuracy_low{end}"] for end in ("", "_from", "_to"))
    mean, low, high = (100 * float(end) for end in ends)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def interval_note(n_seeds: int) -> str:
    """What the intervals and stars of a page mean."""
    how = (
        f"of accuracies Student's t over {n_seeds} seeds, without the chance of the test photos; "
        "of differences with it, photos and seeds as crossed factors"
        if n_seeds > 1
        else "of the tested photos (Wilson; Bonett and Price); one seed says nothing of training"
    )
    return f"Square brackets: 95 % interval, {how}. {REAL}: real by Holm's correction, 5 %."
