"""Pickles of any kind: of plain values in every protocol, and programs of operations."""

import pickle
from typing import Any

import numpy as np
from hypothesis import strategies as st

from trainables.models.pickled_arrays import Array, DType, Global
from trainables.models.plain_pickle import MARK

FLOATS = st.sampled_from(["<f2", "<f4", ">f4", "<f8", "|O", "<i4", "|S2"])
SHAPES = st.sampled_from([(), (0,), (2,), (2, 3), (3, 3, 2, 2), (1,) * 5])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Small arrays of any type, in either order."""
    order = draw(st.sampled_from("CF"))
    return np.ones(draw(SHAPES)).astype(draw(FLOATS), order=order)


PAIRS = st.one_of(
    st.tuples(arrays(), arrays()), st.lists(arrays(), max_size=3),
    st.fixed_dictionaries({}, optional={"weights": arrays(), "biases": arrays()}),
    st.lists(arrays(), min_size=2, max_size=2).map(lambda two: np.array([*two, None], object)[:-1]),
    st.sampled_from([None, 1.5, "x", b"y", [1, 2], np.float32(2.0), {1, 2}, 1 << 70, {}]),
)  # fmt: skip
LAYERS = st.one_of(
    st.dictionaries(st.sampled_from(["conv1", "fc6", "fc8", b"conv2", "x" * 90]), PAIRS),
    PAIRS,
)


@st.composite
def saved(draw: st.DrawFn) -> bytes:
    """What somebody could have pickled."""
    value = draw(LAYERS)
    outer = np.empty((), object) if draw(st.booleans()) else np.empty(draw(SHAPES), object)
    outer.fill(value) if outer.ndim == 0 else None
    protocol = draw(st.integers(0, pickle.HIGHEST_PROTOCOL))
    return pickle.dumps(outer if draw(st.integers(0, 5)) else value, protocol)


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


#: Operations, whole with their arguments; many more of those that are followed than of the others.
OPERATIONS = (
    *(b"(", b"(", b")", b"}", b"]", b"d", b"l", b"t", b"\x85", b"\x86", b"\x87", b"N", b"\x88"),
    *(b"\x89", b"a", b"e", b"s", b"u", b"0", b"1", b"2", b"q\x00", b"q\x01", b"h\x00", b"h\x01"),
    *(b"p0\n", b"g0\n", b"r\x00\x00\x00\x00", b"j\x00\x00\x00\x00", b"\x94", b"R", b"R", b"b"),
    *(b"b", b"\x93", b"K\x02", b"K\x00", b"I01\n", b"L3L\n", b"F1.5\n", b"\x8a\x01\x05"),
    *(b"X\x01\x00\x00\x00a", b"\x8c\x02f4", b"\x8c\x01O", b"\x8c\x01<", b"\x8c\x01|", b"S'f4'\n"),
    *(b"C\x04\x00\x00\x80?", b"B\x00\x00\x00\x00", b"\x8c\x06latin1", b"\x8c\x05utf-8", b"Vx\n"),
    *(_global("numpy", "dtype"), _global("numpy", "ndarray"), _global("_codecs", "encode")),
    *(_global("numpy.core.multiarray", "_reconstruct"), _global("numpy.core.multiarray", "scalar")),
    *(_global("numpy._core.numeric", "_frombuffer"), _global("os", "system"), b"\x8c\x05numpy"),
    *(b"\x8c\x05dtype", b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"\x80\x04"),
    *(b"\x95\x01\x00\x00\x00\x00\x00\x00\x00", b"P1\n", b"Q", b"\x81", b"\x8f", b"i_a\nb\n"),
)  # fmt: skip


def programs() -> st.SearchStrategy[bytes]:
    """Operations in any order; few of them end well."""
    some = st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=14)
    return some.map(lambda operations: b"".join(operations) + b".")


def pickles() -> st.SearchStrategy[bytes]:
    """Either."""
    return st.one_of(saved(), programs())


def plain(value: Any) -> bool:
    """Whether a value is made of what the reader promises, and nothing else."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value)
    known = (Array, DType, Global, str, bytes, bytearray, int, float, list, tuple, bool)
    return value is None or value is MARK or isinstance(value, known)
