"""What every verb prints when something is wrong."""

import pytest

from orchestrator.cli import VERBS, main
from orchestrator.recipe_files import load_recipe, shipped
from trainables.models import KNOWN, names


def test_s11_a_message_cannot_control_the_terminal(capsys):
    assert main(["run", "\x1b[2J\x07\udcff"]) == 2
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert r"\x1b[2J\x07\udcff" in printed


def test_what_is_printed_keeps_its_colons(capsys):
    assert main(["a:car:b"]) == 2
    assert "f2c has no verb a:car:b" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["/nope/x.yaml", "x.yml", "nope/x"])
def test_c06_a_recipe_s_file_that_is_missing_is_called_so_without_a_list_of_names(name, capsys):
    assert main(["plan", name]) == 2
    assert capsys.readouterr().out.strip() == f"there is no file {name}"


def test_d17_photos_of_one_class_are_refused(tmp_path, capsys):
    for number in range(5):
        photo = tmp_path / "photos" / "cat" / f"{number}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"photo")
    flags = ["--data.dataset", "folder", "--data.root", str(tmp_path / "photos")]
    assert main(["plan", "demo", *flags, "--root", str(tmp_path / "runs")]) == 65
    assert "folder has one class, 'cat'" in capsys.readouterr().out


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


@pytest.mark.parametrize("verb", ["run", "status", "prepare", "report", "sync"])
def test_c01_a_second_recipe_is_refused_where_one_is_wanted(verb, tmp_path, capsys):
    assert main([verb, "demo", "table2-cars", "--root", str(tmp_path)]) == 2
    assert "one recipe" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_has_help(verb, flag, capsys):
    try:
        status = main([verb, flag])
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr().out.lower()
    assert status == 0
    assert printed.startswith("usage: f2c")
