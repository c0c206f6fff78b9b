"""The paper's Figure 3: test photos, both networks' heat maps, and the photos seen through them.

N photos, H W pixels, C colours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from analysis.colours import COLOUR_MAP
from analysis.figures import save_figure
from analysis.heat_runs import HeatRun
from analysis.heatmaps import cut_out, filtered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_IN, COLUMN_IN, LEFT_IN = 1.75, 1.85, 1.5
DOTS_PER_IN = 110
TITLE_PT, LABEL_PT, SMALL_PT = 12, 9, 8
FILTERS = {"soft": filtered, "binary": cut_out}


def write_figure3(heat: HeatRun, folder: Path, *, through: str = "soft") -> list[Path]:
    """Write `figure3.png`.

    Args:
        heat: maps of two cells.
        folder: made where it is not there.
        through: `soft` fades what is cold to white, `binary` greys it.

    Returns:
        The file.
    """
    figure = draw_figure3(heat, through=through)
    return save_figure(figure, folder, "figure3", endings=["png"], dots_per_in=DOTS_PER_IN)


def draw_figure3(heat: HeatRun, *, through: str = "soft") -> "Figure":
    """Draw a row a photo: photo, map of each network, photo filtered by each map."""
    from matplotlib.figure import Figure

    n = len(heat.images_NHWC)
    size_in = (LEFT_IN + 5 * COLUMN_IN, ROW_IN * n + 1.3)
    figure = Figure(figsize=size_in, layout="constrained", facecolor="white")
    figure.suptitle(
        "What the networks look at: squared change of the logits under a grey "
        f"{heat.patch_px} px patch",
        fontsize=TITLE_PT,
    )
    rows = figure.subplots(n, 5, squeeze=False)
    for place, axes in enumerate(rows):
        _row(axes, heat, place, through)
        axes[0].set_ylabel(
            _says(heat, place), rotation=0, ha="right", va="center", fontsize=SMALL_PT
        )
    for axes, title in zip(rows[0], _titles(heat, through), strict=True):
        axes.set_title(title, fontsize=LABEL_PT, parse_math=False)
    _colour_bar(figure, rows)
    return figure


def _titles(heat: HeatRun, through: str) -> list[str]:
    kind = "filtered by" if through == "soft" else "cut out by"
    first, second = heat.names
    return ["low-res photo", first, second, f"{kind}\n{first}", f"{kind}\n{second}"]


def _row(axes: Sequence["Axes"], heat: HeatRun, place: int, through: str) -> None:
    image_HWC = heat.images_NHWC[place]
    maps = [maps_NHW[place] for maps_NHW in heat.maps]
    shown = [image_HWC, *maps, *(FILTERS[through](image_HWC, heat_HW) for heat_HW in maps)]
    for panel, picture in zip(axes, shown, strict=True):
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
        _show(panel, picture)


def _show(panel: "Axes", picture: NDArray) -> None:
    if picture.ndim == 3:
        panel.imshow(picture)
        return
    panel.imshow(picture, cmap=COLOUR_MAP)
    height = picture.shape[0]
    # Colours are spread over each map's own range, as in the paper; its largest value is written.
    text = f"max {picture.max():.3g}"
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    panel.text(2, height - 3, text, fontsize=SMALL_PT, va="bottom", bbox=box)


def _says(heat: HeatRun, place: int) -> str:
    lines = []
    for cell, name in zip(heat.cells, heat.names, strict=True):
        rows = heat.measures.loc[heat.measures["cell"] == cell]
        row = rows.iloc[place]
        sign = "right" if row["predicted"] == row["label"] else "wrong"
        lines.append(f"{name}: {sign}")
    label = heat.class_names[int(heat.measures.iloc[2 * place]["label"])]
    return "\n".join([_wrapped(label), *lines])


def _wrapped(name: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name.replace("_", " "), 18))


def _colour_bar(figure: "Figure", rows: NDArray[Any]) -> None:
    images = rows[0, 1].get_images()
    bar = figure.colorbar(
        images[0],
        ax=[axes for row in rows for axes in row],
        location="bottom",
        fraction=0.02,
        pad=0.01,
    )
    bar.set_ticks([images[0].norm.vmin, images[0].norm.vmax], labels=["its least", "its largest"])
    bar.ax.tick_params(labelsize=SMALL_PT, length=0)
