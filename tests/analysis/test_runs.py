import subprocess
import sys

import pandas as pd
import pytest

import analysis
from analysis.runs import COLUMNS, check, load, load_plan, load_recipe, over_seeds
from analysis.statistics import binomial_interval, seed_interval
from trainables.errors import DataError


def test_load_reads_a_folder_and_its_file(grid, tmp_path):
    file = tmp_path / "results.parquet"
    grid.to_parquet(file)
    assert len(load(tmp_path)) == 79
    pd.testing.assert_frame_equal(load(str(file)), load(tmp_path))
    pd.testing.assert_frame_equal(analysis.load(tmp_path), load(tmp_path))


def test_load_says_what_to_do_without_results(tmp_path):
    with pytest.raises(DataError, match=r"no results at .*results\.parquet.*f2c run"):
        load(tmp_path)


def test_load_refuses_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "results.parquet").write_text("cell,table\n")
    with pytest.raises(DataError, match=r"results\.parquet cannot be read"):
        load(tmp_path)


def test_load_names_every_missing_column(grid, tmp_path):
    grid.drop(columns=["n_test", "seed"]).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(DataError, match="lacks the columns seed, n_test"):
        load(tmp_path)


def test_load_lists_all_faults_at_once(make_cell, tmp_path):
    cells = [
        make_cell("table2", "staged_hl", (1, 1), low=48.0),
        make_cell("table2", "staged_hl", (1, 2), n_test=0),
        make_cell("table2", "staged_hl", (1, 3), status="lost"),
        make_cell("table2", "mixed", (2, 2)),
        make_cell("table2", "mixed", (2, 2)),
    ]
    pd.DataFrame(cells).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(DataError) as error:
        load(tmp_path)
    text = str(error.value)
    assert "unknown status lost" in text
    assert "accuracy_low must be a fraction, 0 to 1; found 48" in text
    assert "n_test must be 1 or more" in text
    assert "cells that occur twice: mixed/h2-l2/s0" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy_high": ["0.5"]}, "no numbers in accuracy_high"),
        ({"n_test": ["many"]}, "no numbers in n_test"),
        ({"model": [["a", "b"]]}, "lists in model"),
        ({"status": [[]]}, "lists in status"),
    ],
)
def test_load_refuses_values_of_another_kind(make_cell, tmp_path, changes, said):
    frame = pd.DataFrame([make_cell("table2", "mixed", (2, 2))]).assign(**changes)
    frame.to_parquet(tmp_path / "results.parquet")
    with pytest.raises(DataError, match=said):
        load(tmp_path)


def test_a_column_that_is_there_twice_is_refused(make_cell):
    frame = pd.DataFrame([make_cell("table2", "mixed", (2, 2))])
    with pytest.raises(DataError, match="there twice"):
        check(pd.concat([frame, frame[["status"]]], axis=1))


def test_load_recipe_reads_the_recipe_beside_the_results(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: demo\ntrain: {epochs: 10}\n")
    assert load_recipe(tmp_path) == {"name": "demo", "train": {"epochs": 10}}
    assert load_recipe(tmp_path / "results.parquet") == load_recipe(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        ("- a list", "not a mapping"),
        ("a: [", "cannot be read"),
        ("!!python/object/apply:os.getpid []", "cannot be read"),
    ],
)
def test_load_recipe_says_what_is_wrong(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(DataError, match=rf"recipe\.yaml.*{expected}"):
        load_recipe(tmp_path)


def test_load_plan_has_no_stages_where_none_was_kept(tmp_path):
    assert load_plan(tmp_path) == {"cells": {}, "stages": {}}


@pytest.mark.parametrize("content", ['{"cells": {"low/h0-', '{"cells": {}}', "[]", "\xff"])
def test_load_plan_refuses_a_torn_file_and_says_what_to_do(tmp_path, content):
    (tmp_path / "plan.json").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"plan\.json .*; f2c run RECIPE writes it again"):
        load_plan(tmp_path)


def test_import_of_the_package_stays_cheap():
    code = (
        "import sys, analysis; print(sorted({'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_over_seeds_takes_the_t_interval(make_cell):
    values = [0.50, 0.53, 0.59]
    cells = [
        make_cell("table1", "high", (8, 0), seed, low=value) for seed, value in enumerate(values)
    ]
    (row,) = over_seeds(pd.DataFrame(cells)).to_dict("records")
    found = (row["accuracy_low"], row["accuracy_low_from"], row["accuracy_low_to"])
    assert found == pytest.approx(seed_interval(values))
    assert (row["cell"], row["n_seeds"], row["n_planned"]) == ("high/h8-l0", 3, 3)
    assert row["status"] == "done"
    assert row["done_seeds"] == (0, 1, 2)


def test_seeds_that_agree_to_the_photo_leave_the_chance_of_the_photos(make_cell):
    cells = [make_cell("table1", "low", (0, 8), seed, low=1 / 3, n_test=36) for seed in range(3)]
    (row,) = over_seeds(pd.DataFrame(cells)).to_dict("records")
    found = (row["accuracy_low"], row["accuracy_low_from"], row["accuracy_low_to"])
    assert found == pytest.approx(binomial_interval(12, 36))


def test_over_seeds_takes_the_binomial_interval_of_one_seed(make_cell):
    frame = pd.DataFrame([make_cell("table1", "high", (8, 0), low=0.25, n_test=480)])
    (row,) = over_seeds(frame).to_dict("records")
    found = (row["accuracy_low"], row["accuracy_low_from"], row["accuracy_low_to"])
    assert found == pytest.approx(binomial_interval(120, 480))


def test_over_seeds_tells_the_gravest_status_and_counts_the_done(make_cell):
    cells = [
        make_cell("table1", "low", (0, 8), 0, low=0.5),
        make_cell("table1", "low", (0, 8), 1, status="diverged"),
        make_cell("table1", "low", (0, 8), 2, status="missing"),
    ]
    (row,) = over_seeds(pd.DataFrame(cells)).to_dict("records")
    assert (row["status"], row["n_seeds"], row["n_planned"]) == ("diverged", 1, 3)
    assert row["done_seeds"] == (0,)
    assert row["accuracy_low"] == 0.5


def test_over_seeds_of_a_cell_without_a_done_seed_has_no_number(make_cell):
    frame = pd.DataFrame([make_cell("table1", "low", (0, 8), status="blocked")])
    (row,) = over_seeds(frame).to_dict("records")
    assert (row["status"], row["n_seeds"], row["n_test"]) == ("blocked", 0, 0)
    assert pd.isna(row["accuracy_low"])


def test_over_seeds_keeps_the_order_and_tells_cells_apart(strategies):
    summary = over_seeds(strategies)
    assert summary["strategy"].tolist() == [
        *("high", "low", "mixed", "staged_lh", "staged_hl", "my_own")
    ]
    assert set(summary["n_seeds"]) == {3}


def test_over_seeds_of_nothing_is_an_empty_table(grid):
    assert over_seeds(grid.iloc[:0]).empty


def test_the_columns_are_those_of_the_contract(grid):
    assert set(grid.columns) == set(COLUMNS)


def test_cells_without_a_name_that_occur_twice_are_refused(make_cell):
    twice = [make_cell("table2", "mixed", (2, 2)) | {"cell": None} for _ in range(2)]
    with pytest.raises(DataError, match="occur twice: None"):
        check(pd.DataFrame(twice))
