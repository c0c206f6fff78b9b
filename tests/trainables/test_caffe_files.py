"""Caffemodels and binaryprotos: what is read, and that no byte of a hostile one does harm."""

import contextlib
import struct

import numpy as np
import pytest
import torch

from trainables.errors import DataError
from trainables.models import build_model, caffemodel
from trainables.models.caffemodel import Net, looks_like_a_net, read_blob, read_net
from trainables.models.mean_image import MEAN_IMAGE, MeanImage, read_mean_image
from trainables.models.normalise import normalise
from trainables.models.weights import read_weights
from trainables.models.wire import read_fields, read_integer
from trainables.spec import ModelSpec

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7
BIAS = np.array([0.5, -2.0], np.float32)
LAYERS = [("conv1", "Convolution", [WEIGHT, BIAS]), ("norm1", "LRN"), ("pool1", "Pooling")]


def net_of(tmp_path, content: bytes) -> Net:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    return read_net(path)


def refused(tmp_path, content: bytes, match: str, model: str = "alexnet") -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_weights(path, ModelSpec(name=model))


@pytest.mark.parametrize("form", ["layer", "v1_layer"])
def test_both_forms_of_layers_are_read(tmp_path, proto, form):
    net = net_of(tmp_path, proto.net("AlexNet", LAYERS, getattr(proto, form)))
    assert net.name == "AlexNet"
    assert [(layer.name, layer.type) for layer in net.layers] == [x[:2] for x in LAYERS]
    weight, bias = net.layers[0].blobs
    assert np.array_equal(weight, WEIGHT)
    assert np.array_equal(bias.ravel(), BIAS)
    assert bias.shape == ((2,) if form == "layer" else (1, 1, 1, 2))


def test_numbers_are_read_however_they_are_packed(tmp_path, proto):
    path = tmp_path / "mean.binaryproto"
    shape = proto.bytes_(7, proto.bytes_(1, b"\x02"))
    pieces = b"".join(proto.bytes_(5, struct.pack("<f", value)) for value in BIAS)
    ways = {
        "packed in pieces": shape + pieces,
        "one by one": b"".join(proto.single(5, value) for value in BIAS) + shape,
        "doubles": shape + proto.bytes_(8, struct.pack("<2d", *BIAS)),
        "a dimension alone": proto.bytes_(7, proto.number(1, 2)) + pieces,
        "unknown fields": proto.text(99, "x") + shape + pieces + proto.number(1000, 7),
        "gradients too": shape + pieces + proto.bytes_(6, b"\0" * 8),
    }
    for way, content in ways.items():
        path.write_bytes(content)
        assert np.array_equal(read_blob(path), BIAS), way


@pytest.mark.parametrize("form", ["layer", "v1_layer"])
def test_a_file_cut_anywhere_is_refused_or_has_lost_whole_layers(tmp_path, proto, form):
    whole = proto.net("AlexNet", LAYERS, getattr(proto, form))
    lost = 0
    for n_bytes in range(len(whole)):
        try:
            net = net_of(tmp_path, whole[:n_bytes])
        except DataError:
            continue
        lost += 1
        assert len(net.layers) < len(LAYERS)
    assert lost == len(LAYERS) - 1


@pytest.mark.parametrize("form", ["layer", "v1_layer"])
def test_a_changed_byte_never_ends_in_more_than_a_refusal(tmp_path, proto, form):
    whole = bytearray(proto.net("AlexNet", LAYERS[:2], getattr(proto, form)))
    for at in range(len(whole)):
        before = whole[at]
        for value in {0x00, 0x7F, 0x80, 0xFF, before ^ 1, before ^ 4}:
            whole[at] = value
            with contextlib.suppress(DataError):
                assert net_of(tmp_path, bytes(whole)).layers
        whole[at] = before


@pytest.mark.parametrize("length", [1 << 20, 1 << 31, 1 << 62, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("depth", range(4))
def test_lengths_that_lie_are_refused(tmp_path, proto, length, depth):
    content = b"\x2a" + proto.varint(length) + b"\0" * 8
    for field in [7, 7, 100][3 - depth :]:
        content = proto.bytes_(field, content)
    refused(tmp_path, content, "damaged.*: ")


def test_numbers_longer_than_64_bits_are_refused(proto):
    assert list(read_fields(memoryview(b"\x08" + proto.varint((1 << 64) - 1))))
    for digits in (b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\x80" * 4096 + b"\x01"):
        with pytest.raises(ValueError, match="64 bits"):
            list(read_fields(memoryview(b"\x08" + digits)))


@pytest.mark.parametrize("tag", [b"\x03", b"\x0b", b"\x0c", b"\x0e", b"\x0f", b"\x00", b"\x02"])
def test_what_no_writer_writes_is_refused(tag):
    with pytest.raises(ValueError, match=r"wire type|field number"):
        list(read_fields(memoryview(tag + b"\0" * 8)))


@pytest.mark.parametrize("field", [1, 2, 7, 99, 100])
def test_deep_nests_are_not_descended(tmp_path, proto, field):
    content = b""
    for _ in range(2000):
        content = proto.bytes_(field, content)
    refused(tmp_path, proto.bytes_(100, content), "net.caffemodel ")


@pytest.mark.parametrize(
    "shape", [[1 << 62] * 32, [1 << 40], [2, -1], [-1, -2], [0], [1] * 33, [1 << 32, 1 << 32], []]
)
def test_shapes_that_lie_are_refused(tmp_path, proto, shape):
    dimensions = proto.bytes_(7, b"".join(proto.number(1, side) for side in shape))
    blob = dimensions + proto.bytes_(5, BIAS.tobytes())
    refused(tmp_path, proto.bytes_(100, proto.bytes_(7, blob)), "shape")


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 5])
def test_broken_floats_are_refused(tmp_path, proto, n_bytes):
    blob = proto.bytes_(5, b"\0" * n_bytes)
    refused(tmp_path, proto.bytes_(100, proto.bytes_(7, blob)), "4 bytes each")


@pytest.mark.parametrize("field", [100, 7])
def test_more_parts_than_any_network_has_are_refused(tmp_path, proto, field):
    many = proto.bytes_(field, b"") * 5000 if field == 100 else proto.bytes_(100, b"\x3a\0" * 5000)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(many)
    with pytest.raises(DataError):
        read_net(path)


def test_an_empty_file_and_a_text_are_refused(tmp_path):
    refused(tmp_path, b"", "has 0 bytes")
    refused(tmp_path, b"<html>not found</html>", "not a caffemodel")


def test_caffes_oldest_form_names_the_tool_that_mends_it(tmp_path, proto):
    oldest = proto.bytes_(2, proto.bytes_(1, proto.text(1, "conv1")))
    refused(tmp_path, oldest, "oldest form.*upgrade_net_proto_binary")


def test_both_forms_at_once_are_refused(tmp_path, proto):
    refused(tmp_path, proto.layer(*LAYERS[0]) + proto.v1_layer(*LAYERS[0]), "both the old and")


def test_another_networks_layers_are_listed(tmp_path, proto):
    vgg = [("conv1_1", "Convolution", [WEIGHT, BIAS]), ("conv1", "Convolution", [WEIGHT])]
    match = (
        r"does not hold the weights of alexnet:\n  conv1.weight: shape \(2, 3, 2, 2\), "
        r"wanted \(96, 3, 11, 11\)\n  conv1.bias: missing\n  conv2.weight: missing"
    )
    refused(tmp_path, proto.net("VGG", vgg, proto.layer), match)


def test_pooling_without_normalisation_is_another_network(tmp_path, proto):
    refused(tmp_path, proto.net("AlexNet", LAYERS[::2], proto.layer), "no normalisation layers")


def test_a_layer_that_comes_twice_is_refused(tmp_path, proto):
    twice = [LAYERS[0], LAYERS[0], *LAYERS[1:]]
    refused(tmp_path, proto.net("AlexNet", twice, proto.layer), "two layers 'conv1'")


@pytest.mark.parametrize(
    ("name", "layers", "model", "said"),
    [
        ("AlexNet", LAYERS, "caffenet", "trained as alexnet.*--model.name alexnet"),
        ("CaffeNet", LAYERS[::2] + LAYERS[1:2], "alexnet", "as caffenet.*--model.name caffenet"),
        ("AlexNet", LAYERS[::2] + LAYERS[1:2], "alexnet", "as caffenet"),
        ("CaffeNet", LAYERS[:1], "alexnet", "as caffenet"),
        ("AlexNet", LAYERS[:1], "caffenet", "as alexnet"),
        ("mine", LAYERS[:1], "caffenet", "does not hold the weights of caffenet"),
        ("AlexNet", LAYERS, "resnet18", "fit alexnet and caffenet, not resnet18"),
    ],
)
def test_the_two_networks_are_never_exchanged(tmp_path, proto, name, layers, model, said):
    refused(tmp_path, proto.net(name, layers, proto.layer), said, model)


@pytest.mark.parametrize("name", ["net.caffemodel", "weights", "weights.pt"])
def test_a_caffemodel_is_known_by_its_content(tmp_path, proto, name):
    path = tmp_path / name
    path.write_bytes(proto.net("AlexNet", LAYERS, proto.layer))
    with pytest.raises(DataError, match="does not hold the weights of alexnet"):
        read_weights(path, ModelSpec())


@pytest.fixture
def mean_bgr() -> np.ndarray:
    generator = np.random.default_rng(3)
    return (100 + 30 * generator.random((3, 256, 256))).astype(np.float32)


@pytest.mark.parametrize("kind", ["binaryproto", "blob", "npy", "npy of doubles", "fortran"])
def test_mean_images_are_cut_in_the_centre(tmp_path, proto, mean_bgr, kind):
    path = tmp_path / "mean"
    if kind in ("binaryproto", "blob"):
        write = proto.legacy_blob if kind == "binaryproto" else proto.blob
        path.write_bytes(write(mean_bgr))
    else:
        array = mean_bgr.astype(np.float64) if "doubles" in kind else mean_bgr
        with path.open("wb") as file:
            np.save(file, np.asfortranarray(array) if kind == "fortran" else array)
    cut = read_mean_image(path, 227)
    assert cut.dtype == torch.float32
    assert np.array_equal(cut[0].numpy(), mean_bgr[:, 14:241, 14:241])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((3, 200, 256), 9.0), "at least 227 px"),
        (np.full((256, 256, 3), 9.0), r"shape \(256, 256, 3\)"),
        (np.full((3, 256, 256), 0.4), "scale of photos"),
        (np.full((3, 256, 256), np.nan), "scale of photos"),
        (np.full((3, 256, 256), 9), "not floats"),
        (np.array([{"mean": 1}], dtype=object), "not floats"),
    ],
)
def test_what_is_no_mean_image_is_refused(tmp_path, array, said):
    path = tmp_path / "mean.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        read_mean_image(path, 227)


def test_a_mean_image_that_is_cut_short_or_absent_is_refused(tmp_path, proto, mean_bgr):
    path = tmp_path / "mean"
    with pytest.raises(DataError, match=r"no mean image.*--model\.mean-image"):
        read_mean_image(path, 227)
    np.save(tmp_path / "mean.npy", mean_bgr)
    plain = (tmp_path / "mean.npy").read_bytes()
    for content in (plain[:-1], plain[:200], plain[:30], proto.legacy_blob(mean_bgr)[:-1], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"mean (is damaged|has 0 bytes)"):
            read_mean_image(path, 227)


def test_the_mean_image_is_subtracted_exactly_and_kept_with_the_weights(mean_bgr):
    mean = torch.from_numpy(mean_bgr[:, 14:241, 14:241].copy())[None]
    spec = ModelSpec(name="alexnet", mean_image="given")
    module = build_model(spec, 2).module
    assert MEAN_IMAGE in module.state_dict()
    assert MEAN_IMAGE not in dict(module.named_parameters())
    layer = MeanImage(227)
    layer.load_state_dict({"pixels_1CHW": mean})
    photos = torch.randint(0, 256, (2, 3, 227, 227), dtype=torch.uint8)
    expected = photos.numpy()[:, ::-1].astype(np.float32) - mean.numpy()
    assert np.array_equal(layer(normalise(photos, "bgr")).numpy(), expected)


def test_a_number_that_is_packed_without_any_is_refused(proto):
    (field,) = read_fields(memoryview(proto.bytes_(5, b"")))
    with pytest.raises(ValueError, match="field 5 has no value"):
        read_integer(field)


def test_a_file_too_large_for_protocol_buffers_is_no_net(tmp_path, proto, monkeypatch):
    file = tmp_path / "net"
    file.write_bytes(proto.net("AlexNet", [("conv1", "Convolution")], proto.layer))
    assert looks_like_a_net(file)
    monkeypatch.setattr(caffemodel, "MAX_BYTES", 5)
    assert not looks_like_a_net(file)
    with pytest.raises(DataError, match="Caffe's files have 1 to 5"):
        read_net(file)
