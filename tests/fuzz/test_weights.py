"""Weights of strangers: tensors, or a DataError; nothing in them runs."""

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from tests.fuzz.changed import files, fuzz, told
from tests.fuzz.pickles import pickles, plain
from tests.fuzz.trees import trees
from tests.trainables.conftest import Proto
from trainables.errors import DataError
from trainables.models.mean_image import read_mean_image
from trainables.models.plain_pickle import read_pickle
from trainables.models.weights import read_weights
from trainables.spec import ModelSpec

ALEXNET = ModelSpec(name="alexnet")
TENSORS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


def caffemodel() -> bytes:
    proto = Proto()
    arrays = [np.ones((2, 3), np.float32), np.zeros(2, np.float32)]
    layers = [("conv1", "Convolution", arrays), ("relu1", "ReLU")]
    return proto.net("AlexNet", layers, proto.layer)


def npy(allow: bool) -> bytes:
    buffer = io.BytesIO()
    layers = {"conv1": [np.ones((2, 3), np.float32), np.zeros(2, np.float32)]}
    plain = np.ones((3, 4, 4), np.float32)
    np.save(buffer, np.array(layers, dtype=object) if allow else plain, allow_pickle=allow)
    return buffer.getvalue()


def torch_file(zipped: bool, content: Any = TENSORS) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


#: Of a `.npy` file; what follows is a pickle.
HEAD_OF_OBJECTS = npy(allow=True).partition(b"\n")[0] + b"\n"


@st.composite
def nets(draw: st.DrawFn) -> bytes:
    """Layers of both forms, some of the network's own names, with arrays that need not fit."""
    proto, layers = Proto(), []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(["conv1", "norm1", "fc6", "fc8", "fc8_flickr", "other", ""]))
        kind = draw(st.sampled_from(["Convolution", "InnerProduct", "LRN", "Pooling", "ReLU"]))
        shapes = draw(st.lists(st.sampled_from([(2,), (2, 3), (1, 1, 1, 2), ()]), max_size=3))
        write = draw(st.sampled_from([proto.layer, proto.layer, proto.v1_layer]))
        layers.append(write(name, kind, [np.ones(shape, "f4") for shape in shapes]))
    extra = draw(
        st.sampled_from([b"", b"", proto.number(3, 1), proto.bytes_(2, proto.number(1, 1))])
    )
    name = draw(st.sampled_from(["AlexNet", "CaffeNet", "x"]))
    return proto.text(1, name) + b"".join(layers) + extra


def blobs() -> st.SearchStrategy[bytes]:
    """Fields of an array in any order and number: shapes of both forms, numbers of both sizes."""
    proto, ones = Proto(), np.ones(6, "<f4").tobytes()
    parts = (
        *(proto.bytes_(7, proto.bytes_(1, b"\x03\x02")), proto.bytes_(7, proto.number(1, 2))),
        *(proto.number(1, 1), proto.number(2, 3), proto.number(3, 2), proto.number(4, 1)),
        *(
            proto.bytes_(5, ones),
            proto.single(5, 1.0),
            proto.bytes_(8, ones),
            proto.bytes_(8, b"x"),
        ),
        *(proto.bytes_(7, proto.bytes_(1, b"")), proto.number(1, 1 << 63), proto.bytes_(1, b"")),
        *(proto.bytes_(7, proto.bytes_(1, b"\x01" * 40)), b"\x2c", b"\x29" + b"\x00" * 8, b"\x00"),
    )
    return st.lists(st.sampled_from(parts), max_size=6).map(b"".join)


def safetensors() -> st.SearchStrategy[bytes]:
    """The file with another header before the same numbers."""
    whole = save(TENSORS)
    n_header = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + n_header])

    def with_header(value) -> bytes:
        text = json.dumps(value).encode()
        return len(text).to_bytes(8, "little") + text + whole[8 + n_header :]

    return trees(header).map(with_header)


def torch_files() -> st.SearchStrategy[bytes]:
    """What somebody could have saved by torch, tensors or not."""
    values = (TENSORS, {"a": 1, "b": torch.ones(2)}, [torch.ones(1)], 3, {1: torch.ones(1)}, {})
    return st.builds(torch_file, st.booleans(), st.sampled_from(values))


OTHERS = {
    "a.caffemodel": nets(),
    "a.npy": pickles().map(lambda pickled: HEAD_OF_OBJECTS + pickled),
    "a.safetensors": safetensors(),
    "a.pt": torch_files(),
    "a.pth": torch_files(),
}
VALID = {
    "a.caffemodel": caffemodel(),
    "a.npy": npy(allow=True),
    "a.safetensors": save(TENSORS),
    "a.pt": torch_file(zipped=True),
    "a.pth": torch_file(zipped=False),
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory) -> Path:
    """A folder; every reader has been used once, so that its imports are not counted."""
    folder = tmp_path_factory.mktemp("weights")
    for name, content in VALID.items():
        (folder / name).write_bytes(content)
        with suppress(DataError):
            read_weights(folder / name, ALEXNET)
    return folder


@pytest.mark.parametrize("name", sorted(VALID))
@fuzz()
@given(data=st.data())
def test_weights_are_read_or_refused(place, name, data):
    file = place / name
    file.write_bytes(data.draw(st.one_of(files(VALID[name]), OTHERS[name])))
    try:
        tensors = read_weights(file, ALEXNET)
    except DataError as error:
        told(error)
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


@fuzz()
@given(pickled=pickles())
def test_a_pickle_becomes_plain_values_or_is_refused(pickled):
    try:
        value = read_pickle(pickled)
    except ValueError as error:
        told(error)
        return
    assert plain(value)


@pytest.mark.parametrize("name", ["mean.npy", "mean.binaryproto"])
@fuzz()
@given(data=st.data())
def test_mean_images_are_read_or_refused(place, name, data):
    valid = npy(allow=False) if name == "mean.npy" else Proto().blob(np.ones((1, 3, 4, 4), "f4"))
    other = st.binary(max_size=9) if name == "mean.npy" else blobs()
    file = place / name
    file.write_bytes(data.draw(st.one_of(files(valid), other)))
    try:
        read_mean_image(file, 3)
    except DataError as error:
        told(error)
