import numpy as np
import pytest

from trainables.spec import SubsetSpec
from trainables.subset import subset_rows, training_labels

LABELS = np.arange(200) % 10


def rows(n, **fields):
    return subset_rows(SubsetSpec(seed=fields.pop("seed", 0), n_images=n, **fields), LABELS)


def test_smaller_subsets_are_prefixes_of_larger_ones():
    assert (rows(150)[:40] == rows(40)).all()


def test_high_and_low_of_equal_size_are_the_same_images():
    assert (rows(80, stream="shared") == rows(80, stream="shared")).all()
    assert (rows(80, stream="high") != rows(80, stream="low")).any()


def test_seeds_give_other_subsets_and_no_image_comes_twice():
    assert (rows(50, seed=1) != rows(50, seed=2)).any()
    assert len(set(rows(200))) == 200


def test_disjoint_sides_share_no_image():
    assert not set(rows(100, side="front")) & set(rows(100, side="back"))


def test_independent_draws_are_no_prefixes():
    assert set(rows(40, rule="independent")) - set(rows(150, rule="independent")[:40])


def test_stratified_prefixes_hold_each_class_equally_and_are_nested():
    counts = np.bincount(LABELS[rows(50, rule="stratified")], minlength=10)
    assert counts.min() == counts.max() == 5
    assert (rows(150, rule="stratified")[:40] == rows(40, rule="stratified")).all()


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({}, [77, 108, 97, 182, 112]),
        ({"side": "back"}, [148, 189, 66, 181, 175]),
        ({"stream": "low"}, [185, 93, 39, 78, 120]),
        ({"rule": "independent"}, [193, 114, 195, 64, 3]),
    ],
)
def test_a_seed_means_the_same_photos_in_every_version(fields, first):
    """A finished stage's key names its seed; these are the photos behind it."""
    assert rows(5, **fields).tolist() == first


def test_stratified_prefixes_hold_classes_of_other_sizes_in_their_shares():
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    for n, counts in ((10, [6, 3, 1]), (50, [30, 15, 5]), (100, [60, 30, 10])):
        spec = SubsetSpec(seed=0, n_images=n, rule="stratified")
        assert np.bincount(labels[subset_rows(spec, labels)]).tolist() == counts


def test_more_images_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="201 images asked for, 200"):
        rows(201)


def test_shuffled_labels_are_the_true_ones_dealt_out_anew_by_the_seed():
    true, first, again, other = (
        training_labels(SubsetSpec(seed=seed, n_images=8, labels=labels), LABELS)
        for seed, labels in ((0, "true"), (0, "shuffled"), (0, "shuffled"), (1, "shuffled"))
    )
    assert (true == LABELS).all()
    assert (np.sort(first) == np.sort(LABELS)).all()
    assert (first == again).all()
    assert (first != LABELS).mean() > 0.5
    assert (first != other).any()
