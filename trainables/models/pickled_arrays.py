"""What numpy's arrays are made of in a pickle, as stand-ins that run nothing of the file's."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What arrays are made of, by numpy 1's and numpy 2's names.
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
RECONSTRUCT, SCALAR, FROMBUFFER = "_reconstruct", "scalar", "_frombuffer"
NDARRAY, DTYPE, ENCODE = "ndarray", "dtype", "encode"
KNOWN = {
    **{f"{module} {name}": name for module in _MODULES for name in (RECONSTRUCT, SCALAR)},
    **{f"{module} {FROMBUFFER}": FROMBUFFER for module in _NUMERIC},
    "numpy ndarray": NDARRAY,
    "numpy dtype": DTYPE,
    "_codecs encode": ENCODE,
}
FLOATS = ("f2", "f4", "f8")
OBJECTS = "O8"
MAX_AXES = 32


class ForbiddenError(ValueError):
    """The pickle holds Python objects that are no plain numbers."""


class Global(NamedTuple):
    """A name of `KNOWN`, in the place of the object that unpickling would fetch."""

    name: str


class DType:
    """The type of an array's elements, and its byte order once the pickle has told it."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def numpy(self) -> np.dtype:
        """As numpy's; floats only."""
        return np.dtype(f"{self.order}{self.code}")


class Array:
    """An array: `value` is floats, or the list of an array of objects, once its state is known."""

    def __init__(self, value: NDArray[np.floating] | list | None = None) -> None:
        self.value = value


def order_of(mark: Any) -> str:
    """The byte order that a type's state names."""
    mark = text_of(mark)
    if mark not in ("<", ">", "=", "|"):
        raise ValueError("no byte order")
    return "=" if mark == "|" else mark


def text_of(value: Any) -> str:
    """Python 2 wrote texts as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(value: Any) -> bytes | bytearray:
    """Python 2 wrote bytes as texts, of which `pickletools` makes Latin-1."""
    return value.encode("latin-1") if isinstance(value, str) else value


def filled(content: Any, dtype: Any, shape: Any, *, fortran: bool) -> Any:
    """The array, or for an array of objects their list, that a state describes.

    Raises:
        ValueError: when the state's parts do not fit one another.
    """
    if type(dtype) is not DType:
        raise ValueError("an array without a type")
    if type(shape) is not tuple or len(shape) > MAX_AXES or not all(map(_is_side, shape)):
        raise ValueError("an array without a shape")
    if dtype.code == OBJECTS:
        if type(content) is not list or math.prod(shape) != len(content):
            raise ValueError("an array of objects without its objects")
        return content
    flat = np.frombuffer(_bytes(content), dtype.numpy())
    if math.prod(shape) != flat.size:
        raise ValueError(f"an array of shape {shape} holds {flat.size} numbers")
    return flat.reshape(shape, order="F" if fortran else "C")


def _is_side(side: Any) -> bool:
    return type(side) is int and side >= 0


def _make_dtype(code: Any, *_: Any) -> DType:
    code = text_of(code)
    if code == "O":
        code = OBJECTS
    if code not in (*FLOATS, OBJECTS):
        raise ForbiddenError(f"an array of type {str(code)[:20]}")
    return DType(code)


def _make_scalar(dtype: Any, content: Any) -> float:
    return float(filled(content, dtype, (), fortran=False))


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> Array:
    return Array(filled(content, dtype, shape, fortran=text_of(order) == "F"))


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenError("a text encoded otherwise than numpy does")
    return text.encode("latin-1")


CALLS: dict[str, Callable[..., Any]] = {
    RECONSTRUCT: lambda *_: Array(),
    SCALAR: _make_scalar,
    FROMBUFFER: _from_buffer,
    DTYPE: _make_dtype,
    ENCODE: _encode,
}
