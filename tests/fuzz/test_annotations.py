"""Annotations of strangers: an index, or a DataError; nothing leaves the root."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from tests.fuzz.changed import files, fuzz, told
from tests.fuzz.trees import ODD, columns, tables
from tests.trainables.test_datasets_cars import COMBINED, DEVKIT, TEST, TRAIN, records, save_devkit
from tests.trainables.test_datasets_cub200 import FILES
from trainables.datasets import cub200, folder, stanford_cars
from trainables.errors import DataError
from trainables.spec import DataSpec

CSV = (
    b"path,label,x,y,w,h,split\na.jpg,cat,0,0,9,9,train\nb.jpg,dog,,,,,train\n"
    b'"c,d.jpg",cat,1,1,2,2,test\ne.jpg,dog,0,0,1,1,test\n'
)
SEMICOLONS = b"\xef\xbb\xbfpath;label\r\na.jpg;1\r\nb.jpg;0\r\n"


def parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"path": ["a", "b", "c", "d"], "label": [0, 1, 0, 1]}).to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


@pytest.fixture(scope="module")
def mat(tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("cars")
    save_devkit(root)
    return {file.name: file.read_bytes() for file in root.iterdir()}


def check(read, dataset: str, root: Path) -> None:
    try:
        index = read(DataSpec(dataset=dataset, root=str(root)))
    except DataError as error:
        told(error)
        return
    base = index.root.resolve()
    assert all((base / path).resolve().is_relative_to(base) for path in index.paths)
    assert index.labels.min() >= 0
    assert index.labels.max() < len(index.class_names)
    assert not any(character < " " for name in index.class_names for character in name)


@fuzz()
@given(st.sampled_from(sorted(FILES)), st.data())
def test_cub_s_files_are_read_or_refused(place, name, data):
    for each, text in FILES.items():
        (place / each).write_text(text)
    valid = FILES[name].encode()
    (place / name).write_bytes(data.draw(st.one_of(files(valid), tables(valid, b" "))))
    check(cub200.read_index, "cub200", place)


@fuzz()
@given(content=st.one_of(files(CSV, SEMICOLONS), tables(CSV, b","), tables(SEMICOLONS, b";")))
def test_csv_is_read_or_refused(place, content):
    table = place / "index.csv"
    table.write_bytes(content)
    check(folder.read_index, "folder", table)


def written(columns: dict[str, list]) -> bytes:
    """A Parquet file of these columns; what cannot be written is none."""
    buffer = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), buffer)
    except pa.ArrowException:
        return b""
    return buffer.getvalue()


NAMES = ("path", "label", "split", "x", "y", "w", "h", " Path", "other")


@fuzz(cheap=False)
@given(content=st.one_of(files(parquet()), columns(NAMES, 4).map(written)))
def test_parquet_is_read_or_refused(place, content):
    table = place / "index.parquet"
    table.write_bytes(content)
    check(folder.read_index, "folder", table)


#: What MATLAB can hold.
CELLS = st.sampled_from([v for v in ODD if v is not None and not isinstance(v, dict)] + [
    np.zeros((2, 3)), np.array([1 + 2j]), np.array([], dtype=object), np.array(["a", "b"]),
])  # fmt: skip


@st.composite
def annotations(draw: st.DrawFn, fields: tuple[str, ...], rows: list) -> np.ndarray:
    """Rows of a struct, some cells exchanged, some fields gone or renamed, of some other shape."""
    names = [draw(st.sampled_from([name] * 9 + ["other", "test"])) for name in fields]
    array = records(rows, list(dict.fromkeys(names)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(rows) - 1))
        array[0, place][draw(st.sampled_from(array.dtype.names))] = draw(CELLS)
    return array.reshape(draw(st.sampled_from([(1, -1), (-1, 1), (-1,)])))


def devkit(draw: st.DrawFn, place: Path) -> None:
    train, test = draw(annotations(DEVKIT, TRAIN)), draw(annotations(DEVKIT, TEST))
    savemat(place / "cars_train_annos.mat", {"annotations": train})
    savemat(place / "cars_test_annos_withlabels.mat", {"annotations": test})
    savemat(place / "cars_meta.mat", {"class_names": draw(class_names())})


def combined(draw: st.DrawFn, place: Path) -> None:
    (place / "cars_meta.mat").unlink(missing_ok=True)
    rows = [(f"car_ims/{n}.jpg", 1, 1, 4, 3, 1 + n % 2, n // 2) for n in range(4)]
    content = {"annotations": draw(annotations(COMBINED, rows)), "class_names": draw(class_names())}
    if draw(st.integers(0, 20)) == 0:
        del content[draw(st.sampled_from(sorted(content)))]
    savemat(place / "cars_annos.mat", content)


def class_names() -> st.SearchStrategy[np.ndarray]:
    names = st.one_of(st.just(["Audi S4", "BMW M3"]), st.lists(CELLS, max_size=3))
    return names.map(lambda values: np.array([*values, None], dtype=object)[:-1])


@fuzz(cheap=False)
@given(name=st.sampled_from(["cars_train_annos.mat", "cars_meta.mat"]), data=st.data())
def test_mat_files_are_read_or_refused(place, mat, name, data):
    for each, content in mat.items():
        (place / each).write_bytes(content)
    (place / name).write_bytes(data.draw(files(mat[name])))
    check(stanford_cars.read_index, "cars", place)


@fuzz(cheap=False)
@given(write=st.sampled_from([devkit, combined]), data=st.data())
def test_mat_files_of_other_values_are_read_or_refused(place, write, data):
    try:
        write(data.draw, place)
    except (TypeError, ValueError, OverflowError):  # what MATLAB cannot hold
        return
    check(stanford_cars.read_index, "cars", place)
