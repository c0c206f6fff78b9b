"""What an index must satisfy before a photo is opened; every check tells all faults at once."""

import os
import posixpath
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.index import Index
from trainables.spec import DataSpec

_SHOWN = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def refuse(heading: str, faults: Sequence[str], remedy: str) -> None:
    """Raise if there is any fault.

    Args:
        heading: what is wrong with all of them.
        faults: one line each; the first 20 are shown, all are counted.
        remedy: what to do.

    Raises:
        DataError: when `faults` is not empty.
    """
    if not faults:
        return
    lines = [f"{heading} ({len(faults)}):", *(f"  {fault}" for fault in faults[:_SHOWN])]
    if len(faults) > _SHOWN:
        lines.append(f"  and {len(faults) - _SHOWN} more")
    raise DataError("\n".join([*lines, remedy]))


def find_root(data: DataSpec, needed: Sequence[str], remedy: str) -> Path:
    """Return `data.root` as an absolute path once everything needed is in it.

    Args:
        data: names the root.
        needed: relative paths of the files that must be there.
        remedy: what to do when they are not.

    Raises:
        DataError: when the root or any of the files is missing; it lists all.
    """
    files = f"; it shall hold {', '.join(needed)}" if needed else ""
    if data.root is None:
        raise DataError(f"{data.dataset} needs a folder, data.root is not set{files}\n{remedy}")
    root = Path(data.root).expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"{data.dataset}: there is no folder {root}{files}\n{remedy}")
    missing = [name for name in needed if not (root / name).is_file()]
    refuse(f"{data.dataset}: files missing under {root}", missing, remedy)
    return root


def check_paths(index: Index, where: Sequence[str] | None = None) -> None:
    """Refuse paths that are no plain name of a file under the root.

    Links are followed and may lead anywhere inside the root. Files that do not exist pass: the
    content key reports those.

    Args:
        index: to check.
        where: what each of the N rows is called in messages; default `row 0`, `row 1`, ...

    Raises:
        DataError: listing rows whose path is empty, absolute, has `..` or control characters,
            leads out of the root or into a loop through a link, or is something else than a file.
    """
    root = index.root.resolve()
    folders: dict[str, str | None] = {}
    reasons = (_text_fault(path) or _place_fault(root, path, folders) for path in index.paths)
    refuse(
        f"{index.dataset}: paths that cannot be used",
        _faults(index, where, reasons),
        f"paths are relative to {root} and stay inside it",
    )


def check_boxes(index: Index, where: Sequence[str] | None = None) -> None:
    """Refuse boxes that no photo of any size could have; four NaN stand for the whole photo.

    A box that only partly leaves its photo is not judged here.

    Args:
        index: to check.
        where: what each of the N rows is called in messages; default `row 0`, `row 1`, ...

    Raises:
        DataError: listing rows with a partly set, infinite, inverted or empty box, or one that
            lies wholly left of or above the photo.
    """
    unset = np.isnan(index.boxes)
    infinite = np.isinf(index.boxes).any(axis=1)
    with np.errstate(invalid="ignore"):
        size = index.boxes[:, 2:] - index.boxes[:, :2]
    tests = (
        ("box only partly set", unset.any(axis=1) & ~unset.all(axis=1)),
        ("box infinite", infinite),
        ("box with negative width or height", ~infinite & (size < 0).any(axis=1)),
        ("box without area", ~infinite & (size == 0).any(axis=1)),
        ("box outside the photo", (index.boxes[:, 2:] <= 0).any(axis=1)),
    )
    reasons: list[str | None] = [None] * len(index)
    for reason, wrong in reversed(tests):
        for row in np.flatnonzero(wrong):
            reasons[row] = f"{reason}: {', '.join(f'{edge:g}' for edge in index.boxes[row])}"
    refuse(
        f"{index.dataset}: boxes that cannot be (x1, y1, x2, y2 in pixels, 0-based, half-open)",
        _faults(index, where, reasons),
        "correct these rows of the annotations",
    )


def check_unique(index: Index, where: Sequence[str] | None = None) -> None:
    """Refuse photos that are listed more than once.

    Args:
        index: to check.
        where: what each of the N rows is called in messages; default `row 0`, `row 1`, ...

    Raises:
        DataError: listing each such path with all its rows.
    """
    names = _row_names(index, where)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, path in enumerate(index.paths):
        rows[path].append(row)
    refuse(
        f"{index.dataset}: photos listed more than once",
        [
            ", ".join(f"{names[row]} ({index.splits[row]})" for row in same) + f": {path!r}"
            for path, same in rows.items()
            if len(same) > 1
        ],
        "list each photo once",
    )


def check_classes(index: Index, splits: Sequence[str] = ("train", "test")) -> None:
    """Refuse a class table with unusable names or with classes that lack photos.

    Args:
        index: to check.
        splits: those in which every class must have a photo; train and test must never be empty.

    Raises:
        DataError: naming the classes and the split that they are missing from.
    """
    faults = [
        f"no {split} photo at all" for split in ("train", "test") if not index.rows(split).size
    ]
    names = index.class_names
    faults += [f"{name!r} has control characters" for name in names if _CONTROL.search(name)]
    faults += [f"{name!r} is there {n} times" for name, n in Counter(names).items() if n > 1]
    for split in splits:
        present = set(index.labels[index.splits == split].tolist())
        faults += [
            f"{name!r} has no {split} photo"
            for label, name in enumerate(names)
            if label not in present
        ]
    refuse(f"{index.dataset}: class table", faults, "add photos, or take the class out everywhere")


def check_index(index: Index, where: Sequence[str] | None = None) -> None:
    """Check paths, uniqueness, boxes and classes, in this order.

    Raises:
        DataError: with every fault of the first kind that has any.
    """
    check_paths(index, where)
    check_unique(index, where)
    check_boxes(index, where)
    check_classes(index)


def check_counts(index: Index, n_train: int, n_test: int) -> None:
    """Demand the published numbers of photos.

    Raises:
        DataError: naming both the numbers found and those published.
    """
    found = (index.rows("train").size, index.rows("test").size)
    if found != (n_train, n_test):
        raise DataError(
            f"{index.dataset}: {found[0]} train and {found[1]} test photos, the complete set has "
            f"{n_train} and {n_test}; fetch the annotation files again"
        )


def _row_names(index: Index, where: Sequence[str] | None) -> Sequence[str]:
    return [f"row {row}" for row in range(len(index))] if where is None else where


def _faults(index: Index, where: Sequence[str] | None, reasons: Iterable[str | None]) -> list[str]:
    named = zip(_row_names(index, where), index.paths, reasons, strict=True)
    # repr: a path out of an untrusted file must not control the terminal.
    return [f"{name}: {path!r}: {reason}" for name, path, reason in named if reason]


# Text and `os`, not pathlib: a data set has a million paths.


def _text_fault(path: str) -> str | None:
    parts, is_absolute = set(path.split("/")), path.startswith("/")
    if parts <= {"", "."} and not is_absolute:
        return "empty path"
    if _CONTROL.search(path):
        return "control character in the path"
    if is_absolute:
        return "absolute path"
    return "path with '..'" if ".." in parts else None


def _place_fault(root: Path, path: str, folders: dict[str, str | None]) -> str | None:
    folder = posixpath.dirname(path)
    if folder not in folders:
        folders[folder] = _link_fault(root, root / folder)
    return folders[folder] or _file_fault(root, f"{root}/{path}")


def _file_fault(root: Path, file: str) -> str | None:
    try:
        mode = os.lstat(file).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error.strerror
    if stat.S_ISREG(mode):
        return None
    fault = _link_fault(root, Path(file)) if stat.S_ISLNK(mode) else None
    return fault or ("not a file" if Path(file).exists() and not Path(file).is_file() else None)


def _link_fault(root: Path, path: Path) -> str | None:
    try:
        real = path.resolve()
    except RuntimeError:
        return "link that leads in a circle"
    return None if real.is_relative_to(root) else f"leads out of the root, to {str(real)!r}"
