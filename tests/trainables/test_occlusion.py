import copy

import numpy as np
import pytest
import torch
from torch import nn

from trainables.errors import ConfigError, DataError
from trainables.models import build_model
from trainables.models.normalise import normalise
from trainables.occlusion import Occlusion, filled
from trainables.spec import ModelSpec

N_CLASSES = 7


def photo(height_px: int, width_px: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height_px, width_px), generator=generator, dtype=torch.uint8)


def network(name: str) -> nn.Module:
    """Weights that let every layer matter, batch norm's statistics among them."""
    torch.manual_seed(0)
    module = build_model(ModelSpec(name=name), N_CLASSES).module
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module.eval()


@torch.no_grad()
def by_definition(
    module: nn.Module, image_CHW: torch.Tensor, centres, patch_px: int, convention="imagenet"
) -> np.ndarray:
    """Section 3 word for word, in double precision: grey a square, run it all, compare."""
    module = copy.deepcopy(module).double()
    plain = module(normalise(image_CHW[None], convention).double())
    heat = np.empty([len(c) for c in centres])
    for i, row in enumerate(centres[0]):
        occluded = image_CHW.repeat(len(centres[1]), 1, 1, 1)
        top = int(row) - patch_px // 2
        for j, column in enumerate(centres[1]):
            left = int(column) - patch_px // 2
            bottom, right = top + patch_px, left + patch_px
            occluded[j, :, max(top, 0) : bottom, max(left, 0) : right] = 128
        moved = module(normalise(occluded, convention).double()) - plain
        heat[i] = moved.square().sum(1)
    return heat


def assert_same(heat: np.ndarray, expected: np.ndarray, logits: float = 0.0) -> None:
    """Up to float32's rounding of the logits, which a patch of a pixel hardly moves."""
    np.testing.assert_allclose(
        np.sqrt(heat),
        np.sqrt(expected),
        rtol=5e-5,
        atol=1e-6 * logits + 1e-5 * expected.max() ** 0.5,
    )


def size_of_logits(module: nn.Module, image_CHW: torch.Tensor) -> float:
    with torch.no_grad():
        return float(module(normalise(image_CHW[None], "imagenet")).norm())


NETWORKS = {
    "alexnet": (227, 227, (150, 113, 150)),
    "squeezenet1_1": (65, 58, (21, 17, 23)),
    "resnet18": (65, 58, (21, 17, 23)),
    "tiny": (49, 64, (3, 4, 7)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_known_network_gives_the_map_of_the_definition(name):
    height, width, strides = NETWORKS[name]
    module, image_CHW = network(name), photo(height, width)
    logits = size_of_logits(module, image_CHW)
    for patch_px, stride_px in zip((1, 13, 32), strides, strict=True):
        occlusion = Occlusion(
            module, "imagenet", (height, width), patch_px=patch_px, stride_px=stride_px
        )
        assert occlusion.layers_known
        expected = by_definition(module, image_CHW, occlusion.centres, patch_px)
        assert_same(occlusion.at_centres(image_CHW), expected, logits)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "tiny"])
def test_a_patch_larger_than_the_photo_greys_all_of_it(name):
    module, image_CHW = network(name), photo(48, 40)
    occlusion = Occlusion(module, "imagenet", (48, 40), patch_px=101, stride_px=20)
    heat = occlusion.map(image_CHW)
    assert_same(heat, np.full((48, 40), by_definition(module, image_CHW, ([24], [20]), 101)[0, 0]))


@pytest.mark.parametrize("stride_px", [1, 3, 4])
def test_strides_sample_the_same_map_of_every_pixel(stride_px):
    module, image_CHW = network("tiny"), photo(18, 21)
    occlusion = Occlusion(module, "imagenet", (18, 21), patch_px=6, stride_px=stride_px)
    every_pixel = by_definition(module, image_CHW, (range(18), range(21)), 6)
    heat = occlusion.map(image_CHW)
    assert heat.shape == (18, 21)
    assert heat.dtype == np.float32
    sampled = np.ix_(*occlusion.centres)
    assert_same(heat[sampled], every_pixel[sampled])
    np.testing.assert_array_equal(heat[sampled], occlusion.at_centres(image_CHW))


def test_pixels_between_centres_are_bilinear_and_those_beyond_repeat_the_edge():
    heat_NM = np.array([[0.0, 4.0], [8.0, 20.0]], np.float32)
    heat = filled(heat_NM, (np.array([1, 3]), np.array([0, 4])), (5, 5))
    np.testing.assert_array_equal(heat[1], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(heat[2], [4, 6, 8, 10, 12])
    np.testing.assert_array_equal(heat[0], heat[1])
    np.testing.assert_array_equal(heat[4], [8, 11, 14, 17, 20])


def test_centres_lie_as_far_from_one_border_as_from_the_other():
    occlusion = Occlusion(network("tiny"), "imagenet", (18, 20), patch_px=5, stride_px=4)
    rows, columns = occlusion.centres
    assert rows.tolist() == [0, 4, 8, 12, 16]
    assert columns.tolist() == [1, 5, 9, 13, 17]


@pytest.mark.parametrize("convention", ["imagenet", "caffe"])
def test_grey_is_128_in_the_photo_whatever_the_normalisation(convention):
    """So a photo that is 128 already does not change, and any other does."""
    module = network("tiny")
    grey_CHW = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    occlusion = Occlusion(module, convention, (32, 32), patch_px=9, stride_px=5)
    assert (occlusion.map(grey_CHW) == 0).all()
    image_CHW = photo(32, 32)
    expected = by_definition(module, image_CHW, occlusion.centres, 9, convention)
    assert expected.min() > 0
    assert_same(occlusion.at_centres(image_CHW), expected)


def test_a_patch_that_no_layer_reads_changes_nothing():
    """A convolution of 3 px every 8 px skips most of them."""
    skipping = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.Flatten(), nn.Linear(16, 5)).eval()
    image_CHW = photo(16, 16)
    occlusion = Occlusion(skipping, "imagenet", (16, 16), patch_px=2, stride_px=1)
    heat = occlusion.map(image_CHW)
    assert occlusion.layers_known
    assert (heat[4:8] == 0).all()
    assert (heat[:, 4:8] == 0).all()
    assert heat[:3, :3].min() > 0


def test_what_is_prepared_serves_many_photos():
    module = network("tiny")
    occlusion = Occlusion(module, "imagenet", (32, 32), patch_px=8, stride_px=9)
    for seed in range(3):
        image_CHW = photo(32, 32, seed)
        expected = by_definition(module, image_CHW, occlusion.centres, 8)
        assert_same(occlusion.at_centres(image_CHW), expected)


class Strange(nn.Module):
    """Branches on its values, which no tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.convolution(x).relu()
        return self.head(maps.mean((2, 3)) if maps.sum() > -1 else maps.amax((2, 3)))


def test_a_network_that_cannot_be_taken_apart_is_computed_whole():
    torch.manual_seed(0)
    module, image_CHW = Strange().eval(), photo(20, 23)
    occlusion = Occlusion(module, "caffe", (20, 23), patch_px=7, stride_px=3)
    assert not occlusion.layers_known
    expected = by_definition(module, image_CHW, occlusion.centres, 7, "caffe")
    assert_same(occlusion.at_centres(image_CHW), expected)
    products = occlusion.multiply_adds()
    assert products.incremental == products.dense == 7 * 8 * (18 * 21 * 6 * 27 + 6 * 5)


class Forked(nn.Module):
    """Two layers of one size read the same features; the first one's result is not used."""

    def __init__(self):
        super().__init__()
        self.convolution, self.aside = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 4 * 14 * 14)
        self.head = nn.Linear(4 * 14 * 14, N_CLASSES)

    def forward(self, x):
        features = torch.flatten(self.convolution(x), 1)
        self.aside(features)
        return self.head(features)


def test_layers_side_by_side_on_the_same_features_are_told_apart():
    torch.manual_seed(0)
    module, image = Forked().eval(), photo(16, 16)
    occlusion = Occlusion(module, "imagenet", (16, 16), patch_px=4, stride_px=3)
    expected = by_definition(module, image, occlusion.centres, 4)
    assert_same(occlusion.at_centres(image), expected)


def test_multiply_adds_are_those_of_the_part_that_the_patch_reaches():
    chain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 5))
    occlusion = Occlusion(chain, "imagenet", (8, 8), patch_px=1, stride_px=1)
    assert occlusion.multiply_adds() == (
        64 * (64 * 4 * 27 + 4 * 64 * 5),
        64 * (1 * 4 * 27 + 4 * 64 * 5),
    )


def test_alexnet_needs_a_quarter_of_its_multiply_adds_at_the_default_patch():
    products = Occlusion(network("alexnet"), "caffe", (227, 227)).multiply_adds()
    convolutions = 105_415_200 + 223_948_800 + 149_520_384 + 112_140_288 + 74_760_192
    assert products.dense == 57**2 * (convolutions + 37_748_736 + 16_777_216 + 4096 * N_CLASSES)
    assert 4.0 < products.dense / products.incremental < 5.0


def test_training_goes_on_undisturbed():
    module = network("tiny")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    Occlusion(module, "imagenet", (32, 32), stride_px=16).map(photo(32, 32))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    module.train()(torch.randn(2, 3, 32, 32)).sum().backward()


@pytest.mark.parametrize(("patch_px", "stride_px"), [(0, 4), (8, 0)])
def test_a_patch_or_stride_below_a_pixel_is_refused(patch_px, stride_px):
    with pytest.raises(ConfigError, match="below 1 px"):
        Occlusion(network("tiny"), "imagenet", (32, 32), patch_px=patch_px, stride_px=stride_px)


def test_a_photo_of_another_size_is_refused():
    occlusion = Occlusion(network("tiny"), "imagenet", (32, 32), stride_px=16)
    with pytest.raises(DataError, match=r"\(3, 32, 32\).*\(3, 32, 33\)"):
        occlusion.map(photo(32, 33))
