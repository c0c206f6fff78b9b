import numpy as np
import pytest

from analysis.heatmaps import (
    cut_out,
    deletion_area,
    entropy_area,
    filtered,
    insertion_area,
    joint_areas,
    normalised,
    paired,
    participation_area,
    strength,
)

HEAT = np.array([[0, 1], [3, 4]], np.float32)
FLAT = np.full((2, 2), 5, np.float32)
NONE = np.zeros((2, 2), np.float32)


def test_strength_of_a_map():
    """Logits 1, 2, 3 lie 1, 0, 1 from their mean."""
    found = strength(HEAT, np.array([1.0, 2.0, 3.0]))
    assert found == (2.0, 4.0, 8.0, 1.0)


def test_relative_strength_does_not_grow_with_the_logits():
    """Ten times the logits are a hundred times the squared distances."""
    small = strength(HEAT, np.array([1.0, 2.0, 3.0]))
    large = strength(100 * HEAT, np.array([10.0, 20.0, 30.0]))
    assert large.mean == 100 * small.mean
    assert large.relative == small.relative


def test_a_collapsed_networks_map_is_relative_to_nothing():
    found = strength(HEAT, np.array([2.0, 2.0]))
    assert found[:3] == (2.0, 4.0, 8.0)
    assert np.isnan(found.relative)


def test_areas_share_the_threshold_of_the_largest_map():
    assert joint_areas([HEAT, 2 * HEAT], 0.5) == [0.25, 0.5]
    assert joint_areas([HEAT, 2 * HEAT], 0.25) == [0.5, 0.75]
    assert joint_areas([HEAT], 0.5) == [0.5]


def test_areas_of_equal_and_of_empty_maps():
    assert joint_areas([FLAT], 0.5) == [1.0]
    assert joint_areas([NONE, NONE], 0.5) == [0.0, 0.0]
    for area in (participation_area, entropy_area):
        assert area(FLAT) == pytest.approx(1.0)
        assert area(NONE) == 0.0


def test_one_hot_pixel_of_four_is_a_quarter():
    spike = np.array([[0, 0], [7, 0]], np.float32)
    assert participation_area(spike) == pytest.approx(0.25)
    assert entropy_area(spike) == pytest.approx(0.25)


def test_areas_by_hand():
    """(0 + 1 + 3 + 4)^2 / (4 * 26); shares 1/8, 3/8, 1/2 have an entropy of 0.97431."""
    assert participation_area(HEAT) == pytest.approx(64 / 104)
    assert entropy_area(HEAT) == pytest.approx(np.exp(0.974315) / 4, rel=1e-5)


def test_maps_are_shown_over_their_own_range():
    np.testing.assert_array_equal(normalised(HEAT), [[0, 0.25], [0.75, 1]])
    np.testing.assert_array_equal(normalised(FLAT), NONE)


def test_the_filtered_photo_fades_to_white_where_it_is_cold():
    photo = np.full((2, 2, 3), 55, np.uint8)
    np.testing.assert_array_equal(filtered(photo, HEAT)[..., 0], [[255, 205], [105, 55]])


def test_the_cut_out_photo_is_grey_where_it_is_cold():
    photo = np.full((2, 2, 3), 55, np.uint8)
    np.testing.assert_array_equal(cut_out(photo, HEAT)[..., 2], [[128, 128], [55, 55]])


def test_paired_difference_by_hand():
    """All of five photos rise, which happens by chance in 2 of 32 cases."""
    first_N = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    second_N = first_N + np.arange(0.1, 0.6, 0.1)
    found = paired(first_N, second_N)
    assert found.difference == pytest.approx(0.3)
    assert found.p_value == pytest.approx(2 / 32)
    assert 0.1 < found.low < 0.2
    assert 0.4 < found.high < 0.5
    assert found == paired(first_N, second_N)
    assert found.low != paired(first_N, second_N, seed=1, n_resamples=50).low


def test_the_bootstrap_interval_is_about_the_normal_one():
    difference_N = np.random.default_rng(3).normal(2, 1, 400)
    found = paired(np.zeros(400), difference_N)
    half = 1.96 * difference_N.std() / 20
    assert found.low == pytest.approx(difference_N.mean() - half, abs=0.02)
    assert found.high == pytest.approx(difference_N.mean() + half, abs=0.02)


def test_no_difference_is_no_evidence():
    assert paired(np.ones(3), np.ones(3)) == (0, 0, 0, 1)


@pytest.mark.parametrize(("n_first", "n_second"), [(2, 3), (0, 0)])
def test_photos_must_pair(n_first, n_second):
    with pytest.raises(ValueError, match="cannot be paired"):
        paired(np.ones(n_first), np.ones(n_second))


def bright_share(photos: np.ndarray) -> np.ndarray:
    """Share of pixels that are white: the score of a network that counts them."""
    return (photos == 255).all(-1).mean((1, 2))


def test_deletion_and_insertion_by_hand():
    """White pixels go one by one: 1/2, 1/4, 0, 0, 0; and come: 0, 1/4, 1/2, 1/2, 1/2."""
    photo = np.zeros((2, 2, 3), np.uint8)
    photo[1] = 255
    good, bad = HEAT, HEAT[::-1]
    assert deletion_area(photo, good, bright_share, n_steps=4) == pytest.approx(0.5 / 4)
    assert insertion_area(photo, good, bright_share, n_steps=4) == pytest.approx(1.5 / 4)
    assert deletion_area(photo, bad, bright_share, n_steps=4) == pytest.approx(1.5 / 4)
    assert insertion_area(photo, bad, bright_share, n_steps=4) == pytest.approx(0.5 / 4)


def test_equally_hot_pixels_change_in_reading_order():
    photo = np.zeros((2, 2, 3), np.uint8)
    photo[0, 0] = 255
    assert deletion_area(photo, FLAT, bright_share, n_steps=4) == pytest.approx(0.125 / 4)
