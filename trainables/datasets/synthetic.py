"""The built-in photos: drawn cars, honestly synthetic, whose class is written in a fine detail.

A car's class is told by the plate on its door, a 4 x 4 pattern 18 px wide on a 96 px photo, which
low resolution takes away; its length and its hue only hint at it. Pose, colours, background, light
and noise tell nothing. A photo is a function of the set's seed, its split and its number in the
split alone, whatever it is drawn with and however many there are.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.drawing import CELLS, DRAWING_VERSION, N_DRAWS, draw_cars
from trainables.fingerprint import key_of, seed_of
from trainables.index import Index, apply_choices
from trainables.spec import DataSpec, SyntheticSpec

#: Pixels drawn together: few enough that their planes stay in the processor's cache.
BATCH_PIXELS = 8 * 96 * 96


def read_index(data: DataSpec) -> Index:
    """List the drawn photos: balanced labels in a seeded order, no boxes, no files.

    Args:
        data: `data.synthetic` says how many photos of how many classes.

    Returns:
        Rows `train/000000`, ..., `test/000000`, ...; `root` is never read.
    """
    spec = data.synthetic
    counts = {"train": spec.n_train, "test": spec.n_test}
    n_photos = sum(counts.values())
    return Index(
        dataset="synthetic",
        root=Path(),
        paths=tuple(f"{split}/{i:06d}" for split, n in counts.items() for i in range(n)),
        labels=np.concatenate([_labels(spec, split) for split in counts]),
        boxes=np.full((n_photos, 4), np.nan),
        splits=np.repeat(list(counts), list(counts.values())),
        class_names=tuple(f"class {label:02d}" for label in range(spec.n_classes)),
    )


def content_key(data: DataSpec) -> str:
    """Fingerprint of the photos that `data` chooses, without drawing one."""
    index = apply_choices(read_index(data), data)
    rows = [index.labels.tolist(), index.splits.tolist(), index.paths, index.class_names]
    return key_of(["synthetic", DRAWING_VERSION, data.synthetic, rows])


def draw_photos(index: Index, data: DataSpec, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Draw the photos of some rows.

    Args:
        index: of `read_index`, whole or with chosen classes and splits.
        data: the same that the index was read with.
        rows: row numbers; a photo's pixels do not depend on which others are drawn with it.

    Returns:
        One (height, width, 3) uint8 RGB array a row, each side `data.synthetic.image_px`.
    """
    n_together = max(1, BATCH_PIXELS // data.synthetic.image_px**2)
    paths = [index.paths[row] for row in rows]
    batches = (paths[i : i + n_together] for i in range(0, len(paths), n_together))
    return [photo for batch in batches for photo in _draw(data.synthetic, batch)]


@lru_cache(maxsize=8)
def glyphs(n_classes: int, seed: int) -> NDArray[np.bool_]:
    """Patterns (n_classes, 16) with ink in 8 of 16 cells: mean brightness tells nothing.

    They are chosen greedily in a seeded order, at the largest mutual Hamming distance (8, 6, 4 or
    2 cells) at which there are enough of them.
    """
    codes = np.arange(2**CELLS**2)
    bits = (codes[:, None] >> np.arange(CELLS**2) & 1).astype(bool)
    balanced = bits[bits.sum(1) == CELLS**2 // 2]
    cells = np.random.default_rng(seed_of("glyphs", seed)).permutation(CELLS**2)
    for distance in (8, 6, 4):
        chosen = _far_apart(balanced, n_classes, distance)
        if len(chosen) == n_classes:
            return chosen[:, cells]
    return balanced[:n_classes, cells]


def _far_apart(candidates: NDArray[np.bool_], n_wanted: int, distance: int) -> NDArray[np.bool_]:
    chosen = []
    while len(candidates) and len(chosen) < n_wanted:
        chosen.append(candidates[0])
        candidates = candidates[(candidates != candidates[0]).sum(1) >= distance]
    return np.array(chosen)


def _labels(spec: SyntheticSpec, split: str) -> NDArray[np.int64]:
    n_photos = {"train": spec.n_train, "test": spec.n_test}[split]
    return _balanced(n_photos, spec.n_classes, seed_of("labels", spec.seed, split))


@lru_cache(maxsize=8)
def _balanced(n_photos: int, n_classes: int, seed: int) -> NDArray[np.int64]:
    """Shuffle class after class into rounds, so that more photos leave the first as they are."""
    generator = np.random.default_rng(seed)
    rounds = [generator.permutation(n_classes) for _ in range(-(-n_photos // n_classes))]
    return np.concatenate(rounds)[:n_photos]


def _draw(spec: SyntheticSpec, paths: list[str]) -> NDArray[np.uint8]:
    """Draw photos by their paths, which say split and number whatever was chosen of the index."""
    rows = [(split, int(number)) for split, number in (path.split("/") for path in paths)]
    tables = {split: _labels(spec, split) for split, _ in rows}
    labels = np.array([tables[split][number] for split, number in rows])
    shown = labels if spec.fine_detail else np.zeros_like(labels)
    patterns = glyphs(spec.n_classes, spec.seed)[shown]
    return draw_cars(spec, labels, patterns, [_uniforms(spec.seed, *row) for row in rows])


def _uniforms(seed: int, split: str, number: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed_of("photo", seed, split), number]).random(N_DRAWS)
