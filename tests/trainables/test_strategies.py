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
    assert (first.updates_of, first.n_images, second.n_images) == (300, 200, 200)
