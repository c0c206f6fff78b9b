"""Ridge regression in the leaves: from a coarse patch to what it lacks (3.3).

Shape legend: N patches, K axes, P pixels of a patch, L leaves.
"""

import torch
from torch import Tensor

#: Leaves with fewer patches take the map of all patches.
MIN_LEAF_PATCHES = 20


def ridge_map(patches_NK: Tensor, details_NP: Tensor, ridge: float) -> Tensor:
    """W = (X'X + ridge I)^-1 X'D, so that X W is near D.

    Returns:
        (K, P) float32.
    """
    return _solve(*_moments(patches_NK, details_NP), ridge)


def leaf_maps(
    patches_NK: Tensor,
    details_NP: Tensor,
    leaves_N: Tensor,
    scores_N: Tensor,
    n_leaves: int,
    cap: int,
    ridge: float,
) -> Tensor:
    """One map a leaf, from the `cap` patches that fit it best.

    Args:
        patches_NK: unit coarse patches.
        details_NP: what they lack, divided by their norms.
        leaves_N: the leaf of each patch.
        scores_N: how well the patch fits its leaf.
        n_leaves: of the tree.
        cap: patches used in a leaf.
        ridge: added to the diagonal.

    Returns:
        (L, P, K) float32.
    """
    order_N = _by_leaf_then_score(leaves_N, scores_N)
    ends = torch.bincount(leaves_N, minlength=n_leaves).cumsum(0).tolist()
    n_axes, n_pixels = patches_NK.shape[1], details_NP.shape[1]
    grams = patches_NK.new_zeros(n_leaves, n_axes, n_axes)
    cross = patches_NK.new_zeros(n_leaves, n_axes, n_pixels)
    everywhere = _moments(patches_NK, details_NP)
    for leaf, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end - begin < MIN_LEAF_PATCHES:
            grams[leaf], cross[leaf] = everywhere
            continue
        chosen = order_N[begin : min(end, begin + cap)]
        grams[leaf], cross[leaf] = _moments(patches_NK[chosen], details_NP[chosen])
    return _solve(grams, cross, ridge).transpose(1, 2).contiguous()


def _by_leaf_then_score(leaves_N: Tensor, scores_N: Tensor) -> Tensor:
    by_score_N = scores_N.argsort(descending=True, stable=True)
    return by_score_N[leaves_N[by_score_N].argsort(stable=True)]


def _moments(patches_NK: Tensor, details_NP: Tensor) -> tuple[Tensor, Tensor]:
    return patches_NK.T @ patches_NK, patches_NK.T @ details_NP


def _solve(gram: Tensor, cross: Tensor, ridge: float) -> Tensor:
    damped = gram + ridge * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(cross, torch.linalg.cholesky(damped))
