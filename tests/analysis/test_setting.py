from dataclasses import replace

import pytest

from analysis.setting import describe, deviations, setting_of
from orchestrator.recipe_files import load_recipe

PAPERS = {
    "data": {"dataset": "cars", "canvas_px": 227, "resolution_px": 50},
    "model": {"name": "alexnet", "weights": "bvlc_alexnet.npy"},
    "train": {"epochs": 60},
}


@pytest.fixture
def papers(grid):
    return replace(setting_of(grid, PAPERS), n_images=8144)


def test_deviations_list_what_differs(grid, recipe):
    assert deviations(setting_of(grid, recipe), "table2") == [
        "data set synthetic (paper: Stanford Cars)",
        "training photos 400 (paper: 8144)",
        "network tiny (paper: alexnet)",
        "first weights random (paper: ImageNet)",
        "canvas 48 px (paper: 227 px)",
        "low resolution 16 px (paper: 50 px)",
        "10 epochs a stage (the paper does not say)",
    ]


def test_a_faithful_run_differs_in_what_the_paper_does_not_say(papers):
    assert deviations(papers, "table1") == ["60 epochs a stage (the paper does not say)"]


def test_a_subset_of_classes_and_a_validation_split_are_told(papers):
    told = deviations(replace(papers, classes=20, validation=0.1, n_seeds=3), "table1")
    assert "classes 20 (paper: all)" in told
    assert "tested on validation photos (paper: test photos)" in told
    assert "3 seeds (paper: one run)" in told


def test_high_and_low_photos_that_are_not_the_same_are_told(grid, recipe):
    apart = setting_of(grid, recipe | {"subset": {"relation": "disjoint"}})
    told = deviations(apart, "table2")
    assert "photos in high-res and in low-res disjoint (paper: same)" in told


def test_table3_is_compared_with_birds(papers):
    assert "data set Stanford Cars (paper: CUB-200-2011)" in deviations(papers, "table3")


@pytest.mark.parametrize(
    ("section", "changes", "told"),
    [
        ("data", {"root": "/photos/cars", "mode": "stream"}, True),
        ("model", {"weights": "mine.safetensors"}, True),
        ("data", {"dataset": "folder"}, False),
        ("data", {"classes": 20}, False),
        ("data", {"resolution_px": 25}, False),
        ("model", {"name": "squeezenet1_1"}, False),
    ],
)
def test_a_shipped_recipes_words_are_told_of_its_own_data_and_network_only(section, changes, told):
    shipped = load_recipe("table2-cars")
    fields = shipped.model_dump(mode="json") | {"name": "mine"}
    fields[section] |= changes
    assert describe(fields) == (shipped.description if told else "")


def test_a_users_own_words_are_told_whatever_they_are_of():
    assert describe({"description": "mine", "data": {"dataset": "folder"}}) == "mine"
    assert describe({"data": None}) == ""


def test_a_custom_table_has_no_counterpart(papers):
    assert deviations(papers, "custom") == []


@pytest.mark.parametrize("recipe", [{}, {"data": None, "model": "tiny", "train": []}])
def test_a_silent_recipe_leaves_it_to_the_results(grid, recipe):
    setting = setting_of(grid, recipe)
    assert setting.title == "synthetic, tiny, low-res 16 px on a 48 px canvas, 1 seed"
    assert setting.budget == ""


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"epochs": 10}, "10 epochs a stage"),
        ({"epochs": 60, "later": {"epochs": 30}}, "60 epochs a stage, 30 in later stages"),
        ({"epochs": None, "steps": 500}, "500 steps a stage"),
        (
            {"epochs": 6, "budget": "steps"},
            "6 epochs a stage, as many updates with fewer photos",
        ),
    ],
)
def test_budget_in_words(grid, train, expected):
    assert setting_of(grid, {"train": train}).budget == expected


def test_rows_with_a_network_of_their_own_are_told(strategies, recipe):
    lrcnn = {
        "strategy": "low",
        "canvas_px": 50,
        "model": {"name": "lrcnn_recon", "weights": "none"},
        "train": {"epochs": 8},
    }
    variants = {"my_own": lrcnn, "not_in_the_table": lrcnn}
    setting = setting_of(strategies, recipe | {"variants": variants})
    told = "row my_own: lrcnn_recon, from random weights, 50 px, 8 epochs a stage"
    assert setting.variants == (told,)
    assert told in deviations(setting, "table1")
