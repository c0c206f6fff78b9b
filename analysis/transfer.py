"""Networks of one low resolution tested at another: a matrix, as a page and a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.colours import COLOUR_MAP, ink_on
from analysis.figures import LABEL_PT, TITLE_PT, save_figure
from analysis.pages import Page, write_page
from analysis.runs import check_file
from analysis.setting import Setting, setting_of
from analysis.tested import COLUMNS, TESTS_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGH = "High"


def write_transfer(run: Path, frame: pd.DataFrame, recipe: Mapping[str, Any]) -> list[Path]:
    """Write `transfer.csv`, `.md`, `.html` and its figure where a sweep was tested across.

    Args:
        run: the run's folder.
        frame: of `runs.load`.
        recipe: of its `recipe.yaml`.

    Returns:
        The files written; none for a run without networks of several low resolutions tested at
        several.

    Raises:
        DataError: when `tests.parquet` is not a table of tests.
    """
    file = run / TESTS_FILE
    if not recipe.get("tests") or not file.is_file():
        return []
    tested = check_file(file, (*COLUMNS, "strategy", "resolution_px"))
    matrix = transfer_of(tested)
    if min(matrix.shape) < 2:
        return []
    setting = setting_of(frame, recipe)
    title = f"Trained at one resolution, tested at another: {setting.title_without_resolution}"
    page = Page(title, [matrix.map(lambda percent: f"{percent:.1f}")], [_NOTE])
    numbers = matrix.rename_axis("trained at").reset_index()
    return [
        *write_page(run / "tables", "transfer", page, numbers),
        *save_figure(draw_transfer(matrix, setting), run / "figures", "transfer"),
    ]


def transfer_of(tested: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent, mean over seeds, by resolution of training (rows) and of the test.

    Args:
        tested: of `tests.parquet`; of its cells, Low's tests of their own, and High's at each
            resolution.

    Returns:
        Rows `25 px`, ..., `High`; columns `25 px`, ...
    """
    low = tested.loc[(tested["strategy"] == "low") & (tested["form"] == "low")]
    high = tested.loc[(tested["strategy"] == "high") & (tested["test"] == "low")]
    rows = pd.concat([low.assign(at=low["resolution_px"]), high.assign(at=np.inf)])
    matrix = 100 * rows.pivot_table(index="at", columns="test_px", values="accuracy")
    names = [HIGH if np.isinf(float(at)) else f"{at:.0f} px" for at in matrix.index]
    return matrix.set_axis(names).set_axis([f"{px} px" for px in matrix.columns], axis=1)


def draw_transfer(matrix: pd.DataFrame, setting: Setting) -> "Figure":
    """The matrix as a heat map; the resolution of the test is framed."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(8.5, 6), layout="constrained", facecolor="white")
    title = f"{setting.title_without_resolution}\nLow by resolution of training; last row: High"
    figure.suptitle(title, fontsize=TITLE_PT, parse_math=False)
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=COLOUR_MAP, aspect="auto")
    for (i, j), percent in np.ndenumerate(matrix.to_numpy()):
        ink = ink_on(np.ravel(image.to_rgba(percent)).tolist())
        text = "" if np.isnan(percent) else f"{percent:.1f}"
        axes.text(j, i, text, ha="center", va="center", color=ink, in_layout=False)
        if matrix.index[i] == matrix.columns[j]:
            frame = Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor=ink)
            axes.add_patch(frame)
    axes.set_xticks(range(matrix.shape[1]), list(matrix.columns))
    axes.set_yticks(range(matrix.shape[0]), list(matrix.index))
    axes.tick_params(length=0)
    axes.set_xlabel("resolution of the test photos", fontsize=LABEL_PT)
    axes.set_ylabel("resolution of the training photos", fontsize=LABEL_PT)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, pad=0.02).set_label("accuracy, %", fontsize=LABEL_PT)
    return figure


_NOTE = (
    "Rows: networks trained on photos of that resolution alone (Low), and on high-res ones (High). "
    "Columns: test photos of that resolution. Percent, mean over seeds."
)
