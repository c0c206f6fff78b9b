import pandas as pd
import pytest

from analysis.tested import over_tests, write_tests
from trainables.errors import DataError

RECIPE = {
    "name": "kernels",
    "data": {"dataset": "cars", "canvas_px": 113},
    "model": {"name": "squeezenet1_1"},
    "tests": {"<b>blocks": {}},
}


FRAME = pd.DataFrame({"cell": ["high/h8-l0/s0"], "n_classes": [20]})


def row(test, accuracy, seed=0, **made):
    how = {"form": "low", "test_px": 25, "kernel": "bicubic", "antialias": True} | made
    cell = f"high/h8-l0/s{seed}"
    return {"cell": cell, "test": test, "accuracy": accuracy, "n_test": 400, "seed": seed} | how


@pytest.fixture
def run(tmp_path):
    rows = [row("low", 0.25), row("<b>blocks", 0.02, kernel="nearest", antialias=False)]
    pd.DataFrame(rows).to_parquet(tmp_path / "tests.parquet")
    return tmp_path


def test_each_way_of_making_the_test_photos_is_a_row_with_its_interval(run):
    written = write_tests(run, FRAME, RECIPE, run / "tables")
    assert [path.name for path in written] == ["tests.csv", "tests.md", "tests.html"]
    table = pd.read_csv(written[0])
    assert table["percent"].tolist() == [25.0, 2.0]
    assert table["from_percent"].tolist() == pytest.approx([21.006, 1.016], abs=0.01)
    text = written[1].read_text()
    assert "| low | 25 | bicubic | yes | 25.0 \\[21.0, 29.5\\] |" in text
    assert "Wilson's, of that chance alone, where one seed is done" in text


def test_names_with_markup_do_not_run_in_the_page(run):
    page = write_tests(run, FRAME, RECIPE, run / "tables")[2].read_text()
    assert "<b>blocks" not in page
    assert "&lt;b&gt;blocks" in page


def test_several_seeds_give_a_mean_and_students_interval(run):
    frame = pd.DataFrame([row("low", value, seed) for seed, value in enumerate((0.2, 0.3))])
    (summary,) = over_tests(frame).to_dict("records")
    assert (summary["cell"], summary["n_seeds"]) == ("high/h8-l0", 2)
    assert summary["percent"] == pytest.approx(25.0)
    assert summary["to_percent"] == pytest.approx(25 + 12.706 * 5, abs=0.1)


def test_seeds_that_agree_to_the_photo_leave_the_chance_of_the_photos():
    frame = pd.DataFrame([row("low", 0.25, seed) for seed in range(3)])
    (summary,) = over_tests(frame).to_dict("records")
    assert summary["from_percent"] == pytest.approx(21.006, abs=0.01)


def test_what_is_not_above_chance_is_marked(run):
    written = write_tests(run, FRAME, RECIPE, run / "tables")
    text = written[1].read_text()
    assert "25.0 \\[" in text
    assert "2.0\N{DEGREE SIGN} \\[" in text
    for file in written[1:]:
        assert "\N{DEGREE SIGN}: not above chance" in file.read_text()


def test_a_run_without_tests_of_its_own_writes_nothing(run):
    assert write_tests(run, FRAME, RECIPE | {"tests": {}}, run / "tables") == []
    assert not (run / "tables").exists()


def test_a_run_stopped_before_any_cell_is_done_writes_no_page_of_tests(run):
    pd.DataFrame([row("low", 0.25)]).iloc[:0].to_parquet(run / "tests.parquet")
    assert write_tests(run, FRAME, RECIPE, run / "tables") == []
    assert not (run / "tables").exists()


def test_a_table_without_the_columns_is_refused(run):
    pd.DataFrame({"cell": ["x"]}).to_parquet(run / "tests.parquet")
    with pytest.raises(DataError, match="lacks the columns test, form"):
        write_tests(run, FRAME, RECIPE, run / "tables")
