"""Caltech-UCSD Birds-200-2011 in its own layout, whole or a part of it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainables import index_checks as checks
from trainables.index import Index
from trainables.spec import DataSpec

Value = TypeVar("Value")

#: Train photos, test photos and classes of the complete set (the split of Table 3).
COMPLETE = (5994, 5794, 200)

_PHOTO_FILES: tuple[str, ...] = (
    "images.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "bounding_boxes.txt",
)
_REMEDY = "give the folder with --data.root DIR, or unpack one: f2c prepare cub200 --from PATH"


def read_index(data: DataSpec) -> Index:
    """Read the annotation files under `data.root`.

    The set is taken for complete, and its published counts are demanded, when `classes.txt` has
    200 classes; otherwise for a part, whose files only have to agree with one another.

    Args:
        data: `root` is the folder that holds `images.txt` and `images/`.

    Returns:
        The photos in order of their ids, classes in order of theirs. Boxes are converted from the
        files' 1-based x, y, width, height.

    Raises:
        DataError: for missing files, malformed lines, ids that a file lacks, unknown classes,
            impossible boxes or paths, and wrong counts.
    """
    root = checks.find_root(data, (*_PHOTO_FILES, "classes.txt"), _REMEDY)
    faults: list[str] = []
    paths = _read_table(root / "images.txt", _parse_name, faults)
    labels = _read_table(root / "image_class_labels.txt", int, faults)
    is_train = _read_table(root / "train_test_split.txt", _parse_flag, faults)
    boxes = _read_table(root / "bounding_boxes.txt", _parse_box, faults)
    classes = _read_table(root / "classes.txt", _parse_name, faults)
    checks.refuse(f"{data.dataset}: malformed lines in {root}", faults, "fetch these files again")
    tables: dict[str, dict[int, Any]] = dict(
        zip(_PHOTO_FILES, (paths, labels, is_train, boxes), strict=True)
    )
    joins = _find_gaps(tables) + _find_unknown(labels, classes)
    checks.refuse(f"{data.dataset}: files in {root} contradict", joins, "fetch these files again")

    ids, class_ids = sorted(paths), sorted(classes)
    index = Index(
        dataset=data.dataset,
        root=root,
        paths=tuple(f"images/{paths[i]}" for i in ids),
        labels=np.searchsorted(class_ids, [labels[i] for i in ids]),
        boxes=np.array([boxes[i] for i in ids], dtype=np.float64).reshape(-1, 4),
        splits=np.array(["train" if is_train[i] else "test" for i in ids], dtype="<U10"),
        class_names=tuple(classes[i] for i in class_ids),
    )
    _check(index, [f"image id {i}" for i in ids])
    return index


def _check(index: Index, where: list[str]) -> None:
    checks.check_index(index, where)
    n_train, n_test, n_classes = COMPLETE
    if len(index.class_names) == n_classes:
        checks.check_counts(index, n_train, n_test)


def _read_table(file: Path, parse: Callable[[str], Value], faults: list[str]) -> dict[int, Value]:
    """Read lines of `id value`; what is wrong with a line is appended to `faults`."""
    table: dict[int, Value] = {}
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file.name} line {number}: {line[:80]!r}"
        try:
            identity, *rest = line.decode("utf-8-sig").split(maxsplit=1)
            key, parsed = int(identity), parse("".join(rest).strip())
        except ValueError as error:
            faults.append(f"{where}: {error}")
            continue
        if key in table:
            faults.append(f"{where}: id {key} is there twice")
        table[key] = parsed
    return table


def _parse_name(text: str) -> str:
    if not text:
        raise ValueError("a line is an id and a name")
    return text


def _parse_flag(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError("the split is 1 (train) or 0 (test)")
    return text == "1"


def _parse_box(text: str) -> tuple[float, float, float, float]:
    numbers = [float(part) for part in text.split()]
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise ValueError("a box is four finite numbers")
    x, y, width, height = numbers
    return x - 1, y - 1, x - 1 + width, y - 1 + height


def _find_gaps(tables: dict[str, dict[int, Any]]) -> list[str]:
    known = set().union(*tables.values())
    return [
        f"{name} has no image id {i}"
        for name, table in tables.items()
        for i in sorted(known - set(table))
    ]


def _find_unknown(labels: dict[int, int], classes: dict[int, str]) -> list[str]:
    return [
        f"image_class_labels.txt: image id {i} has class {label}, which classes.txt lacks"
        for i, label in labels.items()
        if label not in classes
    ]
