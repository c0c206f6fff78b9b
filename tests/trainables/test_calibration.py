"""Temperatures: known ones are found again, and no photo is both fitted and checked on."""

import numpy as np
import pytest

from trainables.calibration import _places, fit_temperature, negative_log_likelihood


def drawn(temperature: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from what they say at a temperature."""
    generator = np.random.default_rng(0)
    logits_NK = generator.normal(0, 3, (n, 5))
    noise_NK = generator.gumbel(size=logits_NK.shape)
    return logits_NK, (logits_NK / temperature + noise_NK).argmax(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.06)


def test_no_other_temperature_has_a_higher_likelihood():
    logits_NK, labels_N = drawn(2.0)
    best = fit_temperature(logits_NK, labels_N)
    least = negative_log_likelihood(logits_NK, labels_N, best)
    for other in (0.7 * best, 0.95 * best, 1.05 * best, 1.5 * best):
        assert negative_log_likelihood(logits_NK, labels_N, other) > least


def test_likelihood_is_that_of_the_softmax():
    logits_NK = np.log([[0.2, 0.8], [0.5, 0.5]])
    found = negative_log_likelihood(logits_NK, np.array([1, 0]), 1.0)
    assert found == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2)


def test_test_photos_are_halved_and_photos_held_out_from_training_all_used():
    fit_N, check_N = _places(41, held_out=False)
    assert sorted([*fit_N, *check_N]) == list(range(41))
    assert len(fit_N) == 20
    again_N, _ = _places(41, held_out=False)
    assert fit_N.tolist() == again_N.tolist()
    all_N, none_N = _places(41, held_out=True)
    assert (len(all_N), len(none_N)) == (41, 0)
