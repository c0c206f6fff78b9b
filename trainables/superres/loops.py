"""Leaves and details on a CPU, in compiled loops over patches (3.1, 3.3).

Few patches share a leaf: products of matrices would spend more on sorting and calls than on
arithmetic. Each process compiles anew, in about two seconds: Numba notes code as cached before it
writes it, so that a kill in between could leave the code of an earlier version in use.

Shape legend: B images, H rows, W columns, N patches, P pixels of a patch, K axes, T trees, M nodes,
L leaves of all trees, A averaged trees, E entries: patches times averaged trees.
"""

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from trainables.superres.forest import Forest
from trainables.superres.threads import side_by_side

#: Patches that descend together: they and a tree's directions stay in cache.
_CHUNK_PATCHES = 2048
_NONE, _ALL = np.float32(0), np.float32(1)
#: How much of the score so far, and of the direction not taken, counts at a node.
_WEIGHTS = {"leaf": (_NONE, _NONE), "path": (_ALL, _NONE), "log_odds": (_ALL, _ALL)}

# sums over axes in the processor's order of lanes, the same one in every run
_compiled = njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})


def best_leaves(patches_NK: Tensor, forest: Forest) -> Tensor:
    """Local naive Bayes: the leaves of the trees that fit each patch best (3.1).

    Args:
        patches_NK: float32 on the axes, contiguous, of any length: only angles count.
        forest: on the CPU.

    Returns:
        (N, A) int64, places among the leaves of all trees, best first.
    """
    spec = forest.spec
    directions_TM2K = forest.directions_TM2K.contiguous().numpy()
    weights, n_best = _WEIGHTS[spec.score], min(spec.n_best, spec.n_trees)

    def chosen(part_NK: Tensor) -> NDArray[np.int64]:
        return _best_leaves(part_NK.numpy(), directions_TM2K, weights, spec.depth, n_best)

    parts = side_by_side(chosen, patches_NK.split(_CHUNK_PATCHES), forest.device)
    return torch.from_numpy(np.concatenate(list(parts)))


def lay_details(
    patches_NK: Tensor, leaves_NA: Tensor, forest: Forest, size: tuple[int, ...]
) -> Tensor:
    """What the maps of the leaves say of each patch, summed where patches overlap (3.3).

    Args:
        patches_NK: float32 on the axes, contiguous, in the order of `patches.cut`.
        leaves_NA: of `best_leaves`.
        forest: on the CPU.
        size: B, H, W of the planes that the patches were cut from.

    Returns:
        (B, H, W) float32, the same bits whatever the threads.
    """
    summed_BHW = np.zeros(size, np.float32)
    maps_LKP = forest.maps_TLKP.flatten(0, 1).contiguous()
    leaves_E = leaves_NA.flatten()
    order_E = leaves_E.argsort(stable=True)  # each map is read from memory once
    entries = order_E.numpy(), leaves_E.numpy(), patches_NK.numpy()
    _lay(*entries, maps_LKP.numpy(), summed_BHW, forest.spec.patch_px, forest.spec.step_px)
    return torch.from_numpy(summed_BHW)


@_compiled
def _best_leaves(patches_NK, directions_TM2K, weights, depth, n_best):
    n_trees, n_nodes = directions_TM2K.shape[:2]
    nodes_TN = np.zeros((n_trees, len(patches_NK)), np.uint32)
    scores_TN = np.zeros(nodes_TN.shape, np.float32)
    for tree in range(n_trees):
        for _ in range(depth):
            _descend(patches_NK, directions_TM2K[tree], weights, nodes_TN[tree], scores_TN[tree])
    return _best(nodes_TN, scores_TN, n_nodes, n_best)


@_compiled
def _descend(patches_NK, directions_M2K, weights, nodes_N, scores_N):
    """Every patch one level down, to the direction it is more parallel to."""
    above, other = weights
    for patch in range(len(patches_NK)):
        node = nodes_N[patch]
        left = right = np.float32(0)
        for axis in range(patches_NK.shape[1]):
            left += patches_NK[patch, axis] * directions_M2K[node, 0, axis]
            right += patches_NK[patch, axis] * directions_M2K[node, 1, axis]
        left, right = abs(left), abs(right)
        score = max(left, right) - other * min(left, right)
        scores_N[patch] = above * scores_N[patch] + score
        nodes_N[patch] = 2 * node + 1 + (right > left)


@_compiled
def _best(nodes_TN, scores_TN, n_nodes, n_best):
    """The leaves with the highest scores, of equal ones the first; scores are used up."""
    leaves_NA = np.empty((nodes_TN.shape[1], n_best), np.int64)
    for patch in range(len(leaves_NA)):
        for rank in range(n_best):
            best = 0
            for tree in range(1, len(nodes_TN)):
                if scores_TN[tree, patch] > scores_TN[best, patch]:
                    best = tree
            leaves_NA[patch, rank] = best * (n_nodes + 1) + nodes_TN[best, patch] - n_nodes
            scores_TN[best, patch] = -1
    return leaves_NA


@_compiled
def _lay(order_E, leaves_E, patches_NK, maps_LKP, summed_BHW, patch_px, step_px):
    n_rows = (summed_BHW.shape[1] - patch_px) // step_px + 1
    n_columns = (summed_BHW.shape[2] - patch_px) // step_px + 1
    detail_P = np.empty(patch_px * patch_px, np.float32)
    for entry in order_E:
        leaf, patch = leaves_E[entry], entry * len(patches_NK) // len(leaves_E)
        _map(patches_NK[patch], maps_LKP[leaf], detail_P)
        plane_HW = summed_BHW[patch // (n_rows * n_columns)]
        row_px, column_px = patch // n_columns % n_rows * step_px, patch % n_columns * step_px
        for row in range(patch_px):
            places = plane_HW[row_px + row, column_px : column_px + patch_px]
            details = detail_P[row * patch_px : (row + 1) * patch_px]
            for column in range(patch_px):  # of slices: an index that is no sum is one vector
                places[column] += details[column]


@_compiled
def _map(patch_K, map_KP, detail_P):
    """Four axes a pass over the details, which would otherwise be written for each."""
    detail_P[:] = 0
    for axis in range(0, len(patch_K) - 3, 4):
        a, b, c, d = patch_K[axis], patch_K[axis + 1], patch_K[axis + 2], patch_K[axis + 3]
        a_P, b_P, c_P, d_P = map_KP[axis], map_KP[axis + 1], map_KP[axis + 2], map_KP[axis + 3]
        for pixel in range(len(detail_P)):
            detail_P[pixel] += a * a_P[pixel] + b * b_P[pixel] + c * c_P[pixel] + d * d_P[pixel]
    for axis in range(len(patch_K) // 4 * 4, len(patch_K)):
        for pixel in range(len(detail_P)):
            detail_P[pixel] += patch_K[axis] * map_KP[axis, pixel]
