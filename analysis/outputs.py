"""Everything that a run's results are written as, in its folders `tables` and `figures`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import paper
from analysis.claim_pages import write_claims
from analysis.classes import write_classes
from analysis.controls import controlled_cells, differences_of, write_controls
from analysis.controls_figure import write_controls_figure
from analysis.exchange import exchange_of, write_exchange
from analysis.exchange_figure import write_exchange_figure
from analysis.figure3 import write_figure3
from analysis.figures import write_figures
from analysis.forgetting import write_forgetting
from analysis.grid import Grid, grid_of
from analysis.heat_page import write_heat_page
from analysis.heat_runs import heat_of_plan
from analysis.paired import write_paired
from analysis.photos import NO_PHOTOS, PREDICTIONS_FILE, Photos, load_photos
from analysis.reliability import write_reliability
from analysis.resolution_figure import write_resolution_figure
from analysis.resolutions import advantages, is_sweep, write_resolutions
from analysis.runs import PLAN_FILE, load_plan
from analysis.setting import at_own_resolution, setting_of
from analysis.shown import shown_cells
from analysis.spread import write_spread
from analysis.tables import write_tables
from analysis.tested import write_tests
from analysis.transfer import write_transfer

_TABLES = (*paper.TITLES, "custom")
_OTHERS = (
    *("paired", "claims", "exchange", "controls", "resolutions", "transfer", "spread", "tests"),
    *("classes", "forgetting", "reliability", "heatmaps"),
)
_FIGURES = (
    *(*_TABLES, "exchange", "controls", "resolutions"),
    *("classes", "forgetting", "reliability", "transfer"),
)
#: Every file that `write_outputs` may write, below the run's folder.
PAGES = frozenset(
    [
        *(f"tables/{name}.{end}" for name in _TABLES + _OTHERS for end in ("csv", "md", "html")),
        *(f"tables/{name}.tex" for name in _TABLES),
        *(f"figures/{name}.{end}" for name in _FIGURES for end in ("png", "svg")),
        "figures/figure3.png",  # of photos
    ]
)


def write_outputs(
    run: Path, frame: pd.DataFrame, recipe: Mapping[str, Any], *, through: str = "soft"
) -> list[Path]:
    """Write all tables and figures that a run's cells allow, and remove those of earlier ones.

    Args:
        run: the run's folder.
        frame: of `runs.load`.
        recipe: of its `recipe.yaml`.
        through: how Figure 3 filters photos, `soft` or `binary`.

    Returns:
        The files written: tables, then figures.

    Raises:
        DataError: when a file of the run cannot be read.
    """
    tables, figures = run / "tables", run / "figures"
    kept = (run / PREDICTIONS_FILE).is_file()  # not by versions before it was written
    photos = load_photos(run) if kept else NO_PHOTOS
    own = at_own_resolution(frame, recipe)
    plan, grid = load_plan(run), grid_of(own, photos)
    written = [
        *write_tables(frame, recipe, tables),
        *([] if is_sweep(frame) else write_tests(run, frame, recipe, tables)),
        *write_paired(frame, photos, recipe, tables),
        *write_claims(frame, grid, recipe, tables),
        *write_figures(frame, recipe, figures),
        *_exchange(grid, frame, recipe, run),
        *_of_strategies(run, frame, photos, plan, recipe),
        *write_spread(own, recipe, tables),
        *_from_predictions(run, own, recipe),
        *write_forgetting(own, plan, recipe, run),
        *_heat(run, frame, plan, recipe, through),
    ]
    _remove_others(run, written)
    return written


def _remove_others(run: Path, written: Sequence[Path]) -> None:
    """Remove pages of an earlier recipe of this name, which the report would take in."""
    if not (run / PLAN_FILE).is_file():
        return  # a kept part of a run, from which not everything can be written again
    for name in PAGES - {path.relative_to(run).as_posix() for path in written}:
        (run / name).unlink(missing_ok=True)


def _exchange(
    grid: Grid | None, frame: pd.DataFrame, recipe: Mapping[str, Any], run: Path
) -> list[Path]:
    exchange = None if grid is None else exchange_of(grid)
    if exchange is None:
        return []
    setting = setting_of(frame.loc[frame["table"] == "table2"], recipe)
    return [
        *write_exchange(frame, exchange, recipe, run / "tables"),
        *write_exchange_figure(exchange, setting, run / "figures"),
    ]


def _of_strategies(
    run: Path,
    frame: pd.DataFrame,
    photos: Photos,
    plan: Mapping[str, Any],
    recipe: Mapping[str, Any],
) -> list[Path]:
    """Controls and rivals, and the sweep over resolutions."""
    tables, figures = run / "tables", run / "figures"
    differences, setting = (
        differences_of(controlled_cells(frame), photos),
        setting_of(frame, recipe),
    )
    written = [
        *write_controls(frame, differences, plan, recipe, tables),
        *write_controls_figure(differences, setting, figures),
        *write_resolutions(frame, photos, recipe, tables),
        *write_transfer(run, frame, recipe),
    ]
    if is_sweep(frame):
        found = advantages(frame, photos)
        written += write_resolution_figure(frame, found, setting, figures)
    return written


def _from_predictions(run: Path, frame: pd.DataFrame, recipe: Mapping[str, Any]) -> list[Path]:
    file = run / PREDICTIONS_FILE
    shown = list(shown_cells(frame))
    if not shown or not file.is_file():
        return []
    predictions = pd.read_parquet(file, filters=[("cell", "in", shown)])
    return [
        *write_classes(frame, predictions, recipe, run),
        *write_reliability(frame, predictions, recipe, run),
    ]


def _heat(
    run: Path,
    frame: pd.DataFrame,
    plan: Mapping[str, Any],
    recipe: Mapping[str, Any],
    through: str,
) -> list[Path]:
    heat = heat_of_plan(run, plan)
    if heat is None:
        return []
    shown = frame.loc[frame["cell"].isin(heat.cells)]
    setting = setting_of(frame if shown.empty else shown, recipe)
    return [
        *write_heat_page(heat, setting.title, run / "tables"),
        *write_figure3(heat, run / "figures", through=through),
    ]
