from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from trainables.decode import read_photo
from trainables.degrade import (
    crop,
    enlarge,
    high_pixels,
    kernel_matrix,
    low_pixels,
    resample_by_products,
    resize,
)
from trainables.errors import ConfigError
from trainables.spec import Kernel, ViewSpec

PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
KERNELS: tuple[Kernel, ...] = ("bicubic", "bilinear", "area", "nearest")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[NDArray[np.uint8]]:
    """Real photos, wide and tall."""
    cars = sorted((shared_data / "stanford_cars/cars_train").glob("*.jpg"))[::640]
    birds = sorted((shared_data / "CUB_200_2011/images").rglob("*.jpg"))[::120]
    return [read_photo(path) for path in (*cars, *birds)]


@pytest.fixture
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def by_pillow(image_HWC: NDArray[np.uint8], side_px: int, kernel: str) -> NDArray[np.uint8]:
    """Pillow's own two passes, in the order that the definition fixes."""
    image = Image.fromarray(image_HWC)
    narrowed = image.resize((side_px, image_HWC.shape[0]), PILLOW[kernel])
    return np.asarray(narrowed.resize((side_px, side_px), PILLOW[kernel]))


def agreement(ours: list[NDArray], theirs: list[NDArray]) -> tuple[float, int]:
    """Share of equal values and the largest difference in grey levels."""
    steps = [
        np.abs(a.astype(int) - b.astype(int)).ravel() for a, b in zip(ours, theirs, strict=True)
    ]
    difference = np.concatenate(steps)
    return float((difference == 0).mean()), int(difference.max())


def to_tensor(images: list[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def view(**changes: object) -> ViewSpec:
    fields = {
        "form": "low",
        "split": "train",
        "data_key": "k",
        "canvas_px": 48,
        "resolution_px": 12,
        "kernel": "bicubic",
        "antialias": True,
        "degrade_from": "object",
        "box_margin_px": 0,
        "jpeg_quality": None,
    }
    return ViewSpec.model_validate(fields | changes)


@pytest.mark.parametrize("side_px", [227, 113, 50, 25])
@pytest.mark.parametrize("kernel", KERNELS)
def test_resize_agrees_with_pillow_on_real_photos(
    photos: list[NDArray[np.uint8]], kernel: Kernel, side_px: int
):
    ours = [resize(photo, side_px, side_px, kernel, antialias=True) for photo in photos]

    equal, largest = agreement(ours, [by_pillow(photo, side_px, kernel) for photo in photos])

    assert equal >= 0.995
    assert largest <= 2


@pytest.mark.parametrize(("low_px", "canvas_px"), [(50, 227), (25, 113)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_enlarge_agrees_with_pillow_on_real_photos(
    photos: list[NDArray[np.uint8]], kernel: Kernel, low_px: int, canvas_px: int
):
    low = [by_pillow(photo, low_px, "bicubic") for photo in photos]

    ours_BCHW = enlarge(to_tensor(low), canvas_px, kernel, antialias=True)

    assert ours_BCHW.dtype == torch.uint8
    ours = list(ours_BCHW.permute(0, 2, 3, 1).numpy())
    equal, largest = agreement(ours, [by_pillow(image, canvas_px, kernel) for image in low])
    assert equal >= 0.995
    assert largest <= 2


@pytest.mark.parametrize(("low_px", "canvas_px"), [(50, 227), (25, 113), (200, 50)])
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "area"])
def test_products_agree_with_pillow(
    photos: list[NDArray[np.uint8]], kernel: Kernel, low_px: int, canvas_px: int
):
    low = [by_pillow(photo, low_px, "bicubic") for photo in photos]

    made = resample_by_products(to_tensor(low), canvas_px, canvas_px, kernel, antialias=True)

    theirs = [by_pillow(image, canvas_px, kernel) for image in low]
    equal, largest = agreement(list(made.permute(0, 2, 3, 1).numpy()), theirs)
    assert equal >= 0.999
    assert largest <= 2


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("low_px", "canvas_px"), [(50, 227), (200, 50)])
def test_products_agree_with_the_cpu_path(
    photos: list[NDArray[np.uint8]], kernel: Kernel, antialias: bool, low_px: int, canvas_px: int
):
    low_BCHW = to_tensor([by_pillow(photo, low_px, "bicubic") for photo in photos])

    made = resample_by_products(low_BCHW, canvas_px, canvas_px, kernel, antialias=antialias)
    on_cpu = enlarge(low_BCHW, canvas_px, kernel, antialias=antialias)

    equal, largest = agreement(list(made.numpy()), list(on_cpu.numpy()))
    assert equal >= 0.99  # torch's CPU kernel has weights of 16 bits
    assert largest <= 2


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_without_antialias_one_axis_is_torch_in_floating_point(
    noise: NDArray[np.uint8], kernel: Kernel
):
    ours = resize(noise, 40, 13, kernel, antialias=False)

    image_BCHW = to_tensor([noise]).float()
    exact_BCHW = interpolate(image_BCHW, (40, 13), mode=kernel, antialias=False)
    theirs = exact_BCHW.round().clamp(0, 255)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("antialias", [True, False])
def test_own_size_changes_nothing(noise: NDArray[np.uint8], kernel: Kernel, antialias: bool):
    assert np.array_equal(resize(noise, 40, 60, kernel, antialias=antialias), noise)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "area"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), [(50, 227), (320, 25), (7, 7), (3, 11)])
def test_weights_of_each_output_sum_to_one(kernel: Kernel, antialias: bool, n_in: int, n_out: int):
    matrix = kernel_matrix(n_in, n_out, kernel, antialias=antialias)

    assert matrix.shape == (n_out, n_in)
    assert np.allclose(matrix.sum(axis=1), 1)


def test_cubic_coefficient_depends_on_antialias():
    halfway = {
        antialias: kernel_matrix(5, 10, "bicubic", antialias=antialias)[4]
        for antialias in (True, False)
    }

    # Keys' cubic at 1.75, 0.75, 0.25 and 1.25 samples from the centre
    assert np.allclose(halfway[True], [-0.0234375, 0.2265625, 0.8671875, -0.0703125, 0])
    assert np.allclose(halfway[False], [-0.03515625, 0.26171875, 0.87890625, -0.10546875, 0])


def test_antialias_matters_when_shrinking(noise: NDArray[np.uint8]):
    smooth = resize(noise, 10, 10, "bicubic", antialias=True)
    aliased = resize(noise, 10, 10, "bicubic", antialias=False)

    assert smooth.std() < aliased.std() / 2


def test_area_is_the_mean_and_nearest_the_centre():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, axis=2)

    assert resize(image, 2, 2, "area", antialias=True)[..., 0].tolist() == [[3, 5], [11, 13]]
    assert resize(image, 2, 2, "nearest", antialias=True)[..., 0].tolist() == [[5, 7], [13, 15]]


def test_resize_accepts_slices_and_read_only_arrays(noise: NDArray[np.uint8]):
    whole = resize(np.ascontiguousarray(noise[5:30, 10:50]), 9, 9, "bicubic", antialias=True)
    noise.flags.writeable = False

    part = resize(noise[5:30, 10:50], 9, 9, "bicubic", antialias=True)

    assert np.array_equal(part, whole)


def test_enlarge_gives_back_images_that_fit():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)

    assert enlarge(images, 8, "bicubic", antialias=True) is images


def test_enlarge_ignores_autocast(noise: NDArray[np.uint8]):
    images = to_tensor([noise])
    with torch.autocast("cpu", torch.bfloat16):
        within = resample_by_products(images, 90, 90, "bicubic", antialias=True)

    assert torch.equal(within, resample_by_products(images, 90, 90, "bicubic", antialias=True))


def test_crop_keeps_touched_pixels_and_margin_stops_at_the_border(noise: NDArray[np.uint8]):
    assert np.array_equal(crop(noise, np.array([3.0, 4, 9, 20]), 0), noise[4:20, 3:9])
    assert np.array_equal(crop(noise, np.array([3.6, 4.2, 8.1, 19.5]), 0), noise[4:20, 3:9])
    assert np.array_equal(crop(noise, np.array([3.0, 4, 9, 38]), 5), noise[:40, :14])
    assert np.array_equal(crop(noise, np.array([0.0, 0, 60, 40]), 16), noise)


def test_high_is_the_object_on_the_canvas(noise: NDArray[np.uint8]):
    high = high_pixels(noise, view(form="high", resolution_px=None))

    assert np.array_equal(high, resize(noise, 48, 48, "bicubic", antialias=True))


def test_low_keeps_its_native_size_and_degrades_the_object(noise: NDArray[np.uint8]):
    low = low_pixels(noise, view())

    assert np.array_equal(low, resize(noise, 12, 12, "bicubic", antialias=True))


def test_low_can_degrade_the_canvas(noise: NDArray[np.uint8]):
    low = low_pixels(noise, view(degrade_from="canvas"))

    canvas = resize(noise, 48, 48, "bicubic", antialias=True)
    assert np.array_equal(low, resize(canvas, 12, 12, "bicubic", antialias=True))
    assert not np.array_equal(low, low_pixels(noise, view()))


def test_jpeg_quality_re_encodes_the_low_image(noise: NDArray[np.uint8]):
    plain = low_pixels(noise, view()).astype(int)
    fine = low_pixels(noise, view(jpeg_quality=95))
    coarse = low_pixels(noise, view(jpeg_quality=10))

    assert fine.shape == (12, 12, 3)
    assert 0 < np.abs(fine - plain).mean() < np.abs(coarse - plain).mean()


def test_resolution_above_the_canvas_is_refused(noise: NDArray[np.uint8]):
    with pytest.raises(ConfigError, match=r"49 px is above the canvas of 48 px"):
        low_pixels(noise, view(resolution_px=49))


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", KERNELS)
def test_gpu_agrees_with_pillow(photos: list[NDArray[np.uint8]], kernel: Kernel):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    low = [by_pillow(photo, 50, "bicubic") for photo in photos]

    made = enlarge(to_tensor(low).cuda(), 227, kernel, antialias=True)

    theirs = [by_pillow(image, 227, kernel) for image in low]
    equal, largest = agreement(list(made.cpu().permute(0, 2, 3, 1).numpy()), theirs)
    assert equal >= 0.999
    assert largest <= 2
