"""What every verb prints when something is wrong."""

import pytest

from orchestrator.cli import main
from orchestrator.recipe_files import load_recipe, shipped
from trainables.models import KNOWN, names


def test_s11_a_message_cannot_control_the_terminal(capsys):
    assert main(["run", "\x1b[2J\x07\udcff"]) == 2
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert r"\x1b[2J\x07\udcff" in printed


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize(
    ("name", "complaint"),
    [("resnet1", "did you mean resnet18?"), ("alexnet", "alexnet takes 227 px photos")],
)
def test_c06_a_network_that_no_run_could_train_is_not_planned(
    verb, name, complaint, tmp_path, capsys
):
    assert main([verb, "demo", "--model.name", name, "--root", str(tmp_path)]) == 2
    assert complaint in capsys.readouterr().out


def test_the_networks_of_shipped_recipes_are_known_without_a_look_into_torchvision():
    recipes = [load_recipe(name) for name in shipped()]
    parts = [part for recipe in recipes for part in (recipe, *map(recipe.of, recipe.variants))]
    assert {part.model.name for part in parts} <= KNOWN <= set(names())
