"""The head of a `.npy` file, and the plain array behind it; never a pickle."""

import math
import tokenize
import warnings
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

MAGIC = npy_format.MAGIC_PREFIX


class Header(NamedTuple):
    """What the file says of its array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


def read_header(file: BinaryIO) -> Header:
    """Read up to where the array begins.

    Raises:
        ValueError: when this is no header of numpy's.
    """
    readers = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }
    version = npy_format.read_magic(file)
    if version not in readers:
        raise ValueError(f"version {version} is unknown")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's on headers that Python 2 wrote
        try:
            return Header(*readers[version](file))
        except (SyntaxError, tokenize.TokenError, TypeError) as error:  # numpy's on damaged ones
            raise ValueError(f"its header is damaged ({error})") from error


def read_array(path: Path) -> NDArray[np.floating]:
    """Read a plain array of floats; memory stays within the file's length.

    Raises:
        ValueError: when the file is damaged, or holds anything else.
    """
    with path.open("rb") as file:
        header, content = read_header(file), file.read()
    if header.dtype.kind != "f":
        raise ValueError(f"it holds {header.dtype}, not floats")
    wanted = math.prod(header.shape) * header.dtype.itemsize
    if min(header.shape, default=0) < 0 or wanted != len(content):
        raise ValueError(
            f"an array of shape {header.shape} takes {wanted} bytes, not {len(content)}"
        )
    order = "F" if header.fortran else "C"
    return np.frombuffer(content, header.dtype).reshape(header.shape, order=order)
