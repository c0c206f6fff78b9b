"""Recipes of strangers: a recipe, or one clear sentence."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recipe import Recipe
from orchestrator.recipe_files import RECIPES, parse_recipe
from tests.fuzz.changed import files, fuzz, told
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
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    check(text)
