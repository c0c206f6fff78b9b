"""The contract that every strategy passes, shipped or added."""

import pytest

from trainables.spec import Cell
from trainables.strategies import STRATEGIES


def cell(strategy, n_high=300, n_low=200):
    return Cell(strategy=strategy, n_high=n_high, n_low=n_low, high_level=3, low_level=2, seed=0)


@pytest.mark.parametrize("name", STRATEGIES)
class TestContract:
    def test_gives_at_least_one_stage_and_never_one_without_images(self, name):
        for n_high, n_low in ((300, 200), (300, 300), (8, 8)):
            drafts = STRATEGIES[name](cell(name, n_high, n_low))
            assert drafts
            assert all(draft.n_images > 0 for draft in drafts)

    def test_is_a_pure_function_of_the_cell(self, name):
        assert STRATEGIES[name](cell(name)) == STRATEGIES[name](cell(name))

    def test_asks_only_for_images_that_the_cell_has(self, name):
        for draft in STRATEGIES[name](cell(name)):
            assert draft.n_images in (200, 300)

    def test_teachers_are_earlier_stages(self, name):
        for place, draft in enumerate(STRATEGIES[name](cell(name))):
            assert draft.teacher is None or draft.teacher < place


def test_staged_without_high_photos_is_the_low_baseline():
    assert STRATEGIES["staged_hl"](cell("staged_hl", n_high=0)) == STRATEGIES["low"](
        cell("low", n_high=0)
    )


def test_staged_starts_with_the_stage_that_high_consists_of():
    assert STRATEGIES["staged_hl"](cell("staged_hl"))[0] == STRATEGIES["high"](cell("high"))[0]


def test_controls_make_as_many_updates_as_what_they_control_for():
    first, second = STRATEGIES["low_low"](cell("low_low"))
    assert (first.updates_of, first.n_images, second.n_images) == ((300,), 200, 200)


class TestNamedControlsAndRivals:
    """What each strategy beyond the paper's promises, on 300 high and 200 low photos."""

    def test_every_rival_of_staged_starts_from_its_high_stage_and_shares_it(self):
        high = STRATEGIES["high"](cell("high"))[0]
        for name in ("distilled_hl", "curriculum", "replay_hl", "interpolated_hl", "frozen_hl"):
            assert STRATEGIES[name](cell(name))[0] == high

    @pytest.mark.parametrize("name", ["distilled_hl", "interpolated_hl", "frozen_hl"])
    def test_without_high_photos_rivals_of_staged_are_the_low_baseline(self, name):
        assert STRATEGIES[name](cell(name, n_high=0)) == STRATEGIES["low"](cell("low", n_high=0))

    def test_distillation_pairs_each_low_photo_with_its_high_form_for_the_teacher(self):
        high, pupil = STRATEGIES["distilled_hl"](cell("distilled_hl"))
        assert (pupil.views, pupil.teacher, pupil.objective) == (("low", "high"), 0, "distill")
        assert (high.n_images, pupil.n_images) == (300, 200)

    def test_interpolation_costs_no_stage_that_staged_does_not_have(self):
        *trained, between = STRATEGIES["interpolated_hl"](cell("interpolated_hl"))
        assert tuple(trained) == STRATEGIES["staged_hl"](cell("staged_hl"))
        assert (between.objective, between.teacher) == ("interpolate", 0)

    def test_a_curriculum_makes_the_updates_of_staged_on_falling_resolutions(self):
        _, between, low = STRATEGIES["curriculum"](cell("curriculum"))
        assert (between.resolution_times, low.resolution_times) == (2.0, None)
        assert sum(between.updates_of + low.updates_of) == 200

    def test_the_restart_alone_is_what_separates_two_low_stages_from_one_long_one(self):
        (long,) = STRATEGIES["low_long"](cell("low_long"))
        first, second = STRATEGIES["low_low"](cell("low_low"))
        assert long.updates_of == (*first.updates_of, second.n_images)

    def test_mixed_with_equal_updates_sees_both_forms_in_the_updates_of_one_low_stage(self):
        (both,) = STRATEGIES["mixed_matched"](cell("mixed_matched"))
        assert (both.views, both.updates_of) == (("high", "low"), (200,))
        assert STRATEGIES["mixed_low"](cell("mixed_low"))[0] == both

    def test_shuffled_labels_change_the_labels_and_nothing_else(self):
        drafts = STRATEGIES["shuffled_hl"](cell("shuffled_hl"))
        assert {draft.labels for draft in drafts} == {"shuffled"}
        true = tuple(draft.model_copy(update={"labels": "true"}) for draft in drafts)
        assert true == STRATEGIES["staged_hl"](cell("staged_hl"))
