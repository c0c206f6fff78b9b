"""Probabilities that mean what they say: one temperature, fitted by the likelihood.

Guo et al., *On calibration of modern neural networks* (ICML 2017), section 4.2: logits are divided
by the temperature that makes the negative log-likelihood of held-out photos least. The top class
of a photo never changes by it.

Shape legend: N photos, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from trainables.batches import AnySource
from trainables.evaluate import BATCH_SIZE
from trainables.fingerprint import seed_of
from trainables.predictor import Predictor

#: Where the temperature is looked for; photos that are all right or all wrong have no best one.
BOUNDS = (0.1, 100.0)
#: One number needs no more photos, and a CPU is done with these in seconds.
MAX_PHOTOS = 1000
#: With fewer, the temperature stays 1.
MIN_PHOTOS = 20


@dataclass(frozen=True)
class Calibration:
    """A temperature and what it was fitted on.

    `nll_before` and `nll_after` are the mean negative log-likelihoods (nats), at temperature 1 and
    at this one, of `n_checked` photos that it was not fitted on; NaN where there are none.
    """

    temperature: float
    n_fitted: int
    n_checked: int
    nll_before: float
    nll_after: float


def calibrate(predictor: Predictor, source: AnySource, *, held_out: bool) -> Calibration:
    """Fit a temperature on photos of a view.

    Args:
        predictor: whose logits are calibrated.
        source: the view that its cell is evaluated on.
        held_out: whether those photos were held out from training only, so that all may be used;
            otherwise a seeded half of them is, and the other half checks it.
    """
    fit_N, check_N = _places(len(source.view), held_out=held_out)
    if len(fit_N) < MIN_PHOTOS:
        return Calibration(1.0, 0, 0, np.nan, np.nan)
    labels_N = source.view.labels_N
    temperature = fit_temperature(logits_of(predictor, source, fit_N), labels_N[fit_N])
    if len(check_N) == 0:
        return Calibration(temperature, len(fit_N), 0, np.nan, np.nan)
    logits_NK = logits_of(predictor, source, check_N)
    before, after = (
        negative_log_likelihood(logits_NK, labels_N[check_N], t) for t in (1.0, temperature)
    )
    return Calibration(temperature, len(fit_N), len(check_N), before, after)


def _places(n_photos: int, *, held_out: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Photos that a temperature is fitted on and checked on."""
    order_N = np.random.default_rng(seed_of("temperature", 0)).permutation(n_photos)
    if held_out:
        return order_N[:MAX_PHOTOS], order_N[:0]
    half = n_photos // 2
    return order_N[:half][:MAX_PHOTOS], order_N[half:][:MAX_PHOTOS]


@torch.inference_mode()
def logits_of(
    predictor: Predictor, source: AnySource, places_N: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Logits (N, K) of some photos of a view."""
    batches = [
        predictor.logits(source.gather(places_N[start : start + BATCH_SIZE]))
        for start in range(0, len(places_N), BATCH_SIZE)
    ]
    return torch.cat(batches).double().cpu().numpy()


def negative_log_likelihood(
    logits_NK: NDArray[np.float64], labels_N: NDArray[np.int64], temperature: float
) -> float:
    """Mean over the photos, in nats."""
    scaled_NK = logits_NK / temperature
    true_N = np.take_along_axis(scaled_NK, labels_N[:, None], 1)[:, 0]
    return float((logsumexp(scaled_NK, axis=1) - true_N).mean())


def fit_temperature(logits_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> float:
    """The temperature of least negative log-likelihood, within `BOUNDS`."""
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits_NK, labels_N, float(np.exp(log_t))),
        bounds=tuple(np.log(BOUNDS)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))
