"""Recipes of strangers: a recipe, or one clear sentence."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recipe import Recipe
from orchestrator.recipe_files import RECIPES, parse_recipe
from tests.fuzz.changed import files, fuzz, told
from tests.fuzz.trees import trees
from trainables.errors import ConfigError

SHIPPED = [path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["1e-3", "no", "08", "~", "22:30", "!!python/object:x.y", "&a [*a]"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), inner, max_size=4),
    ),
    max_leaves=12,
)


def check(text: str) -> None:
    try:
        recipe = parse_recipe(text, "fuzzed.yaml")
    except ConfigError as error:
        told(error)
        return
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@fuzz()
@given(files(*SHIPPED))
def test_a_changed_recipe_is_read_or_refused(content):
    check(content.decode("utf-8", "replace"))


@fuzz()
@given(st.dictionaries(st.sampled_from([*Recipe.model_fields, "epohcs"]), VALUES, max_size=6))
def test_any_values_in_any_fields_are_read_or_refused(fields):
    check(json.dumps(fields, default=str))
    check(yaml.dump(fields))


@fuzz()
@given(trees(*map(yaml.safe_load, SHIPPED)))
def test_a_recipe_with_other_values_is_read_or_refused(fields):
    check(yaml.dump(fields))


#: What YAML's own rules and tags can make of a text.
PIECES = (
    *("name: a", "x: !!int y", "x: !!int ''", "x: !!float y", "x: !!timestamp y", "x: !!bool y"),
    *("x: !!binary '*'", "x: !!set {a, b}", "x: !!omap [a: 1]", "? [a]\n: b", "? {a: 1}\n: b"),
    *("x: &a 1", "y: *a", "<<: {a: 1}", "x: !!null y", "x: " + "9" * 5000, "x: 1e9999", "!!str"),
    *("x: !a b", "%YAML 9.9", "---", "...", "\t", "x: |\n  y", "- a", "'", "seeds: [0, 0]", "\x07"),
    *('"\\ud800": 1', '"\\e[2J": 1', "x: " + "[" * 200, "name: b", "train: {lr: .inf}", "x: .nan"),
)


@fuzz()
@given(st.lists(st.sampled_from(PIECES), max_size=5).map("\n".join))
def test_any_yaml_is_read_or_refused(text):
    check(text)


@fuzz()
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    check(text)
