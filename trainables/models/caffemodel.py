"""Caffe's binary files: `NetParameter` (.caffemodel) and `BlobProto` (.binaryproto).

Field numbers are those of Caffe's `caffe.proto`. Both forms of a layer are read: today's `layer`
(field 100) and the older `layers` (field 2, "V1"), which most published files have.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.errors import DataError
from trainables.models.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    Field,
    check_count,
    read_bytes,
    read_fields,
    read_integer,
    read_integers,
    read_text,
)

#: Protocol buffers themselves end here.
MAX_BYTES = (1 << 31) - 1
MAX_AXES = 32
NET_NAME, NET_LAYERS_V1, NET_LAYERS = 1, 2, 100
#: Numbers of the fields that we read: name, type, blobs.
LAYER_FIELDS, V1_FIELDS, V1_HOLDS_V0 = (1, 2, 7), (4, 5, 6), 1
BLOB_LEGACY_SHAPE, BLOB_DATA, BLOB_SHAPE, BLOB_DOUBLES = (1, 2, 3, 4), 5, 7, 8
#: The older form's numbers for the types of layer that we ask about.
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}


class Layer(NamedTuple):
    """A layer in the file's order; `type` is Caffe's name, or empty where we have no use for it."""

    name: str
    type: str
    blobs: list[NDArray[np.float32]]


class Net(NamedTuple):
    """A network as its file spells it."""

    name: str
    layers: list[Layer]


def read_net(path: Path) -> Net:
    """Read a `.caffemodel`.

    Raises:
        DataError: when the file is damaged, hostile, too large, or of Caffe's oldest form.
    """
    data = _content(path)
    try:
        return _net(path, memoryview(data))
    except ValueError as error:
        raise DataError(f"{path} is damaged, or not a caffemodel: {error}") from error


def read_blob(path: Path) -> NDArray[np.float32]:
    """Read a `.binaryproto`, one array.

    Raises:
        DataError: when the file is damaged, hostile or too large.
    """
    data = _content(path)
    try:
        return _blob(memoryview(data))
    except ValueError as error:
        raise DataError(f"{path} is damaged, or not a binaryproto: {error}") from error


def looks_like_a_net(path: Path) -> bool:
    """Whether a file is a whole sequence of protocol buffer fields with layers among them."""
    if path.stat().st_size > MAX_BYTES:
        return False
    try:
        fields = list(_shallow(memoryview(path.read_bytes())))
    except ValueError:
        return False
    return any(f.wire == BYTES and f.number in (NET_LAYERS_V1, NET_LAYERS) for f in fields)


def _shallow(message: memoryview) -> list[Field]:
    fields = []
    for field in read_fields(message):
        fields.append(field)
        check_count(len(fields))
    return fields


def _content(path: Path) -> bytes:
    n_bytes = path.stat().st_size
    if not 0 < n_bytes <= MAX_BYTES:
        raise DataError(f"{path} has {n_bytes} bytes; Caffe's files have 1 to {MAX_BYTES}")
    return path.read_bytes()


def _net(path: Path, message: memoryview) -> Net:
    name, layers, forms = "", [], set()
    for field in _shallow(message):
        if field.number == NET_NAME:
            name = read_text(field)
        elif field.number in (NET_LAYERS, NET_LAYERS_V1):
            forms.add(field.number)
            layers.append(_layer(path, read_bytes(field), v1=field.number == NET_LAYERS_V1))
    if len(forms) > 1:
        raise ValueError("it has layers of both the old and the new form")
    if not layers:
        raise ValueError("it has no layers")
    return Net(name, layers)


def _layer(path: Path, message: memoryview, *, v1: bool) -> Layer:
    name_field, type_field, blobs_field = V1_FIELDS if v1 else LAYER_FIELDS
    name, kind, blobs = "", "", []
    for field in read_fields(message):
        if v1 and field.number == V1_HOLDS_V0:
            raise DataError(
                f"{path} is in Caffe's oldest form (V0); bring it up to date with Caffe's "
                "upgrade_net_proto_binary"
            )
        if field.number == name_field:
            name = read_text(field)
        elif field.number == type_field:
            kind = V1_TYPES.get(read_integer(field), "") if v1 else read_text(field)
        elif field.number == blobs_field:
            blobs.append(_blob(read_bytes(field)))
            check_count(len(blobs))
    return Layer(name, kind, blobs)


def _blob(message: memoryview) -> NDArray[np.float32]:
    legacy, shape, singles, doubles = {}, [], bytearray(), bytearray()
    for field in read_fields(message):
        if field.number in BLOB_LEGACY_SHAPE:
            legacy[field.number] = read_integer(field)
        elif field.number == BLOB_SHAPE:
            shape += _dimensions(read_bytes(field))
        elif field.number == BLOB_DATA:
            singles += _numbers(field, FIXED32)
        elif field.number == BLOB_DOUBLES:
            doubles += _numbers(field, FIXED64)
    if not shape and legacy:
        shape = [legacy.get(number, 0) for number in BLOB_LEGACY_SHAPE]
    flat = np.frombuffer(doubles, "<f8") if doubles else np.frombuffer(singles, "<f4")
    return _shaped(flat, shape)


def _dimensions(message: memoryview) -> list[int]:
    return [n for field in read_fields(message) if field.number == 1 for n in read_integers(field)]


def _numbers(field: Field, single: int) -> memoryview:
    """Bytes of packed numbers, or of a single one of the wire type that goes with them."""
    if field.wire == single and not isinstance(field.value, int):
        return field.value
    packed, size = read_bytes(field), 4 if single == FIXED32 else 8
    if len(packed) % size:
        raise ValueError(f"{len(packed)} bytes of numbers of {size} bytes each")
    return packed


def _shaped(flat: NDArray[np.floating], shape: list[int]) -> NDArray[np.float32]:
    if len(shape) > MAX_AXES or any(side < 0 for side in shape):
        raise ValueError(f"there is no shape {tuple(shape[:MAX_AXES])}")
    if math.prod(shape) != flat.size:
        raise ValueError(f"an array of shape {tuple(shape)} holds {flat.size} numbers")
    with np.errstate(over="ignore"):
        return flat.astype(np.float32, copy=False).reshape(shape)
