"""`sr` views: made of prepared low views by a forest, in place once, the same by every way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trainables import superres_views
from trainables.datasets import read_index
from trainables.errors import ConfigError, DataError
from trainables.fingerprint import key_of
from trainables.prepare import prepare
from trainables.spec import DataSpec, SuperresSpec, SyntheticSpec
from trainables.superres.forest_files import save_forest
from trainables.superres.forest_spec import forest_spec
from trainables.superres.nbsrf import train_forest
from trainables.superres_views import prepare_superres
from trainables.views import is_prepared, low_source, open_view, view_name, view_spec

DATA = DataSpec(
    canvas_px=48,
    resolution_px=12,
    synthetic=SyntheticSpec(n_classes=4, n_train=24, n_test=8, image_px=48),
)
INDEX = read_index(DATA)
VIEW = view_spec(DATA, "d", "sr", "train", superres=SuperresSpec(forest="f" * 64))


def quiet(_done, _total):
    pass


@pytest.fixture(scope="module")
def forest(tmp_path_factory) -> Path:
    """The folder of a forest that enlarges by four, trained in a moment."""
    generator = np.random.default_rng(0)
    waves = np.cumsum(generator.normal(0, 8, (3, 96, 96, 3)), axis=1)
    images = list(np.clip(waves + 128, 0, 255).astype(np.uint8))
    spec = forest_spec(4, n_trees=1, depth=2, n_scales=1, max_patches=2000)
    folder = tmp_path_factory.mktemp("forest")
    save_forest(train_forest(images, spec), folder)
    return folder


@pytest.fixture
def data_root(tmp_path) -> Path:
    prepare(INDEX, DATA, [low_source(VIEW)], tmp_path / "data", quiet)
    return tmp_path / "data"


def test_a_super_resolved_view_has_the_canvas_and_the_photos_of_its_low_view(forest, data_root):
    prepare_superres(INDEX, VIEW, forest, data_root, quiet)
    made, low = open_view(data_root, VIEW), open_view(data_root, low_source(VIEW))
    assert made.images_NHWC.shape == (24, 48, 48, 3)
    assert (made.paths, made.labels_N.tolist()) == (low.paths, low.labels_N.tolist())
    blocks = low.images_NHWC.astype(int).repeat(4, axis=1).repeat(4, axis=2)
    assert np.abs(made.images_NHWC - blocks).mean() < 20, "the same pictures, larger"


def test_it_does_not_depend_on_how_many_photos_are_enlarged_together(
    forest, data_root, tmp_path, monkeypatch
):
    prepare_superres(INDEX, VIEW, forest, data_root, quiet)
    together = np.array(open_view(data_root, VIEW).images_NHWC)
    other = tmp_path / "other"
    prepare(INDEX, DATA, [low_source(VIEW)], other, quiet)
    monkeypatch.setattr(superres_views, "BLOCK_PHOTOS", 5)
    prepare_superres(INDEX, VIEW, forest, other, quiet)
    assert np.array_equal(open_view(other, VIEW).images_NHWC, together)


def test_its_low_view_is_opened_once_and_not_for_each_block(forest, data_root, monkeypatch):
    """Opening one checks all its rows: of a large view that takes longer than a block."""
    opened = []

    def noted(*arguments):
        opened.append(arguments)
        return open_view(*arguments)

    monkeypatch.setattr(superres_views, "open_view", noted)
    monkeypatch.setattr(superres_views, "BLOCK_PHOTOS", 5)
    prepare_superres(INDEX, VIEW, forest, data_root, quiet)
    assert opened == [(data_root, low_source(VIEW))]


def test_progress_counts_the_photos_and_a_second_time_makes_nothing(forest, data_root):
    told = []
    prepare_superres(INDEX, VIEW, forest, data_root, lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)
    told.clear()
    prepare_superres(INDEX, VIEW, forest, data_root, lambda done, total: told.append((done, total)))
    assert told == []


def test_a_stop_in_the_middle_leaves_no_view(forest, data_root, monkeypatch):
    def stop(done, _total):
        raise KeyboardInterrupt

    monkeypatch.setattr(superres_views, "BLOCK_PHOTOS", 5)
    with pytest.raises(KeyboardInterrupt):
        prepare_superres(INDEX, VIEW, forest, data_root, stop)
    assert not is_prepared(data_root, VIEW)
    assert [p.name for p in data_root.iterdir() if p.name.startswith(".tmp")] == []


def test_the_forest_and_the_way_are_part_of_the_key_of_this_form_only():
    other = view_spec(DATA, "d", "sr", "train", superres=SuperresSpec(forest="e" * 64))
    way = view_spec(DATA, "d", "sr", "train", superres=SuperresSpec(forest="f" * 64, way="x2x2"))
    assert len({key_of(VIEW), key_of(other), key_of(way)}) == 3
    low = view_spec(DATA, "d", "low", "train", superres=SuperresSpec(forest="e" * 64))
    assert low == view_spec(DATA, "d", "low", "train")
    assert view_name(VIEW).startswith("train-sr12-")


def test_a_forest_of_another_factor_is_refused(forest, data_root):
    way = VIEW.model_copy(update={"superres": SuperresSpec(forest="f" * 64, way="x2x2")})
    with pytest.raises(ConfigError, match=r"enlarges x4, but .* x2x2 needs x2"):
        prepare_superres(INDEX, way, forest, data_root, quiet)


def test_without_its_low_view_it_says_what_is_missing(forest, tmp_path):
    with pytest.raises(DataError, match=r"low12.* cannot be used: it was never prepared"):
        prepare_superres(INDEX, VIEW, forest, tmp_path / "data", quiet)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")
def test_ray_data_makes_the_same_view(forest, data_root, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    prepare_superres(INDEX, VIEW, forest, data_root, quiet)
    here = np.array(open_view(data_root, VIEW).images_NHWC)
    other = tmp_path / "other"
    prepare(INDEX, DATA, [low_source(VIEW)], other, quiet)
    monkeypatch.setattr(superres_views, "IN_PROCESS_PHOTOS", 1)
    monkeypatch.setattr(superres_views, "BLOCK_PHOTOS", 8)
    prepare_superres(INDEX, VIEW, forest, other, quiet)
    assert np.array_equal(open_view(other, VIEW).images_NHWC, here)
