"""A network with its pre-processing inside, and the way from a photo file to it.

Photos take the very functions that prepared the test photos, so predictions are those of a run.
Shape legend: B batch, C or 3 colours, H W pixels, K classes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from trainables.batches import centre_crop
from trainables.decode import box_on_photo, read_photo
from trainables.degrade import crop, enlarge
from trainables.entry import Entry
from trainables.errors import DataError
from trainables.models import build_model
from trainables.models.weights import load_all
from trainables.photo_blocks import FORMS
from trainables.spec import StageSpec, ViewSpec
from trainables.stage_files import WEIGHTS
from trainables.superres.forest import Forest
from trainables.superres.super_resolve import super_resolve
from trainables.train import forward
from trainables.views import low_source

WHOLE_PHOTO_4 = np.full(4, np.nan)


class Predictor(nn.Module):
    """Uint8 RGB photos (B, 3, H, W) of the network's canvas to probabilities (B, K) float32.

    Inside are the evaluation's crop (A10), the normalisation (A15) and a temperature that logits
    are divided by before the softmax; 1 until another is set.

    Args:
        network: with its weights.
        spec: of the stage that trained it; its precision is computed in.
    """

    temperature: Tensor

    def __init__(self, network: nn.Module, spec: StageSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.register_buffer("temperature", torch.tensor(1.0))

    @property
    def canvas_px(self) -> int:
        """Side of the photos that it takes."""
        return self.spec.views[0].canvas_px

    def logits(self, photos_B3HW: Tensor) -> Tensor:
        """Float32 logits (B, K) before the temperature."""
        return forward(self.network, centre_crop(photos_B3HW, self.spec.augment.crop_px), self.spec)

    def forward(self, photos_B3HW: Tensor) -> Tensor:
        """Predict."""
        return (self.logits(photos_B3HW) / self.temperature).softmax(1)


def load_predictor(entry: Entry, *, portable: bool = False) -> Predictor:
    """The network of a finished stage, on the CPU, evaluating.

    Args:
        entry: of kind `stage`.
        portable: as other programs can take it: in float32, also where the stage was trained and
            tested in bfloat16, and in the plain memory format.

    Raises:
        DataError: when the entry is damaged.
    """
    spec = StageSpec.model_validate_json(json.dumps(entry.json("stage.json")["spec"]))
    if portable:
        training = spec.training.model_copy(update={"precision": "float32"})
        spec = spec.model_copy(update={"training": training})
    network = build_model(spec.model, spec.n_classes)
    load_all(network, load_file(entry.path(WEIGHTS)))
    if not portable:  # as it was tested: the same last bits
        network.module.to(memory_format=torch.channels_last)
    return Predictor(network.module, spec).eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class SeenPhoto:
    """A photo on its way into a network.

    Attributes:
        size_px: width and height of the object: the photo, or what its box cuts out.
        object_HW3: uint8, the object.
        native_HW3: uint8, as a view stores it: a low one at its resolution, others on the canvas.
        canvas_3HW: uint8, what the network sees.
    """

    size_px: tuple[int, int]
    object_HW3: NDArray[np.uint8]
    native_HW3: NDArray[np.uint8]
    canvas_3HW: Tensor


def see_photo(
    path: Path,
    view: ViewSpec,
    box_4: NDArray[np.float64] = WHOLE_PHOTO_4,
    forest: Forest | None = None,
) -> SeenPhoto:
    """Bring a photo file to a network in a view's form.

    Args:
        path: JPEG, PNG, BMP or WebP, of any size.
        view: its form and resolution; split and key do not matter.
        box_4: x1, y1, x2, y2 of the object in pixels; NaN is the whole photo.
        forest: that `sr` views are enlarged by.

    Raises:
        DataError: naming the photo, when it cannot be read or the box lies outside.
    """
    try:
        photo_HW3 = read_photo(path)
        inside_4, _ = box_on_photo(box_4, photo_HW3.shape[1], photo_HW3.shape[0])
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from fault
    object_HW3 = crop(photo_HW3, inside_4, view.box_margin_px)
    stored = low_source(view) if view.form == "sr" else view
    native_HW3 = FORMS[stored.form](object_HW3, stored)
    canvas_3HW = _on_canvas(native_HW3, view, forest)
    size_px = (object_HW3.shape[1], object_HW3.shape[0])
    return SeenPhoto(size_px, object_HW3, native_HW3, canvas_3HW)


def _on_canvas(native_HW3: NDArray[np.uint8], view: ViewSpec, forest: Forest | None) -> Tensor:
    native_1HW3 = torch.from_numpy(native_HW3)[None]
    if view.form == "sr":
        if forest is None or view.superres is None:
            raise ValueError("sr photos need the forest that enlarges them")
        large_1HW3 = super_resolve(native_1HW3, forest, view.canvas_px, view.superres.way)
        return large_1HW3[0].permute(2, 0, 1)
    native_13HW = native_1HW3.permute(0, 3, 1, 2)
    return enlarge(native_13HW, view.canvas_px, view.kernel, view.antialias)[0]
