"""The index table of a data set: path, label, box, split. Nothing is decoded here."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.disk import replace_text, where_writable
from trainables.errors import DataError
from trainables.fingerprint import key_of, seed_of
from trainables.spec import DataSpec, Split


@dataclass(frozen=True)
class Index:
    """N photos and what is said of them.

    Attributes:
        dataset: name of the reader that made it.
        root: folder that `paths` are relative to; not part of the identity.
        paths: N relative POSIX paths.
        labels: (N,) int64, positions in `class_names`.
        boxes: (N, 4) float64 x1, y1, x2, y2 in pixels, 0-based, half-open; NaN: whole photo.
        splits: (N,) str, `train`, `validation` or `test`.
        class_names: one class table for all splits.
    """

    dataset: str
    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    splits: NDArray[np.str_]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, in index order."""
        return np.flatnonzero(self.splits == split)

    def take(self, rows: NDArray[np.int64]) -> "Index":
        """The same table with only these rows."""
        return replace(
            self,
            paths=tuple(self.paths[row] for row in rows),
            labels=self.labels[rows],
            boxes=self.boxes[rows],
            splits=self.splits[rows],
        )


def choose_classes(index: Index, n_classes: int, seed: int) -> Index:
    """Keep a seeded choice of classes, renumbered in their old order."""
    if n_classes > len(index.class_names):
        raise DataError(
            f"data.classes asks for {n_classes} classes, {index.dataset} has "
            f"{len(index.class_names)}; ask for fewer"
        )
    generator = np.random.default_rng(seed_of("classes", seed))
    chosen = np.sort(generator.permutation(len(index.class_names))[:n_classes])
    kept = index.take(np.flatnonzero(np.isin(index.labels, chosen)))
    return replace(
        kept,
        labels=np.searchsorted(chosen, kept.labels),
        class_names=tuple(index.class_names[c] for c in chosen),
    )


def cut_validation(index: Index, fraction: float, seed: int) -> Index:
    """Move a seeded share of each class's train rows to `validation` and drop the test rows.

    Every class keeps a train row; rows that the data hold out for validation stay there. What is
    tuned on this index cannot see a test photo: there is none in it.
    """
    kept = index.take(np.flatnonzero(index.splits != "test"))
    generator = np.random.default_rng(seed_of("validation", seed))
    splits = kept.splits.astype("<U10")
    for label in range(len(kept.class_names)):
        is_own = (kept.labels == label) & (kept.splits == "train")
        rows = generator.permutation(np.flatnonzero(is_own))
        splits[rows[: min(round(fraction * len(rows)), len(rows) - 1)]] = "validation"
    return replace(kept, splits=splits)


def apply_choices(index: Index, data: DataSpec) -> Index:
    """Apply `data.classes` and `data.validation` to a freshly read index."""
    if data.classes is not None:
        index = choose_classes(index, data.classes, data.class_seed)
    if data.validation > 0:
        index = cut_validation(index, data.validation, data.validation_seed)
    return index


def evaluation_split(data: DataSpec) -> Split:
    """The split that stages are evaluated on: validation while tuning, otherwise test."""
    return "validation" if data.validation > 0 else "test"


def content_key(index: Index, cache_file: Path) -> str:
    """Fingerprint of the photos' bytes, labels, boxes, splits and class table.

    Args:
        index: of files under `index.root`.
        cache_file: JSON of sums already known by path, size and time, so that a file is read once.

    Raises:
        DataError: when files are missing; it lists them.
    """
    sums = _photo_sums(index, cache_file)
    rows = zip(
        index.paths, sums, index.labels.tolist(), _box_texts(index), index.splits, strict=True
    )
    return key_of([list(index.class_names), [[str(part) for part in row] for row in rows]])


def _box_texts(index: Index) -> Iterable[str]:
    return (",".join(repr(edge) for edge in box) for box in index.boxes.tolist())


def _photo_sums(index: Index, cache_file: Path) -> list[str]:
    files = [index.root / path for path in index.paths]
    missing = [path for path, file in zip(index.paths, files, strict=True) if not file.is_file()]
    if missing:
        shown = "\n  ".join(missing[:20])
        raise DataError(
            f"{len(missing)} of {len(index)} photos of {index.dataset} are missing under "
            f"{index.root}, the first:\n  {shown}\ncheck --data.root"
        )
    return file_sums(files, cache_file)


def file_sums(files: Sequence[Path], cache_file: Path) -> list[str]:
    """Return the sha256 of each file; those known by path, size and time are not read again."""
    known = _read_cache(cache_file)
    names = [_stamped(file) for file in files]
    unknown = [(name, file) for name, file in zip(names, files, strict=True) if name not in known]
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(_sha256, (file for _, file in unknown))
        known |= dict(zip((name for name, _ in unknown), digests, strict=True))
    if unknown:
        with where_writable():
            replace_text(cache_file, json.dumps(known))
    return [known[name] for name in names]


def _stamped(file: Path) -> str:
    status = file.stat()
    return f"{file.absolute()}|{status.st_size}|{status.st_mtime_ns}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(cache_file: Path) -> dict[str, str]:
    try:
        cached = json.loads(cache_file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return cached if isinstance(cached, dict) else {}
