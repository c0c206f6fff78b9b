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
    lines_LK: Tensor,
    pool_levels: int,
    cap: int,
    ridge: float,
) -> Tensor:
    """One map a leaf, from the `cap` patches nearest to its line.

    Args:
        patches_NK: unit coarse patches.
        details_NP: what they lack, divided by their norms.
        leaves_N: the leaf of each patch.
        lines_LK: the last direction on the way to each leaf.
        pool_levels: 0 takes patches of the leaf alone; each level more, those of one ancestor
            higher, so that a leaf's neighbours smooth its map, as in A+ (Timofte et al., 2014).
        cap: patches used in a leaf.
        ridge: added to the diagonal.

    Returns:
        (L, K, P) float32.
    """
    order_N = leaves_N.argsort(stable=True)
    sorted_NK = patches_NK[order_N]
    n_leaves, n_axes = lines_LK.shape
    ends = [0, *torch.bincount(leaves_N, minlength=n_leaves).cumsum(0).tolist()]
    grams = patches_NK.new_zeros(n_leaves, n_axes, n_axes)
    cross = patches_NK.new_zeros(n_leaves, n_axes, details_NP.shape[1])
    everywhere = _moments(patches_NK, details_NP)
    n_pooled = min(2**pool_levels, n_leaves)
    for leaf, line_K in enumerate(lines_LK):
        first = leaf - leaf % n_pooled
        pool_NK = sorted_NK[ends[first] : ends[first + n_pooled]]
        if len(pool_NK) < MIN_LEAF_PATCHES:
            grams[leaf], cross[leaf] = everywhere
            continue
        near = (pool_NK @ line_K).abs().topk(min(cap, len(pool_NK))).indices
        grams[leaf], cross[leaf] = _moments(pool_NK[near], details_NP[order_N[ends[first] + near]])
    return _solve(grams, cross, ridge).contiguous()


def _moments(patches_NK: Tensor, details_NP: Tensor) -> tuple[Tensor, Tensor]:
    return patches_NK.T @ patches_NK, patches_NK.T @ details_NP


def _solve(gram: Tensor, cross: Tensor, ridge: float) -> Tensor:
    damped = gram + ridge * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(cross, torch.linalg.cholesky(damped))
