import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.colours import heat_styles, ink_on
from analysis.compare import compare
from analysis.figures import draw, write_figures
from analysis.setting import setting_of


def drawn(frame, recipe, table):
    return draw(compare(frame, table), setting_of(frame, recipe))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def contrast(first, second):
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_png_and_svg_of_every_table(grid, strategies, recipe, tmp_path):
    written = write_figures(pd.concat([grid, strategies]), recipe, tmp_path / "figures")
    names = ["table1.png", "table1.svg", "table2.png", "table2.svg"]
    assert [path.name for path in written] == names
    with Image.open(written[2]) as image:
        assert image.width == 1800
    assert written[3].read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_equal_results_give_equal_files(strategies, recipe, tmp_path):
    first = [path.read_bytes() for path in write_figures(strategies, recipe, tmp_path / "a")]
    assert first == [
        path.read_bytes() for path in write_figures(strategies, recipe, tmp_path / "b")
    ]


def test_heat_maps_stand_side_by_side_with_all_numbers(grid, recipe):
    ours, papers, *bars = drawn(grid, recipe, "table2").axes
    assert len(texts(ours)) == len(texts(papers)) == 80
    assert "30.0†" in texts(ours)
    assert "24.3†" in texts(papers)
    assert texts(papers)[-1] == "59.3*"
    assert [bar.get_ylabel() for bar in bars] == ["accuracy on low-res test, %"] * 2


def test_cells_at_chance_are_marked_as_in_the_table(grid, recipe):
    low = grid["accuracy_low"].mask(grid["cell"] == "staged_hl/h2-l2/s0", 1 / 16)
    figure = drawn(grid.assign(accuracy_low=low), recipe, "table2")
    assert "6.2\N{DEGREE SIGN}†" in texts(figure.axes[0])
    assert "\N{DEGREE SIGN} not above chance" in figure.get_supxlabel()
    assert "above chance" not in drawn(grid, recipe, "table2").get_supxlabel()


def test_heat_maps_have_scales_of_their_own(grid, recipe):
    ours, papers = drawn(grid, recipe, "table2").axes[:2]
    assert papers.images[0].get_clim() == (12.1, 59.5)
    assert ours.images[0].get_clim() == pytest.approx((16.0, 90.0))


def test_the_diagonal_is_framed(grid, recipe):
    frames = drawn(grid, recipe, "table2").axes[0].patches
    assert [round(frame.get_x() + 0.45) for frame in frames] == list(range(1, 8))


def test_the_title_says_data_network_and_resolution(grid, recipe):
    title = drawn(grid, recipe, "table2").get_suptitle()
    assert "synthetic, tiny, low-res 16 px on a 48 px canvas" in title


def test_failed_cells_say_so(grid, recipe):
    failed = grid["cell"] == "staged_hl/h2-l2/s0"
    frame = grid.assign(status=grid["status"].mask(failed, "failed"))
    # A row that the paper does not have must not say so on the paper's side.
    frame.loc[failed, "strategy"] = "my_own"
    frame.loc[failed, ["accuracy_high", "accuracy_low"]] = np.nan
    ours, papers = drawn(frame, recipe, "table2").axes[:2]
    assert texts(ours).count("failed") == 1
    assert "failed" not in texts(papers)


def test_a_run_without_any_number_is_drawn(grid, strategies, recipe, tmp_path):
    frame = pd.concat([grid, strategies]).assign(
        status="failed", accuracy_high=np.nan, accuracy_low=np.nan
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(write_figures(frame, recipe, tmp_path)) == 4


def test_dot_chart_shows_ours_with_interval_and_the_papers(strategies, recipe):
    figure = drawn(strategies, recipe, "table1")
    high, low = figure.axes
    assert (high.get_title(), low.get_title()) == ("High-res test", "Low-res test")
    papers = low.lines[-1].get_xdata()
    assert papers[0] == 1.7
    assert len(low.containers[0].lines[2]) == 1
    assert [text.get_text() for text in high.get_yticklabels()][-1] == "my_own"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["ours, with 95 % interval", "paper"]


def test_a_custom_table_is_drawn_without_the_paper_on_the_lines_of_its_rows(make_cell, recipe):
    frame = pd.DataFrame([make_cell("custom", "mine", (8, 8))])
    figure = drawn(frame, recipe, "custom")
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["ours, with 95 % interval"]
    assert figure.axes[0].containers[0].lines[0].get_ydata().tolist() == [0]


def test_a_row_that_the_paper_has_shows_ours_above_the_papers(strategies, recipe):
    low = drawn(strategies, recipe, "table1").axes[1]
    assert low.containers[0].lines[0].get_ydata()[0] < 0 < low.lines[-1].get_ydata()[0]


def test_hostile_names_are_drawn_as_text(make_cell, tmp_path):
    hostile = r"<script>$\frac{$"
    cells = [
        make_cell("table1", hostile, (8, 8), dataset=hostile, model=hostile),
        make_cell("table2", "staged_hl", (1, 1), dataset=hostile, model=hostile),
    ]
    written = write_figures(pd.DataFrame(cells), {"name": hostile}, tmp_path)
    assert all("<script" not in path.read_text() for path in written if path.suffix == ".svg")


def test_drawing_does_without_pyplot(strategies, recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert len(drawn(strategies, recipe, "table1").axes) == 2


def test_ink_is_legible_on_every_heat_colour():
    styles = heat_styles(np.linspace(0, 100, 101))
    pairs = [(style[18:25], style[-7:]) for style in styles.tolist()]
    assert min(contrast(background, ink) for background, ink in pairs) >= 4.5


def test_lightness_rises_with_accuracy():
    styles = heat_styles(np.linspace(0, 100, 21)).tolist()
    values = [luminance(style[18:25]) for style in styles]
    assert values == sorted(values)


def test_what_is_missing_has_no_colour():
    assert heat_styles(np.array([np.nan, 1.0, 2.0]))[0] == ""
    assert heat_styles(np.array([np.nan])).tolist() == [""]


def test_ink_on_black_and_white():
    assert (ink_on((0, 0, 0)), ink_on((1, 1, 1, 1))) == ("#ffffff", "#000000")
