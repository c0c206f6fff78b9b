"""Controls and rivals: each row minus what could explain it, on the same photos."""

import numpy as np
import pandas as pd
import pytest

from analysis.controls import controlled_cells, differences_of, write_controls
from analysis.controls_figure import draw_controls, write_controls_figure
from analysis.photos import Photos
from analysis.setting import setting_of

N_PHOTOS, SEEDS = 400, (0, 1, 2)
#: Share of photos that each strategy recognises; the first ones of the test.
SHARES = {"low": 0.50, "low_low": 0.60, "staged_hl": 0.62, "distilled_hl": 0.80}


@pytest.fixture
def frame(make_cell):
    rows = [
        make_cell("custom", name, (8, 8), seed, low=share)
        for name, share in SHARES.items()
        for seed in SEEDS
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def photos(frame):
    """Nested: a better strategy recognises all that a worse one does, and each seed the same."""
    right = [np.arange(N_PHOTOS) < SHARES[s] * N_PHOTOS for s in frame["strategy"]]
    return Photos({name: i for i, name in enumerate(frame["cell"])}, np.array(right))


@pytest.fixture
def plan(frame):
    """Staged of two stages, the others of one, each of 100 photos."""
    stages = {key: stage(100, None) for key in frame["stage_key"]}
    first = frame.loc[frame["strategy"] == "low", "stage_key"].iloc[0]
    staged = frame.loc[frame["strategy"] == "staged_hl", "stage_key"].iloc[-1]
    return {"stages": stages | {staged: stage(100, first)}}


def stage(images, parent):
    return {"images": images, "spec": {"parent": parent}}


def test_each_row_is_compared_with_each_baseline_that_is_there(frame, photos):
    table = differences_of(frame, photos)
    found = {
        (row["first"].split("/")[0], row["table"]): round(row["difference_points"], 1)
        for row in table.to_dict("records")
    }
    assert found["staged_hl", "low"] == 12.0
    assert found["staged_hl", "low_low"] == 2.0
    assert found["distilled_hl", "staged_hl"] == 18.0
    assert ("low", "low") not in found
    assert {other for _, other in found} == {"low", "low_low", "staged_hl"}


def test_cells_of_a_part_of_the_photos_are_not_compared_with_those_of_all(frame, photos, make_cell):
    parts = [make_cell("custom", name, (1, 1), 0) for name in SHARES]
    done = controlled_cells(pd.concat([frame, pd.DataFrame(parts)]))
    pd.testing.assert_frame_equal(differences_of(done, photos), differences_of(frame, photos))


def test_the_page_marks_what_is_real_and_says_what_it_cost(frame, photos, plan, recipe, tmp_path):
    files = write_controls(frame, differences_of(frame, photos), plan, recipe, tmp_path)
    assert [path.name for path in files] == ["controls.csv", "controls.md", "controls.html"]
    rows = [line for line in files[1].read_text().splitlines() if line.startswith("| ")]
    assert "seeds, without the chance of the test photos" in files[1].read_text()
    assert "distilled\\_hl" in rows[2], "the best first"
    staged = next(row for row in rows if row.startswith("| staged\\_hl"))
    cells = [cell.strip() for cell in staged.split("|")]
    assert cells[2] == "200"
    assert cells[5].startswith("+12.0")
    assert cells[5].endswith("\\*")


def test_a_run_without_its_plan_says_no_cost(frame, photos, recipe, tmp_path):
    differences = differences_of(frame, photos)
    text = write_controls(frame, differences, {"stages": {}}, recipe, tmp_path)[1].read_text()
    assert "| distilled\\_hl | not known | 3 |" in text


def test_runs_without_controls_or_with_several_resolutions_have_no_such_page(
    frame, photos, plan, recipe, tmp_path
):
    plain = frame.loc[frame["strategy"] != "low_low"]
    sweep = frame.assign(resolution_px=[10, 25] * (len(frame) // 2))
    for other in (plain, sweep):
        differences = differences_of(controlled_cells(other), photos)
        assert write_controls(other, differences, plan, recipe, tmp_path) == []
        assert write_controls_figure(differences, setting_of(other, recipe), tmp_path) == []


def test_the_picture_has_each_row_minus_low_and_minus_as_many_updates(
    frame, photos, recipe, tmp_path
):
    differences, setting = differences_of(frame, photos), setting_of(frame, recipe)
    families = dict(list(differences.groupby("table")))
    panels = draw_controls({name: families[name] for name in ("low", "low_low")}, setting).axes
    rows = [tick.get_text() for tick in panels[0].get_yticklabels()]
    assert rows == ["distilled_hl", "staged_hl", "low_low", "low"]
    points = [axes.containers[0].lines[0].get_xdata().round(1).tolist() for axes in panels]
    assert sorted(points[0]) == [10.0, 12.0, 30.0]
    assert sorted(points[1]) == [-10.0, 2.0, 20.0]
    written = write_controls_figure(differences, setting, tmp_path)
    assert [path.name for path in written] == ["controls.png", "controls.svg"]
