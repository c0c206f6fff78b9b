"""Which training photos a stage sees: nested prefixes of one seeded permutation (A1 to A3)."""

import numpy as np
from numpy.typing import NDArray

from trainables.fingerprint import seed_of
from trainables.spec import SubsetSpec


def subset_rows(spec: SubsetSpec, labels_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of a training view, in the permutation's order.

    The permutation depends on the seed (and the stream) alone, so high and low subsets of equal
    size are the same photos, and a smaller subset is a prefix of a larger one.

    Args:
        spec: how many and by which rule.
        labels_N: (N,) labels of the whole training split.

    Returns:
        (n_images,) row numbers.

    Raises:
        ValueError: when more images are asked for than there are.
    """
    if spec.n_images > len(labels_N):
        raise ValueError(f"{spec.n_images} images asked for, {len(labels_N)} there are")
    size = spec.n_images if spec.rule == "independent" else 0
    generator = np.random.default_rng(seed_of("subset", spec.seed, spec.stream, size))
    order = generator.permutation(len(labels_N))
    if spec.rule == "stratified":
        order = _interleave_classes(order, labels_N)
    return order[: spec.n_images] if spec.side == "front" else order[::-1][: spec.n_images]


def training_labels(spec: SubsetSpec, labels_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels that a stage is trained on: the true ones, or these dealt out by the seed."""
    if spec.labels == "true":
        return labels_N
    return np.random.default_rng(seed_of("labels", spec.seed)).permutation(labels_N)


def _interleave_classes(
    order_N: NDArray[np.int64], labels_N: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Reorder so that every prefix holds the classes in their overall shares, as near as can be."""
    shares = np.empty(len(order_N))
    for label in np.unique(labels_N):
        places = np.flatnonzero(labels_N[order_N] == label)
        shares[places] = (np.arange(len(places)) + 0.5) / len(places)
    return order_N[np.argsort(shares, kind="stable")]
