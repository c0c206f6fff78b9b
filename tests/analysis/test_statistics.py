import math

import numpy as np
import pytest
from scipy import stats

from analysis import statistics


@pytest.mark.parametrize(
    ("n_correct", "n_test", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), Table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_binomial_interval_is_wilsons(n_correct, n_test, low, high):
    interval = statistics.binomial_interval(n_correct, n_test)
    assert interval.mean == n_correct / n_test
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_binomial_interval_of_the_papers_main_result_is_one_point_each_way():
    interval = statistics.binomial_interval(round(0.595 * 8041), 8041)
    assert 100 * (interval.high - interval.low) / 2 == pytest.approx(1.07, abs=0.005)


def test_binomial_interval_refuses_more_correct_than_tested():
    with pytest.raises(ValueError, match="cannot be right"):
        statistics.binomial_interval(5, 4)


def test_seed_interval_is_scipys():
    values = [0.594, 0.601, 0.588, 0.597, 0.605]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    interval = statistics.seed_interval(values)
    assert interval.mean == pytest.approx(0.597)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_seed_interval_by_hand():
    # Mean 0.5, sd 0.1, t(2; 97.5 %) = 4.3027: 0.5 +- 4.3027 * 0.1 / sqrt(3).
    interval = statistics.seed_interval([0.4, 0.5, 0.6])
    assert interval.high - interval.mean == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)


def test_seed_interval_stays_inside_0_and_1():
    assert statistics.seed_interval([0.01, 0.30])[1] == 0.0
    assert statistics.seed_interval([0.99, 0.70])[2] == 1.0


def test_seed_interval_needs_two_seeds():
    with pytest.raises(ValueError, match="two seeds"):
        statistics.seed_interval([0.5])


def test_above_chance_is_the_binomial_tail():
    # Ten heads or more of ten: 2 ** -10.
    assert statistics.above_chance(10, 10, 2) == pytest.approx(2**-10)
    assert statistics.above_chance(0, 10, 2) == 1.0
    assert statistics.above_chance(1, 10, 2) == pytest.approx(1 - 2**-10)
    expected = float(stats.binom.sf(59, 8041, 1 / 196))
    assert statistics.above_chance(60, 8041, 196) == pytest.approx(expected)


def above(accuracies, n_test, n_classes):
    values = np.array(accuracies)
    n_test, n_classes = np.full(values.shape, n_test), np.full(values.shape, n_classes)
    return statistics.above_chance_all(values, n_test, n_classes).tolist()


def test_above_chance_counts_whole_photos_where_fractions_fall_short_of_them():
    # 1 / 8041 * 8041 is just below 1; one photo is above chance of 200,000 classes, none is not.
    assert above([1 / 8041], 8041, 200_000) == [True]
    assert above([0.0], 8041, 200_000) == [False]


def test_above_chance_is_corrected_for_how_many_networks_are_asked():
    # 36 of 480 or more, where 30 are guessed: p = 0.15; 45: 0.0048, times 12 above 5 %.
    assert above([36 / 480], 480, 16) == [False]
    assert above([45 / 480], 480, 16) == [True]
    assert above([45 / 480] * 12, 480, 16) == [False] * 12
    assert above([math.nan, 45 / 480], 480, 16) == [True, True]


def test_mcnemar_by_hand():
    # Of six discordant photos one goes the other way: 2 * (1 + 6) / 2 ** 6.
    assert statistics.mcnemar(1, 5) == pytest.approx(14 / 64)
    assert statistics.mcnemar(5, 1) == statistics.mcnemar(1, 5)


def test_mcnemar_of_equal_networks_is_1():
    assert statistics.mcnemar(0, 0) == 1.0
    assert statistics.mcnemar(7, 7) == 1.0


def test_holm_as_published():
    # The example of R's p.adjust(method = "holm").
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_one_test_is_its_p_value():
    assert statistics.holm([0.001]) == [0.001]


def test_holm_never_exceeds_1_and_takes_an_empty_family():
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []
