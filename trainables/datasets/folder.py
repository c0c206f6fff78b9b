"""Any photos: class folders, or a CSV or Parquet table of paths and labels."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from trainables import index_checks as checks
from trainables.errors import DataError
from trainables.fingerprint import seed_of
from trainables.index import Index
from trainables.photo_tables import REMEDY, SPLITS, Photo, read_photos
from trainables.spec import DataSpec

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

#: Pictures that are not read; who leaves one in a class folder means it to be a photo.
UNREAD_SUFFIXES = (
    *(".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".jpe", ".jfif"),
    *(".ppm", ".pgm", ".tga", ".dng", ".cr2", ".nef"),
)
PICTURE_SUFFIXES = PHOTO_SUFFIXES.union(UNREAD_SUFFIXES)
UNREAD_REMEDY = "save them as JPEG, PNG, BMP or WebP, or take them out of the class folders"

_WHOLE = (math.nan, math.nan, math.nan, math.nan)


def read_index(data: DataSpec) -> Index:
    """Read photos under `data.root`, whose classes are named by folders or by a table.

    * `train/CLASS/...` and `test/CLASS/...` (and `validation/CLASS/...` if there). Folders beside
      these are not read.
    * `CLASS/...`, of which a seeded share `data.test_fraction` of each class becomes the test
      split, at least one photo of a class that has two.
    * A CSV or Parquet file, or a folder with `index.csv` or `index.parquet`: columns `path`
      (relative to the file's folder) and `label`, optionally `x`, `y`, `w`, `h` (pixels, 0-based)
      and `split`; other columns are not read. CSV is UTF-8 with commas, semicolons or tabs.

    Of class folders, hidden files and files that are no picture by their suffix are passed over;
    pictures of a kind that is not read are refused, so that none is missing unsaid.
    There is one class table for all splits, in order of the names (numbers: of their values).

    Raises:
        DataError: for what is missing, malformed, contradictory or outside the root; and for
            classes without train photos or, where the splits are given, without test photos.
    """
    if data.root is None:
        raise DataError(f"{data.dataset}: data.root is not set\n{REMEDY}")
    root = Path(data.root).expanduser().resolve()
    table = root if root.is_file() else _find_table(root)
    if table is not None:
        root, names = table.parent, []
        photos = read_photos(table)
    else:
        photos, names = _read_folders(checks.find_root(data, (), REMEDY))
        unread = [
            repr(photo.path) for photo in photos if photo.path.lower().endswith(UNREAD_SUFFIXES)
        ]
        checks.refuse(f"{root}: pictures of kinds that are not read", unread, UNREAD_REMEDY)
    return _build(data, root, photos, names)


def _build(data: DataSpec, root: Path, photos: list[Photo], names: list[str]) -> Index:
    """Make and check the index; `names` are classes known beside those of the photos."""
    class_names = _sort_classes({*names, *(photo.label for photo in photos)})
    label_of = {name: label for label, name in enumerate(class_names)}
    given = [photo.split for photo in photos]
    is_split = any(split is not None for split in given)
    index = Index(
        dataset=data.dataset,
        root=root,
        paths=tuple(photo.path for photo in photos),
        labels=np.array([label_of[photo.label] for photo in photos], dtype=np.int64),
        boxes=np.array([photo.box for photo in photos], dtype=np.float64).reshape(-1, 4),
        splits=np.array(given if is_split else _cut_test(photos, data.test_fraction), dtype="<U10"),
        class_names=class_names,
    )
    where = [photo.where for photo in photos]
    checks.check_paths(index, where)
    checks.check_unique(index, where)
    checks.check_boxes(index, where)
    checks.check_classes(index, ("train", "test") if is_split else ("train",))
    return index


def _sort_classes(names: set[str]) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _cut_test(photos: list[Photo], fraction: float) -> list[str]:
    """Choose the test photos of each class; the choice depends on the class's own paths only."""
    splits = ["train"] * len(photos)
    rows_of: dict[str, list[int]] = {}
    for row in sorted(range(len(photos)), key=lambda row: photos[row].path):
        rows_of.setdefault(photos[row].label, []).append(row)
    for label, rows in rows_of.items():
        n_test = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        generator = np.random.default_rng(seed_of("folder test split", label))
        for place in generator.permutation(len(rows))[:n_test]:
            splits[rows[place]] = "test"
    return splits


def _read_folders(root: Path) -> tuple[list[Photo], list[str]]:
    """Return the photos of class folders and the names of all class folders."""
    given = [split for split in SPLITS if (root / split).is_dir()]
    if not given:
        return _read_classes(root, root, None)
    lacking = [f"{split}/" for split in ("train", "test") if split not in given]
    checks.refuse(f"{root} has {', '.join(given)} but not", lacking, REMEDY)
    parts = [_read_classes(root, root / split, split) for split in given]
    return [p for photos, _ in parts for p in photos], [n for _, names in parts for n in names]


def _read_classes(root: Path, folder: Path, split: str | None) -> tuple[list[Photo], list[str]]:
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    files = [entry for entry in entries if not entry.is_dir()]
    stray = [repr(str(file)) for file in files if _is_picture(file.name)]
    checks.refuse("photos outside any class folder", stray, "move them into class folders")
    classes = [entry for entry in entries if entry.is_dir()]
    photos: list[Photo] = []
    for class_folder in classes:
        # A link to a folder above would give the photos of other classes this label.
        above = {class_folder.parent.resolve(), *class_folder.resolve().parents}
        for file in _walk(str(class_folder), root, above):
            path = file.removeprefix(str(root)).lstrip("/")
            photos.append(Photo("file", path, class_folder.name, _WHOLE, split))
    return photos, [class_folder.name for class_folder in classes]


def _walk(folder: str, root: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the pictures under a folder, each real folder once, so that circles of links end."""
    real = Path(folder).resolve()
    if real in seen:
        return
    if not real.is_relative_to(root):
        yield folder  # not entered: the check of paths refuses it
        return
    seen.add(real)
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _walk(entry.path, root, seen)
        elif _is_picture(entry.name):
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    is_link = entry.is_symlink()  # one may lead in a circle, which `entry.is_dir()` raises for
    return Path(entry.path).is_dir() if is_link else entry.is_dir()


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


def _find_table(root: Path) -> Path | None:
    tables = [root / name for name in ("index.csv", "index.parquet") if (root / name).is_file()]
    if len(tables) > 1:
        raise DataError(f"{root} has both index.csv and index.parquet; name one by --data.root")
    return tables[0] if tables else None
