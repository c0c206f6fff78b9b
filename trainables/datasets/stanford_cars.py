"""Stanford Cars in either of its two layouts, whole or a part of it."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables import index_checks as checks
from trainables.errors import DataError
from trainables.index import Index
from trainables.mat_file import read_mat
from trainables.spec import DataSpec

#: Train photos, test photos and classes of the complete set (Section 4, Table 1).
COMPLETE = (8144, 8041, 196)

_DEVKIT = ("cars_train_annos.mat", "cars_test_annos_withlabels.mat", "cars_meta.mat")
_COMBINED = "cars_annos.mat"
_NUMBERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")
_REMEDY = (
    "give the folder with --data.root DIR (cars_test_annos.mat has no labels and does not serve; "
    f"{_COMBINED} with car_ims/ serves instead of the three), or unpack one: "
    "f2c prepare cars --from PATH"
)


class _Rows(NamedTuple):
    """Rows of one annotation file: paths, and (N, 5) float64 x1, y1, x2, y2 as filed, class."""

    where: list[str]
    paths: list[str]
    numbers: NDArray[np.float64]
    splits: list[str]


def read_index(data: DataSpec) -> Index:
    """Read the annotations under `data.root`.

    Two layouts are known: the devkit's (`cars_train_annos.mat`, `cars_test_annos_withlabels.mat`
    and `cars_meta.mat` in the root or in `devkit/`, photos in `cars_train/` and `cars_test/`) and
    the combined one (`cars_annos.mat`, photos where it says, usually `car_ims/`). Where both are,
    the devkit is read.

    The set is taken for complete, and its published split is demanded, when it has 196 classes and
    16,185 rows; otherwise for a part, in which only each class must have train and test photos.

    Args:
        data: `root` is the folder.

    Returns:
        The photos in the order of the files; boxes converted from 1-based, inclusive corners.

    Raises:
        DataError: for missing or unreadable files, missing fields, labels beyond the class table,
            impossible boxes or paths, and wrong counts.
    """
    root = checks.find_root(data, (), _REMEDY)
    devkit = {name: _find(root, name) for name in _DEVKIT}
    missing = [name for name, file in devkit.items() if file is None]
    if missing and (root / _COMBINED).is_file():
        rows, names = _read_combined(root / _COMBINED)
    else:
        checks.refuse(f"{data.dataset}: files missing under {root}", missing, _REMEDY)
        rows, names = _read_devkit(root, *(file for file in devkit.values() if file))
    _check_labels(data.dataset, rows, len(names))
    corners = rows.numbers[:, :4] - np.array([1.0, 1.0, 0.0, 0.0])
    index = Index(
        dataset=data.dataset,
        root=root,
        paths=tuple(rows.paths),
        labels=rows.numbers[:, 4].astype(np.int64) - 1,
        boxes=corners,
        splits=np.array(rows.splits, dtype="<U10"),
        class_names=names,
    )
    _check(index, rows.where)
    return index


def _check(index: Index, where: list[str]) -> None:
    checks.check_index(index, where)
    n_train, n_test, n_classes = COMPLETE
    if len(index.class_names) == n_classes and len(index) == n_train + n_test:
        checks.check_counts(index, n_train, n_test)


def _find(root: Path, name: str) -> Path | None:
    places = (root / "devkit" / name, root / name)
    return next((place for place in places if place.is_file()), None)


def _read_devkit(root: Path, train: Path, test: Path, meta: Path) -> tuple[_Rows, tuple[str, ...]]:
    parts = []
    for split, file in (("train", train), ("test", test)):
        annotations = _annotations(file, _load(file, "annotations"), "fname")
        folder = _photo_folder(root, f"cars_{split}")
        where = [f"{file.name} row {row}" for row in range(1, len(annotations) + 1)]
        paths = [f"{folder}/{name}" for name in _texts(where, annotations, "fname")]
        parts.append(_Rows(where, paths, _numbers(file, annotations), [split] * len(where)))
    first, second = parts
    rows = _Rows(
        first.where + second.where,
        first.paths + second.paths,
        np.concatenate([first.numbers, second.numbers]),
        first.splits + second.splits,
    )
    return rows, _class_names(meta, _load(meta, "class_names"))


def _read_combined(file: Path) -> tuple[_Rows, tuple[str, ...]]:
    content = _load(file, "annotations", "class_names")
    annotations = _annotations(file, content, "relative_im_path", "test")
    where = [f"{file.name} row {row}" for row in range(1, len(annotations) + 1)]
    flags = [str(row["test"]) for row in annotations]
    named = zip(where, flags, strict=True)
    wrong = [f"{name}: {flag!r}" for name, flag in named if flag not in {"0", "1"}]
    checks.refuse("test flags that are neither 0 nor 1", wrong, "fetch the file again")
    rows = _Rows(
        where,
        _texts(where, annotations, "relative_im_path"),
        _numbers(file, annotations),
        ["test" if flag == "1" else "train" for flag in flags],
    )
    return rows, _class_names(file, content)


def _photo_folder(root: Path, name: str) -> str:
    """Some copies of the set have each folder of photos once more in itself."""
    return f"{name}/{name}" if (root / name / name).is_dir() else name


def _load(file: Path, *variables: str) -> dict[str, Any]:
    try:
        content = read_mat(file, variables)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read as a MATLAB file: {error}; fetch it again"
        ) from error
    lacking = [name for name in variables if name not in content]
    checks.refuse(f"{file}: variables missing", lacking, "fetch the file again")
    return content


def _annotations(file: Path, content: dict[str, Any], *fields: str) -> list[dict[str, Any]]:
    """The rows of `annotations`, once they have the fields."""
    rows = content["annotations"]
    rows = rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else []
    lacking = [name for name in (*fields, *_NUMBERS) if not rows or name not in rows[0]]
    checks.refuse(f"{file}: fields missing in annotations", lacking, "fetch the file again")
    return rows


def _texts(where: list[str], annotations: list[dict[str, Any]], field: str) -> list[str]:
    values = [row[field] for row in annotations]
    wrong = [name for name, value in zip(where, values, strict=True) if not isinstance(value, str)]
    checks.refuse(f"rows whose {field} is no text", wrong, "fetch the file again")
    return values


def _numbers(file: Path, annotations: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(N, 5) float64: corners and class; what is no finite number is refused."""
    columns = [[_number(row[name]) for row in annotations] for name in _NUMBERS]
    numbers = np.array(columns, dtype=np.float64).reshape(len(_NUMBERS), -1).T
    wrong = np.argwhere(~np.isfinite(numbers))
    checks.refuse(
        f"{file}: values that are no finite numbers",
        [f"row {row + 1}: {_NUMBERS[column]}" for row, column in wrong],
        "fetch the file again",
    )
    return numbers


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _class_names(file: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names = content["class_names"]
    names = names if isinstance(names, list) else [names]
    wrong = [f"class {n}" for n, name in enumerate(names, 1) if not isinstance(name, str)]
    checks.refuse(f"{file}: class names that are no text", wrong, "fetch the file again")
    return tuple(names)


def _check_labels(dataset: str, rows: _Rows, n_classes: int) -> None:
    labels = rows.numbers[:, 4]
    wrong = (labels < 1) | (labels > n_classes) | (labels != np.floor(labels))
    checks.refuse(
        f"{dataset}: classes that are no whole number from 1 to {n_classes}",
        [
            f"{rows.where[row]}: {rows.paths[row]!r}: {labels[row]:g}"
            for row in np.flatnonzero(wrong)
        ],
        "correct these rows, or fetch the files again",
    )
