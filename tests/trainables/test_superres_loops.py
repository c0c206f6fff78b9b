"""A CPU's compiled loops and the matrix products of other devices are one forest."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate, normalize

from trainables.superres import loops, products
from trainables.superres.colour import to_rgb
from trainables.superres.enhance import enhance
from trainables.superres.forest import Forest
from trainables.superres.forest_spec import Score, forest_spec
from trainables.superres.patches import cut, principal_axes, project
from trainables.superres.resize_loops import resize


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def forest(**changes: object) -> Forest:
    """Three trees that nothing has trained."""
    spec = forest_spec(2, n_trees=3, depth=5, **changes)
    axes = principal_axes(noise(300, 36).cumsum(1), 0.99)
    n_axes = axes.shape[1]
    trees = normalize(noise(3, 31, 2, n_axes, seed=1), dim=3)
    return Forest(spec, "0" * 64, axes, trees, noise(3, 32, n_axes, 36, seed=2) / 10)


def photos(n: int, side_px: int) -> Tensor:
    return torch.rand(n, side_px, side_px, generator=Generator().manual_seed(3))


@pytest.mark.parametrize("score", ["leaf", "path", "log_odds"])
@pytest.mark.parametrize("n_best", [1, 2, 5])
def test_loops_and_products_choose_the_same_leaves_and_add_the_same_details(
    score: Score, n_best: int
):
    trained, planes = forest(score=score, n_best=n_best), photos(2, 30)
    patches = project(planes, trained.axes_PK, 6, 2)
    leaves = loops.best_leaves(patches, trained)
    assert leaves.shape == (2 * 13 * 13, min(n_best, 3))
    assert torch.equal(leaves, products.best_leaves(patches, trained))
    ours, theirs = (
        way.lay_details(patches, leaves, trained, planes.shape) for way in (loops, products)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert ours.std() > 0.1


def test_patches_on_the_axes_need_no_cutting():
    planes, axes = photos(3, 20), forest().axes_PK
    torch.testing.assert_close(project(planes, axes, 6, 2), cut(planes, 6, 2) @ axes)


def test_one_large_image_is_the_same_whatever_the_threads():
    trained, low = forest(), photos(1, 80)
    alone = enhance(low, trained)
    torch.set_num_threads(3)
    assert torch.equal(enhance(low, trained), alone)


def test_an_image_is_the_same_in_any_company():
    trained, lows = forest(), photos(5, 20)
    alone = torch.cat([enhance(low, trained) for low in lows.split(1)])
    assert torch.equal(enhance(lows, trained), alone)


def test_a_flat_image_stays_flat():
    flat = torch.full((1, 20, 20), 0.4)
    assert (enhance(flat, forest()) - 0.4).abs().max() < 1e-5


SIZES = [((50, 50), (200, 200)), ((200, 200), (50, 50)), ((37, 53), (148, 212)),
         ((48, 40), (33, 71)), ((7, 5), (3, 9)), ((100, 99), (33, 200)), ((13, 13), (12, 12)),
         ((1, 4), (3, 1)), ((300, 290), (150, 400))]  # fmt: skip


@pytest.mark.parametrize(("size_px", "made_px"), SIZES)
def test_planes_are_resized_as_torch_does_with_its_bits_where_it_uses_avx(size_px, made_px):
    planes = torch.rand(3, *size_px, generator=torch.Generator().manual_seed(0)) - 0.5
    made = resize(planes.transpose(1, 2).contiguous().transpose(1, 2), *made_px)
    exact = interpolate(planes[:, None], made_px, mode="bicubic", antialias=True)[:, 0]
    avx = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    torch.testing.assert_close(made, exact, rtol=0, atol=0 if avx else 1e-6)


def test_colours_of_a_batch_are_mixed_by_loops_with_the_bits_of_torch_s_operations():
    planes = 300 * photos(3 * 3, 21).view(3, 3, 21, 21) - 20
    made = to_rgb(planes)
    assert torch.equal(made, torch.stack([to_rgb(image) for image in planes]))
    assert made.is_contiguous(memory_format=torch.channels_last)
