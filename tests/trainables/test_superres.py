"""What the super-resolution forest promises of enlarged images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trainables.errors import ConfigError, DataError
from trainables.superres.coarse import back_project, bicubic, coarse
from trainables.superres.colour import luminance, to_rgb, to_ycbcr
from trainables.superres.enhance import enhance
from trainables.superres.forest import Forest
from trainables.superres.forest_spec import ForestSpec, forest_spec
from trainables.superres.nbsrf import train_forest
from trainables.superres.super_resolve import Mode, super_resolve
from trainables.superres.training_images import read_training_images

SMALL = {"n_trees": 2, "depth": 5, "n_scales": 2, "max_patches": 40_000, "tree_patches": 20_000}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawing(seed: int, side_px: int = 96) -> NDArray[np.uint8]:
    """Discs, bars and edges, smoothed once: sharp enough to lose something when shrunk."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: 2 * side_px, : 2 * side_px]
    image = np.full((2 * side_px, 2 * side_px, 3), rng.uniform(0, 255, 3))
    for _ in range(25):
        y, x, reach = *rng.uniform(0, 2 * side_px, 2), rng.uniform(4, side_px / 2)
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 40)
        along = (rows - y) * np.sin(angle) + (columns - x) * np.cos(angle)
        inside = np.hypot(rows - y, columns - x) < reach
        image[inside & (along % period < period / 2)] = rng.uniform(0, 255, 3)
    small = image.reshape(side_px, 2, side_px, 2, 3).mean((1, 3))
    return np.rint(small).astype(np.uint8)


def shrunk(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    height_px, width_px = (side // factor for side in image.shape[:2])
    return np.asarray(
        Image.fromarray(image).resize((width_px, height_px), Image.Resampling.BICUBIC)
    )


def psnr_db(image_HW: Tensor, made_HW: Tensor, shave_px: int) -> float:
    inner = slice(shave_px, -shave_px)
    error_HW = (image_HW - made_HW.clamp(0, 1))[inner, inner]
    return float(-10 * error_HW.square().mean().log10())


def gain_db(forest: Forest, image: NDArray[np.uint8]) -> float:
    """PSNR of luminance above bicubic's, borders of one factor shaved."""
    factor = int(forest.spec.factor)
    sharp_HW = luminance(torch.tensor(image))
    low_BHW = luminance(torch.tensor(shrunk(image, factor)))[None]
    plain_HW, ours_HW = bicubic(low_BHW, *sharp_HW.shape)[0], enhance(low_BHW, forest)[0]
    return psnr_db(sharp_HW, ours_HW, factor) - psnr_db(sharp_HW, plain_HW, factor)


def trained(spec: ForestSpec) -> Forest:
    images = [drawing(seed) for seed in range(6)]
    images[0].setflags(write=False)
    return train_forest(images, spec)


@pytest.fixture(scope="module")
def forest_x2() -> Forest:
    return trained(forest_spec(2, **SMALL))


@pytest.fixture(scope="module")
def forest_x4() -> Forest:
    return trained(forest_spec(4, **SMALL))


def lows(n_images: int, side_px: int) -> Tensor:
    return torch.from_numpy(np.stack([drawing(100 + n, side_px) for n in range(n_images)]))


def test_drawn_images_come_out_sharper_than_bicubic(forest_x2: Forest, forest_x4: Forest):
    assert min(gain_db(forest_x2, drawing(seed)) for seed in (50, 51)) > 1.0
    assert min(gain_db(forest_x4, drawing(seed)) for seed in (50, 51)) > 0.2


def test_a_small_forest_from_real_photos_beats_bicubic_by_a_decibel(shared_data: Path):
    folder = shared_data / "super_resolution"
    photos = read_training_images(folder / "T91")[::4]
    forest = train_forest(photos, forest_spec(2, **SMALL))
    held_out = [np.asarray(Image.open(folder / f"Set5/{name}.png")) for name in ("bird", "woman")]
    assert min(gain_db(forest, image) for image in held_out) >= 1.0


def test_the_x4_forest_fills_the_canvas_in_colour(forest_x4: Forest):
    images = lows(3, 50)
    made = super_resolve(images, forest_x4, 227)
    assert made.shape == (3, 227, 227, 3)
    assert super_resolve(images[:0], forest_x4, 227).shape == (0, 227, 227, 3)
    assert made.dtype == torch.uint8
    for low, high in zip(images.numpy(), made.numpy(), strict=True):
        back = np.asarray(Image.fromarray(high).resize((50, 50), Image.Resampling.BICUBIC))
        assert np.abs(back.astype(float) - low).mean() < 5


@pytest.mark.parametrize(("factor", "mode"), [(2, "x2x2"), (4.54, "direct")])
def test_other_ways_to_the_canvas(factor: float, mode: Mode):
    forest = trained(forest_spec(factor, **SMALL))
    images = lows(2, 50)
    made = super_resolve(images, forest, 227, mode)
    plain = to_rgb(
        bicubic(to_ycbcr(images.permute(0, 3, 1, 2)).flatten(0, 1), 227, 227).view(2, 3, 227, 227)
    )
    difference = (made.permute(0, 3, 1, 2).float() - plain.float()).abs()
    assert made.shape == (2, 227, 227, 3)
    assert 0.1 < difference.mean() < 10


def test_a_batch_is_what_its_images_are_one_by_one(forest_x4: Forest):
    images = lows(19, 20)
    batch = super_resolve(images, forest_x4, 90)
    alone = torch.cat([super_resolve(image[None], forest_x4, 90) for image in images])
    assert (batch.int() - alone.int()).abs().max() <= 1
    assert (batch != alone).float().mean() < 1e-4


def test_runs_repeat_bit_for_bit_whatever_the_threads(forest_x2: Forest):
    images = lows(18, 24)
    again = trained(forest_spec(2, **SMALL))
    first = super_resolve(images, forest_x2, 100, "x2x2")
    torch.set_num_threads(2)
    second = super_resolve(images, again, 100, "x2x2")
    torch.set_num_threads(1)
    assert torch.equal(again.maps_TLKP, forest_x2.maps_TLKP)
    assert torch.equal(again.directions_TM2K, forest_x2.directions_TM2K)
    assert torch.equal(first, second)


def test_another_seed_grows_another_forest(forest_x2: Forest):
    other = trained(forest_spec(2, **SMALL, seed=1))
    assert not torch.equal(other.directions_TM2K, forest_x2.directions_TM2K)


def test_back_projection_brings_the_enlarged_image_nearer_to_the_low_one():
    low = luminance(torch.from_numpy(drawing(3, 40)))[None]
    errors = [
        float((bicubic(coarse(low, 160, 160, steps), 40, 40) - low).abs().mean())
        for steps in (0, 1, 5)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert torch.equal(back_project(low, low, 3), low)


def test_colour_goes_there_and_back():
    images = lows(1, 32).permute(0, 3, 1, 2)
    assert torch.equal(to_rgb(to_ycbcr(images)), images)


def test_luminance_is_that_of_bt_601():
    colours = torch.tensor([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], dtype=torch.uint8)
    expected = torch.tensor([[235.0, 16.0, 16 + 65.481]])
    np.testing.assert_allclose(luminance(colours) * 255, expected, rtol=1e-5, atol=1e-5)


def test_a_forest_of_another_factor_is_refused(forest_x2: Forest, forest_x4: Forest):
    images = lows(1, 50)
    with pytest.raises(ConfigError, match="enlarges x2, but mode x4 needs x4"):
        super_resolve(images, forest_x2, 227)
    with pytest.raises(ConfigError, match="enlarges x4, but mode x2x2 needs x2"):
        super_resolve(images, forest_x4, 227, "x2x2")
    with pytest.raises(ConfigError, match=r"does not bring 50 x 50 px to 227 px.*factor 4.54"):
        super_resolve(images, forest_x4, 227, "direct")


def test_an_image_smaller_than_a_patch_is_refused(forest_x2: Forest):
    tiny = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"2 x 2 px enlarges to a side of 4 px, less than .* 6 px"):
        super_resolve(tiny, forest_x2, 8, "x2x2")


def test_training_needs_images_that_hold_something():
    spec = forest_spec(2, **SMALL)
    with pytest.raises(DataError, match="there are no training images"):
        train_forest([], spec)
    with pytest.raises(DataError, match="all 1 training images are too small for patches of 6 px"):
        train_forest([np.zeros((5, 5, 3), np.uint8)], spec)
    with pytest.raises(DataError, match="are flat"):
        train_forest([np.full((40, 40, 3), 7, np.uint8)], spec)


def test_a_folder_without_readable_photos_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="there is no folder"):
        read_training_images(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no photos"):
        read_training_images(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a photo")
    with pytest.raises(DataError, match=r"a\.png cannot be learnt from: it is not a JPEG"):
        read_training_images(tmp_path)
