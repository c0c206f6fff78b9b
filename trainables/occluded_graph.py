"""The layers of a network in the order in which they run, found by torch.fx."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn import functional as F

from trainables import occluded_layers as layers
from trainables.models.dropout import Dropout
from trainables.models.lrn import LocalResponseNorm
from trainables.occluded_layers import Layer, UntraceableError

#: By exact class: a subclass may compute something else.
MODULES: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.Conv2d: layers.convolution,
    nn.Linear: layers.linear,
    nn.BatchNorm2d: layers.batch_norm,
    nn.MaxPool2d: layers.max_pool,
    nn.AvgPool2d: layers.average_pool,
    nn.AdaptiveAvgPool2d: layers.adaptive_average_pool,
    nn.Dropout: layers.passing,
    Dropout: layers.passing,
    nn.Dropout2d: layers.passing,
    nn.Identity: layers.passing,
    nn.ReLU: layers.pointwise,
    nn.ReLU6: layers.pointwise,
    nn.LeakyReLU: layers.pointwise,
    nn.ELU: layers.pointwise,
    nn.GELU: layers.pointwise,
    nn.SiLU: layers.pointwise,
    nn.Sigmoid: layers.pointwise,
    nn.Tanh: layers.pointwise,
    nn.Hardswish: layers.pointwise,
    nn.Hardsigmoid: layers.pointwise,
    nn.LocalResponseNorm: layers.pointwise,
    LocalResponseNorm: layers.pointwise,
}
FUNCTIONS: dict[Any, Callable[[Any], Layer]] = {
    F.relu: layers.pointwise,
    torch.relu: layers.pointwise,
    F.adaptive_avg_pool2d: layers.adaptive_average_pool,
    operator.add: layers.addition,
    operator.iadd: layers.addition,
    torch.add: layers.addition,
    torch.cat: layers.concatenation,
}


class Step(NamedTuple):
    """A layer in its place: whose results it takes, and which of them no later step needs."""

    name: str
    layer: Layer
    sources: tuple[str, ...]
    spent: tuple[str, ...]


def steps_of(network: nn.Module) -> list[Step]:
    """The layers of a network in eval mode; the photo is the source of the first.

    Raises:
        UntraceableError: when torch.fx cannot follow it, or it is more than layers.
    """
    nodes = _nodes(network)
    steps: list[Step] = []
    needed = {nodes[-1].name}
    for node in reversed(nodes):
        sources = tuple(source.name for source in node.all_input_nodes)
        spent = tuple(name for name in sources if name not in needed)
        needed.update(sources)
        steps.append(Step(node.name, _layer(node, network), sources, spent))
    return steps[::-1]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, LocalResponseNorm | Dropout)
        return own or super().is_leaf_module(m, module_qualified_name)


def _nodes(network: nn.Module) -> list[fx.Node]:
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # the network's own code runs, which may fail in any way
        raise UntraceableError(str(error)) from error
    photo, *nodes, output = graph.nodes
    kinds = {node.op for node in nodes}
    if not nodes or not kinds <= {"call_module", "call_function", "call_method"}:
        raise UntraceableError(f"it is more than layers: {kinds}")
    if output.args[0] is not nodes[-1] or photo not in nodes[0].all_input_nodes:
        raise UntraceableError("its result is not that of its last layer")
    return nodes


def _layer(node: fx.Node, network: nn.Module) -> Layer:
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        return MODULES.get(type(module), layers.unknown)(module)
    kind = FUNCTIONS.get(node.target, layers.unknown)
    if kind is layers.addition and (len(node.all_input_nodes) != 2 or node.kwargs):
        kind = layers.unknown
    if kind is layers.concatenation and not _stacks_channels(node):
        kind = layers.unknown
    return kind(_as_called(node))


def _stacks_channels(node: fx.Node) -> bool:
    """Whether a `torch.cat` is along dimension 1, and of results that are not the same twice."""
    maps = node.args[0]
    along = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    known = isinstance(maps, list | tuple) and len(maps) == len(node.all_input_nodes)
    return known and isinstance(along, int) and along == 1


def _as_called(node: fx.Node) -> Callable[..., Tensor]:
    """The call that a node stands for, as a function of the results that it takes."""
    function: Any = node.target

    def compute(*results: Tensor) -> Tensor:
        known = dict(zip(node.all_input_nodes, results, strict=True))
        args = map_arg(node.args, known.__getitem__)
        kwargs = map_arg(node.kwargs, known.__getitem__)
        if node.op == "call_method":
            return getattr(args[0], function)(*args[1:], **kwargs)
        return function(*args, **kwargs)

    return compute
