"""Reliability diagrams as pictures."""

import numpy as np
import pandas as pd

from analysis.reliability import N_BINS, draw_reliability


def test_a_bin_of_few_photos_shows_how_little_it_says():
    """One photo at 25 %, recognised, and 400 at 75 %, half of them."""
    confidence = np.array([0.25, *[0.75] * 400])
    photos = pd.DataFrame({"confidence": confidence, "predicted": 1, "label": 1})
    photos.loc[201:, "label"] = 2
    axes = draw_reliability({"low/h0-l8/s0": photos}, "a, b, low-res 16 px").axes[0]
    points, _, bars = next(c for c in axes.containers if hasattr(c, "has_yerr")).lines
    assert points.get_linestyle() == "None"
    few, many = np.ptp(np.array(bars[0].get_segments())[..., 1], axis=1)
    assert few > 75
    assert many < 10
    assert len(axes.patches) == N_BINS


def test_the_legend_of_a_single_diagram_is_whole():
    photos = pd.DataFrame({"confidence": [0.5, 0.9], "predicted": 1, "label": 1})
    figure = draw_reliability({"low/h0-l8/s0": photos}, "a, b, low-res 16 px")
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
