"""Train a Naive Bayes Super-Resolution Forest (Salvador and Perez-Pellitero, ICCV 2015; 3.3).

Shape legend: H rows, W columns, 3 colours, N patches, K axes, M nodes, L leaves, P pixels.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from trainables.errors import DataError
from trainables.fingerprint import key_of, seed_of
from trainables.superres.colour import luminance
from trainables.superres.forest import Forest
from trainables.superres.forest_spec import ForestSpec
from trainables.superres.regressors import leaf_maps
from trainables.superres.samples import Samples, draw_samples
from trainables.superres.threads import side_by_side
from trainables.superres.trees import descend, grow

#: Patches that descend a tree at once.
CHUNK_PATCHES = 16_384


def images_key(images: Sequence[NDArray[np.uint8]]) -> str:
    """Identity of training images: their pixels, sizes and order, not their files."""
    return key_of([[list(image.shape), _digest(image)] for image in images])


def _digest(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def train_forest(
    images: Sequence[NDArray[np.uint8]],
    spec: ForestSpec,
    report: Callable[[str], None] = lambda _: None,
) -> Forest:
    """Learn a forest from sharp images.

    Args:
        images: (H, W, 3) uint8 RGB.
        spec: equal specs and images give bit-equal forests on one kind of machine.
        report: called with a line for each step that is done.

    Raises:
        DataError: when there are no images, or none is large enough or has any contrast.
    """
    if not images:
        raise DataError("there are no training images; give a folder of sharp photos")
    writable = [np.require(image, requirements=["C", "W"]) for image in images]
    luminances = [luminance(torch.from_numpy(image)) for image in writable]
    rng = Generator().manual_seed(seed_of("superres samples", spec.seed))
    samples = draw_samples(luminances, spec, rng)
    n_patches, n_axes = samples.patches_NK.shape
    report(f"{n_patches} patches on {n_axes} axes from {len(images)} images")
    trees: list[tuple[Tensor, Tensor]] = []
    for tree in side_by_side(
        lambda number: _tree(samples, spec, number), range(spec.n_trees), samples.axes_PK.device
    ):
        trees.append(tree)
        report(f"tree {len(trees)} of {spec.n_trees}")
    directions, maps = zip(*trees, strict=True)
    return Forest(
        spec, images_key(images), samples.axes_PK, torch.stack(directions), torch.stack(maps)
    )


def _tree(samples: Samples, spec: ForestSpec, number: int) -> tuple[Tensor, Tensor]:
    """Directions (M, 2, K) grown on a subset of its own, and maps (L, K, P)."""
    rng = Generator().manual_seed(seed_of("superres tree", spec.seed, number))
    patches_NK = samples.patches_NK
    subset = torch.randperm(len(patches_NK), generator=rng)[: spec.tree_patches]
    directions_M2K = grow(
        patches_NK[subset.to(patches_NK.device)], spec.depth, spec.n_means_steps, rng
    )
    chunks = patches_NK.split(CHUNK_PATCHES)
    reached = [descend(chunk, directions_M2K, "leaf") for chunk in chunks]
    leaves_N = torch.cat([leaves for leaves, _ in reached])
    lines_LK = directions_M2K[-(2 ** (spec.depth - 1)) :].flatten(0, 1)
    chosen = spec.pool_levels, spec.leaf_patches, spec.ridge
    return directions_M2K, leaf_maps(patches_NK, samples.details_NP, leaves_N, lines_LK, *chosen)
