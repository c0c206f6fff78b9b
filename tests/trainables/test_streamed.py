"""Photos that are read while a stage trains: the same as prepared ones, in the same order, or none.

Bit for bit, in this process; tests/orchestrator/test_streaming.py has them made by Ray Data.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainables.one_stage import finish, run_of, sha, view_specs
from trainables import streamed
from trainables.batches import StreamedSource, epoch_batches, open_source
from trainables.datasets import read_index
from trainables.errors import DataError
from trainables.index import Index
from trainables.listing import listing_file, read_listing, write_listing
from trainables.photo_blocks import make_block
from trainables.prepare import prepare
from trainables.spec import (
    AugmentSpec,
    DataSpec,
    ModelSpec,
    ObjectiveSpec,
    StageSpec,
    SubsetSpec,
    TrainingSpec,
)
from trainables.streamed import blocks_here, streamed_view, view_at_hand
from trainables.views import open_view

DATA = DataSpec(dataset="folder", canvas_px=24, resolution_px=6, mode="stream")
KEY = "d" * 64
N_TRAIN, N_TEST = 11, 3
CPU = torch.device("cpu")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Photos of noise with boxes, as files; train and test rows are mixed."""
    n = N_TRAIN + N_TEST
    splits = np.array(["train"] * n)
    splits[1 : 2 * N_TEST : 2] = "test"
    generator = np.random.default_rng(0)
    for i in range(n):
        noise = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"photo {i}.png")
    return Index(
        dataset="folder",
        root=tmp_path,
        paths=tuple(f"photo {i}.png" for i in range(n)),
        labels=np.arange(n) % 3,
        boxes=np.where(np.arange(n)[:, None] % 2, np.nan, (2.0, 3.0, 30.0, 20.0)),
        splits=splits,
        class_names=("a", "b", "c"),
    )


@pytest.fixture
def listed(index: Index, tmp_path: Path) -> Path:
    """A data root with the listing of the photos, and nothing else."""
    write_listing(index, DATA, KEY, tmp_path / "data")
    return tmp_path / "data"


def both(listed: Path, index: Index, form: str, split: str = "train"):
    """The same view prepared and streamed."""
    spec = view_specs(DATA, KEY)[form, split]
    prepare(index, DATA, [spec], listed.parent / "prepared", lambda *_: None)
    return open_view(listed.parent / "prepared", spec), streamed_view(listed, spec)


@pytest.mark.parametrize("form", ["high", "low"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_streamed_view_is_the_prepared_one(index, listed, form, split):
    prepared, view = both(listed, index, form, split)
    assert view.images_NHWC.shape == prepared.images_NHWC.shape
    assert np.array_equal(view.images_NHWC[:], prepared.images_NHWC)
    assert np.array_equal(view.images_NHWC[2], prepared.images_NHWC[2])
    for name in ("labels_N", "rows_N"):
        assert np.array_equal(getattr(view, name), getattr(prepared, name))
    assert (view.spec, view.class_names, view.paths) == (
        prepared.spec, prepared.class_names, prepared.paths
    )  # fmt: skip


def stage(mixing: str) -> StageSpec:
    views = view_specs(DATA, KEY)
    forms = ("high",) if mixing == "single" else ("high", "low")
    return StageSpec(
        views=tuple(views[form, "train"] for form in forms),
        mixing=mixing,
        subset=SubsetSpec(seed=0, n_images=N_TRAIN - 1),
        n_classes=3,
        model=ModelSpec(),
        head="fresh",
        objective=ObjectiveSpec(),
        augment=AugmentSpec(crop_px=20),
        training=TrainingSpec(epochs=2, batch_size=4),
        seed=0,
        parent=None,
        teacher=None,
        recipe_version=1,
        replay_share=0.4 if mixing == "replay" else 0.0,
    )


MIXINGS = ["single", "union", "balanced", "coin_flip", "replay", "paired"]


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("block_photos", [3, 128])
def test_n06_an_epoch_is_bit_for_bit_the_resident_one(
    index, listed, monkeypatch, mixing, block_photos
):
    monkeypatch.setattr(streamed, "BLOCK_PHOTOS", block_photos)
    pairs = [both(listed, index, form) for form in ("high", "low")[: 1 + (mixing != "single")]]
    resident, stream = (
        [open_source(view, CPU) for view in views] for views in zip(*pairs, strict=True)
    )
    assert all(isinstance(source, StreamedSource) for source in stream)
    spec, rows = stage(mixing), np.arange(N_TRAIN)[::-1][:-1].copy()
    for seed in (1, 2):
        expected = list(epoch_batches(spec, resident, rows, seed))
        found = list(epoch_batches(spec, stream, rows, seed))
        assert len(found) == len(expected)
        for (images, labels), (theirs, their_labels) in zip(found, expected, strict=True):
            assert torch.equal(labels, their_labels)
            assert all(torch.equal(ours, their) for ours, their in zip(images, theirs, strict=True))


def epoch_of(listed: Path, blocks):
    source = open_source(streamed_view(listed, stage("single").views[0]), CPU)
    broken = StreamedSource(source.view, source.photos, source.labels_N, CPU, blocks)
    return epoch_batches(stage("single"), [broken], np.arange(N_TRAIN), 1)


def lose_a_block(batches, task):
    yield from (block for n, block in enumerate(blocks_here(batches, task)) if n != 1)


def lose_the_last(batches, task):
    made = list(blocks_here(batches, task))
    yield from made[:-1]


def double_a_block(batches, task):
    for block in blocks_here(batches, task):
        yield block
        yield block


def swap_two_photos(batches, task):
    for block in blocks_here(batches, task):
        yield {name: values[::-1] for name, values in block.items()}


@pytest.mark.parametrize("wrong", [lose_a_block, lose_the_last, double_a_block, swap_two_photos])
def test_what_comes_otherwise_than_announced_is_noticed(listed, monkeypatch, wrong):
    monkeypatch.setattr(streamed, "BLOCK_PHOTOS", 3)
    with pytest.raises(RuntimeError, match="photos"):
        list(epoch_of(listed, wrong))


def test_an_epoch_that_is_left_stops_the_making_of_blocks(listed, monkeypatch):
    monkeypatch.setattr(streamed, "BLOCK_PHOTOS", 3)
    seen = []

    def watched(batches, task):
        try:
            for batch in batches:
                seen.append(len(batch["row"]))
                yield make_block(batch, task)
        finally:
            seen.append("stopped")

    batches = epoch_of(listed, watched)
    next(batches)
    batches.close()
    assert seen == [3, 3, "stopped"]


def test_blocks_stay_small_however_large_a_photo_is(listed):
    spec = view_specs(DATA.model_copy(update={"canvas_px": 1024}), KEY)["high", "train"]
    photos = streamed_view(listed, spec).images_NHWC
    assert photos.block_photos * photos.photo_bytes <= streamed.BLOCK_BYTES
    assert streamed_view(listed, stage("single").views[0]).images_NHWC.block_photos == 128


def test_d01_a_bad_photo_is_named_with_its_reason(index, listed):
    (index.root / "photo 8.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"'photo 8.png': .*--verify"):
        list(epoch_of(listed, blocks_here))


def test_a_listing_holds_the_index_and_names_what_is_wrong_with_it(index, listed):
    found = read_listing(listed, KEY)
    assert found.data == DATA
    assert (found.index.paths, found.index.class_names) == (index.paths, index.class_names)
    assert found.index.root == index.root
    for name in ("labels", "boxes", "splits"):
        expected, same = getattr(index, name), getattr(found.index, name)
        assert np.array_equal(same, expected, equal_nan=name == "boxes"), name
    with pytest.raises(DataError, match="another data set"):
        read_listing(listed, KEY[:16] + "e" * 48)


def test_a_damaged_listing_is_refused_or_says_the_same(index, listed, tmp_path):
    whole = listing_file(listed, KEY).read_bytes()
    refused = 0
    for place in range(0, len(whole), 61):
        content, root = bytearray(whole), tmp_path / f"damaged-{place}"
        content[place] ^= 1
        root.mkdir()
        listing_file(root, KEY).write_bytes(content)
        try:
            found = read_listing(root, KEY).index
        except DataError:
            refused += 1
            continue
        assert (found.paths, found.class_names) == (index.paths, index.class_names)
        assert np.array_equal(found.labels, index.labels)
        assert np.array_equal(found.boxes, index.boxes, equal_nan=True)
        assert np.array_equal(found.splits, index.splits)
    assert refused > 0


def test_a_prepared_view_is_taken_before_a_streamed_one_is_read_anew(index, listed):
    prepared, view = both(listed, index, "high")
    spec = prepared.spec
    assert type(view_at_hand(listed, spec).images_NHWC) is type(view.images_NHWC)
    assert isinstance(view_at_hand(listed.parent / "prepared", spec).images_NHWC, np.ndarray)
    with pytest.raises(DataError, match="never prepared; run prepare again"):
        view_at_hand(listed.parent / "nothing", spec)


def test_a_stage_has_the_same_weights_and_predictions_and_resumes_to_them(
    tmp_path, stages, small_recipe
):
    plan = stages(train={"epochs": 3, "batch_size": 8, "lr": 0.01})
    chosen = next(iter(plan.stages.values()))
    _, golden = finish(run_of(tmp_path, chosen, "golden"))
    data_key = chosen.spec.views[0].data_key
    data = DataSpec.model_validate(small_recipe["data"])
    write_listing(read_index(data), data, data_key, tmp_path / "data")
    streams = {"streamed": (data_key,)}
    first = run_of(tmp_path, chosen, **streams)
    first.restore(None)
    first.advance()
    result, folder = finish(run_of(tmp_path, chosen, **streams))
    assert result["status"] == "done"
    assert sha(folder) == sha(golden)
    for file in golden.glob("predictions-*.parquet"):
        assert (folder / file.name).read_bytes() == file.read_bytes()
