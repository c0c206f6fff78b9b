"""Heat colours that colour-blind readers and grey printers can tell apart, and ink to match."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COLOUR_MAP = "cividis"  # its lightness rises steadily
OURS = "#00509e"
PAPERS = "#c2570c"
#: Of lines without an order: Okabe and Ito's (2008), told apart by colour-blind readers.
LINES = ("#000000", "#e69f00", "#0072b2", "#d55e00", "#56b4e9", "#009e73", "#cc79a7")
# Relative luminance above which black is the more legible ink (contrast 4.5 or more both ways).
_LIGHT = 0.179
_LINEAR_BELOW = 0.04045


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever contrasts more with a background.

    Args:
        colour: red, green, blue and perhaps alpha, 0 to 1.
    """
    rgb = np.asarray(colour[:3], dtype=np.float64)
    linear = np.where(rgb <= _LINEAR_BELOW, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "#000000" if luminance > _LIGHT else "#ffffff"


def heat_styles(percent: NDArray[np.float64]) -> NDArray[np.str_]:
    """CSS of a background and its ink for every number.

    Args:
        percent: any shape; NaN has no colour.

    Returns:
        The same shape, str.
    """
    import matplotlib as mpl
    from matplotlib.colors import Normalize, to_hex

    styles = np.full(percent.shape, "", dtype="<U64")
    known = ~np.isnan(percent)
    if known.any():
        scale = Normalize(percent[known].min(), percent[known].max())
        colours = mpl.colormaps[COLOUR_MAP]
        of_colour = np.array(
            [
                f"background-color: {to_hex(c)}; color: {ink_on(c)}"
                for c in colours(range(colours.N))
            ]
        )
        shades = (np.asarray(scale(percent[known])) * colours.N).astype(np.int64)
        styles[known] = of_colour[np.minimum(shades, colours.N - 1)]
    return styles
