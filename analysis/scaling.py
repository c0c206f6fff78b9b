"""Laws of the error as a function of high-res and low-res training photos, and their fit. Pure.

With x and y the numbers of high-res and low-res photos as shares of the largest ones, all laws are

    error = delta * (gamma + (x + x0) ** -alpha) * y ** -beta + floor

`power` has gamma = floor = 0, `gap` has floor = 0: the law of transfer of Mikami et al. (arXiv
2108.11018) with pre-training size x and fine-tuning size y, where gamma is the transfer gap that no
number of high-res photos closes; `floor` adds an error that no photos of either kind remove. Their
law has no x0: x0 times the largest number is what the first weights are worth in high-res photos,
so that H0 is a point of the law like any other. C cells, P parameters.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
        x, y = np.asarray(n_high) / self.high_unit, np.asarray(n_low) / self.low_unit
        return 1 - _error(self.parameters_P, x, y)

    def worth(self, n_high: float, n_low: float) -> float | str:
        """How many low-res photos one more high-res photo is worth there, or why not told.

        The marginal rate of substitution: the slope of the error over high-res photos divided by
        that over low-res photos.
        """
        if not self._within(n_high, n_low):
            return self._refusal(f"{n_high:,.0f} high-res and {n_low:,.0f} low-res photos")
        _, log_x0, alpha, beta, gamma, _ = self.parameters_P
        x, y = n_high / self.high_unit, n_low / self.low_unit
        high = x + np.exp(log_x0)
        rate = alpha * high ** (-alpha - 1) * y / (beta * (gamma + high**-alpha))
        return float(rate * self.low_unit / self.high_unit)

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
        factor = gamma + (n_high / self.high_unit + np.exp(log_x0)) ** -alpha
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


def fit(form: str, cells: Cells, near: Law | None = None) -> Law:
    """Least squares of the errors, bounded, the best of several starts.

    Args:
        form: of `FORMS`.
        cells: with the largest numbers of both kinds among them.
        near: a law of the same form to start from instead, quicker.
    """
    from scipy.optimize import least_squares

    units = (cells.n_high.max(), cells.n_low.max(), cells.n_low.min())
    if near is not None:
        units = (near.high_unit, near.low_unit, near.least_low)
    free = list(FORMS[form])
    x, y = cells.n_high / units[0], cells.n_low / units[1]

    def whole(some: Numbers) -> Numbers:
        parameters = np.zeros(len(PARAMETERS))
        parameters[free] = some
        return parameters

    starts = _STARTS if near is None else near.parameters_P[None]
    found = [
        least_squares(
            lambda some: _error(whole(some), x, y) - cells.error,
            np.clip(start[free], _LOW[free] + 1e-6, _HIGH[free] - 1e-6),
            jac=lambda some: _slopes(whole(some), x, y)[:, free],  # pyright: ignore[reportArgumentType]
            bounds=(_LOW[free], _HIGH[free]),
            x_scale="jac",
            ftol=1e-5,
            max_nfev=60 if near is None else 8,
        )
        for start in starts
    ]
    best = min(found, key=lambda one: one.cost)
    return Law(form, whole(best.x), *map(float, units))


def held_out_points(form: str, cells: Cells, law: Law, seed: int = 0) -> float:
    """Root mean square error of predicted accuracies on cells that were not fitted, in points.

    The cells are dealt into `N_FOLDS` folds at random; the law of all cells is the start.
    """
    fold_C = np.random.default_rng(seed).permutation(len(cells.error)) % N_FOLDS
    missed = []
    for fold in range(N_FOLDS):
        kept = Cells(*(values[fold_C != fold] for values in cells))
        n_high, n_low, error = (values[fold_C == fold] for values in cells)
        missed.append(1 - fit(form, kept, law).accuracy(n_high, n_low) - error)
    return 100 * float(np.sqrt(np.mean(np.concatenate(missed) ** 2)))


def redrawn(cells: Cells, law: Law, errors_BC: Numbers) -> list[Law]:
    """The law fitted anew to drawn errors of the same cells."""
    return [fit(law.form, cells._replace(error=error_C), law) for error_C in errors_BC]


def _error(parameters_P: Numbers, x: Numbers, y: Numbers) -> Numbers:
    log_delta, log_x0, alpha, beta, gamma, floor = parameters_P
    return np.exp(log_delta) * (gamma + (x + np.exp(log_x0)) ** -alpha) * y**-beta + floor


def _slopes(parameters_P: Numbers, x_C: Numbers, y_C: Numbers) -> Numbers:
    """Derivatives of `_error` by the parameters: (C, P)."""
    log_delta, log_x0, alpha, beta, gamma, _ = parameters_P
    high, x0 = x_C + np.exp(log_x0), np.exp(log_x0)
    low = np.exp(log_delta) * y_C**-beta
    power = high**-alpha
    return np.stack(
        [
            low * (gamma + power),
            -low * alpha * power / high * x0,
            -low * power * np.log(high),
            -low * (gamma + power) * np.log(y_C),
            low,
            np.ones_like(x_C),
        ],
        axis=1,
    )
