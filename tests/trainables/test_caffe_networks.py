"""Both of Caffe's networks with weights from Caffe's files, against a float64 reference in numpy.

B C H W as usual; O: output channels.
"""

import numpy as np
import pytest
import torch

from trainables.errors import DataError
from trainables.models import build_model
from trainables.models.mean_image import MEAN_IMAGE
from trainables.models.normalise import normalise
from trainables.models.weights import load_all, load_body, read_weights
from trainables.spec import ModelSpec

N_CLASSES = 7
BODY = "conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 fc7 relu7 fc8"
ALEXNET = f"conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 {BODY}".split()
CAFFENET = f"conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 {BODY}".split()
ORDERS = {"alexnet": ALEXNET, "caffenet": CAFFENET}
#: Stride, padding, groups.
CONVOLUTIONS = {
    "conv1": (4, 0, 1),
    "conv2": (1, 2, 2),
    "conv3": (1, 1, 1),
    "conv4": (1, 1, 2),
    "conv5": (1, 1, 2),
}
SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (N_CLASSES, 4096),
}
KINDS = {
    "conv": "Convolution",
    "fc": "InnerProduct",
    "norm": "LRN",
    "pool": "Pooling",
    "relu": "ReLU",
}


def convolve(x_BCHW, weight, bias, stride, padding, groups):
    padded = np.pad(x_BCHW, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    outs = []
    for part, kernel in zip(np.split(padded, groups, 1), np.split(weight, groups), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(part, kernel.shape[2:], (2, 3))
        columns = windows[:, :, ::stride, ::stride]
        outs.append(np.tensordot(columns, kernel, ([1, 4, 5], [1, 2, 3])))
    return np.concatenate(outs, axis=-1).transpose(0, 3, 1, 2) + bias[:, None, None]


def pool(x_BCHW):
    """Maxima of 3 x 3 at stride 2; Caffe rounds the number of windows up."""
    height, width = (-(-(side - 3) // 2) + 1 for side in x_BCHW.shape[2:])
    out = np.empty((*x_BCHW.shape[:2], height, width))
    for row in range(height):
        for column in range(width):
            window = x_BCHW[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            out[:, :, row, column] = window.max((2, 3))
    return out


def normalised(x_BCHW):
    padded = np.pad(x_BCHW**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    sums = sum(padded[:, k : k + x_BCHW.shape[1]] for k in range(5))
    return x_BCHW / (1 + 1e-4 / 5 * sums) ** 0.75


def reference(order, weights, x_BCHW):
    """Activations in float64 by layer, dropout left out."""
    out = {}
    for name in order:
        if name in CONVOLUTIONS:
            weight, bias = (array.astype(np.float64) for array in weights[name])
            x_BCHW = convolve(x_BCHW, weight, bias, *CONVOLUTIONS[name])
        elif name in weights:
            weight, bias = (array.astype(np.float64) for array in weights[name])
            x_BCHW = x_BCHW.reshape(len(x_BCHW), -1) @ weight.T + bias
        else:
            steps = {"relu": lambda x: np.maximum(x, 0), "norm": normalised, "pool": pool}
            x_BCHW = steps[name[:4]](x_BCHW)
        out[name] = x_BCHW
    return out


def activations(module, x_BCHW) -> dict[str, np.ndarray]:
    out = {}
    with torch.no_grad():
        for name, layer in module.eval().named_children():
            x_BCHW = layer(x_BCHW)
            out[name] = x_BCHW.clone().numpy()
    return out


@pytest.fixture(scope="module")
def weights() -> dict[str, list[np.ndarray]]:
    """Weights that keep activations of a few hundred, where normalisation matters."""
    generator = np.random.default_rng(0)
    drawn = {}
    for name, shape in SHAPES.items():
        std = np.float32(np.sqrt(3 / np.prod(shape[1:])))
        kernel = generator.standard_normal(shape, np.float32) * std
        drawn[name] = [kernel, generator.standard_normal(shape[:1], np.float32)]
    channels = generator.standard_normal((4096, 256, 1, 1), np.float32)
    fc6 = drawn["fc6"][0].reshape(4096, 256, 6, 6)
    fc6 += 0.01 * channels
    return drawn


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (1, 3, 227, 227), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module", params=["alexnet", "caffenet"])
def caffemodel(request, tmp_path_factory, proto, weights):
    """A whole network: AlexNet in the old form, CaffeNet in the new."""
    name = request.param
    path = tmp_path_factory.mktemp("caffe") / f"{name}.caffemodel"
    kinds = [KINDS[layer.rstrip("12345678")] for layer in ORDERS[name]]
    layers = [
        (layer, kind, weights.get(layer, ()))
        for layer, kind in zip(ORDERS[name], kinds, strict=True)
    ]
    write = proto.v1_layer if name == "alexnet" else proto.layer
    path.write_bytes(proto.net(name, layers, write))
    yield name, path
    path.unlink()


def test_every_layer_computes_what_caffes_does(caffemodel, weights, photos):
    name, path = caffemodel
    network = build_model(ModelSpec(name=name), N_CLASSES)
    load_all(network, read_weights(path, ModelSpec(name=name)))
    found = activations(network.module, normalise(photos, "caffe"))
    mean = np.array([104.007, 116.669, 122.679])[:, None, None]
    expected = reference(ORDERS[name], weights, photos.numpy()[:, ::-1] - mean)
    assert [layer for layer in found if layer in expected] == ORDERS[name]
    for layer, values in expected.items():
        scale = np.abs(values).max()
        assert scale > 1, layer
        np.testing.assert_allclose(found[layer], values, rtol=0, atol=3e-6 * scale, err_msg=layer)


def test_the_head_is_left_to_the_stage(caffemodel):
    name, path = caffemodel
    network = build_model(ModelSpec(name=name), 3)
    load_body(network, read_weights(path, ModelSpec(name=name)))
    assert network.module.get_parameter("fc8.weight").shape == (3, 4096)


def test_the_other_network_is_refused(caffemodel):
    name, path = caffemodel
    other = "caffenet" if name == "alexnet" else "alexnet"
    with pytest.raises(DataError, match=f"was trained as {name}.*give --model.name {name}"):
        read_weights(path, ModelSpec(name=other))


def test_a_mean_image_goes_through_the_network(weights, photos):
    generator = torch.Generator().manual_seed(2)
    mean_1CHW = 255 * torch.rand(1, 3, 227, 227, generator=generator)
    network = build_model(ModelSpec(name="alexnet", mean_image="given"), N_CLASSES)
    tensors = {MEAN_IMAGE: mean_1CHW}
    for layer, (weight, bias) in weights.items():
        tensors |= {f"{layer}.weight": torch.from_numpy(weight)}
        tensors |= {f"{layer}.bias": torch.from_numpy(bias)}
    load_all(network, tensors)
    found = activations(network.module, normalise(photos, "bgr"))
    inputs = photos.numpy()[:, ::-1] - mean_1CHW.double().numpy()
    expected = reference(["conv1"], weights, inputs)["conv1"]
    atol = 3e-6 * np.abs(expected).max()
    np.testing.assert_allclose(found["conv1"], expected, rtol=0, atol=atol)
    with pytest.raises(DataError, match=r"mean_image\.pixels_1CHW: not in the network"):
        load_all(build_model(ModelSpec(name="alexnet"), N_CLASSES), tensors)


def test_tensorflows_file_gives_caffes_weights(tmp_path, weights):
    def in_tensorflow(name, array):
        if array.ndim == 4:
            return array.transpose(2, 3, 1, 0)
        if name == "fc6":
            array = array.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(array.shape)
        return array.T

    path = tmp_path / "bvlc_alexnet.npy"
    layers = {
        name: [np.ascontiguousarray(in_tensorflow(name, weight)), bias]
        for name, (weight, bias) in weights.items()
    }
    np.save(path, np.array(layers, dtype=object), allow_pickle=True)
    del layers
    tensors = read_weights(path, ModelSpec())
    path.unlink()
    assert len(tensors) == 16
    for name, (weight, bias) in weights.items():
        assert np.array_equal(tensors[f"{name}.weight"].numpy(), weight), name
        assert np.array_equal(tensors[f"{name}.bias"].numpy(), bias), name


def test_caffenet_is_alexnet_pooled_before_normalisation():
    torch.manual_seed(0)
    first = build_model(ModelSpec(name="alexnet"), 3).module
    torch.manual_seed(0)
    second = build_model(ModelSpec(name="caffenet"), 3).module
    layers = [name for name, _ in second.named_children() if name[:4] not in ("drop", "flat")]
    assert layers == CAFFENET
    for name, parameter in second.named_parameters():
        if name.endswith("weight"):
            assert torch.equal(parameter, first.get_parameter(name))
        else:
            raised = name in [f"{n}.bias" for n in ("conv2", "conv4", "conv5", "fc6", "fc7")]
            assert (parameter == float(raised)).all(), name
