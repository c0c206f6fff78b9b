"""Weights of strangers: tensors, or a DataError; nothing in them runs."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from tests.fuzz.changed import files, fuzz, told
from tests.trainables.conftest import Proto
from trainables.errors import DataError
from trainables.models.mean_image import read_mean_image
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


def torch_file(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


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


@fuzz()
@given(name=st.sampled_from(sorted(VALID)), data=st.data())
def test_weights_are_read_or_refused(place, name, data):
    file = place / name
    file.write_bytes(data.draw(files(VALID[name])))
    try:
        tensors = read_weights(file, ALEXNET)
    except DataError as error:
        told(error)
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


@fuzz()
@given(name=st.sampled_from(["mean.npy", "mean.binaryproto"]), data=st.data())
def test_mean_images_are_read_or_refused(place, name, data):
    valid = npy(allow=False) if name == "mean.npy" else Proto().blob(np.ones((1, 3, 4, 4), "f4"))
    file = place / name
    file.write_bytes(data.draw(files(valid)))
    try:
        read_mean_image(file, 3)
    except DataError as error:
        told(error)
