"""Laws of the error as a function of high-res and low-res training photos, and their fit. Pure.

With x and y the numbers of high-res and low-res photos as shares of the largest ones, all laws are

    error = delta * (gamma + ((x + x0) / (1 + x0)) ** -alpha) * y ** -beta + floor

`power` has gamma = floor = 0, `gap` has floor = 0: the law of transfer of Mikami et al. (arXiv
2108.11018) with pre-training size x and fine-tuning size y, where gamma is the transfer gap that no
number of high-res photos closes; `floor` adds an error that no photos of either kind remove. Their
law has no x0: x0 times the largest number is what the first weights are worth in high-res photos,
so that H0 is a point of the law like any other. C cells, P parameters.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.least_squares import least_squares

Numbers = NDArray[np.float64]
#: Parameters of a fit in order; delta and x0 by their logarithms.
PARAMETERS = ("log_delta", "log_x0", "alpha", "beta", "gamma", "floor")
FORMS = {"power": (0, 1, 2, 3), "gap": (0, 1, 2, 3, 4), "floor": (0, 1, 2, 3, 4, 5)}
_LOW = np.array([-12.0, np.log(1e-3), 0.02, 0.01, 0.0, 0.0])
_HIGH = np.array([3.0, np.log(20.0), 8.0, 3.0, 50.0, 0.95])
#: Where fits begin: slow and quick gains of high-res photos, first weights worth few and many.
_STARTS = np.array(
    [[-1.0, np.log(x0), alpha, 0.3, 0.5, 0.05] for x0 in (0.1, 1.0) for alpha in (0.3, 1.5)]
)
N_FOLDS = 9
#: How far beyond the measured sizes a law is trusted, as a factor.
REACH = 1.5


class Cells(NamedTuple):
    """Measured cells (C,): numbers of photos, and errors as fractions."""

    n_high: Numbers
    n_low: Numbers
    error: Numbers


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        form: of `FORMS`.
        parameters_P: in the order of `PARAMETERS`; zero where the form has none.
        high_unit: largest number of high-res photos, of which x is the share.
        low_unit: largest number of low-res photos, of which y is the share.
        least_low: smallest number of low-res photos that was measured.
    """

    form: str
    parameters_P: Numbers
    high_unit: float
    low_unit: float
    least_low: float

    def accuracy(self, n_high: Numbers | float, n_low: Numbers | float) -> Numbers:
        """Predicted accuracy, a fraction, for numbers of photos that broadcast."""
        return 1 - _error(self.parameters_P, *self.shares(n_high, n_low))

    def shares(self, n_high: Numbers | float, n_low: Numbers | float) -> tuple[Numbers, Numbers]:
        """Numbers of photos as x and y."""
        return np.asarray(n_high) / self.high_unit, np.asarray(n_low) / self.low_unit

    def worth(self, n_high: float, n_low: float) -> float | str:
        """How many low-res photos one more high-res photo is worth there, or why not told.

        The marginal rate of substitution: the slope of the error over high-res photos divided by
        that over low-res photos.
        """
        if not self._within(n_high, n_low):
            return self._refusal(f"{n_high:,.0f} high-res and {n_low:,.0f} low-res photos")
        _, log_x0, alpha, beta, gamma, _ = self.parameters_P
        x, _ = self.shares(n_high, n_low)
        high = (x + np.exp(log_x0)) / (1 + np.exp(log_x0))
        of_high = alpha * high**-alpha / (x + np.exp(log_x0)) / self.high_unit
        of_low = beta * (gamma + high**-alpha) / n_low
        return float(of_high / of_low)

    def low_needed(self, accuracy: float, n_high: float) -> float | str:
        """Low-res photos that reach an accuracy (fraction) beside `n_high`, or why not told."""
        needed = float(self.curve(accuracy, np.array([n_high]))[0])
        if not self._within(n_high, needed):
            return self._refusal(
                f"an accuracy of {accuracy:.0%} with {n_high:,.0f} high-res photos"
            )
        return needed

    def both_needed(self, accuracy: float) -> float | str:
        """Photos of each kind, as many high-res as low-res, that reach it, or why not told."""
        least, most = self.least_low / REACH, REACH * min(self.high_unit, self.low_unit)
        numbers = np.linspace(least, most, 5000)
        reached = self.accuracy(numbers, numbers)
        if not reached[0] <= accuracy <= reached[-1]:
            return self._refusal(f"an accuracy of {accuracy:.0%} with as many photos of each")
        return float(np.interp(accuracy, reached, numbers))

    def curve(self, accuracy: float, n_high: Numbers) -> Numbers:
        """Low-res photos along the iso-accuracy curve; infinite where none suffice."""
        log_delta, log_x0, alpha, beta, gamma, floor = self.parameters_P
        left = 1 - accuracy - floor
        if left <= 0:
            return np.full(n_high.shape, np.inf)
        high = (n_high / self.high_unit + np.exp(log_x0)) / (1 + np.exp(log_x0))
        factor = gamma + high**-alpha
        return self.low_unit * (np.exp(log_delta) * factor / left) ** (1 / beta)

    def _within(self, n_high: float, n_low: float) -> bool:
        low = self.least_low / REACH <= n_low <= REACH * self.low_unit
        return low and 0 <= n_high <= REACH * self.high_unit

    def _refusal(self, what: str) -> str:
        return (
            f"{what}: more than {REACH:g} times outside what was measured "
            f"(0 to {self.high_unit:,.0f} high-res, {self.least_low:,.0f} to "
            f"{self.low_unit:,.0f} low-res), so not extrapolated"
        )


def fit(form: str, cells: Cells) -> Law:
    """Least squares of the errors, bounded, the best of several starts.

    Args:
        form: of `FORMS`.
        cells: measured.
    """
    units = (cells.n_high.max(), cells.n_low.max(), cells.n_low.min())
    law = Law(form, np.zeros(len(PARAMETERS)), *map(float, units))
    errors = np.broadcast_to(cells.error, (len(_STARTS), len(cells.error)))
    parameters_KP, cost_K = _solve(law, cells, _STARTS, errors, np.ones_like(errors))
    return replace(law, parameters_P=parameters_KP[cost_K.argmin()])


def held_out_points(cells: Cells, law: Law) -> float:
    """Root mean square error of predicted accuracies on cells that were not fitted, in points.

    The cells are dealt into `N_FOLDS` folds at random; the law of all cells is the start.
    """
    fold_C = np.random.default_rng(0).permutation(len(cells.error)) % N_FOLDS
    kept_KC = (fold_C != np.arange(N_FOLDS)[:, None]).astype(np.float64)
    errors_KC = np.broadcast_to(cells.error, kept_KC.shape)
    starts = np.broadcast_to(law.parameters_P, (N_FOLDS, len(PARAMETERS)))
    parameters_KP, _ = _solve(law, cells, starts, errors_KC, kept_KC)
    missed_KC = _error(parameters_KP, *law.shares(cells.n_high, cells.n_low)) - errors_KC
    return 100 * float(np.sqrt(np.mean(missed_KC[kept_KC == 0] ** 2)))


def redrawn(cells: Cells, law: Law, errors_BC: Numbers) -> list[Law]:
    """The law fitted anew to drawn errors of the same cells."""
    starts = np.broadcast_to(law.parameters_P, (len(errors_BC), len(PARAMETERS)))
    parameters_BP, _ = _solve(law, cells, starts, errors_BC, np.ones_like(errors_BC))
    return [replace(law, parameters_P=parameters_P) for parameters_P in parameters_BP]


def _solve(
    law: Law, cells: Cells, starts_KP: Numbers, errors_KC: Numbers, weights_KC: Numbers
) -> tuple[Numbers, Numbers]:
    free = list(FORMS[law.form])
    x_C, y_C = law.shares(cells.n_high, cells.n_low)

    def whole(some: Numbers) -> Numbers:
        parameters = np.zeros((len(some), len(PARAMETERS)))
        parameters[:, free] = some
        return parameters

    some_KP, cost_K = least_squares(
        lambda some: weights_KC * (_error(whole(some), x_C, y_C) - errors_KC),
        lambda some: weights_KC[..., None] * _slopes(whole(some), x_C, y_C)[..., free],
        starts_KP[:, free],
        (_LOW[free], _HIGH[free]),
    )
    return whole(some_KP), cost_K


def _error(parameters: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """Errors (..., C) of parameters (..., P), or of one law (P,) at sizes that broadcast."""
    split = parameters.T if parameters.ndim == 1 else parameters.T[..., None]
    log_delta, log_x0, alpha, beta, gamma, floor = split
    high = (x + np.exp(log_x0)) / (1 + np.exp(log_x0))
    return np.exp(log_delta) * (gamma + high**-alpha) * y**-beta + floor


def _slopes(parameters_KP: Numbers, x_C: Numbers, y_C: Numbers) -> Numbers:
    """Derivatives of `_error` by the parameters: (K, C, P)."""
    log_delta, log_x0, alpha, beta, gamma, _ = parameters_KP.T[..., None]
    x0 = np.exp(log_x0)
    high, of_x0 = (x_C + x0) / (1 + x0), x0 * (1 - x_C) / (1 + x0) ** 2
    low = np.exp(log_delta) * y_C**-beta
    power = high**-alpha
    return np.stack(
        [
            low * (gamma + power),
            -low * alpha * power / high * of_x0,
            -low * power * np.log(high),
            -low * (gamma + power) * np.log(y_C),
            low,
            np.ones_like(low),
        ],
        axis=-1,
    )
