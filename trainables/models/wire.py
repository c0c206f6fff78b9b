"""Protocol buffers' wire format, read with suspicion: just what Caffe's files need.

Every length is checked against what remains, nothing is allocated from what a file claims, and
nothing recurses: a field of another message stays an unread slice until somebody asks for it.
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
MAX_FIELD_NUMBER = (1 << 29) - 1
#: Values of a repeated field that is no number: a bound on small objects from small bytes.
MAX_REPEATED = 4096


class Field(NamedTuple):
    """One field: an int for a varint, the raw bytes for every other wire type."""

    number: int
    wire: int
    value: int | memoryview


def read_fields(message: memoryview) -> Iterator[Field]:
    """Fields of one message, in the file's order; unknown ones too.

    Raises:
        ValueError: at the first byte that no writer of protocol buffers makes.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= MAX_FIELD_NUMBER:
            raise ValueError(f"there is no field number {number}")
        if wire == VARINT:
            value, at = _varint(message, at)
        else:
            length, at = _length(message, at, wire)
            if length > len(message) - at:
                raise ValueError(f"a field of {length} bytes has {len(message) - at} left")
            value, at = message[at : at + length], at + length
        yield Field(number, wire, value)


def _length(message: memoryview, at: int, wire: int) -> tuple[int, int]:
    if wire == BYTES:
        return _varint(message, at)
    if wire not in (FIXED32, FIXED64):
        raise ValueError(f"wire type {wire} is none that Caffe writes")
    return 4 if wire == FIXED32 else 8, at


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The unsigned number at a position, and the position after it."""
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if at + index >= len(message):
            raise ValueError("it ends inside a number")
        byte = message[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at + index + 1
    raise ValueError("a number does not fit 64 bits")


def read_text(field: Field) -> str:
    """The text of a string field.

    Raises:
        ValueError: for a field of another type.
    """
    return bytes(read_bytes(field)).decode("utf-8", "replace")


def read_bytes(field: Field) -> memoryview:
    """The content of a field with a length: a string, a message, packed numbers.

    Raises:
        ValueError: for a field of another type.
    """
    if field.wire != BYTES or isinstance(field.value, int):
        raise ValueError(f"field {field.number} has wire type {field.wire}, wanted {BYTES}")
    return field.value


def read_integers(field: Field) -> list[int]:
    """Signed 64-bit integers of a field, packed or single.

    Raises:
        ValueError: for a field of another type, and for too many of them.
    """
    if field.wire == VARINT and isinstance(field.value, int):
        return [_signed(field.value)]
    packed, values, at = read_bytes(field), [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(_signed(value))
        check_count(len(values))
    return values


def read_integer(field: Field) -> int:
    """The last integer of a field, the one that counts where a field comes twice.

    Raises:
        ValueError: for a field of another type, and for none.
    """
    values = read_integers(field)
    if not values:
        raise ValueError(f"field {field.number} has no value")
    return values[-1]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def check_count(n_values: int) -> None:
    """Refuse more values of a repeated field than any real file has.

    Raises:
        ValueError: above `MAX_REPEATED`.
    """
    if n_values > MAX_REPEATED:
        raise ValueError(f"a field is repeated more than {MAX_REPEATED} times")
