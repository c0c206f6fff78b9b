"""Antipodal bimodal trees: a patch and its negative reach the same leaf (3.1, 3.3).

A tree of depth D is a heap of 2**D - 1 nodes, each with two directions; a patch goes to the one it
is more parallel to, whatever the sign (spherical 2-means on lines).

Shape legend: N patches, K axes, M nodes, 2 directions of a node.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import grouped_mm, normalize

from trainables.superres.forest_spec import Score

#: Levels descended with one matrix product.
_LEVELS = 4


def grow(patches_NK: Tensor, depth: int, n_steps: int, rng: Generator) -> Tensor:
    """Cluster unit patches, level by level.

    Returns:
        (M, 2, K) float32 unit directions, on the patches' device.
    """
    n_axes = patches_NK.shape[1]
    directions_M2K = patches_NK.new_zeros(2**depth - 1, 2, n_axes)
    parts = [patches_NK]
    for level in range(depth):
        below: list[Tensor] = []
        for place, part_NK in enumerate(parts):
            pair_2K = _two_means(part_NK, n_steps, rng)
            directions_M2K[2**level - 1 + place] = pair_2K
            right_N = _is_right(part_NK @ pair_2K.T)
            below += [part_NK[~right_N], part_NK[right_N]]
        parts = below
    return directions_M2K


def _two_means(patches_NK: Tensor, n_steps: int, rng: Generator) -> Tensor:
    """Two lines through the origin near which the patches lie, from a random start."""
    n_patches, n_axes = patches_NK.shape
    if n_patches < 2:
        return normalize(torch.randn(2, n_axes, generator=rng)).to(patches_NK)
    first = int(torch.randint(n_patches, (), generator=rng))
    other = (first + int(torch.randint(1, n_patches, (), generator=rng))) % n_patches
    pair_2K = normalize(patches_NK[[first, other]])
    for _ in range(n_steps):
        along_N2 = patches_NK @ pair_2K.T
        right_N = _is_right(along_N2)
        signs_N2 = along_N2.sign() * torch.stack([~right_N, right_N], dim=1)
        sums_2K = signs_N2.T @ patches_NK
        empty_21 = sums_2K.norm(dim=1, keepdim=True) == 0
        pair_2K = torch.where(empty_21, pair_2K, normalize(sums_2K))
    return pair_2K


def _is_right(along_N2: Tensor) -> Tensor:
    return along_N2[:, 1].abs() > along_N2[:, 0].abs()


def descend(patches_NK: Tensor, directions_M2K: Tensor, score: Score) -> tuple[Tensor, Tensor]:
    """Find the leaf of every patch, and how well the tree fits it.

    The scores are local naive Bayes with equal von Mises-Fisher concentration in every node, so
    linear in |cos|: of the last direction (`leaf`), summed on the way down (`path`), or less that
    of the directions not taken (`log_odds`).

    Returns:
        leaves (N,) int64, scores (N,) float32.
    """
    depth = (len(directions_M2K) + 1).bit_length() - 1
    leaves_N = torch.zeros(len(patches_NK), dtype=torch.int64, device=patches_NK.device)
    scores_N = patches_NK.new_zeros(len(patches_NK))
    order_N = torch.arange(len(patches_NK), device=patches_NK.device)
    for level in range(0, depth, _LEVELS):
        n_levels = min(_LEVELS, depth - level)
        tables = _subtrees(directions_M2K, level, n_levels)
        if level:  # rows stay sorted by subtree; only their order is carried along
            sorted_N = leaves_N.argsort(stable=True)
            leaves_N, order_N = (part.index_select(0, sorted_N) for part in (leaves_N, order_N))
            if score != "leaf":  # which looks at the last level alone
                scores_N = scores_N.index_select(0, sorted_N)
        along_NC = _sorted_products(patches_NK.index_select(0, order_N), leaves_N, tables)
        leaves_N, scores_N = _walk(along_NC, leaves_N, scores_N, n_levels, score)
    parts = leaves_N, scores_N
    leaves_N, scores_N = (torch.empty_like(part).scatter_(0, order_N, part) for part in parts)
    return leaves_N, scores_N


def _subtrees(directions_M2K: Tensor, level: int, n_levels: int) -> Tensor:
    """The directions of all subtrees of `n_levels` whose roots are at a level: (G, K, C)."""
    n_axes = directions_M2K.shape[-1]
    levels = [
        directions_M2K[2**at - 1 : 2 ** (at + 1) - 1].view(2**level, -1, n_axes)
        for at in range(level, level + n_levels)
    ]
    return torch.cat(levels, dim=1).transpose(1, 2)


def grouped_products(rows_NK: Tensor, groups_N: Tensor, tables_GKO: Tensor) -> Tensor:
    """Each row times the table of its group: (N, O)."""
    order_N = groups_N.argsort(stable=True)
    made_NO = _sorted_products(rows_NK.index_select(0, order_N), groups_N, tables_GKO)
    return torch.empty_like(made_NO).index_copy_(0, order_N, made_NO)


def _sorted_products(rows_NK: Tensor, groups_N: Tensor, tables_GKO: Tensor) -> Tensor:
    """The same of rows that lie group by group; the groups themselves in any order."""
    if len(tables_GKO) == 1:
        return rows_NK @ tables_GKO[0]
    ends_G = torch.bincount(groups_N, minlength=len(tables_GKO)).cumsum(0).to(torch.int32)
    return grouped_mm(rows_NK, tables_GKO, offs=ends_G)


def _walk(
    along_NC: Tensor, subtrees_N: Tensor, scores_N: Tensor, n_levels: int, score: Score
) -> tuple[Tensor, Tensor]:
    """Down one subtree each; column 2 m + s of `along_NC` is of node m, side s."""
    n_nodes = 2**n_levels - 1
    pairs = along_NC.reshape(-1, 2)
    rows_N = torch.arange(0, len(pairs), n_nodes, device=pairs.device)
    nodes_N = torch.zeros_like(subtrees_N)
    for level in range(n_levels):
        left_N, right_N = pairs.index_select(0, rows_N + nodes_N).abs().unbind(1)
        if score != "leaf" or level + 1 == n_levels:
            scores_N = _add(scores_N, left_N, right_N, score)
        nodes_N = 2 * nodes_N + 1 + (right_N > left_N)
    return subtrees_N * 2**n_levels + nodes_N - n_nodes, scores_N


def _add(scores_N: Tensor, left_N: Tensor, right_N: Tensor, score: Score) -> Tensor:
    if score == "leaf":
        return torch.maximum(left_N, right_N)
    added_N = torch.maximum(left_N, right_N) if score == "path" else (left_N - right_N).abs()
    return scores_N + added_N
