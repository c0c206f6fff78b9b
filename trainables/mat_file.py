"""MATLAB's level 5 files, as far as annotations go: text, single numbers, cells and structs.

Own, in plain Python, since scipy's reader can end the process on a damaged file (a segmentation
fault, found by changing bytes at random). The format is MathWorks' "MAT-File Format".
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

#: `miXXX` of the format: how to unpack one number.
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
_MATRIX, _COMPRESSED = 14, 15
_TEXT = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
#: `mxXXX_CLASS`.
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_COMPLEX = 0x0800
_HEADER_BYTES = 128
#: Of a variable, unpacked, and of the cells in a file: those of all Cars are 14 MB and 113,000.
_MOST_BYTES, _MOST_CELLS, _MOST_DEPTH = 64 << 20, 200_000, 8


def read_mat(file: Path, names: Collection[str]) -> dict[str, Any]:
    """Read variables of a file.

    Args:
        file: of MATLAB 5 to 7.2.
        names: of the variables; others are passed over.

    Returns:
        By name, those that are there: text as str, a single real number as int or float, a cell
        array as a list, a struct array as a list of dicts, both in MATLAB's order of elements;
        None for anything else.

    Raises:
        ValueError: for what is no such file, or damaged.
    """
    content = memoryview(file.read_bytes())
    if len(content) < _HEADER_BYTES or bytes(content[126:128]) not in (b"IM", b"MI"):
        raise ValueError("it does not begin as one")
    order = "<" if bytes(content[126:128]) == b"IM" else ">"
    version = struct.unpack_from(f"{order}H", content, 124)[0]
    if version != 0x0100:
        raise ValueError("it is of MATLAB 7.3 or of another version; save it with -v7")
    reader = _Reader(order, names)
    for kind, data in reader.elements(content[_HEADER_BYTES:], padded=False):
        reader.variable(kind, data)
    return reader.found


class _Reader:
    def __init__(self, order: str, names: Collection[str]) -> None:
        self._order, self._names = order, names
        self._n_cells = 0
        self.found: dict[str, Any] = {}

    def elements(
        self, data: memoryview, *, padded: bool = True
    ) -> Iterator[tuple[int, memoryview]]:
        """Kind and bytes of the elements that lie one after another."""
        at = 0
        while at < len(data):
            kind, n_bytes, start = self._tag(data[at:])
            end = at + start + n_bytes
            if end > len(data):
                raise ValueError("it ends within an element")
            yield kind, data[at + start : end]
            at = at + 8 if start == 4 else end + (-end % 8 if padded else 0)

    def _tag(self, data: memoryview) -> tuple[int, int, int]:
        """Kind and size of an element, and where its bytes begin: small ones share the tag."""
        if len(data) < 8:
            raise ValueError("it ends within an element's tag")
        kind, n_bytes = struct.unpack_from(f"{self._order}II", data)
        if kind >> 16 == 0:
            return kind, n_bytes, 8
        if kind >> 16 > 4:
            raise ValueError("an element's tag has no meaning")
        return kind & 0xFFFF, kind >> 16, 4

    def variable(self, kind: int, data: memoryview) -> None:
        """Keep a variable if its name is wanted."""
        if kind == _COMPRESSED:
            kind, data = next(self.elements(_unpacked(data), padded=False), (0, data))
        if kind != _MATRIX:
            raise ValueError(f"a variable is of the unknown kind {kind}")
        parts = self.elements(data)
        flags, shape, name = self._head(parts)
        if name in self._names:
            self.found[name] = self._value(flags, shape, parts, 0)

    def _head(self, parts: Iterator[tuple[int, memoryview]]) -> tuple[int, tuple[int, ...], str]:
        flags, shape = (self._integers(*_next(parts)) for _ in range(2))
        _, name = _next(parts)
        if not flags or not shape or min(shape) < 0:
            raise ValueError("an array's head is damaged")
        return flags[0], shape, bytes(name).decode("latin-1")

    def _integers(self, kind: int, data: memoryview) -> tuple[int, ...]:
        code = _NUMBERS.get(kind, "f")
        if code in "fd" or len(data) % struct.calcsize(code):
            raise ValueError("whole numbers are damaged")
        return struct.unpack(f"{self._order}{len(data) // struct.calcsize(code)}{code}", data)

    def _value(
        self,
        flags: int,
        shape: tuple[int, ...],
        parts: Iterator[tuple[int, memoryview]],
        depth: int,
    ) -> Any:
        """An array by its class; `parts` are its elements after the head."""
        kind, n = flags & 0xFF, math.prod(shape)
        if kind == _CHAR:
            return self._text(shape, *_next(parts)) if n else ""
        if kind in _NUMERIC and n == 1 and not flags & _COMPLEX:
            return self._number(*_next(parts))
        if kind == _CELL:
            return self._cells(n, parts, depth)
        if kind == _STRUCT:
            return self._structs(n, parts, depth)
        return None

    def _cells(self, n: int, parts: Iterator[tuple[int, memoryview]], depth: int) -> list[Any]:
        self._n_cells += n
        if self._n_cells > _MOST_CELLS or depth > _MOST_DEPTH:
            raise ValueError("its cells are too many, or too deep in one another")
        return [self._cell(*_next(parts), depth + 1) for _ in range(n)]

    def _cell(self, kind: int, data: memoryview, depth: int) -> Any:
        if kind != _MATRIX:
            raise ValueError(f"a cell is of the unknown kind {kind}")
        if not len(data):
            return None
        parts = self.elements(data)
        flags, shape, _ = self._head(parts)
        return self._value(flags, shape, parts, depth)

    def _structs(
        self, n: int, parts: Iterator[tuple[int, memoryview]], depth: int
    ) -> list[dict[str, Any]]:
        width = self._integers(*_next(parts))
        _, joined = _next(parts)
        if len(width) != 1 or width[0] < 1 or len(joined) % width[0]:
            raise ValueError("a struct's field names are damaged")
        cut = (bytes(joined[at : at + width[0]]) for at in range(0, len(joined), width[0]))
        names = [name.partition(b"\0")[0].decode("latin-1") for name in cut]
        values = self._cells(n * len(names), parts, depth) if names else []
        rows = (values[at : at + len(names)] for at in range(0, len(values), len(names) or 1))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _number(self, kind: int, data: memoryview) -> float:
        code = _NUMBERS.get(kind)
        if code is None or len(data) != struct.calcsize(code):
            raise ValueError("a number is damaged")
        return struct.unpack(f"{self._order}{code}", data)[0]

    def _text(self, shape: tuple[int, ...], kind: int, data: memoryview) -> str | None:
        """One line of text; several rows of characters are none."""
        if kind not in _TEXT:
            raise ValueError(f"text is of the unknown kind {kind}")
        if shape[0] != 1 or len(shape) > 2:
            return None
        ending = "-le" if self._order == "<" else "-be"
        encoding = _TEXT[kind]
        return bytes(data).decode(encoding + (ending if encoding in ("utf-16", "utf-32") else ""))


def _next(parts: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    part = next(parts, None)
    if part is None:
        raise ValueError("an array ends too early")
    return part


def _unpacked(data: memoryview) -> memoryview:
    packed = zlib.decompressobj()
    try:
        content = packed.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"a variable cannot be unpacked ({error})") from None
    if packed.unconsumed_tail:
        raise ValueError(f"a variable has more than {_MOST_BYTES >> 20} MiB")
    if not packed.eof:
        raise ValueError("a variable ends too early")
    return memoryview(content)
