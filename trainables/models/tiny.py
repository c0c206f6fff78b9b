"""The demo's network: small enough for a laptop, large enough to read the built-in photos."""

from torch import Tensor, nn

WIDTHS = (12, 24, 48, 48)
DROPOUT = 0.2


class TinyNet(nn.Module):
    """Four blocks of 3 x 3 convolution, batch norm, ReLU and pooling, then a linear `head`.

    The last map is reduced to its maxima, because a plate may be anywhere in the photo. Takes
    (B, 3, H, W) float images of any size from 16 px on and gives (B, n_classes) logits.

    Args:
        n_classes: outputs of `head`.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        widths = zip((3, *WIDTHS), WIDTHS, strict=False)
        self.features = nn.Sequential(*[_block(n_in, n_out) for n_in, n_out in widths])
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(DROPOUT))
        self.head = nn.Linear(WIDTHS[-1], n_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Classify a batch."""
        return self.head(self.pool(self.features(images_BCHW)))


def _block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )
