"""Annotations of strangers: an index, or a DataError; nothing leaves the root."""

import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.changed import files, fuzz, told
from tests.trainables.test_datasets_cars import save_devkit
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
    (place / name).write_bytes(data.draw(files(FILES[name].encode())))
    check(cub200.read_index, "cub200", place)


@fuzz()
@given(content=files(CSV, SEMICOLONS))
def test_csv_is_read_or_refused(place, content):
    table = place / "index.csv"
    table.write_bytes(content)
    check(folder.read_index, "folder", table)


@fuzz(cheap=False)
@given(content=files(parquet()))
def test_parquet_is_read_or_refused(place, content):
    table = place / "index.parquet"
    table.write_bytes(content)
    check(folder.read_index, "folder", table)


@fuzz(cheap=False)
@given(name=st.sampled_from(["cars_train_annos.mat", "cars_meta.mat"]), data=st.data())
def test_mat_files_are_read_or_refused(place, mat, name, data):
    for each, content in mat.items():
        (place / each).write_bytes(content)
    (place / name).write_bytes(data.draw(files(mat[name])))
    check(stanford_cars.read_index, "cars", place)
