"""Tables of photos: a CSV or Parquet file with a path and a label a row."""

import csv
import io
import math
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from trainables import index_checks as checks
from trainables.errors import DataError

SPLITS = ("train", "validation", "test")
MAX_LABEL = 1000
REMEDY = (
    "give a folder or a table with --data.root PATH: train/CLASS/* and test/CLASS/*, or CLASS/*, "
    "or index.csv or index.parquet with the columns path and label"
)

_BOX = ("x", "y", "w", "h")
# A class is a name or a whole number: anything else that reads as a number is a slip.
_NO_LABEL = re.compile(r"-\d+|[+-]?(\d+\.\d*|\.?\d+)(e[+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.I)


class Photo(NamedTuple):
    """One row: what it is called in messages, and what it says; `split` None: not said."""

    where: str
    path: str
    label: str
    box: tuple[float, float, float, float]
    split: str | None


class _Row(NamedTuple):
    where: str
    cells: dict[str, str]


def read_photos(table: Path) -> list[Photo]:
    """The photos that a CSV or Parquet file lists, each once.

    Raises:
        DataError: for what is malformed or contradictory, with its lines.
    """
    readers: dict[str, Callable[[Path], list[_Row]]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    if table.suffix.lower() not in readers:
        raise DataError(f"{table} is neither .csv nor .parquet\n{REMEDY}")
    photos: list[Photo] = []
    faults: list[str] = []
    for row in readers[table.suffix.lower()](table):
        try:
            photos.append(_parse_row(row))
        except ValueError as error:
            faults.append(f"{row.where}: {error}")
    checks.refuse(f"{table}: rows that cannot be used", faults, "correct these rows")
    return _drop_repeats(photos)


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


def _parse_row(row: _Row) -> Photo:
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
    return Photo(row.where, path, label, (x, y, x + width, y + height), split)


def _parse_edge(text: str) -> float:
    try:
        return float(text) if text.strip() else math.nan
    except ValueError:
        raise ValueError(f"{text!r} in the box is no number") from None


def _drop_repeats(photos: list[Photo]) -> list[Photo]:
    """Keep the first of rows that say the same; refuse those that contradict it."""
    first: dict[str, Photo] = {}
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
