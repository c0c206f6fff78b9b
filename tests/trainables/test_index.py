import errno
import json
import os
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.index import (
    Index,
    apply_choices,
    choose_classes,
    content_key,
    cut_validation,
    evaluation_split,
)
from trainables.spec import DataSpec

N_CLASSES = 5
N_TRAIN_PER_CLASS = 20
N_TEST_PER_CLASS = 4


def make_index(root):
    """Rows of all classes interleaved, so that no order can be relied on."""
    rows = [
        (label, split, i)
        for split, n in (("train", N_TRAIN_PER_CLASS), ("test", N_TEST_PER_CLASS))
        for i in range(n)
        for label in range(N_CLASSES)
    ]
    return Index(
        dataset="demo",
        root=root,
        paths=tuple(f"{split}/{label}/{i}.jpg" for label, split, i in rows),
        labels=np.array([label for label, _, _ in rows], dtype=np.int64),
        boxes=np.tile([0.0, 0.0, 8.0, 6.0], (len(rows), 1)),
        splits=np.array([split for _, split, _ in rows], dtype="<U5"),
        class_names=tuple("abcde"),
    )


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    index = make_index(root)
    write_photos(index, root)
    return index


def write_photos(index, root):
    for path in index.paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_chosen_classes_are_renumbered_in_their_old_order(tmp_path):
    index = make_index(tmp_path)
    chosen = choose_classes(index, 3, seed=1)
    assert len(chosen.class_names) == 3
    assert list(chosen.class_names) == sorted(chosen.class_names)
    assert len(chosen) == 3 * (N_TRAIN_PER_CLASS + N_TEST_PER_CLASS)
    # The second part of a path is the class's old label.
    old_labels = [int(path.split("/")[1]) for path in chosen.paths]
    old_names = [index.class_names[label] for label in old_labels]
    assert [chosen.class_names[label] for label in chosen.labels] == old_names


def test_choice_of_classes_follows_the_seed(tmp_path):
    index = make_index(tmp_path)
    choices = {choose_classes(index, 2, seed).class_names for seed in range(20)}
    assert len(choices) > 1
    assert choose_classes(index, 2, 7).class_names == choose_classes(index, 2, 7).class_names


def test_all_classes_are_the_same_index(tmp_path):
    index = make_index(tmp_path)
    chosen = choose_classes(index, N_CLASSES, 0)
    assert chosen.paths == index.paths
    assert (chosen.labels == index.labels).all()


def test_more_classes_than_there_are_is_refused(tmp_path):
    with pytest.raises(DataError, match="asks for 6 classes, demo has 5"):
        choose_classes(make_index(tmp_path), 6, 0)


def test_validation_leaves_no_test_row(tmp_path):
    index = make_index(tmp_path)
    cut = cut_validation(index, 0.25, seed=0)
    assert cut.rows("test").size == 0
    assert not any(path.startswith("test/") for path in cut.paths)
    assert len(cut) == N_CLASSES * N_TRAIN_PER_CLASS


def test_validation_is_cut_per_class(tmp_path):
    cut = cut_validation(make_index(tmp_path), 0.25, seed=0)
    counts = np.bincount(cut.labels[cut.rows("validation")], minlength=N_CLASSES)
    assert counts.tolist() == [5] * N_CLASSES


def test_validation_is_cut_from_train_rows_and_adds_to_those_that_the_data_hold_out(tmp_path):
    index = make_index(tmp_path)
    splits = index.splits.astype("<U10")
    splits[index.rows("train")[: 10 * N_CLASSES]] = "validation"
    cut = cut_validation(replace(index, splits=splits), 0.5, seed=0)
    for split, n in (("train", 5), ("validation", 15)):
        counts = np.bincount(cut.labels[cut.rows(split)], minlength=N_CLASSES)
        assert counts.tolist() == [n] * N_CLASSES


@pytest.mark.parametrize("n_train", [1, 2, 3])
def test_validation_leaves_every_class_a_photo_to_train_on(tmp_path, n_train):
    index = make_index(tmp_path)
    few = index.take(index.rows("train")[: n_train * N_CLASSES])
    cut = cut_validation(few, 0.9, seed=0)
    assert sorted(cut.labels[cut.rows("train")]) == list(range(N_CLASSES))


def test_validation_follows_the_seed(tmp_path):
    index = make_index(tmp_path)
    first, again, other = (cut_validation(index, 0.25, seed).splits for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_choices_are_applied_together(tmp_path):
    data = DataSpec(classes=2, validation=0.5)
    chosen = apply_choices(make_index(tmp_path), data)
    assert len(chosen.class_names) == 2
    assert chosen.rows("validation").size == chosen.rows("train").size == N_TRAIN_PER_CLASS
    assert evaluation_split(data) == "validation"
    assert evaluation_split(DataSpec()) == "test"


def test_without_choices_the_index_is_untouched(tmp_path):
    index = make_index(tmp_path)
    assert apply_choices(index, DataSpec()) is index


def test_key_is_equal_under_another_root(photos, tmp_path):
    write_photos(photos, tmp_path / "copy")
    moved = replace(photos, root=tmp_path / "copy")
    assert content_key(photos, tmp_path / "a.json") == content_key(moved, tmp_path / "b.json")


def other_label(index):
    return replace(index, labels=np.roll(index.labels, 1))


def other_box(index):
    boxes = index.boxes.copy()
    boxes[3, 2] += 0.5
    return replace(index, boxes=boxes)


def whole_photo(index):
    boxes = index.boxes.copy()
    boxes[3] = np.nan
    return replace(index, boxes=boxes)


def other_class_name(index):
    return replace(index, class_names=("z", *index.class_names[1:]))


def other_split(index):
    splits = index.splits.copy()
    splits[0] = "test"
    return replace(index, splits=splits)


def fewer_rows(index):
    return index.take(np.arange(len(index) - 1))


@pytest.mark.parametrize(
    "change", [other_label, other_box, whole_photo, other_class_name, other_split, fewer_rows]
)
def test_f09_key_differs_when_the_table_does(photos, tmp_path, change):
    cache = tmp_path / "sums.json"
    assert content_key(photos, cache) != content_key(change(photos), cache)


def test_key_differs_when_a_byte_does(photos, tmp_path):
    cache = tmp_path / "sums.json"
    before = content_key(photos, cache)
    file = photos.root / photos.paths[7]
    file.write_bytes(b"X" + file.read_bytes())
    assert content_key(photos, cache) != before


@pytest.mark.parametrize(("number", "passes"), [(errno.EROFS, True), (errno.ENOSPC, False)])
def test_a_root_that_may_only_be_read_has_its_photos_summed_all_the_same(
    photos, tmp_path, monkeypatch, number, passes
):
    def write(*_):
        raise OSError(number, os.strerror(number))

    expected = content_key(photos, tmp_path / "sums.json")
    monkeypatch.setattr("trainables.index.replace_text", write)
    with nullcontext() if passes else pytest.raises(OSError, match="No space"):
        assert content_key(photos, tmp_path / "read-only.json") == expected


def test_known_sums_are_not_computed_again(photos, tmp_path):
    cache = tmp_path / "deep" / "sums.json"
    before = content_key(photos, cache)
    sums = json.loads(cache.read_text())
    assert len(sums) == len(photos)
    cache.write_text(json.dumps(dict.fromkeys(sums, "0" * 64)))
    assert content_key(photos, cache) != before


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_damaged_cache_is_made_anew(photos, tmp_path, text):
    cache = tmp_path / "sums.json"
    before = content_key(photos, cache)
    cache.write_text(text)
    assert content_key(photos, cache) == before
    assert len(json.loads(cache.read_text())) == len(photos)


def test_d11_missing_photos_are_listed_together(photos, tmp_path):
    for path in photos.paths[:3]:
        (photos.root / path).unlink()
    with pytest.raises(DataError) as caught:
        content_key(photos, tmp_path / "sums.json")
    assert "3 of 120 photos" in str(caught.value)
    assert all(path in str(caught.value) for path in photos.paths[:3])
