"""Leaves and details on a GPU, in matrix products: what `loops` computes on a CPU (3.1, 3.3).

Shape legend: B images, H rows, W columns, N patches, P pixels of a patch, K axes, A averaged trees.
"""

import torch
from torch import Tensor

from trainables.superres.forest import Forest
from trainables.superres.nbsrf import CHUNK_PATCHES
from trainables.superres.patches import lay
from trainables.superres.trees import descend, grouped_products

#: Patches that meet their leaves' maps at once; bounds memory.
_ROWS = 2**17


def best_leaves(patches_NK: Tensor, forest: Forest) -> Tensor:
    """As `loops.best_leaves`, on any device."""
    return torch.cat([_best_leaves(part, forest) for part in patches_NK.split(CHUNK_PATCHES)])


def _best_leaves(patches_NK: Tensor, forest: Forest) -> Tensor:
    spec = forest.spec
    reached = [descend(patches_NK, tree, spec.score) for tree in forest.directions_TM2K]
    leaves_NT, scores_NT = (torch.stack(parts, 1) for parts in zip(*reached, strict=True))
    best_NA = scores_NT.topk(min(spec.n_best, spec.n_trees), dim=1).indices
    return best_NA * 2**spec.depth + leaves_NT.gather(1, best_NA)


def lay_details(
    patches_NK: Tensor, leaves_NA: Tensor, forest: Forest, size: tuple[int, ...]
) -> Tensor:
    """As `loops.lay_details`, on any device."""
    tables = forest.maps_TLKP.flatten(0, 1)
    parts = zip(patches_NK.split(_ROWS), leaves_NA.split(_ROWS), strict=True)
    details_NP = torch.cat([_summed_products(*part, tables) for part in parts])
    return lay(details_NP, size, forest.spec.patch_px, forest.spec.step_px)


def _summed_products(rows_NK: Tensor, leaves_NA: Tensor, tables: Tensor) -> Tensor:
    n_averaged = leaves_NA.shape[1]
    repeated_NK = rows_NK.repeat_interleave(n_averaged, dim=0)
    made = grouped_products(repeated_NK, leaves_NA.flatten(), tables)
    return made.unflatten(0, (-1, n_averaged)).sum(1)
