"""One network's heat maps of test photos, and what they say in numbers.

N photos, S photos on the way of a deletion curve, H W pixels, C colours, K classes.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.heatmaps import (
    BINARY_THRESHOLD,
    deletion_area,
    entropy_area,
    insertion_area,
    joint_areas,
    participation_area,
    strength,
)
from trainables.entry import Entry
from trainables.views import View

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.occlusion import Occlusion
    from trainables.predictor import Predictor


#: The paper does not say how large its patch is.
SIDES_OF_A_PATCH = 7
#: Photos on the way of a deletion or insertion curve, but one.
N_STEPS = 16


class HeatSettings(NamedTuple):
    """What is computed: so many photos, a square patch, at every so many pixels.

    `patch_px` 0 is a seventh of the photo's side: 32 of 227 px, 16 of 113.
    """

    n_photos: int
    patch_px: int = 0
    stride_px: int = 4

    def patch_of(self, side_px: int) -> int:
        """The side of the patch on photos of a size."""
        return self.patch_px or max(1, round(side_px / SIDES_OF_A_PATCH))


class HeatNetwork:
    """A finished stage's network, with what prepares its maps for photos of one size.

    Args:
        entry: of kind `stage`.
        settings: patch and stride.
    """

    def __init__(self, entry: Entry, settings: HeatSettings) -> None:
        import torch

        from trainables.predictor import load_predictor

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._predictor: Predictor = load_predictor(entry, portable=True).to(self._device)
        self._settings = settings
        self._occlusion: Occlusion | None = None

    def photos(self, view: View, places_N: NDArray[np.int64]) -> "Tensor":
        """Uint8 photos (N, C, H, W) as the network sees them, cut as in evaluation."""
        import torch

        from trainables.batches import open_source

        return self.cut(open_source(view, torch.device("cpu")).gather(places_N))

    def cut(self, photos_NCHW: "Tensor") -> "Tensor":
        """What evaluation leaves of photos (N, C, H, W): their centre (A10)."""
        from trainables.batches import centre_crop

        return centre_crop(photos_NCHW, self._predictor.spec.augment.crop_px)

    def map(self, photo_CHW: "Tensor") -> NDArray[np.float32]:
        """The heat map (H, W) of a photo as `photos` gives them; all must be of one size."""
        if self._occlusion is None:
            self._occlusion = self._prepared(photo_CHW.shape[1], photo_CHW.shape[2])
        return self._occlusion.map(photo_CHW)

    def _prepared(self, height: int, width: int) -> "Occlusion":
        from trainables.occlusion import Occlusion

        settings, spec = self._settings, self._predictor.spec
        return Occlusion(
            self._predictor.network,
            spec.model.normalisation,
            (height, width),
            patch_px=settings.patch_of(width),
            stride_px=settings.stride_px,
        )

    def measures(
        self, photo_CHW: "Tensor", heat_HW: NDArray[np.float32], label: int
    ) -> dict[str, Any]:
        """What the network says of a photo, and all that its map says without another's."""
        image_HWC = photo_CHW.permute(1, 2, 0).numpy()
        logits_K = self._logits(image_HWC[None])[0]
        predicted = int(logits_K.argmax())

        def confidence(photos_SHWC: NDArray[np.uint8]) -> NDArray[np.floating]:
            return _softmax(self._logits(photos_SHWC))[:, predicted]

        return {
            "predicted": predicted,
            "probability_true": float(_softmax(logits_K[None])[0, label]),
            **strength(heat_HW, logits_K)._asdict(),
            "own_area": joint_areas([heat_HW], BINARY_THRESHOLD)[0],
            "participation": participation_area(heat_HW),
            "entropy_area": entropy_area(heat_HW),
            "deletion": deletion_area(image_HWC, heat_HW, confidence, n_steps=N_STEPS),
            "insertion": insertion_area(image_HWC, heat_HW, confidence, n_steps=N_STEPS),
        }

    def _logits(self, photos_SHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        photos_SCHW = torch.from_numpy(np.ascontiguousarray(photos_SHWC)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return self._predictor.logits(photos_SCHW.to(self._device)).cpu().numpy()


def _softmax(logits_SK: NDArray[np.float32]) -> NDArray[np.float64]:
    raised_SK = np.exp(logits_SK.astype(float) - logits_SK.max(axis=1, keepdims=True))
    return raised_SK / raised_SK.sum(axis=1, keepdims=True)
