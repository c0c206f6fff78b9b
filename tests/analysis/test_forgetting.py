"""What a low-res stage makes a network forget, as a picture and as a table."""

import pandas as pd

from analysis.forgetting import draw_forgetting, write_forgetting
from analysis.runs import load_plan


def test_a_line_through_two_points_is_no_figure():
    assert draw_forgetting({600: {0: 80.0, 600: 75.0}}, "") is None
    figure = draw_forgetting({600: {0: 80.0, 300: 74.0, 600: 75.0}}, "")
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0, 80], [300, 74], [600, 75]]


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
