"""Layers by Caffe's names, from a caffemodel or a `.npy`, as weights of our Caffe networks.

`alexnet` and `caffenet` have the same shapes and compute different things: where a file says which
of the two it was trained as, the other is refused.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.errors import DataError
from trainables.models import build_model
from trainables.models.caffemodel import Layer, Net, read_net
from trainables.models.npy_weights import read_npy_layers
from trainables.spec import ModelSpec

NETWORKS = ("alexnet", "caffenet")
HEAD = "fc8"
MAX_FAULTS = 10
Layers = Mapping[str, list[NDArray[np.float32]]]


def read_caffemodel(path: Path, model: ModelSpec) -> dict[str, Tensor]:
    """Read a `.caffemodel` as the state dict of a network.

    Raises:
        DataError: when the file is damaged, or of another network than `model.name`.
    """
    _check_network(path, model)
    net = read_net(path)
    _check_order(path, net, model)
    return _state_dict(path, model, _with_weights(path, net))


def read_npy(path: Path, model: ModelSpec) -> dict[str, Tensor]:
    """Read a `.npy` of caffe-tensorflow as the state dict of a network.

    Raises:
        DataError: when the file is damaged, holds objects, or is of another network.
    """
    _check_network(path, model)
    return _state_dict(path, model, read_npy_layers(path, model.fc6_order))


def _check_network(path: Path, model: ModelSpec) -> None:
    if model.name not in NETWORKS:
        raise DataError(
            f"{path} has Caffe's layers, which fit {' and '.join(NETWORKS)}, not {model.name}; "
            "give --model.name or another --model.weights"
        )


def _check_order(path: Path, net: Net, model: ModelSpec) -> None:
    said = network_of(net)
    if said is not None and said != model.name:
        raise DataError(
            f"{path} was trained as {said} ({_difference(said)}), not as {model.name}; "
            f"give --model.name {said}"
        )
    kinds = {layer.type for layer in net.layers}
    if "Pooling" in kinds and "LRN" not in kinds:
        raise DataError(f"{path} has no normalisation layers, so it is not {model.name}")


def _difference(name: str) -> str:
    return "normalised before pooling" if name == "alexnet" else "pooled before normalisation"


def network_of(net: Net) -> str | None:
    """Which network a caffemodel says it is; None where it does not say.

    The order of its first pooling and its first normalisation tells (Caffe keeps layers in the
    order of computation); its name tells only where the file has lost the layers without weights.
    """
    order = [layer.type for layer in net.layers if layer.type in ("LRN", "Pooling")]
    if {"LRN", "Pooling"} <= set(order):
        return "alexnet" if order[0] == "LRN" else "caffenet"
    by_name = {"alexnet": "alexnet", "caffenet": "caffenet"}
    return by_name.get(net.name.lower())


def _with_weights(path: Path, net: Net) -> Layers:
    layers: dict[str, Layer] = {}
    for layer in net.layers:
        if layer.blobs and layer.name in layers:
            raise DataError(f"{path} has two layers {layer.name[:60]!r} with weights")
        if layer.blobs:
            layers[layer.name] = layer
    return {name: layer.blobs for name, layer in layers.items()}


def _state_dict(path: Path, model: ModelSpec, layers: Layers) -> dict[str, Tensor]:
    """Weights by parameter name; classifiers of other names (`fc8_flickr`) are left out."""
    used = {n: b for n, b in layers.items() if n == HEAD or not n.startswith(HEAD)}
    wanted = _wanted(model, used)
    given = {name: _squeezed(array, wanted.get(name)) for name, array in _by_parameter(used)}
    faults = list(_faults(wanted, given))
    if faults:
        more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        listed = "\n  ".join(faults[:MAX_FAULTS] + more)
        raise DataError(f"{path} does not hold the weights of {model.name}:\n  {listed}")
    return {name: torch.from_numpy(array) for name, array in given.items()}


def _wanted(model: ModelSpec, layers: Layers) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's parameters, with the head that the file has, if it has one."""
    shapes = dict(_shapes(model.name))
    weight, bias = f"{HEAD}.weight", f"{HEAD}.bias"
    if HEAD not in layers:
        return {name: shape for name, shape in shapes.items() if name not in (weight, bias)}
    n_classes = layers[HEAD][-1].size
    return shapes | {weight: (n_classes, shapes[weight][1]), bias: (n_classes,)}


@lru_cache
def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Of a network that is really built: on torch's meta device the first one costs seconds."""
    with torch.random.fork_rng(devices=[]):
        module = build_model(ModelSpec(name=name), n_classes=1).module
    return {parameter: tuple(tensor.shape) for parameter, tensor in module.state_dict().items()}


def _by_parameter(layers: Layers) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, blobs in layers.items():
        for index, blob in enumerate(blobs):
            kind = ("weight", "bias")[index] if index < 2 else f"array {index + 1}"
            yield f"{name}.{kind}", blob


def _squeezed(array: NDArray[np.float32], wanted: tuple[int, ...] | None) -> NDArray[np.float32]:
    """Without the leading ones of Caffe's older files, whose arrays all have four axes."""
    surplus = array.ndim - len(wanted or array.shape)
    if surplus > 0 and set(array.shape[:surplus]) == {1}:
        return array.reshape(array.shape[surplus:])
    return array


def _faults(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, NDArray[np.float32]]
) -> Iterator[str]:
    for name, shape in wanted.items():
        if name not in given:
            yield f"{name}: missing"
        elif given[name].shape != shape:
            yield f"{name}: shape {given[name].shape}, wanted {shape}"
        elif not np.isfinite(given[name]).all():
            yield f"{name}: holds numbers that are not finite"
    yield from (f"{name[:60]}: not in the network" for name in given if name not in wanted)
