"""The networks by name. Importing this costs nothing: torch comes with the first network built.

Own: `alexnet` (Caffe's, the paper's), `caffenet` (Caffe's other), `lrcnn_recon` (a reconstruction
of the paper's LR-CNN), `tiny` (the demo's). torchvision's classification networks go by
torchvision's names, but for its `alexnet`, another network than Caffe's, which is `alexnet_tv`
here. `timm/NAME` takes any of timm's where it is installed.
"""

import difflib
import importlib.util
import sys
from typing import TYPE_CHECKING, NamedTuple

from trainables.errors import ConfigError
from trainables.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

TIMM = "timm/"
#: torchvision's AlexNet under a name that cannot be taken for Caffe's.
ALEXNET_TV = "alexnet_tv"


class Own(NamedTuple):
    """A network of this program: its class, made with `n_classes`, and its classifier layer.

    `input_px` is the one photo size that it takes; None where any will do. `options` are fields of
    the `ModelSpec` that its class takes too, by the same names.
    """

    path: str
    head: str
    input_px: int | None
    options: tuple[str, ...] = ()


#: Fields of a `ModelSpec` that only some of our own networks understand.
OPTIONS = ("mean_image", "lrcnn")
OWN: dict[str, Own] = {
    "alexnet": Own("trainables.models.alexnet:AlexNet", "fc8", 227, ("mean_image",)),
    "caffenet": Own("trainables.models.alexnet:CaffeNet", "fc8", 227, ("mean_image",)),
    "lrcnn_recon": Own("trainables.models.lrcnn:LrcnnRecon", "fc6", None, ("lrcnn",)),
    "tiny": Own("trainables.models.tiny:TinyNet", "head", None),
}


#: Names that need no look into torchvision, which takes seconds to import: of shipped recipes.
KNOWN = frozenset({*OWN, "squeezenet1_1"})


class Network(NamedTuple):
    """A network and the name of its classifier layer, the prefix of that layer's parameters."""

    module: "nn.Module"
    head: str


def names() -> list[str]:
    """All networks but timm's, by the names that `model.name` takes."""
    from trainables.models.catalogue import torchvision_names

    return sorted({*OWN, *torchvision_names()})


def check_name(name: str) -> None:
    """Refuse a name that `build_model` does not know.

    Raises:
        ConfigError: with the nearest known name and the command that lists all of them.
    """
    if name.startswith(TIMM):
        _check_timm_name(name)
    elif name not in KNOWN and name not in (known := names()):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        listing = "from trainables.models import names; print(*names())"
        raise ConfigError(
            f'there is no model.name {name!r}{hint}; list them with {sys.executable} -c "{listing}"'
        )


def _check_timm_name(name: str) -> None:
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(f'{name} needs timm: pip install "fine-to-coarse[timm]"')
    import timm  # pyright: ignore[reportMissingImports]

    own_name = name.removeprefix(TIMM)
    if not timm.is_model(own_name):
        near = difflib.get_close_matches(own_name, timm.list_models(), n=1)
        hint = f"; did you mean {TIMM}{near[0]}?" if near else ""
        raise ConfigError(f"there is no model.name {name!r} in this version of timm{hint}")


def check_options(spec: ModelSpec) -> None:
    """Refuse options of another network; they would change a stage's key and nothing else.

    Raises:
        ConfigError: with the networks that have the option.
    """
    understood = OWN[spec.name].options if spec.name in OWN else ()
    for option in OPTIONS:
        default = ModelSpec.model_fields[option].get_default()
        if option not in understood and getattr(spec, option) != default:
            those = " and ".join(name for name, own in OWN.items() if option in own.options)
            raise ConfigError(f"model.{option} is for {those}; leave it out for {spec.name}")


def input_px_of(name: str) -> int | None:
    """The one photo size that a network takes, in pixels; None where any size will do."""
    if name in OWN:
        return OWN[name].input_px
    if name.startswith(TIMM):
        from trainables.models.catalogue import timm_input_px

        return timm_input_px(name.removeprefix(TIMM))
    return 224 if name.startswith(("vit_", "maxvit_")) else None


def build_model(spec: ModelSpec, n_classes: int) -> Network:
    """Build a network with random weights from torch's global generator, which the caller seeds.

    The head is drawn from N(0, `spec.head_init_std`) with bias 0 (methods A9); `spec.dropout`,
    where given, is the probability of all dropout layers.

    Raises:
        ConfigError: for an unknown name, an option of another network, or a dropout for a network
            that has no such layer.
    """
    check_name(spec.name)
    check_options(spec)
    from trainables.models.catalogue import build

    return build(spec, n_classes)
