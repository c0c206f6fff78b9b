import json

import pytest

from orchestrator.flags import parse
from orchestrator.publishing import named_run
from orchestrator.recipe import Recipe, sequence_drafts
from orchestrator.recipe_files import (
    MAX_RECIPE_BYTES,
    field_names,
    load_recipe,
    parse_recipe,
    recipe_path,
    shipped,
)
from trainables.errors import ConfigError

GOOD = "name: x\ncells: {strategies: [high]}\n"


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, "x.yaml")
    return str(caught.value)


def test_every_shipped_recipe_is_valid():
    assert {"demo", "table1-cars", "table2-cars", "table3-birds"} <= set(shipped())
    for name in shipped():
        assert load_recipe(name).name == name


def test_c01_all_faults_come_at_once_with_line_and_suggestion():
    text = faults("name: x\ntrain:\n  epohcs: 3\n  lr: fast\ndata:\n  canvas_px: 2\n")
    assert "3 faults" in text
    assert "x.yaml:3: train.epohcs: unknown field; did you mean epochs?" in text
    assert "x.yaml:4: train.lr" in text
    assert "'fast'" in text
    assert "x.yaml:6: data.canvas_px" in text


def test_c02_scientific_notation_is_a_number_and_no_is_text():
    recipe = parse_recipe(GOOD + "train: {lr: 1e-3, weight_decay: 5E-4}\n", "x.yaml")
    assert (recipe.train.lr, recipe.train.weight_decay) == (0.001, 0.0005)
    assert "'no'" in faults(GOOD + "data: {antialias: no}\n")
    assert "'08'" in faults(GOOD + "train: {epochs: 08}\n")


@pytest.mark.parametrize("value", ["'3'", "3.5", "[3]", "true", "-1", "0"])
def test_c02_c04_epochs_must_be_a_whole_positive_number(value):
    assert "train.epochs" in faults(GOOD + f"train: {{epochs: {value}}}\n")


def test_c03_a_key_given_twice_is_an_error():
    assert "x.yaml:3: name: given twice" in faults(GOOD + "name: y\n")


def test_c05_low_resolution_above_the_canvas_is_refused():
    text = faults(GOOD + "data: {canvas_px: 48, resolution_px: 50}\n")
    assert "data.resolution_px (50) is above data.canvas_px (48)" in text


@pytest.mark.parametrize("name", ["../../x", "/etc", "A B", "", "x" * 65])
def test_s12_names_cannot_leave_the_root(name):
    assert "name" in faults(f"name: '{name}'\ncells: {{strategies: [high]}}\n")


@pytest.mark.parametrize("name", ["store", "data", "mlflow.db", "mlartifacts", "speeds.json"])
def test_s12_a_run_cannot_be_called_as_what_the_root_holds_beside_the_runs(name):
    assert f"name: {name} is the root's own" in faults(f"name: {name}\n")


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['true']\n",
        "a: &a [1]\nb: *a\n",
        "- 1\n",
        "name: [\n",
        "name: x\nseeds: [.nan]\n",
        "\x00",
        "? {a: 1}\n: 2\n",
        "name: !!int x\n",
        "name: !!timestamp x\n",
        "name: !!bool x\n",
        "name: x\nseeds: [" + "9" * 5000 + "]\n",
        "name: " + "[" * 400,
    ],
)
def test_s13_hostile_or_broken_yaml_is_one_clear_error(text):
    assert "x.yaml" in faults(text)


def test_c09_comments_order_and_whitespace_do_not_matter():
    assert parse_recipe(GOOD, "a") == parse_recipe(
        "# a comment\ncells:\n  strategies:\n  - high\n\nname:   x\n", "b"
    )


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean demo"):
        recipe_path("dem")


def test_a_run_is_named_by_its_folder_under_the_root(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "recipe.yaml").write_text("name: mine\ntrain: {epochs: 7}\n")
    recipe, machine = parse("mine", ["--root", str(tmp_path / "runs"), "--train.lr", "0.5"])
    assert (recipe.name, recipe.train.epochs, recipe.train.lr) == ("mine", 7, 0.5)
    assert named_run(["mine"], [f"--root={tmp_path / 'runs'}"], "")[0] == machine.root / "mine"
    with pytest.raises(ConfigError, match=r"did you mean mine\?(.|\n)*name of a run in .*runs"):
        recipe_path("mien", tmp_path / "runs")


@pytest.mark.parametrize("name", ["a/b", "a b", "", ".a", "a:b", "x" * 65])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variants", "{strategy: low}"),
        ("sequences", "[{views: [low], images: low}]"),
        ("tests", "{kernel: area}"),
    ],
)
def test_names_in_a_recipe_are_safe_in_the_names_of_cells_and_files(field, value, name):
    text = faults(f"{GOOD}{field}: {{'{name}': {value}}}\n")
    assert f"{field}: {name!r} is no name" in text


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
def test_a_seed_that_no_table_can_hold_is_refused_with_its_line(seed):
    assert "x.yaml:3: seeds.1" in faults(f"{GOOD}seeds: [0, {seed}]\n")


def test_mixing_of_a_spelt_out_stage_needs_two_views():
    text = faults(GOOD + "sequences: {one: [{views: [low], images: low, mixing: replay}]}\n")
    assert "mixing (replay) needs two views" in text


def test_a_resolution_of_the_cells_above_the_canvas_is_refused():
    text = faults("name: x\ncells: {strategies: [low], resolutions_px: [25, 300]}\n")
    assert "resolution_px (300) is above data.canvas_px (227)" in text


@pytest.mark.parametrize("px", ["0", "-5", "1", "5000"])
def test_resolutions_of_the_cells_have_the_bounds_of_the_recipes_own(px):
    own = faults(f"name: x\ndata: {{resolution_px: {px}}}\n")
    each = faults(f"name: x\ncells: {{resolutions_px: [25, {px}]}}\n")
    assert each.replace("cells.resolutions_px.1", "data.resolution_px") == own


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            "data: {canvas_px: 48, resolution_px: 16, crop_px: 50}",
            "crop_px (50) is above the canvas",
        ),
        ("train: {epochs: null}", "train needs epochs, or steps"),
        ("data: {dataset: synthetic, root: /photos}", "add data.dataset: folder"),
        ("augment: {random_resolution_px: [30, 20]}", "(30, 20) must rise and end at the canvas"),
        ("train: {later_head: fresh, later: {lr: 0.1}}", "drop it or later_head"),
        ("train: {epochs: null, steps: 9, later: {epochs: 2}}", "no effect beside train.steps"),
        ("data: {resolution_of: crop}", "resolution_of: crop needs data.crop_px"),
        ("tests: {low: {}}", "tests.low: the test on low photos has this name already"),
    ],
)
def test_fields_that_contradict_one_another_are_refused_with_both(fields, said):
    assert said in faults(f"{GOOD}{fields}\n")


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("train: {epochs: null}", "variants.mine: train needs epochs, or steps"),
        ("canvas_px: 48", "variants.mine: data.resolution_px (50) is above data.canvas_px (48)"),
        ("augment: {random_resolution_px: [30, 20]}", "variants.mine: augment.random_resolution"),
        ("train: {later_head: fresh, later: {lr: 0.1}}", "variants.mine: train.later is for"),
    ],
)
def test_a_variant_is_held_to_what_the_recipe_is_held_to(variant, said):
    assert said in faults(f"{GOOD}variants: {{mine: {{strategy: low, {variant}}}}}\n")


def test_a_variant_changes_what_it_names_and_nothing_else():
    variants = "variants: {same: {strategy: low}, small: {strategy: low, canvas_px: 60}}\n"
    recipe = parse_recipe(GOOD + variants, "x.yaml")
    assert recipe.of("high") == recipe.of("same") == recipe
    assert recipe.of("small").data == recipe.data.model_copy(update={"canvas_px": 60})
    assert recipe.at(None) == recipe
    assert recipe.at(30).data.resolution_px == 30


def test_a_spelt_out_strategy_leaves_out_stages_without_images():
    stages = "[{views: [high], images: high}, {views: [low], images: low}]"
    recipe = parse_recipe(f"{GOOD}sequences: {{mine: {stages}}}\n", "x.yaml")
    drafts = sequence_drafts(recipe.sequences["mine"], n_high=0, n_low=4)
    assert [(draft.views, draft.n_images) for draft in drafts] == [(("low",), 4)]


def test_a_file_is_a_recipe_by_its_path_unless_it_is_too_large_for_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    assert load_recipe(str(file)) == parse_recipe(GOOD, "mine.yaml")
    file.write_text(GOOD + "#" * MAX_RECIPE_BYTES)
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        load_recipe(str(file))


def test_a_field_within_one_that_has_no_fields_suggests_none():
    assert field_names(Recipe, ["name", "first"]) == []
    assert field_names(Recipe, ["nothing"]) == []


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}"])
def test_an_empty_recipe_lacks_its_name(text):
    with pytest.raises(ConfigError, match="name: missing"):
        parse_recipe(text, "x.yaml")


@pytest.mark.parametrize("name", ["table1-cars", "table3-birds"])
def test_the_papers_tables_can_be_cropped_while_lrcnn_sees_whole_low_photos(name):
    fields = load_recipe(name).model_dump(mode="json")
    fields["data"] |= {"canvas_px": 256, "crop_px": 227, "resolution_of": "crop"}
    recipe = Recipe.model_validate_json(json.dumps(fields))
    assert (recipe.data.canvas_px, recipe.data.crop_px) == (256, 227)
    lrcnn = recipe.of("lrcnn").data
    assert (lrcnn.canvas_px, lrcnn.crop_px, lrcnn.resolution_of) == (50, None, "object")
