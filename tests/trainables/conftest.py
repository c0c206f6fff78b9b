"""Files of Caffe's, written byte for byte by the rules of protocol buffers; a prepared plan."""

import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from orchestrator.plan import Plan
from tests.trainables.one_stage import plan_of
from trainables import stage_run


class Proto:
    """Fields of a message, as bytes to be joined."""

    @staticmethod
    def varint(value: int) -> bytes:
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    def number(self, field: int, value: int) -> bytes:
        return self.varint(field << 3) + self.varint(value % (1 << 64))

    def bytes_(self, field: int, content: bytes) -> bytes:
        return self.varint(field << 3 | 2) + self.varint(len(content)) + content

    def text(self, field: int, content: str) -> bytes:
        return self.bytes_(field, content.encode())

    def single(self, field: int, value: float) -> bytes:
        return self.varint(field << 3 | 5) + struct.pack("<f", value)

    def blob(self, array: np.ndarray) -> bytes:
        """A BlobProto as Caffe writes it now: shape, packed floats."""
        shape = b"".join(self.varint(side) for side in array.shape)
        data = array.astype("<f4").tobytes()
        return self.bytes_(7, self.bytes_(1, shape)) + self.bytes_(5, data)

    def legacy_blob(self, array: np.ndarray) -> bytes:
        """A BlobProto as Caffe wrote it at first: four axes."""
        sides = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(self.number(field, side) for field, side in enumerate(sides, 1))
        return shape + self.bytes_(5, array.astype("<f4").tobytes())

    def layer(self, name: str, kind: str, arrays: Sequence[np.ndarray] = ()) -> bytes:
        blobs = b"".join(self.bytes_(7, self.blob(array)) for array in arrays)
        return self.bytes_(100, self.text(1, name) + self.text(2, kind) + blobs)

    def v1_layer(self, name: str, kind: str, arrays: Sequence[np.ndarray] = ()) -> bytes:
        types = {"Convolution": 4, "InnerProduct": 14, "LRN": 15, "Pooling": 17, "ReLU": 18}
        blobs = b"".join(self.bytes_(6, self.legacy_blob(array)) for array in arrays)
        return self.bytes_(2, blobs + self.text(4, name) + self.number(5, types[kind]))

    def net(self, name: str, layers: Sequence[tuple], layer: Callable[..., bytes]) -> bytes:
        return self.text(1, name) + b"".join(layer(*each) for each in layers)


@pytest.fixture(scope="session")
def proto() -> Proto:
    """A writer of Caffe's files."""
    return Proto()


@pytest.fixture
def stages(tmp_path, small_recipe, monkeypatch) -> Callable[..., Plan]:
    """Make the plan of the small recipe, changed, with its views prepared."""
    monkeypatch.setattr(stage_run, "PROGRESS_EVERY_S", 0.0)
    return lambda **fields: plan_of(tmp_path, small_recipe | fields)
