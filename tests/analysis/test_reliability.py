"""Reliability diagrams, and what a low-res stage makes a network forget, as pictures."""

import numpy as np
import pandas as pd

from analysis.forgetting import draw_forgetting, write_forgetting
from analysis.reliability import N_BINS, draw_reliability
from analysis.runs import load_plan


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


def test_a_line_through_two_points_is_no_figure():
    assert draw_forgetting({600: {0: 80.0, 600: 75.0}}, "") is None
    assert draw_forgetting({600: {0: 80.0, 300: 74.0, 600: 75.0}}, "") is not None


def test_what_is_forgotten_can_be_drawn_again_from_a_kept_part_of_a_run(grid, recipe, tmp_path):
    rows = {"n_high": 400, "seed": 0, "n_low": [0, 50, 100], "high_percent": [1 / 3, 20.0, 30.0]}
    (tmp_path / "tables").mkdir()
    kept = tmp_path / "tables" / "forgetting.csv"
    pd.DataFrame(rows).assign(forgotten_points=0.0).to_csv(kept, index=False)
    before = kept.read_bytes()
    written = write_forgetting(grid, load_plan(tmp_path), recipe, tmp_path)
    assert {path.name for path in written} >= {"forgetting.md", "forgetting.png"}
    assert kept.read_bytes() == before
    assert "about ±4 points" in (tmp_path / "tables" / "forgetting.md").read_text()


def test_without_a_kept_table_nothing_is_drawn(grid, recipe, tmp_path):
    assert write_forgetting(grid, load_plan(tmp_path), recipe, tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_the_legend_of_a_single_diagram_is_whole():
    photos = pd.DataFrame({"confidence": [0.5, 0.9], "predicted": 1, "label": 1})
    figure = draw_reliability({"low/h0-l8/s0": photos}, "a, b, low-res 16 px")
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
