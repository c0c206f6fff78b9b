"""A photo file reaches the network as preparation would have brought it there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.degrade import enlarge, high_pixels, low_pixels
from trainables.errors import DataError
from trainables.predictor import see_photo
from trainables.spec import SuperresSpec, ViewSpec
from trainables.superres.forest_spec import forest_spec
from trainables.superres.nbsrf import train_forest
from trainables.superres.super_resolve import super_resolve

LOW = ViewSpec(
    form="low",
    split="test",
    data_key="d",
    canvas_px=64,
    resolution_px=16,
    kernel="bicubic",
    antialias=True,
    degrade_from="object",
    box_margin_px=0,
    jpeg_quality=None,
)
HIGH = LOW.model_copy(update={"form": "high", "resolution_px": None})
SR = LOW.model_copy(update={"form": "sr", "superres": SuperresSpec(forest="f", way="x4")})


def noise(height_px: int, width_px: int, seed: int = 0) -> np.ndarray:
    shape = (height_px, width_px, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> tuple[Path, np.ndarray]:
    pixels_HW3 = noise(90, 120)
    Image.fromarray(pixels_HW3).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels_HW3


def test_a_low_photo_is_degraded_and_enlarged_as_in_preparation(photo):
    path, pixels_HW3 = photo
    seen = see_photo(path, LOW)
    low_HW3 = low_pixels(pixels_HW3, LOW)
    assert (seen.native_HW3 == low_HW3).all()
    low_13HW = torch.from_numpy(low_HW3).permute(2, 0, 1)[None]
    assert seen.canvas_3HW.equal(enlarge(low_13HW, 64, "bicubic", antialias=True)[0])
    assert seen.size_px == (120, 90)


def test_a_box_is_cut_out_before_anything_else_and_clipped_to_the_photo(photo):
    path, pixels_HW3 = photo
    seen = see_photo(path, HIGH, np.array([40.0, 10.0, 500.0, 60.0]))
    object_HW3 = pixels_HW3[10:60, 40:]
    assert seen.size_px == (80, 50)
    assert (seen.native_HW3 == high_pixels(object_HW3, HIGH)).all()


def test_an_sr_photo_is_made_low_and_enlarged_by_the_forest(photo):
    path, pixels_HW3 = photo
    spec = forest_spec(4.0, n_trees=1, depth=2, n_scales=2, max_patches=1000)
    forest = train_forest([noise(80, 80, seed) for seed in range(2)], spec)
    seen = see_photo(path, SR, forest=forest)
    low_HW3 = low_pixels(pixels_HW3, LOW)
    large_1HW3 = super_resolve(torch.from_numpy(low_HW3)[None], forest, 64, "x4")
    assert (seen.native_HW3 == low_HW3).all()
    assert seen.canvas_3HW.equal(large_1HW3[0].permute(2, 0, 1))


@pytest.mark.parametrize(
    ("box_4", "reason"),
    [([200, 0, 300, 50], "lies outside"), ([30, 0, 30, 50], "has no area")],
)
def test_a_box_that_cannot_be_meant_is_refused_with_the_photo_s_name(photo, box_4, reason):
    with pytest.raises(DataError, match=rf"photo\.png: .*{reason}"):
        see_photo(photo[0], LOW, np.array(box_4, dtype=np.float64))
