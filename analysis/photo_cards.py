"""Test photos as cards for the report: high, low, and what each strategy's network said of them.

Shape legend: H rows, W columns, 3 colours.
"""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.colours import COLOUR_MAP
from analysis.heat_runs import N_KEPT, HeatRun
from analysis.heatmaps import normalised
from analysis.shown import at_random, shown_cells
from trainables.degrade import resize
from trainables.errors import DataError
from trainables.spec import ViewSpec
from trainables.streamed import view_at_hand
from trainables.views import View

N_PHOTOS = N_KEPT
THUMBNAIL_QUALITY = 85
#: Of the photo in a picture of its heat map.
PHOTO_SHARE = 0.4


def photo_cards(
    plan: Mapping[str, Any],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    data_root: Path,
    heat: HeatRun | None = None,
) -> str:
    """Cards of photos chosen at random, by a fixed seed, as an HTML fragment.

    Args:
        plan: of `plan.json`.
        frame: of `runs.load`.
        predictions: of `predictions.parquet`.
        data_root: where the prepared views lie.
        heat: maps of the same photos; the second network's is shown.

    Returns:
        An empty text where nothing is done, or the views are not at hand.
    """
    cells = shown_cells(frame)
    try:
        high, low = _views(plan, cells, data_root)
    except (DataError, KeyError, StopIteration):
        return ""
    said = predictions.loc[(predictions["test"] == "low") & predictions["cell"].isin(cells)]
    places = at_random(len(low), N_PHOTOS)
    maps = {} if heat is None else heat.second_by_row()
    return "".join(
        _card(high, low, int(place), said, cells, maps.get(int(low.rows_N[place])))
        for place in places
    )


def _views(plan: Mapping[str, Any], cells: Mapping[str, str], data_root: Path) -> tuple[View, View]:
    """The high and the low evaluation view of the first cell that has both."""
    by_form: dict[str, ViewSpec] = {}
    for cell in cells:
        stage = plan["stages"][plan["cells"][cell]["stage"]]
        for view in stage["evaluations"]:
            by_form.setdefault(view["form"], ViewSpec.model_validate_json(json.dumps(view)))
    return view_at_hand(data_root, by_form["high"]), view_at_hand(data_root, by_form["low"])


def _card(
    high: View,
    low: View,
    place: int,
    said: pd.DataFrame,
    cells: Mapping[str, str],
    heat_HW: NDArray[np.float32] | None,
) -> str:
    names, row = low.class_names, int(low.rows_N[place])
    label = _spoken(names[int(low.labels_N[place])])
    side_px = high.spec.canvas_px
    blurred_HW3 = resize(low.images_NHWC[place], side_px, side_px, low.spec.kernel, antialias=True)
    of_photo = said.loc[said["row"] == row]
    lines = "".join(
        _line(cells[str(record["cell"])], record, names) for record in of_photo.to_dict("records")
    )
    heat = "" if heat_HW is None else _image(over(blurred_HW3, heat_HW), f"{label}, heat map")
    return (
        f'<figure class="card"><div>{_image(high.images_NHWC[place], f"{label}, high-res")}'
        f"{_image(blurred_HW3, f'{label}, low-res')}{heat}</div>"
        f"<figcaption><b>{label}</b><ul>{lines}</ul></figcaption></figure>\n"
    )


def over(image_HW3: NDArray[np.uint8], heat_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A heat map in colours over its photo in grey; both of one size, or the map is enlarged."""
    from matplotlib import colormaps

    height, width = image_HW3.shape[:2]
    grey_HW1 = image_HW3.mean(axis=2, keepdims=True) / 255
    byte_HW1 = np.rint(255 * normalised(heat_HW)).astype(np.uint8)[:, :, None]
    heat_HW1 = resize(byte_HW1.repeat(3, axis=2), height, width, "bilinear", antialias=True)[
        ..., :1
    ]
    colour_HW3 = colormaps[COLOUR_MAP](heat_HW1[..., 0])[..., :3]
    return np.rint(255 * (PHOTO_SHARE * grey_HW1 + (1 - PHOTO_SHARE) * colour_HW3)).astype(np.uint8)


def _line(strategy: str, record: Mapping[Any, Any], names: Sequence[str]) -> str:
    right = record["predicted"] == record["label"]
    sign, word = ("✓", "right") if right else ("✗", "wrong")
    predicted = _spoken(names[int(record["predicted"])])
    return (
        f'<li class="{word}"><span title="{word}">{sign}</span> <b>{html.escape(strategy)}</b> '
        f"{predicted} {record['confidence']:.0%}</li>"
    )


def _spoken(name: str) -> str:
    """A class name as one reads it; a long one may break between its words."""
    return html.escape(name.replace("_", " "))


def _image(image_HW3: NDArray[np.uint8], text: str) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image_HW3)).save(file, "JPEG", quality=THUMBNAIL_QUALITY)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{text}" src="data:image/jpeg;base64,{data}">'
