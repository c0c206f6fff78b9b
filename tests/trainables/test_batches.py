import numpy as np
import pytest
import torch

from trainables.batches import Source, augmented, centre_crop, epoch_batches
from trainables.budget import batches_per_epoch, budget_of, image_passes
from trainables.degrade import enlarge, resample_by_products
from trainables.spec import (
    AugmentSpec,
    ModelSpec,
    ObjectiveSpec,
    StageSpec,
    SubsetSpec,
    TrainingSpec,
    ViewSpec,
)
from trainables.views import View

N = 20


def view_spec(form="high"):
    return ViewSpec(
        form=form,
        split="train",
        data_key="d",
        canvas_px=8,
        resolution_px=4 if form == "low" else None,
        kernel="bicubic",
        antialias=True,
        degrade_from="object",
        box_margin_px=0,
        jpeg_quality=None,
    )


def source(form="high"):
    """Photo i is grey value i, one pixel marked so that mirroring shows; its label is i."""
    side = 4 if form == "low" else 8
    images = np.repeat(np.arange(N, dtype=np.uint8), side * side * 3).reshape(N, side, side, 3)
    if form == "high":
        images[:, 0, 0] += 100
    labels = np.arange(N)
    view = View(view_spec(form), images, labels, labels, ("a",), ("p",) * N)
    return Source(view, torch.from_numpy(images), torch.from_numpy(labels), torch.device("cpu"))


def stage(mixing="single", batch_size=6, n_images=N, mirror=False, **training):
    return StageSpec(
        views=(view_spec(),),
        mixing=mixing,
        subset=SubsetSpec(seed=0, n_images=n_images),
        n_classes=N,
        model=ModelSpec(),
        head="fresh",
        objective=ObjectiveSpec(),
        augment=AugmentSpec(mirror=mirror),
        training=TrainingSpec(**({"epochs": 2, "batch_size": batch_size} | training)),
        seed=0,
        parent=None,
        teacher=None,
        recipe_version=1,
    )


def epoch(spec, sources, seed=0):
    return list(epoch_batches(spec, sources, np.arange(spec.subset.n_images), seed))


def labels_of(batches):
    return torch.cat([labels for _, labels in batches]).tolist()


def test_an_epoch_shows_every_photo_once_with_its_own_label():
    batches = epoch(stage(), [source()])
    assert [len(labels) for _, labels in batches] == [6, 6, 6, 2]
    assert sorted(labels_of(batches)) == list(range(N))
    for (images,), labels in batches:
        assert images.shape[1:] == (3, 8, 8)
        assert (images[:, 0, 4, 4] == labels).all()


def test_n09_epochs_differ_in_order_and_repeat_for_the_same_seed():
    spec, sources = stage(), [source()]
    assert labels_of(epoch(spec, sources, 1)) == labels_of(epoch(spec, sources, 1))
    assert labels_of(epoch(spec, sources, 1)) != labels_of(epoch(spec, sources, 2))


def test_low_photos_are_enlarged_to_the_canvas():
    ((images,), labels), *_ = epoch(stage(), [source("low")])
    assert images.shape[1:] == (3, 8, 8)
    assert (images[:, 0, 4, 4] == labels).all()


@pytest.mark.parametrize(("mixing", "passes"), [("union", 2), ("balanced", 2), ("coin_flip", 1)])
def test_mixed_shows_both_forms_in_equal_proportion(mixing, passes):
    batches = epoch(stage(mixing), [source("high"), source("low")])
    high = sum((images[:, 0, 0, 0] >= 90).sum().item() for (images,), _ in batches)
    assert len(labels_of(batches)) == passes * N
    if mixing == "coin_flip":
        assert 0 < high < N
    else:
        assert high == N
        assert sorted(labels_of(batches)) == sorted(2 * list(range(N)))


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.25, 1, 10), (1.0, N, N)])
def test_replay_shows_each_photo_once_a_share_of_them_in_high(share, least, most):
    spec = stage("replay").model_copy(update={"replay_share": share})
    batches = epoch(spec, [source("high"), source("low")])
    assert sorted(labels_of(batches)) == list(range(N))
    high = sum((images[:, 0, 0, 0] >= 90).sum().item() for (images,), _ in batches)
    assert least <= high <= most
    assert image_passes(spec) == 2 * N


def test_balanced_batches_are_half_high_half_low():
    for (images,), labels in epoch(
        stage("balanced", batch_size=4), [source("high"), source("low")]
    ):
        assert (images[:, 0, 0, 0] >= 90).sum().item() == len(labels) / 2


def test_pairs_are_the_same_photos_with_the_same_mirroring():
    spec = stage("paired", mirror=True)
    for (first, second), labels in epoch(spec, [source("high"), source("high")]):
        assert torch.equal(first, second)
        assert (first[:, 0, 4, 4] == labels).all()


def test_half_of_the_photos_are_mirrored():
    left = torch.tensor([1, 0], dtype=torch.uint8).expand(1000, 3, 1, 2)
    mirrored = augmented(left.clone(), stage(mirror=True), seed=0)
    assert 450 <= mirrored[:, 0, 0, 1].sum().item() <= 550
    assert torch.equal(mirrored.sum(-1), left.sum(-1))


def test_the_evaluation_crop_is_central():
    images = torch.arange(64).reshape(1, 1, 8, 8)
    assert centre_crop(images, 4)[0, 0, 0, 0] == 18
    assert centre_crop(images, None) is images


def test_budgets_in_epochs_and_steps_agree():
    assert batches_per_epoch(stage()) == 4
    assert budget_of(stage()) == (2, 8)
    assert budget_of(stage(epochs=None, steps=10)) == (3, 10)
    assert image_passes(stage()) == 2 * N
    assert image_passes(stage("union")) == 4 * N
    assert image_passes(stage(epochs=None, steps=10)) == 2.5 * N
    assert image_passes(stage("union", epochs=None, steps=7)) == 2 * N


def test_weights_between_two_networks_cost_no_update():
    between = stage().model_copy(update={"objective": ObjectiveSpec(kind="interpolate")})
    assert (budget_of(between), image_passes(between)) == ((0, 0), 0)


def test_a_shift_moves_photos_within_its_reach_and_repeats_their_border():
    ramp = torch.arange(8, dtype=torch.uint8).repeat(20, 3, 8, 1)
    shifted = AugmentSpec(mirror=False, shift_px=2)
    moved = augmented(ramp, stage().model_copy(update={"augment": shifted}), seed=3)
    columns = moved[:, 0, 4].long()
    assert moved.shape == ramp.shape
    offsets = {int(row[4]) - 4 for row in columns}
    assert offsets == {-2, -1, 0, 1, 2}
    for row in columns:
        expected = (torch.arange(8) + row[4] - 4).clamp(0, 7)
        assert torch.equal(row, expected)


def test_photos_of_a_random_resolution_are_made_low_by_the_kernel_of_the_test_photos():
    photos = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    nearest = view_spec().model_copy(update={"kernel": "nearest"})
    at_half = AugmentSpec(mirror=False, random_resolution_px=(4, 4))
    spec = stage().model_copy(update={"views": (nearest,), "augment": at_half})
    blocks = augmented(photos.to(torch.uint8), spec, seed=0)
    assert torch.equal(
        blocks,
        photos[:, :, 1::2, 1::2].repeat_interleave(2, 2).repeat_interleave(2, 3).to(torch.uint8),
    )


def test_random_resolution_makes_a_batch_as_coarse_as_each_of_its_resolutions_at_times():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 16, 16), generator=generator, dtype=torch.uint8)
    augment = AugmentSpec(mirror=False, random_resolution_px=(4, 6))
    spec = stage().model_copy(update={"augment": augment})
    coarse = [resample_by_products(images, px, px, "bicubic", antialias=True) for px in (4, 5, 6)]
    ours = [augmented(images, spec, seed) for seed in range(20)]
    found = {
        px
        for made in ours
        for px, small in zip((4, 5, 6), coarse, strict=True)
        if (made.int() - enlarge(small, 16, "bicubic", antialias=True).int()).abs().max() <= 2
    }
    assert found == {4, 5, 6}
    assert all((made != images).any() for made in ours)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_photos_come_by_their_rows_whatever_copies_them(monkeypatch, n_threads):
    monkeypatch.setattr("trainables.threads.THREADED_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    for rows in ([3, 0, 3, 19, 7], [5], []):
        index = np.array(rows, dtype=np.int64)
        photos = source().gather(index)
        assert photos[:, 0, 1, 1].tolist() == rows
        assert photos.shape == (len(rows), 3, 8, 8)


@pytest.mark.parametrize("row", [-1, N])
def test_a_row_that_a_view_has_not_is_refused(row):
    with pytest.raises(IndexError, match="no such row"):
        source().gather(np.array([0, row]))
