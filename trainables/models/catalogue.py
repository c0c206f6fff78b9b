"""Builds the networks of the registry: our own, torchvision's, timm's. Each library on demand."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from torch import nn

from trainables.errors import ConfigError
from trainables.models import ALEXNET_TV, OWN, TIMM, Network
from trainables.models.dense_gradients import with_dense_gradients
from trainables.models.dropout import with_fast_dropout
from trainables.spec import ModelSpec

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

IMAGENET_CLASSES = 1000
#: Without second outputs in training; with torchvision's weights these expect its own rescaling.
INCEPTIONS: dict[str, Any] = {"aux_logits": False, "init_weights": True, "transform_input": True}


def build(spec: ModelSpec, n_classes: int) -> Network:
    """Build a network whose name has been checked; see `trainables.models.build_model`."""
    network = _blank(spec, n_classes)
    head = network.module.get_submodule(network.head)
    for name, parameter in head.named_parameters():
        std = 0.0 if name.endswith("bias") else spec.head_init_std
        nn.init.normal_(parameter, std=std)
    with_dense_gradients(with_fast_dropout(network.module))
    if spec.dropout is not None:
        _set_dropout(network.module, spec)
    return network


def torchvision_names() -> list[str]:
    """List torchvision's classification networks, under our names."""
    from torchvision import models

    return [ALEXNET_TV if n == "alexnet" else n for n in models.list_models(module=models)]


def is_torchvision(name: str) -> bool:
    """Whether a network of the registry is torchvision's."""
    return name in torchvision_names()


def default_weights(name: str) -> "WeightsEnum":
    """The weights that torchvision recommends for one of its networks, not yet downloaded."""
    from torchvision import models

    return models.get_model_weights(_torchvision_name(name))["DEFAULT"]


def timm_input_px(name: str) -> int | None:
    """The one photo size that a network of timm takes; None where any size will do."""
    import timm  # pyright: ignore[reportMissingImports]

    configuration = timm.get_pretrained_cfg(name)
    if configuration is None or not configuration.fixed_input_size:
        return None
    return configuration.input_size[-1]


def _blank(spec: ModelSpec, n_classes: int) -> Network:
    name = spec.name
    if name in OWN:
        options = {option: getattr(spec, option) for option in OWN[name].options}
        return Network(resolve_name(OWN[name].path)(n_classes, **options), OWN[name].head)
    if name.startswith(TIMM):
        return _from_timm(name.removeprefix(TIMM), n_classes)
    return _from_torchvision(_torchvision_name(name), n_classes)


def _torchvision_name(name: str) -> str:
    return "alexnet" if name == ALEXNET_TV else name


def _from_torchvision(name: str, n_classes: int) -> Network:
    from torchvision import models

    options = INCEPTIONS if name in ("googlenet", "inception_v3") else {}
    module = models.get_model(name, weights=None, **options)
    layers = [(path, layer) for path, layer in module.named_modules() if _is_classifier(layer)]
    path, layer = layers[-1]
    module.set_submodule(path, _resized(layer, n_classes))
    return Network(module, path)


def _is_classifier(layer: nn.Module) -> bool:
    """Whether a layer has ImageNet's number of outputs; SqueezeNet's is a convolution."""
    if isinstance(layer, nn.Linear):
        return layer.out_features == IMAGENET_CLASSES
    return isinstance(layer, nn.Conv2d) and layer.out_channels == IMAGENET_CLASSES


def _resized(layer: nn.Module, n_classes: int) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(layer.in_channels, n_classes, kernel_size=1)
    return nn.Linear(layer.get_parameter("weight").shape[1], n_classes)


def _from_timm(name: str, n_classes: int) -> Network:
    import timm  # pyright: ignore[reportMissingImports]

    module = timm.create_model(name, pretrained=False, num_classes=n_classes)
    head = timm.get_pretrained_cfg(name).classifier
    if not isinstance(head, str):
        raise ConfigError(f"{TIMM}{name} has no single classifier layer; choose another model.name")
    return Network(module, head)


def _set_dropout(module: nn.Module, spec: ModelSpec) -> None:
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    if not layers:
        raise ConfigError(f"{spec.name} has no dropout layer; leave model.dropout out")
    for layer in layers:
        layer.p = float(spec.dropout or 0.0)
