"""The sides of a small Table 2 do the same work; the benchmark itself asserts counts and pixels."""

import importlib
import sys

import pytest

from tests.benchmarks.conftest import REPOSITORY

TINY = ("--rounds", "1", "--levels", "2", "--epochs", "1", "--photos", "32")


def test_all_sides_train_the_same_cells_on_the_same_photos(benchmark):
    rows = benchmark("grid_peers", *TINY, "--executor", "inline", "--factors")["rows"]
    assert set(rows) == {f"grid_peers/{name}" for name in ("strong", "tune", "script")}
    details = rows["grid_peers/strong"]["details"]
    accuracies = details["mean accuracy on low-res test"]
    assert accuracies["strong"] == accuracies["ours"]
    assert details["images"]["ours"] < details["images"]["strong"]
    plain = rows["grid_peers/script"]["details"]["images"]
    assert plain["tune"] == plain["script"] == details["images"]["strong"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_choice_can_be_undone_alone_with_the_same_work(benchmark):
    choices = ("prepared views", "bfloat16, channels last", "evaluating at the end only")
    flags = ("--executor", "inline", "--peers", "--factors", *choices)
    rows = benchmark("grid_peers", *TINY, *flags)["rows"]
    assert set(rows) == {f"grid_peers/without {choice}" for choice in choices}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_through_ray_the_sides_do_the_same_too(benchmark):
    peers = ("--peers", "strong", "tune")
    rows = benchmark("grid_peers", *TINY, *peers, "--factors", "reused actors")["rows"]
    assert set(rows) == {f"grid_peers/{n}" for n in ("strong", "tune", "without reused actors")}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ((), "grid_peers"),
        (("--peers", "tune", "script"), "grid_peers_tune_script"),
        (("--peers",), "grid_peers_factors"),
        (("--recipe", "table2-cars-small", "--peers", "strong"), "grid_peers_quarter_strong"),
    ],
)
def test_a_run_of_some_peers_leaves_the_record_of_the_others(monkeypatch, flags, name):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    monkeypatch.setattr(sys, "argv", ["grid_peers.py", *flags])
    grid_peers = importlib.import_module("grid_peers")
    assert grid_peers.record_of(grid_peers.parse()) == name
