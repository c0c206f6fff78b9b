"""From results to what a person reads. `analysis.load("runs/table2-cars")` is the way in."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load"]


def load(run: "str | Path") -> "pd.DataFrame":
    """Read the results of a run folder; see `analysis.runs.load`."""
    # Here and not above: pandas and scipy cost a second that `import analysis` shall not.
    from analysis.runs import load as load_results

    return load_results(run)
