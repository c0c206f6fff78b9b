"""The matrix of training and test resolutions."""

import math

import pandas as pd
import pytest

from analysis.transfer import draw_transfer, transfer_of, write_transfer


def row(strategy, trained_px, test_px, accuracy, test="at", seed=0):
    made = {"form": "low", "kernel": "bicubic", "antialias": True, "n_test": 100, "seed": seed}
    return made | {
        "cell": f"{strategy}/h8-l8-{trained_px}px/s{seed}",
        "strategy": strategy,
        "resolution_px": trained_px,
        "test": test,
        "test_px": test_px,
        "accuracy": accuracy,
    }


@pytest.fixture
def tested():
    low = [
        row("low", at, to, (at + to) / 200, seed=seed)
        for at in (10, 25)
        for to in (10, 25)
        for seed in (0, 1)
    ]
    high = [row("high", to, to, 0.3, test="low") for to in (10, 25)]
    return pd.DataFrame([*low, *high, row("staged_hl", 10, 25, 0.9)])


def test_rows_are_what_was_trained_on_and_columns_what_was_tested(tested):
    matrix = transfer_of(tested)
    assert list(matrix.index) == ["10 px", "25 px", "High"]
    assert list(matrix.columns) == ["10 px", "25 px"]
    assert matrix.loc["10 px", "25 px"] == pytest.approx(17.5)
    assert matrix.loc["High"].tolist() == pytest.approx([30, 30])


def test_a_sweep_with_tests_of_its_own_gets_page_and_figure(tested, recipe, grid, tmp_path):
    tested.to_parquet(tmp_path / "tests.parquet")
    given = recipe | {"tests": {"at": {}}}
    written = write_transfer(tmp_path, grid, given)
    assert [path.name for path in written] == [
        "transfer.csv", "transfer.md", "transfer.html", "transfer.png", "transfer.svg"]  # fmt: skip
    assert "| High | 30.0 | 30.0 |" in written[1].read_text()
    assert write_transfer(tmp_path, grid, recipe) == [], "no tests of its own"


def test_a_sweep_stopped_before_any_cell_is_done_has_no_matrix(tested, recipe, grid, tmp_path):
    tested.iloc[:0].to_parquet(tmp_path / "tests.parquet")
    assert write_transfer(tmp_path, grid, recipe | {"tests": {"at": {}}}) == []


def test_what_was_not_tested_is_empty_in_the_figure(tested, recipe, grid):
    from analysis.setting import setting_of

    matrix = transfer_of(tested)
    matrix.iloc[0, 1] = math.nan
    axes = draw_transfer(matrix, setting_of(grid, recipe)).axes[0]
    assert [text.get_text() for text in axes.texts][:3] == ["10.0", "", "17.5"]
