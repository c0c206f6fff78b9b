"""The reader of MATLAB's files: against scipy's writer, and against bytes made by hand."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from trainables import mat_file
from trainables.mat_file import read_mat

ROWS = np.array(
    [[(1.5, "a.jpg", 7), (-2.0, "bé.jpg", 0)]],
    dtype=[("x", object), ("name", object), ("class", object)],
)
READ = [{"x": 1.5, "name": "a.jpg", "class": 7}, {"x": -2.0, "name": "bé.jpg", "class": 0}]


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"v", flags: int = 0,
          order: str = "<") -> bytes:  # fmt: skip
    """A variable of a class."""
    head = element(6, struct.pack(f"{order}II", kind | flags, 0), order)
    sides = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, head + sides + element(1, name, order) + b"".join(parts), order)


def written(tmp_path: Path, *variables: bytes, order: str = "<", version: int = 0x0100) -> Path:
    file = tmp_path / "a.mat"
    ending = b"IM" if order == "<" else b"MI"
    header = b"made by hand".ljust(124) + struct.pack(f"{order}H", version) + ending
    file.write_bytes(header + b"".join(variables))
    return file


def double(value: float, order: str = "<") -> bytes:
    return element(9, struct.pack(f"{order}d", value), order)


@pytest.mark.parametrize("packed", [False, True])
def test_text_numbers_cells_and_structs_are_read_as_they_were_written(tmp_path, packed):
    file = tmp_path / "a.mat"
    names = np.array(["Audi S4", "BMW"], dtype=object)
    content = {"annotations": ROWS, "class_names": names, "other": np.eye(3)}
    savemat(file, content, do_compression=packed)
    found = read_mat(file, ("annotations", "class_names", "absent"))
    assert found == {"annotations": READ, "class_names": ["Audi S4", "BMW"]}


def test_what_is_neither_is_none(tmp_path):
    file = tmp_path / "a.mat"
    several = np.array([np.eye(2), np.array(["ab", "cd"]), 1j, np.array([])], dtype=object)
    savemat(file, {"v": several})
    assert read_mat(file, ("v",)) == {"v": [None, None, None, None]}
    assert read_mat(written(tmp_path, array(5, (1, 1))), ("v",)) == {"v": None}


def test_the_other_order_of_bytes_is_read(tmp_path):
    number = array(6, (1, 1), double(2.5, ">"), order=">")
    assert read_mat(written(tmp_path, number, order=">"), ("v",)) == {"v": 2.5}


def test_a_struct_without_fields_or_rows_is_empty(tmp_path):
    nothing = element(5, struct.pack("<i", 8)), element(1, b"")
    assert read_mat(written(tmp_path, array(2, (1, 0), *nothing)), ("v",)) == {"v": []}
    empty = element(14, b"")
    assert read_mat(written(tmp_path, array(1, (1, 1), empty)), ("v",)) == {"v": [None]}
    assert read_mat(written(tmp_path, array(4, (0, 0))), ("v",)) == {"v": ""}


def nested(depth: int) -> bytes:
    inner = array(6, (1, 1), double(1.0))
    for _ in range(depth):
        inner = array(1, (1, 1), inner)
    return inner


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([nested(12)], "too deep"),
        ([array(1, (1000, 1000))], "too many"),
        ([element(9, b"\0" * 8)], "the unknown kind 9"),
        ([array(1, (1, 1), double(1.0))], "a cell is of the unknown kind 9"),
        ([array(4, (1, 1), double(1.0))], "text is of the unknown kind 9"),
        ([array(6, (1, 1), element(9, b"\0" * 4))], "a number is damaged"),
        ([array(6, (1, 1))], "an array ends too early"),
        ([array(6, (-1, 1), double(1.0))], "an array's head is damaged"),
        ([element(14, element(9, b"\0" * 8))], "whole numbers are damaged"),
        ([array(2, (1, 1), element(5, struct.pack("<i", 0)), element(1, b""))], "field names"),
        ([struct.pack("<II", 14, 99)], "ends within an element"),
        ([b"\0\0\0"], "within an element's tag"),
        ([struct.pack("<II", 0x90001, 0)], "tag has no meaning"),
        ([struct.pack("<II", 15, 4) + b"nope"], "cannot be unpacked"),
        ([struct.pack("<II", 15, 4) + zlib.compress(bytes(99))[:4]], "a variable ends too early"),
        ([array(4, (1, 1), element(16, b"\xff"))], "invalid start byte"),
    ],
)
def test_damage_is_told(tmp_path, content, said):
    with pytest.raises(ValueError, match=said):
        read_mat(written(tmp_path, *content), ("v",))


def test_a_small_file_cannot_unpack_to_a_large_one(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_file, "_MOST_BYTES", 1 << 20)
    packed = zlib.compress(array(4, (1, 1), element(2, bytes(2 << 20))))
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_mat(written(tmp_path, struct.pack("<II", 15, len(packed)) + packed), ("v",))


def test_newer_files_and_others_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match="save it with -v7"):
        read_mat(written(tmp_path, version=0x0200), ("v",))
    (tmp_path / "b.mat").write_bytes(b"x" * 200)
    with pytest.raises(ValueError, match="does not begin as one"):
        read_mat(tmp_path / "b.mat", ("v",))
