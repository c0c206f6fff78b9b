import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.one_stage import view_specs
from trainables import view_drafts, views
from trainables.errors import ConfigError, DataError
from trainables.fingerprint import key_of
from trainables.index import Index
from trainables.spec import DataSpec, ViewSpec
from trainables.view_drafts import ViewDraft
from trainables.views import (
    is_prepared,
    open_view,
    stored_px,
    view_folder,
    view_name,
    view_spec,
)

DATA = DataSpec(dataset="folder", canvas_px=16, resolution_px=4)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(
        dataset="folder",
        root=tmp_path,
        paths=("a.png", "b.png", "c.png"),
        labels=np.array([0, 1, 1]),
        boxes=np.full((3, 4), np.nan),
        splits=np.array(["train", "test", "train"]),
        class_names=("car", "bird"),
    )


@pytest.fixture
def spec() -> ViewSpec:
    return view_spec(DATA, "data", "low", "train")


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "data"


def write(data_root: Path, spec: ViewSpec, index: Index, grey: int = 7) -> Path:
    with ViewDraft(data_root, spec, index, index.rows(spec.split)) as draft:
        draft.images_NHWC[:] = grey
        return draft.commit(n_clipped_boxes=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(data_root: Path, spec: ViewSpec, index: Index):
    folder = write(data_root, spec, index)

    view = open_view(data_root, spec)

    assert folder == view_folder(data_root, spec)
    assert names(data_root) == [view_name(spec)]
    assert names(folder) == ["images.npy", "labels.npy", "manifest.json", "rows.json"]
    assert view.spec == spec
    assert len(view) == 2
    assert view.images_NHWC.shape == (2, 4, 4, 3)
    assert (view.images_NHWC == 7).all()
    assert view.labels_N.tolist() == [0, 1]
    assert view.rows_N.tolist() == [0, 2]
    assert view.class_names == ("car", "bird")
    assert view.paths == ("a.png", "c.png")


def test_images_are_mapped_for_torch_and_never_written_back(
    data_root: Path, spec: ViewSpec, index: Index
):
    write(data_root, spec, index)
    view = open_view(data_root, spec)

    torch.from_numpy(view.images_NHWC).fill_(99)

    assert isinstance(view.images_NHWC, np.memmap)
    assert (open_view(data_root, spec).images_NHWC == 7).all()


def test_manifest_records_spec_counts_and_sums(data_root: Path, spec: ViewSpec, index: Index):
    folder = write(data_root, spec, index)

    manifest = views.read_manifest(folder)

    assert manifest is not None
    assert manifest.key == key_of(spec)
    assert manifest.spec == spec
    assert (manifest.n_photos, manifest.n_clipped_boxes) == (2, 1)
    assert manifest.files["images.npy"].sha256 is None
    assert manifest.files["labels.npy"].sha256 == views.sha256_of(folder / "labels.npy")
    assert set(manifest.made_with) == {"numpy", "pillow", "simplejpeg", "torch"}


def test_names_tell_split_form_and_size():
    named = {view_name(spec).rsplit("-", 1)[0] for spec in view_specs(DATA, "data").values()}

    assert named == {"train-high16", "train-low4", "test-high16", "test-low4"}


def test_unprepared_view_is_refused(data_root: Path, spec: ViewSpec):
    assert not is_prepared(data_root, spec)
    with pytest.raises(DataError, match=r"train-low4-.*never prepared; run prepare again"):
        open_view(data_root, spec)


def cut_images(folder: Path) -> None:
    (folder / "images.npy").write_bytes(b"short")


def change_labels(folder: Path) -> None:
    content = bytearray((folder / "labels.npy").read_bytes())
    content[-8] ^= 1
    (folder / "labels.npy").write_bytes(content)


def drop_rows(folder: Path) -> None:
    (folder / "rows.json").unlink()


def drop_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"key": 3}')


DAMAGES = [cut_images, change_labels, drop_rows, drop_manifest, break_manifest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_view_is_refused_set_aside_and_made_anew(
    data_root: Path, spec: ViewSpec, index: Index, damage: Any
):
    folder = write(data_root, spec, index)
    damage(folder)

    assert not is_prepared(data_root, spec)
    with pytest.raises(DataError, match="run prepare again"):
        open_view(data_root, spec)

    write(data_root, spec, index, grey=8)
    assert (open_view(data_root, spec).images_NHWC == 8).all()
    aside = [name for name in names(data_root) if name.startswith(".damaged-")]
    assert len(aside) == 1


def test_second_writer_keeps_the_first_view(data_root: Path, spec: ViewSpec, index: Index):
    with ViewDraft(data_root, spec, index, index.rows("train")) as slow:
        slow.images_NHWC[:] = 1
        write(data_root, spec, index, grey=2)
        slow.commit(0)

    assert (open_view(data_root, spec).images_NHWC == 2).all()
    assert names(data_root) == [view_name(spec)]


def test_draft_without_commit_leaves_nothing(data_root: Path, spec: ViewSpec, index: Index):
    with ViewDraft(data_root, spec, index, index.rows("train")) as draft:
        draft.images_NHWC[:] = 1

    assert names(data_root) == []


def test_leftovers_of_a_killed_writer_are_ignored(data_root: Path, spec: ViewSpec, index: Index):
    folder = write(data_root, spec, index)
    leftover = data_root / f".tmp-{folder.name}-elsewhere-1-abc"
    shutil.copytree(folder, leftover)
    shutil.rmtree(folder)

    assert not is_prepared(data_root, spec)
    write(data_root, spec, index)
    assert is_prepared(data_root, spec)
    assert leftover.exists()


def test_name_clash_takes_sixteen_digits(
    data_root: Path, spec: ViewSpec, index: Index, monkeypatch: pytest.MonkeyPatch
):
    other = spec.model_copy(update={"kernel": "area"})

    def clashing(value: ViewSpec) -> str:
        return "a" * 8 + ("b" if value.kernel == "area" else "a") * 56

    monkeypatch.setattr(views, "key_of", clashing)
    monkeypatch.setattr(view_drafts, "key_of", clashing)

    write(data_root, spec, index, grey=1)
    assert not is_prepared(data_root, other)
    write(data_root, other, index, grey=2)

    assert names(data_root) == ["train-low4-aaaaaaaa", "train-low4-aaaaaaaabbbbbbbb"]
    assert (open_view(data_root, spec).images_NHWC == 1).all()
    assert (open_view(data_root, other).images_NHWC == 2).all()


def test_f01_full_disk_is_told_before_anything_is_written(
    data_root: Path, spec: ViewSpec, index: Index, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))

    with pytest.raises(OSError, match=r"disk full: need .* MB, have .* MB at ") as caught:
        write(data_root, spec, index)

    assert caught.value.errno == errno.ENOSPC
    assert names(data_root) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate here")
def test_f01_disk_that_fills_up_meanwhile_leaves_nothing(
    data_root: Path, spec: ViewSpec, index: Index, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)

    with pytest.raises(OSError, match="disk full: need"):
        write(data_root, spec, index)

    assert names(data_root) == []


def test_space_is_taken_before_it_is_filled(data_root: Path, index: Index):
    large = view_spec(DataSpec(canvas_px=512), "data", "high", "train")
    with ViewDraft(data_root, large, index, index.rows("train")):
        (folder,) = data_root.iterdir()
        status = (folder / "images.npy").stat()

    assert status.st_blocks * 512 >= 2 * 512 * 512 * 3


def test_high_views_do_not_depend_on_how_low_ones_are_made():
    changed = DATA.model_copy(
        update={"resolution_px": 8, "degrade_from": "canvas", "jpeg_quality": 90}
    )

    for split in ("train", "test"):
        before, after = view_specs(DATA, "data"), view_specs(changed, "data")
        assert before["high", split] == after["high", split]
        assert before["low", split] != after["low", split]


def test_evaluation_split_is_validation_while_tuning():
    tuning = DATA.model_copy(update={"validation": 0.1})

    assert {split for _, split in view_specs(tuning, "data")} == {"train", "validation"}


def test_resolution_of_the_crop_is_scaled_to_the_canvas():
    data = DataSpec(canvas_px=256, crop_px=227, resolution_px=50, resolution_of="crop")

    assert view_spec(data, "data", "low", "train").resolution_px == 56
    assert view_spec(data, "data", "low", "train", resolution_px=25).resolution_px == 28
    whole = data.model_copy(update={"resolution_of": "object"})
    assert view_spec(whole, "data", "low", "train").resolution_px == 50


def test_resolution_above_the_canvas_is_refused():
    with pytest.raises(ConfigError, match="100 px is above the canvas of 64 px"):
        view_specs(DataSpec(canvas_px=64, resolution_px=100), "data")


@pytest.mark.parametrize(("form", "side_px"), [("high", 16), ("low", 4), ("sr", 16)])
def test_only_low_views_are_stored_small(form: Any, side_px: int):
    assert stored_px(view_spec(DATA, "data", form, "train")) == side_px


def test_a_view_of_another_kind_in_its_place_is_told(data_root, spec, index):
    folder = write(data_root, spec, index)
    other = spec.model_copy(update={"resolution_px": 5})
    assert views.find_damage(folder, spec) is None
    assert views.find_damage(folder, other) == "it holds another view"
