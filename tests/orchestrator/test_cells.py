import pytest

from orchestrator.cells import cells_of, drafts_of
from trainables.errors import ConfigError


def names(experiment):
    return [cell.name for cell in cells_of(experiment.recipe, experiment.facts.n_train)]


def test_table_2_has_79_cells(experiment):
    cells = names(experiment())
    assert len(cells) == 79 == len(set(cells))
    assert cells[0] == "staged_hl/h0-l1/s0"
    assert cells[-1] == "mixed/h8-l8/s0"


def test_eight_thousand_means_all_images(experiment):
    cells = cells_of(experiment(cells={"step": 1000, "high": [8], "low": [3, 8]}).recipe, 8144)
    assert [(c.n_high, c.n_low) for c in cells] == [(8144, 3000), (8144, 8144)]


def test_auto_steps_are_eighths(experiment):
    cells = cells_of(experiment(cells={"high": [4], "low": [1]}).recipe, 400)
    assert [(c.n_high, c.n_low) for c in cells] == [(200, 50)]


def test_strategies_take_all_photos_of_the_forms_they_train_on(experiment):
    made = experiment(cells={"strategies": ["high", "low", "mixed", "staged_lh"]})
    assert names(made) == ["high/h8-l0/s0", "low/h0-l8/s0", "mixed/h8-l8/s0", "staged_lh/h8-l8/s0"]


def test_seeds_repeat_every_cell(experiment):
    assert len(names(experiment(seeds=[0, 1, 2]))) == 3 * 79


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"strategies": ["hihg"]}, "did you mean high"),
        ({}, "asks for no cells"),
        ({"step": 2000, "high": [0], "low": [1, 5]}, "level 5 asks for 10000 images"),
        ({"high": [0], "low": [0]}, "levels are 0"),
        ({"step": 0, "high": [0], "low": [1]}, "cells.step must be"),
        ({"high": [0, 1], "low": [9000], "top_level": 20_000}, r"level 1 is 1 / 20000 of the 8144"),
    ],
)
def test_d18_impossible_cells_are_refused_with_the_arithmetic(experiment, cells, message):
    with pytest.raises(ConfigError, match=message):
        names(experiment(cells=cells))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            {"high": [4], "low": [4, 5, 6]},
            "leaves 2 cells .* staged_hl/h4-l5, staged_hl/h4-l6; leave",
        ),
        (
            {"strategies": ["staged_hl", "staged_lh", "low_low"]},
            "leaves 2 cells .* staged_hl/h8-l8, staged_lh/h8-l8; leave",
        ),
    ],
)
def test_disjoint_subsets_that_must_overlap_are_refused(experiment, cells, message):
    with pytest.raises(ConfigError, match=message):
        names(experiment(subset={"relation": "disjoint"}, cells=cells))


def test_disjoint_photos_cannot_be_drawn_anew_for_every_number(experiment):
    subset = {"relation": "disjoint", "rule": "independent"}
    with pytest.raises(ConfigError, match="take nested or stratified"):
        names(experiment(subset=subset, cells={"high": [3], "low": [4]}))


def test_cells_of_one_form_or_of_both_forms_of_a_photo_may_ask_for_all_beside_disjoint_ones(
    experiment,
):
    cells = {"strategies": ["high", "low", "mixed", "low_low"]}
    made = experiment(subset={"relation": "disjoint"}, cells=cells)
    assert names(made) == ["high/h8-l0/s0", "low/h0-l8/s0", "mixed/h8-l8/s0", "low_low/h8-l8/s0"]


def test_controls_get_the_photos_that_their_updates_are_counted_by(experiment):
    made = experiment(cells={"strategies": ["low_low", "high_high"]})
    assert names(made) == ["low_low/h8-l8/s0", "high_high/h8-l8/s0"]
    cells = cells_of(made.recipe, 80)
    assert [len(drafts_of(made.recipe, cell)) for cell in cells] == [2, 2]


def test_a_strategy_spelt_out_in_the_recipe_runs_as_its_list_of_stages(experiment):
    steps = [{"views": ["high"], "images": "high"}] + [
        {"views": ["low"], "images": "low", "resolution_px": px} for px in (100, 50)
    ]
    made = experiment(cells={"strategies": ["curriculum"]}, sequences={"curriculum": steps})
    (cell,) = cells_of(made.recipe, 80)
    drafts = drafts_of(made.recipe, cell)
    assert [(d.views, d.n_images, d.resolution_px) for d in drafts] == [
        (("high",), 80, None),
        (("low",), 80, 100),
        (("low",), 80, 50),
    ]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"mine": {"strategy": "lwo"}}, "no strategy named lwo: did you mean low"),
        ({"low": {"strategy": "low"}}, "variants.low: there is a strategy of this name"),
    ],
)
def test_variants_have_names_of_their_own_and_known_strategies(experiment, variants, message):
    made = experiment(variants=variants, cells={"strategies": ["low"]})
    with pytest.raises(ConfigError, match=message):
        names(made)


def test_a_variant_is_a_strategy_by_its_name(experiment):
    made = experiment(variants={"mine": {"strategy": "low"}}, cells={"strategies": ["mine"]})
    assert names(made) == ["mine/h0-l8/s0"]


def test_the_diagonal_adds_staged_cells_of_equal_photos_once(experiment):
    made = experiment(cells={"high": [0, 8], "low": [4, 8], "diagonal": [4, 8], "mixed": [4]})
    assert names(made) == [
        f"{cell}/s0"
        for cell in (
            *("staged_hl/h0-l4", "staged_hl/h0-l8", "staged_hl/h8-l4", "staged_hl/h8-l8"),
            *("staged_hl/h4-l4", "mixed/h4-l4"),
        )
    ]


def test_strategies_can_be_asked_for_at_a_part_of_the_photos(experiment):
    cells = {"strategies": ["high", "low", "low_low"], "strategies_at": [8, 2]}
    made = experiment(cells=cells)
    assert names(made) == ["high/h8-l0/s0", "low/h0-l2/s0", "low_low/h8-l2/s0"]
    with pytest.raises(ConfigError, match="levels are 0"):
        names(experiment(cells=cells | {"strategies_at": [8, 0]}))


def test_c07_a_level_given_twice_is_one_and_a_recipe_without_cells_is_refused(experiment):
    once = cells_of(experiment(cells={"high": [0, 8], "low": [8]}).recipe, 800)
    twice = cells_of(experiment(cells={"high": [0, 8, 0], "low": [8, 8]}).recipe, 800)
    assert twice == once
    with pytest.raises(ConfigError, match="asks for no cells"):
        cells_of(experiment(cells={}).recipe, 800)
