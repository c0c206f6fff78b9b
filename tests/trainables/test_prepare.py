import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.trainables.one_stage import view_specs
from trainables import photo_blocks, ray_blocks
from trainables import prepare as module
from trainables.datasets import read_index
from trainables.decode import read_photo
from trainables.degrade import crop, high_pixels, low_pixels
from trainables.errors import BusyError, ConfigError, DataError
from trainables.index import Index
from trainables.photo_blocks import BlockTask, make_block, make_blocks
from trainables.prepare import PrepareReport, prepare
from trainables.spec import DataSpec, SyntheticSpec, ViewSpec
from trainables.views import is_prepared, open_view, view_name

DATA = DataSpec(dataset="folder", canvas_px=24, resolution_px=6)
N_TRAIN, N_TEST = 10, 4
TRAIN_BOX = (2.0, 3.0, 30.0, 20.0)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Photos of noise, 40 x 30; train rows are the even ones up to twice their number."""
    n = N_TRAIN + N_TEST
    splits = np.array(["train"] * n)
    splits[1 : 2 * N_TEST : 2] = "test"
    boxes = np.full((n, 4), np.nan)
    boxes[splits == "train"] = TRAIN_BOX
    generator = np.random.default_rng(0)
    for i in range(n):
        noise = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"photo {i}.png")
    return Index(
        dataset="folder",
        root=tmp_path,
        paths=tuple(f"photo {i}.png" for i in range(n)),
        labels=np.arange(n) % 3,
        boxes=boxes,
        splits=splits,
        class_names=("a", "b", "c"),
    )


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "data"


@pytest.fixture
def views() -> list[ViewSpec]:
    return list(view_specs(DATA, "data").values())


def run(index: Index, views: list[ViewSpec], data_root: Path, data: DataSpec = DATA):
    return prepare(index, data, views, data_root, lambda done, total: None)


def expected(index: Index, row: int, view: ViewSpec) -> NDArray[np.uint8]:
    photo = read_photo(index.root / index.paths[row])
    box = np.array(TRAIN_BOX if view.split == "train" else (0.0, 0.0, 40.0, 30.0))
    make = high_pixels if view.form == "high" else low_pixels
    return make(crop(photo, box, view.box_margin_px), view)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def check_views(index: Index, views: list[ViewSpec], data_root: Path) -> None:
    for spec in views:
        view = open_view(data_root, spec)
        assert view.rows_N.tolist() == index.rows(spec.split).tolist()
        assert view.labels_N.tolist() == index.labels[view.rows_N].tolist()
        for image, row in zip(view.images_NHWC, view.rows_N, strict=True):
            assert np.array_equal(image, expected(index, row, spec))


def test_every_view_has_the_right_pixels_in_index_order(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(photo_blocks, "WRITTEN_PHOTOS", 3)
    progress: list[tuple[int, int]] = []

    report = prepare(index, DATA, views, data_root, lambda *state: progress.append(state))

    assert isinstance(report, PrepareReport)
    assert (report.n_photos, report.n_clipped_boxes) == (14, 0)
    assert sorted(report.prepared) == sorted(view_name(view) for view in views)
    assert progress == [(3, 14), (6, 14), (9, 14), (10, 14), (13, 14), (14, 14)]
    assert names(data_root) == sorted(report.prepared)
    check_views(index, views, data_root)


def test_a_worker_holds_a_bounded_number_of_photos(
    index: Index, views: list[ViewSpec], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(photo_blocks, "SENT_PHOTOS", 4)
    rows = index.rows("train")
    train = tuple(view for view in views if view.split == "train")

    sent = list(make_blocks(module._batch(index, rows), BlockTask(index.root, DATA, train, None)))

    assert [len(block["pixels_0"]) for block in sent] == [4, 4, 2]
    assert np.concatenate([block["row"] for block in sent]).tolist() == rows.tolist()


def test_tasks_of_large_photos_are_small_so_that_progress_is_told(
    index: Index, monkeypatch: pytest.MonkeyPatch
):
    rows = np.arange(10)
    file_bytes = (index.root / index.paths[0]).stat().st_size
    monkeypatch.setattr(module, "SAMPLE_FILES", 1)

    def photos_of(task_bytes: int) -> int:
        monkeypatch.setattr(module, "TASK_BYTES", task_bytes)
        return module._task_photos(index, rows)

    assert photos_of(file_bytes) == module.FEWEST_PHOTOS
    assert photos_of(100 * file_bytes) == 100
    assert photos_of(10**12) == module.MOST_PHOTOS


def test_photos_are_decoded_once_for_all_forms(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    decoded: list[Path] = []

    def count(path: Path) -> NDArray[np.uint8]:
        decoded.append(path)
        return read_photo(path)

    monkeypatch.setattr("trainables.photo_blocks.read_photo", count)

    run(index, views, data_root)

    assert sorted(decoded) == sorted(index.root / path for path in index.paths)


def test_only_missing_views_are_made(index: Index, views: list[ViewSpec], data_root: Path):
    first = [view for view in views if view.split == "test"]
    run(index, first, data_root)

    second = run(index, views, data_root)
    third = run(index, views, data_root)

    assert second.n_photos == N_TRAIN
    assert {name.split("-")[0] for name in second.prepared} == {"train"}
    assert (third.n_photos, third.prepared) == (0, ())


def test_a_view_asked_for_twice_is_made_once(index: Index, views: list[ViewSpec], data_root: Path):
    report = run(index, [views[0], views[0]], data_root)

    assert report.prepared == (view_name(views[0]),)


def test_margin_widens_the_crop(index: Index, data_root: Path):
    data = DATA.model_copy(update={"box_margin_px": 4})
    views = list(view_specs(data, "data").values())

    run(index, views, data_root, data)

    check_views(index, views, data_root)


def test_d01_d03_d13_all_bad_photos_are_listed_at_once(
    index: Index, views: list[ViewSpec], data_root: Path
):
    whole = (index.root / "photo 0.png").read_bytes()
    (index.root / "photo 0.png").write_bytes(whole[: len(whole) // 2])
    (index.root / "photo 3.png").write_bytes(b"")
    (index.root / "photo 9.png").unlink()
    index.boxes[12] = (5.0, 5.0, 5.0, 9.0)

    with pytest.raises(DataError) as caught:
        run(index, views, data_root)

    lines = str(caught.value).splitlines()
    assert lines[0].startswith("4 of 14 photos of folder under ")
    assert [line.strip().split(":")[0] for line in lines[1:5]] == [
        "row 0  'photo 0.png'",
        "row 3  'photo 3.png'",
        "row 9  'photo 9.png'",
        "row 12  'photo 12.png'",
    ]
    assert "damaged or cut off" in lines[1]
    assert "empty" in lines[2]
    assert "missing" in lines[3]
    assert "no area" in lines[4]
    assert caught.value.exit_status == 65
    assert names(data_root) == []


def test_many_bad_photos_are_listed_in_a_file(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LISTED_FAULTS", 2)
    for i in (0, 2, 4, 5):
        (index.root / f"photo {i}.png").unlink()

    with pytest.raises(DataError, match=r"and 2 more; all are listed in .*bad-photos\.txt"):
        run(index, views, data_root)

    report = (data_root / "bad-photos.txt").read_text()
    assert [f"photo {i}.png" in report for i in (0, 2, 4, 5, 6)] == [True] * 4 + [False]


def test_a_split_without_bad_photos_is_kept(index: Index, views: list[ViewSpec], data_root: Path):
    (index.root / "photo 1.png").unlink()

    with pytest.raises(DataError, match="1 of 14 photos"):
        run(index, views, data_root)

    assert {view.split for view in views if is_prepared(data_root, view)} == {"train"}
    assert len(names(data_root)) == 2


def test_d12_boxes_partly_outside_are_clipped_and_counted(
    index: Index, views: list[ViewSpec], data_root: Path
):
    index.boxes[0] = (-4.0, 3.0, 30.0, 20.0)
    index.boxes[2] = (2.0, 3.0, 41.0, 31.0)

    report = run(index, views, data_root)

    assert report.n_clipped_boxes == 2


def test_d12_boxes_outside_are_faults(index: Index, views: list[ViewSpec], data_root: Path):
    index.boxes[2] = (40.0, 3.0, 50.0, 20.0)

    with pytest.raises(DataError, match=r"row 2  'photo 2.png': its box .* lies outside"):
        run(index, views, data_root)


def test_d19_odd_names_are_neither_lost_nor_obeyed(
    index: Index, views: list[ViewSpec], data_root: Path
):
    odd = ("a?b*.png", "new\nline.png", "[x] %25.png", "-dash.png", "e\u0301.png", "\u00e9.png")
    for old, new in zip(index.paths, odd, strict=False):
        (index.root / old).rename(index.root / new)
    renamed = Index(
        **{**vars(index), "paths": (*odd, *index.paths[len(odd) :])},
    )

    run(renamed, views, data_root)

    check_views(renamed, views, data_root)
    (index.root / "new\nline.png").unlink()
    (renamed_view,) = [view for view in views if (view.form, view.split) == ("high", "test")]
    other = renamed_view.model_copy(update={"canvas_px": 20})
    with pytest.raises(DataError, match=r"row 1  'new\\nline\.png': the file is missing"):
        run(renamed, [other], data_root)


def test_lost_and_doubled_rows_are_an_error(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    def careless(index: Index, rows: NDArray[np.int64], task: BlockTask) -> Iterator[Any]:
        few = rows[:4]
        yield make_block(module._batch(index, few), task)
        yield make_block(module._batch(index, few[:1]), task)

    monkeypatch.setattr(module, "_blocks_here", careless)
    train = [view for view in views if view.split == "train"]

    with pytest.raises(DataError, match="6 of 10 photos were lost and 1 came twice"):
        run(index, train, data_root)

    assert names(data_root) == []


def test_interrupted_preparation_leaves_nothing(
    index: Index, views: list[ViewSpec], data_root: Path
):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(index, DATA, views, data_root, interrupt)

    assert names(data_root) == []


def test_empty_split_is_refused(index: Index, data_root: Path):
    tuning = DATA.model_copy(update={"validation": 0.5})

    with pytest.raises(DataError, match="no validation photos"):
        run(index, list(view_specs(tuning, "data").values()), data_root)


def test_resolution_above_the_canvas_is_refused(
    index: Index, views: list[ViewSpec], data_root: Path
):
    sharp = [view.model_copy(update={"canvas_px": 5}) for view in views]

    with pytest.raises(ConfigError, match="above the canvas"):
        run(index, sharp, data_root)


def test_drawn_photos_are_prepared(data_root: Path):
    drawing = SyntheticSpec(n_classes=2, n_train=6, n_test=4, image_px=32)
    data = DataSpec(dataset="synthetic", canvas_px=16, resolution_px=4, synthetic=drawing)
    index = read_index(data)
    views = list(view_specs(data, "data").values())

    report = run(index, views, data_root, data)

    assert report.n_photos == 10
    for spec in views:
        view = open_view(data_root, spec)
        assert len(np.unique(view.images_NHWC, axis=0)) == len(view)


def test_small_sets_do_not_import_ray():
    code = "import sys, trainables.prepare; sys.exit('ray' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_large_sets_without_a_cluster_are_prepared_here(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "IN_PROCESS_PHOTOS", 1)
    monkeypatch.delitem(sys.modules, "ray", raising=False)

    assert run(index, views, data_root).n_photos == 14


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")
def test_d23_n06_ray_data_makes_the_same_views_and_lists_bad_rows(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "IN_PROCESS_PHOTOS", 1)
    monkeypatch.setattr(module, "FEWEST_PHOTOS", 4)
    monkeypatch.setattr(module, "MOST_PHOTOS", 4)
    monkeypatch.setattr(module, "_blocks_here", None)
    index.boxes[0] = (-4.0, 3.0, 30.0, 20.0)
    run(index, [view for view in views if view.split == "test"], data_root)
    (index.root / "photo 13.png").write_bytes(b"<html>")

    with pytest.raises(DataError, match=r"1 of 10 photos(.|\n)*row 13  'photo 13.png'"):
        run(index, views, data_root)

    assert len(names(data_root)) == 2
    Image.new("RGB", (40, 30)).save(index.root / "photo 13.png")
    assert run(index, views, data_root).n_clipped_boxes == 1
    index.boxes[0] = TRAIN_BOX
    check_views(index, [view for view in views if view.split == "test"], data_root)
    made = open_view(data_root, next(v for v in views if (v.form, v.split) == ("low", "train")))
    for place, row in list(enumerate(made.rows_N))[1:]:
        assert np.array_equal(made.images_NHWC[place], expected(index, row, made.spec))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")
def test_workers_of_other_nodes_send_what_those_of_this_node_write_in_place(
    index: Index, views: list[ViewSpec], data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "IN_PROCESS_PHOTOS", 1)
    monkeypatch.setattr(module, "node", lambda: "another")

    run(index, views, data_root)

    check_views(index, views, data_root)


def end_at_once(_batch: Any) -> None:
    os._exit(1)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")
def test_photos_over_which_every_worker_dies_end_the_preparation_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ray_blocks, "MOST_LOSSES", 1)
    with pytest.raises(BusyError, match=r"has died 2 times over the same ones: .* memory"):
        list(ray_blocks.blocks_by_ray({"row": np.arange(2)}, end_at_once, 2))


def test_while_another_thread_imports_ray_it_is_not_up(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    assert not module.ray_is_up()
