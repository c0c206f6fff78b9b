"""Any photos: class folders, or a CSV or Parquet table of paths and labels."""

import csv
import io
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from trainables import index_checks as checks
from trainables.errors import DataError
from trainables.fingerprint import seed_of
from trainables.index import Index
from trainables.spec import DataSpec

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
SPLITS = ("train", "validation", "test")
MAX_LABEL = 1000

_BOX = ("x", "y", "w", "h")
_WHOLE = (math.nan, math.nan, math.nan, math.nan)
_REMEDY = (
    "give a folder or a table with --data.root PATH: train/CLASS/* and test/CLASS/*, or CLASS/*, "
    "or index.csv or index.parquet with the columns path and label"
)
# A class is a name or a whole number: anything else that reads as a number is a slip.
_NO_LABEL = re.compile(r"-\d+|[+-]?(\d+\.\d*|\.?\d+)(e[+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.I)


class _Photo(NamedTuple):
    """One row: what it is called in messages, and what it says; `split` None: not said."""

    where: str
    path: str
    label: str
    box: tuple[float, float, float, float]
    split: str | None


class _Row(NamedTuple):
    where: str
    cells: dict[str, str]


def read_index(data: DataSpec) -> Index:
    """Read photos under `data.root`, whose classes are named by folders or by a table.

    * `train/CLASS/...` and `test/CLASS/...` (and `validation/CLASS/...` if there). Folders beside
      these are not read.
    * `CLASS/...`, of which a seeded share `data.test_fraction` of each class becomes the test
      split, at least one photo of a class that has two.
    * A CSV or Parquet file, or a folder with `index.csv` or `index.parquet`: columns `path`
      (relative to the file's folder) and `label`, optionally `x`, `y`, `w`, `h` (pixels, 0-based)
      and `split`; other columns are not read. CSV is UTF-8 with commas, semicolons or tabs.

    Of class folders, hidden files and files that are no photo by their suffix are passed over.
    There is one class table for all splits, in order of the names (numbers: of their values).

    Raises:
        DataError: for what is missing, malformed, contradictory or outside the root; and for
            classes without train photos or, where the splits are given, without test photos.
    """
    if data.root is None:
        raise DataError(f"{data.dataset}: data.root is not set\n{_REMEDY}")
    root = Path(data.root).expanduser().resolve()
    table = root if root.is_file() else _find_table(root)
    if table is not None:
        root, names = table.parent, []
        photos = _drop_repeats(_read_photos(table))
    else:
        photos, names = _read_folders(checks.find_root(data, (), _REMEDY))
    return _build(data, root, photos, names)


def _build(data: DataSpec, root: Path, photos: list[_Photo], names: list[str]) -> Index:
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


def _cut_test(photos: list[_Photo], fraction: float) -> list[str]:
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


def _read_folders(root: Path) -> tuple[list[_Photo], list[str]]:
    """Return the photos of class folders and the names of all class folders."""
    given = [split for split in SPLITS if (root / split).is_dir()]
    if not given:
        return _read_classes(root, root, None)
    lacking = [f"{split}/" for split in ("train", "test") if split not in given]
    checks.refuse(f"{root} has {', '.join(given)} but not", lacking, _REMEDY)
    parts = [_read_classes(root, root / split, split) for split in given]
    return [p for photos, _ in parts for p in photos], [n for _, names in parts for n in names]


def _read_classes(root: Path, folder: Path, split: str | None) -> tuple[list[_Photo], list[str]]:
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    files = [entry for entry in entries if not entry.is_dir()]
    stray = [repr(str(file)) for file in files if _has_photo_suffix(file.name)]
    checks.refuse("photos outside any class folder", stray, "move them into class folders")
    classes = [entry for entry in entries if entry.is_dir()]
    photos: list[_Photo] = []
    for class_folder in classes:
        # A link to a folder above would give the photos of other classes this label.
        above = {class_folder.parent.resolve(), *class_folder.resolve().parents}
        for file in _walk(str(class_folder), root, above):
            path = file.removeprefix(str(root)).lstrip("/")
            photos.append(_Photo("file", path, class_folder.name, _WHOLE, split))
    return photos, [class_folder.name for class_folder in classes]


def _walk(folder: str, root: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the photos under a folder, each real folder once, so that circles of links end."""
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
        elif _has_photo_suffix(entry.name):
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    is_link = entry.is_symlink()  # one may lead in a circle, which `entry.is_dir()` raises for
    return Path(entry.path).is_dir() if is_link else entry.is_dir()


def _has_photo_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES


def _find_table(root: Path) -> Path | None:
    tables = [root / name for name in ("index.csv", "index.parquet") if (root / name).is_file()]
    if len(tables) > 1:
        raise DataError(f"{root} has both index.csv and index.parquet; name one by --data.root")
    return tables[0] if tables else None


def _read_photos(table: Path) -> list[_Photo]:
    readers: dict[str, Callable[[Path], list[_Row]]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    if table.suffix.lower() not in readers:
        raise DataError(f"{table} is neither .csv nor .parquet\n{_REMEDY}")
    photos: list[_Photo] = []
    faults: list[str] = []
    for row in readers[table.suffix.lower()](table):
        try:
            photos.append(_parse_row(row))
        except ValueError as error:
            faults.append(f"{row.where}: {error}")
    checks.refuse(f"{table}: rows that cannot be used", faults, "correct these rows")
    return photos


def _read_csv(table: Path) -> list[_Row]:
    text = _decode(table)
    first = next(iter(text[:4096].splitlines()), "")
    names = {mark: [name.strip('" ') for name in first.split(mark)] for mark in ",;\t"}
    delimiter = next((mark for mark in names if _has_columns(names[mark])), None)
    if delimiter is None:
        raise DataError(f"{table} line 1 names no columns path and label: {first[:80]!r}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{table} line {reader.line_num}: {error}; correct the quotes") from error
    filled = [(number, cells) for number, cells in lines[1:] if any(c.strip() for c in cells)]
    return _name_cells(table, lines[0][1], [(f"line {number}", cells) for number, cells in filled])


def _decode(table: Path) -> str:
    raw = table.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        lines = enumerate(raw.splitlines(), 1)
        wrong = [n for n, line in lines if line.decode("utf-8", "replace").encode() != line]
        raise DataError(f"{table} is not UTF-8 in lines {wrong[:20]}; save it so") from error


def _has_columns(header: list[str]) -> bool:
    return {"path", "label"} <= {name.strip().lower() for name in header}


def _read_parquet(table: Path) -> list[_Row]:
    # pyarrow takes 0.3 s to import, and few need it.
    import pyarrow
    from pyarrow import parquet

    try:
        content = parquet.ParquetFile(table).read()
        columns = [content.column(i).to_pylist() for i in range(content.num_columns)]
    # Values that Python cannot hold are told by its own kinds of error.
    except (OSError, pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise DataError(f"{table} cannot be read as Parquet: {error}; write it again") from error
    if not _has_columns(content.column_names):
        raise DataError(f"{table} has no columns path and label: {content.column_names}")
    numbered = [
        (f"row {number}", ["" if value is None else str(value) for value in values])
        for number, values in enumerate(zip(*columns, strict=True), 1)
    ]
    return _name_cells(table, content.column_names, numbered)


def _name_cells(table: Path, header: list[str], rows: list[tuple[str, list[str]]]) -> list[_Row]:
    """Give each cell its column's name; a row of another length is refused, never shifted."""
    names = [name.strip().lower() for name in header]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    checks.refuse(f"{table}: columns that are there twice", twice, "leave one of each")
    box = [name for name in _BOX if name in names]
    if box and len(box) < len(_BOX):
        raise DataError(f"{table} has only the columns {box} of a box; give x, y, w and h, or none")
    shifted = [
        f"{where}: {len(cells)} fields, the header has {len(names)}"
        for where, cells in rows
        if len(cells) != len(names)
    ]
    checks.refuse(f"{table}: rows of another length", shifted, "quote what holds a separator")
    return [_Row(where, dict(zip(names, cells, strict=True))) for where, cells in rows]


def _parse_row(row: _Row) -> _Photo:
    """Read a row's cells; raises ValueError with the reason."""
    path, label = row.cells["path"], row.cells["label"].strip()
    if not label or (_NO_LABEL.fullmatch(label) and not label.isdecimal()):
        raise ValueError(f"label {label!r} is neither a name nor a whole number from 0")
    if len(label) > MAX_LABEL:
        raise ValueError(f"label {label[:40]!r}... is longer than {MAX_LABEL} characters")
    split = row.cells["split"].strip().lower() if "split" in row.cells else None
    if split is not None and split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    edges = [_parse_edge(row.cells.get(name, "")) for name in _BOX]
    x, y, width, height = edges
    # One spelling of each path, so that repeats are seen.
    path = PurePosixPath(path).as_posix() if path else path
    return _Photo(row.where, path, label, (x, y, x + width, y + height), split)


def _parse_edge(text: str) -> float:
    try:
        return float(text) if text.strip() else math.nan
    except ValueError:
        raise ValueError(f"{text!r} in the box is no number") from None


def _drop_repeats(photos: list[_Photo]) -> list[_Photo]:
    """Keep the first of rows that say the same; refuse those that contradict it."""
    first: dict[str, _Photo] = {}
    faults: list[str] = []
    for photo in photos:
        kept = first.setdefault(photo.path, photo)
        differing = [
            f"{name} {getattr(kept, name)!r} and {getattr(photo, name)!r}"
            for name in ("label", "box", "split")
            if repr(getattr(kept, name)) != repr(getattr(photo, name))
        ]
        if differing:
            faults.append(f"{kept.where} and {photo.where}: {photo.path!r}: {'; '.join(differing)}")
    checks.refuse("rows that contradict one another", faults, "leave one row for each photo")
    return list(first.values())
