"""The spread over seeds where one thing alone varies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.spread import deviation_interval, spreads_of, write_spread

VARIANTS = {"variants": {"order_alone": {"strategy": "low", "vary": "order"}}}
ACCURACIES = {"low": (0.50, 0.60, 0.55), "order_alone": (0.51, 0.52, 0.53)}


@pytest.fixture
def frame(make_cell):
    return pd.DataFrame(
        make_cell("custom", name, (0, 4), seed, low=value)
        for name, values in ACCURACIES.items()
        for seed, value in enumerate(values)
    )


def test_each_row_has_its_deviation_and_says_what_was_drawn(frame):
    table = spreads_of(frame, {"order_alone": "order"})
    assert table["varied"].tolist() == ["all", "order"]
    assert table["deviation_points"].tolist() == pytest.approx([5.0, 1.0])


def test_cells_of_several_sizes_are_rows_of_their_own_and_no_seeds(make_cell, recipe, tmp_path):
    frame = pd.DataFrame(
        make_cell("custom", name, (0, level), seed, low=0.1 * level + 0.01 * seed)
        for name in ("low", "order_alone")
        for level in (2, 4)
        for seed in (0, 1)
    )
    table = spreads_of(frame, {"order_alone": "order"})
    assert table["n_seeds"].tolist() == [2, 2, 2, 2]
    assert table["deviation_points"].tolist() == pytest.approx([0.7071] * 4)
    text = write_spread(frame, recipe | VARIANTS, tmp_path)[1].read_text()
    assert "| low/h0-l2 | all three |" in text


def test_the_interval_is_that_of_chi_squared_and_covers_as_it_says():
    found = deviation_interval(2.0, 5)
    assert found.low == pytest.approx(2 * np.sqrt(4 / stats.chi2.ppf(0.975, 4)))
    assert found.high == pytest.approx(2 * np.sqrt(4 / stats.chi2.ppf(0.025, 4)))
    samples = np.random.default_rng(0).standard_normal((2000, 5)).std(axis=1, ddof=1)
    intervals = [deviation_interval(float(s), 5) for s in samples]
    assert np.mean([i.low <= 1 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.02)


def test_only_a_run_with_rows_that_vary_one_thing_has_the_page(frame, recipe, tmp_path):
    written = write_spread(frame, recipe | VARIANTS, tmp_path)
    assert [path.name for path in written] == ["spread.csv", "spread.md", "spread.html"]
    assert "the order of the photos" in written[1].read_text()
    assert write_spread(frame, recipe, tmp_path) == []
