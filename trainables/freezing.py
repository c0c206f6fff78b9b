"""Which layers of a network keep their weights in a stage: the first ones, from the input."""

from torch import nn

from trainables.models import Network


def frozen_layers(network: Network, share: float) -> list[nn.Module]:
    """The first layers with parameters of their own.

    Args:
        network: whose layers are defined in the order in which photos pass them.
        share: of the layers before the head, rounded to whole ones.
    """
    layers = [
        module
        for name, module in network.module.named_modules()
        if not f"{name}.".startswith(f"{network.head}.") and list(module.parameters(recurse=False))
    ]
    return layers[: round(share * len(layers))]


def set_training(network: Network, share: float) -> None:
    """Put a network into training but for its frozen layers, whose statistics stay too."""
    network.module.train()
    for layer in frozen_layers(network, share):
        layer.eval()
        layer.requires_grad_(requires_grad=False)
