"""`lrcnn_recon`: a reconstruction of LR-CNN, the paper's network for low-res photos (methods 4).

Of the original (Chevalier et al., ICIP 2015) neither layer sizes nor code are public. The paper
says that it trained from scratch and put local response normalisation in the place of contrast
normalisation behind conv1; all other sizes here are ours.

B C H W as usual.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models.lrn import LocalResponseNorm
from trainables.spec import LrcnnSpec

CONV1_STD = 0.01
DROPOUT = 0.5
#: Side of the last map of a photo of 47 to 54 px, which 50 px is the paper's case of.
MAP_SIDE = 5
WINDOW_PX = 9
#: A quarter of the window; the original's is not known.
WINDOW_STD_PX = WINDOW_PX / 4
#: Added to deviations, which may be zero, so that their root has a gradient.
MIN_DEVIATION = 1e-4


class LrcnnRecon(nn.Sequential):
    """Normalised (B, 3, H, W) float images in, (B, n_classes) logits out.

    Made for photos of 50 px. The last map of larger ones is reduced to 5 x 5 maxima, which leaves
    that of photos of 47 to 54 px as it is; so the number of weights never depends on the size.

    Args:
        n_classes: outputs of `fc6`.
        lrcnn: widths, and the normalisation behind conv1.
    """

    def __init__(self, n_classes: int, lrcnn: LrcnnSpec) -> None:
        super().__init__(OrderedDict([*_convolutions(lrcnn), *_classifier(lrcnn, n_classes)]))
        for name, layer in self.named_children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                _initialise(name, layer)


def _convolutions(lrcnn: LrcnnSpec) -> list[tuple[str, nn.Module]]:
    first, second, third = lrcnn.conv_widths
    return [
        ("conv1", nn.Conv2d(3, first, 5, padding=2)),
        ("relu1", nn.ReLU(inplace=True)),
        *_normalisation(lrcnn.norm),
        ("pool1", nn.MaxPool2d(3, 2)),
        ("conv2", nn.Conv2d(first, second, 5, padding=2)),
        ("relu2", nn.ReLU(inplace=True)),
        ("pool2", nn.MaxPool2d(3, 2)),
        ("conv3", nn.Conv2d(second, third, 3, padding=1)),
        ("relu3", nn.ReLU(inplace=True)),
        ("pool3", nn.MaxPool2d(3, 2)),
        ("maxima", nn.AdaptiveMaxPool2d(MAP_SIDE)),
    ]


def _normalisation(kind: str) -> list[tuple[str, nn.Module]]:
    layers = {"lrn": LocalResponseNorm, "contrast": LocalContrastNorm}
    return [("norm1", layers[kind]())] if kind in layers else []


def _classifier(lrcnn: LrcnnSpec, n_classes: int) -> list[tuple[str, nn.Module]]:
    fourth, fifth = lrcnn.fc_widths
    return [
        ("flatten", nn.Flatten()),
        ("fc4", nn.Linear(lrcnn.conv_widths[-1] * MAP_SIDE**2, fourth)),
        ("relu4", nn.ReLU(inplace=True)),
        ("drop4", nn.Dropout(DROPOUT)),
        ("fc5", nn.Linear(fourth, fifth)),
        ("relu5", nn.ReLU(inplace=True)),
        ("drop5", nn.Dropout(DROPOUT)),
        ("fc6", nn.Linear(fifth, n_classes)),
    ]


def _initialise(name: str, layer: nn.Conv2d | nn.Linear) -> None:
    if name == "conv1":
        nn.init.normal_(layer.weight, std=CONV1_STD)
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class LocalContrastNorm(nn.Module):
    """Subtractive, then divisive normalisation over 9 x 9 Gaussian windows of all channels.

    v = x - m(x), y = v / max(d, mean of d), d = sqrt(m(v^2)), where m is the Gaussian mean over a
    window and over all channels, of what lies inside the map, and the mean of d is that of a whole
    map (Jarrett et al., ICCV 2009). Computed in float32 at least.
    """

    window_11K1: Tensor

    def __init__(self) -> None:
        super().__init__()
        offsets = torch.arange(WINDOW_PX, dtype=torch.float64) - WINDOW_PX // 2
        window = torch.exp(-0.5 * (offsets / WINDOW_STD_PX) ** 2)
        shaped = (window / window.sum()).view(1, 1, -1, 1)
        self.register_buffer("window_11K1", shaped, persistent=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalise."""
        with torch.autocast(images_BCHW.device.type, enabled=False):
            wide_BCHW = images_BCHW.to(torch.promote_types(images_BCHW.dtype, torch.float32))
            centred_BCHW = wide_BCHW - self._local_mean(wide_BCHW)
            deviation_B1HW = self._local_mean(centred_BCHW**2).add(MIN_DEVIATION**2).sqrt()
            typical_B111 = deviation_B1HW.mean(dim=(2, 3), keepdim=True)
            out_BCHW = centred_BCHW / torch.maximum(deviation_B1HW, typical_B111)
        return out_BCHW.to(images_BCHW.dtype)

    def _local_mean(self, images_BCHW: Tensor) -> Tensor:
        mean_B1HW = images_BCHW.mean(dim=1, keepdim=True)
        inside_11HW = torch.ones_like(mean_B1HW[:1])
        return self._blurred(mean_B1HW) / self._blurred(inside_11HW)

    def _blurred(self, image_B1HW: Tensor) -> Tensor:
        down = self.window_11K1.to(image_B1HW)
        reach = WINDOW_PX // 2
        rows_B1HW = F.conv2d(image_B1HW, down, padding=(reach, 0))
        return F.conv2d(rows_B1HW, down.mT, padding=(0, reach))
