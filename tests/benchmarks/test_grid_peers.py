"""The sides of a small Table 2 do the same work; the benchmark itself asserts counts and pixels."""

import pytest

TINY = ("--rounds", "1", "--levels", "2", "--epochs", "1", "--photos", "32")


def test_all_sides_train_the_same_cells_on_the_same_photos(benchmark):
    choices = ("prepared views", "bfloat16, channels last", "evaluating at the end only")
    rows = benchmark("grid_peers", *TINY, "--executor", "inline", "--factors", *choices)["rows"]
    peers = {f"grid_peers/{name}" for name in ("strong", "tune", "script")}
    assert set(rows) == peers | {f"grid_peers/without {choice}" for choice in choices}
    details = rows["grid_peers/strong"]["details"]
    accuracies = details["mean accuracy on low-res test"]
    assert accuracies["strong"] == accuracies["ours"]
    assert details["images"]["ours"] < details["images"]["strong"] == details["images"]["script"]


@pytest.mark.slow
def test_through_ray_the_sides_do_the_same_too(benchmark):
    sides = ("--sides", "ours", "strong", "tune")
    rows = benchmark("grid_peers", *TINY, *sides, "--factors", "reused actors")["rows"]
    assert set(rows) == {f"grid_peers/{n}" for n in ("strong", "tune", "without reused actors")}
