"""The sweep over low resolutions: where Staged is above, where below, where nothing is shown."""

import numpy as np
import pandas as pd
import pytest

from analysis.compare import compare
from analysis.paired import pairs_of
from analysis.photos import Photos
from analysis.resolution_figure import draw_resolutions
from analysis.resolutions import accuracies, advantages, is_sweep, write_resolutions
from analysis.setting import setting_of

N_PHOTOS = 300
#: Resolution to shares of photos that Low and Staged recognise.
SHARES = {10: (0.2, 0.2), 25: (0.4, 0.6), 50: (0.7, 0.5)}


@pytest.fixture
def frame(make_cell):
    rows = []
    for px, shares in SHARES.items():
        for name, share in zip(("low", "staged_hl"), shares, strict=True):
            cell = make_cell("custom", name, (8, 8), resolution_px=px, low=share)
            rows.append(cell | {"cell": f"{name}/h8-l8-{px}px/s0"})
    return pd.DataFrame(rows)


@pytest.fixture
def photos(frame):
    right = [np.arange(N_PHOTOS) < share * N_PHOTOS for share in frame["accuracy_low"]]
    return Photos({name: i for i, name in enumerate(frame["cell"])}, np.array(right))


def test_staged_is_compared_within_each_resolution_only(frame, photos):
    table = advantages(frame, photos)
    assert table["resolution_px"].tolist() == [10, 25, 50]
    assert table["difference_points"].tolist() == pytest.approx([0, 20, -20])
    assert table["finding"].tolist() == ["open", "first", "second"]
    assert {(p.first, p.second) for p in pairs_of(frame)} == {
        (f"staged_hl/h8-l8-{px}px", f"low/h8-l8-{px}px") for px in SHARES
    }


def test_cells_of_a_part_of_the_photos_are_not_compared_with_those_of_all(frame, photos):
    """Neither averaged nor drawn: the page is of one size of training set."""
    parts = frame.assign(cell=frame["cell"].str.replace("h8-l8", "h1-l1"), accuracy_low=0.01)
    both = pd.concat([frame, parts.assign(high_level=1, low_level=1, n_high=50, n_low=50)])
    pd.testing.assert_frame_equal(advantages(both, photos), advantages(frame, photos))
    pd.testing.assert_frame_equal(accuracies(both), accuracies(frame))


def test_the_page_says_where_the_advantage_begins_and_ends(frame, photos, recipe, tmp_path):
    files = write_resolutions(frame, photos, recipe, tmp_path)
    text = files[1].read_text()
    assert "Staged above low: at 25 px; below: at 50 px; open at the others" in text
    assert "Over all resolutions, Staged minus low: +0.0 points" in text
    assert "low-res 16 px" not in text, "no single resolution in the title"


def test_the_figure_has_a_line_a_strategy_and_one_a_difference(frame, photos, recipe):
    figure = draw_resolutions(frame, advantages(frame, photos), setting_of(frame, recipe))
    left, right = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["low", "staged_hl"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["low"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["10", "25", "50"]


def test_a_strategy_looks_the_same_in_both_panels(frame, photos, recipe):
    low = frame.loc[frame["strategy"] == "low"]
    high = low.assign(strategy="high", cell=low["cell"].str.replace("low", "high"))
    both = pd.concat([high, frame])
    figure = draw_resolutions(both, advantages(frame, photos), setting_of(both, recipe))
    looks = [
        {c.get_label(): (c.lines[0].get_color(), c.lines[0].get_marker()) for c in axes.containers}
        for axes in figure.axes
    ]
    assert list(looks[0]) == ["high", "low", "staged_hl"]
    assert looks[0]["low"] == looks[1]["low"]
    assert len(set(looks[0].values())) == 3


def test_a_sweep_with_nothing_to_compare_yet_shows_its_accuracies(frame, photos, recipe, tmp_path):
    low = frame.assign(status=["done" if s == "low" else "missing" for s in frame["strategy"]])
    text = write_resolutions(low, photos, recipe, tmp_path)[1].read_text()
    assert "| 25 px | 40.0" in text
    assert "Staged minus" not in text
    figure = draw_resolutions(low, advantages(low, photos), setting_of(low, recipe))
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy on low-res test, %"]


def test_a_table_of_several_resolutions_has_a_row_for_each(frame):
    rows = compare(frame, "custom").rows
    assert list(rows)[:2] == ["low, 10 px", "staged_hl, 10 px"]
    assert len(rows) == 6


def test_one_resolution_is_no_sweep(frame, photos, recipe, tmp_path):
    alone = frame.loc[frame["resolution_px"] == 25]
    assert not is_sweep(alone)
    assert write_resolutions(alone, photos, recipe, tmp_path) == []
