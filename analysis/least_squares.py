"""Bounded nonlinear least squares of many small problems at once: Levenberg and Marquardt.

scipy's solver takes one problem at a time and a second to import; hundreds of refits of a few
parameters take less here. K problems, C residuals each, P parameters.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
N_STEPS = 200
TOLERANCE = 1e-7
MOST_DAMPING = 1e8


def least_squares(
    residuals: Callable[[Numbers], Numbers],
    slopes: Callable[[Numbers], Numbers],
    start_KP: Numbers,
    bounds: tuple[Numbers, Numbers],
) -> tuple[Numbers, Numbers]:
    """Minimise the sums of squared residuals inside bounds.

    Args:
        residuals: of parameters (K, P), gives (K, C).
        slopes: their derivatives, gives (K, C, P).
        start_KP: where to begin, one row a problem; cut at the bounds.
        bounds: least and greatest values (P,).

    Returns:
        Parameters (K, P) and sums of squares (K,) when all have ended, or after `N_STEPS` steps.
    """
    at_KP = np.clip(start_KP, *bounds)
    cost_K = (residuals(at_KP) ** 2).sum(axis=1)
    damping_K = np.full(len(at_KP), 1e-2)
    ended_K = np.zeros(len(at_KP), np.bool_)
    for _ in range(N_STEPS):
        step_KP = _step(residuals(at_KP), slopes(at_KP), damping_K, at_KP, bounds)
        tried_KP = np.clip(at_KP + step_KP, *bounds)
        tried_cost_K = (residuals(tried_KP) ** 2).sum(axis=1)
        better_K = tried_cost_K < cost_K
        ended_K |= better_K & (cost_K - tried_cost_K < TOLERANCE * cost_K)
        ended_K |= damping_K > MOST_DAMPING
        at_KP = np.where(better_K[:, None], tried_KP, at_KP)
        cost_K = np.where(better_K, tried_cost_K, cost_K)
        damping_K = np.clip(np.where(better_K, damping_K / 5, damping_K * 4), 1e-10, np.inf)
        if ended_K.all():
            break
    return at_KP, cost_K


def _step(
    residual_KC: Numbers,
    slope_KCP: Numbers,
    damping_K: Numbers,
    at_KP: Numbers,
    bounds: tuple[Numbers, Numbers],
) -> Numbers:
    gradient_KP = np.einsum("kcp,kc->kp", slope_KCP, residual_KC)
    # A parameter at its bound that would leave it stays, so that it does not bend the others' step.
    held_KP = (at_KP <= bounds[0]) & (gradient_KP > 0) | (at_KP >= bounds[1]) & (gradient_KP < 0)
    moved_KCP = np.where(held_KP[:, None], 0.0, slope_KCP)
    normal_KPP = moved_KCP.transpose(0, 2, 1) @ moved_KCP
    diagonal_KP = np.einsum("kpp->kp", normal_KPP)
    added_KP = damping_K[:, None] * diagonal_KP + 1e-12 + held_KP
    normal_KPP = normal_KPP + added_KP[:, :, None] * np.eye(at_KP.shape[1])
    wanted_KP = np.where(held_KP, 0.0, -gradient_KP)
    return np.linalg.solve(normal_KPP, wanted_KP[..., None])[..., 0]
