"""Caffe's two AlexNets, layer for layer (methods 2).

`AlexNet` is `bvlc_alexnet`, the network of the paper; `CaffeNet` is `bvlc_reference_caffenet`,
which pools before it normalises. torchvision's `alexnet` is a third network: other widths, no
groups, no normalisation.
"""

from collections import OrderedDict

from torch import nn

from trainables.models.lrn import LocalResponseNorm
from trainables.models.mean_image import MeanImage

INPUT_PX = 227
#: Biases of these layers start at 0.1 (AlexNet) or 1 (CaffeNet), all others at 0.
RAISED_BIAS = ("conv2", "conv4", "conv5", "fc6", "fc7")
FULLY_CONNECTED_STD, CONVOLUTION_STD = 0.005, 0.01


class AlexNet(nn.Sequential):
    """Normalised (B, 3, 227, 227) float images in, (B, n_classes) logits out.

    Channels-last memory is fastest. Layers carry Caffe's names and their weights Caffe's shapes.

    Args:
        n_classes: outputs of `fc8`.
        mean_image: other than `none`, a first layer subtracts a mean image, loaded as weights are.
    """

    def __init__(self, n_classes: int, mean_image: str = "none") -> None:
        layers = [*_input(mean_image), *_convolutions(), *_classifier(n_classes)]
        super().__init__(OrderedDict(layers))
        _initialise(self, raised_bias=0.1)


class CaffeNet(nn.Sequential):
    """As `AlexNet`, but each normalisation follows its pooling.

    Args:
        n_classes: outputs of `fc8`.
        mean_image: other than `none`, a first layer subtracts a mean image, loaded as weights are.
    """

    def __init__(self, n_classes: int, mean_image: str = "none") -> None:
        layers = [*_input(mean_image), *_convolutions(), *_classifier(n_classes)]
        super().__init__(OrderedDict(_pooled_first(layers)))
        _initialise(self, raised_bias=1.0)


def _input(mean_image: str) -> list[tuple[str, nn.Module]]:
    return [] if mean_image == "none" else [("mean_image", MeanImage(INPUT_PX))]


def _convolutions() -> list[tuple[str, nn.Module]]:
    return [
        ("conv1", nn.Conv2d(3, 96, 11, stride=4)),
        ("relu1", nn.ReLU(inplace=True)),
        ("norm1", LocalResponseNorm()),
        ("pool1", nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=2)),
        ("relu2", nn.ReLU(inplace=True)),
        ("norm2", LocalResponseNorm()),
        ("pool2", nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("conv3", nn.Conv2d(256, 384, 3, padding=1)),
        ("relu3", nn.ReLU(inplace=True)),
        ("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        ("relu4", nn.ReLU(inplace=True)),
        ("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=2)),
        ("relu5", nn.ReLU(inplace=True)),
        ("pool5", nn.MaxPool2d(3, 2, ceil_mode=True)),
    ]


def _pooled_first(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """The same layers with every normalisation behind the pooling that follows it."""
    order = list(layers)
    for at, (name, _) in enumerate(layers):
        if name.startswith("norm"):
            order[at], order[at + 1] = layers[at + 1], layers[at]
    return order


def _classifier(n_classes: int) -> list[tuple[str, nn.Module]]:
    return [
        ("flatten", nn.Flatten()),
        ("fc6", nn.Linear(256 * 6 * 6, 4096)),
        ("relu6", nn.ReLU(inplace=True)),
        ("drop6", nn.Dropout(0.5)),
        ("fc7", nn.Linear(4096, 4096)),
        ("relu7", nn.ReLU(inplace=True)),
        ("drop7", nn.Dropout(0.5)),
        ("fc8", nn.Linear(4096, n_classes)),
    ]


def _initialise(network: nn.Sequential, raised_bias: float) -> None:
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = FULLY_CONNECTED_STD if name in ("fc6", "fc7") else CONVOLUTION_STD
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, raised_bias if name in RAISED_BIAS else 0.0)
