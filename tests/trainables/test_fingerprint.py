from typing import ClassVar

import pytest

from trainables.fingerprint import SharedText, canonical, key_of, seed_of
from trainables.spec import DataSpec, Spec


class First(Spec):
    width: int = 3


class Second(Spec):
    """The same with fields that came later, one of them a model."""

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"depth", "first"})

    width: int = 3
    depth: int = 1
    first: First = First()


def test_key_does_not_depend_on_the_order_of_fields():
    assert key_of({"a": 1, "b": [1.5, None]}) == key_of({"b": [1.5, None], "a": 1})


def test_key_depends_on_every_value():
    assert key_of({"lr": 0.01}) != key_of({"lr": 0.1})
    assert key_of(DataSpec()) != key_of(DataSpec(canvas_px=256))


def test_fields_added_later_keep_the_keys_of_what_was_made_before():
    assert key_of(Second()) == key_of(First())
    assert key_of([Second(width=4, depth=1, first=First())]) == key_of([First(width=4)])


@pytest.mark.parametrize("fields", [{"depth": 2}, {"first": First(width=4)}])
def test_fields_added_later_count_when_they_are_set(fields):
    assert key_of(Second(**fields)) != key_of(First())
    assert canonical(Second(**fields)).keys() == {"width", *fields}


@pytest.mark.parametrize("value", [print, object(), {1, 2}, b"bytes", {1: "a"}])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(TypeError):
        canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_without_json_spelling_are_refused(value):
    with pytest.raises(ValueError, match="identity"):
        canonical([value])


def test_seeds_differ_by_part_and_are_stable():
    assert seed_of("key", 0) != seed_of("key", 1)
    assert seed_of("key", 0) == 2211533068407037018
    assert 0 <= seed_of("x") < 2**63


@pytest.mark.parametrize(
    "varied", [set(), {"width"}, {"depth", "first"}, {"width", "depth", "first"}]
)
def test_keys_from_shared_text_are_the_same_keys(varied):
    like, shared = Second(), First(width=9)
    text = SharedText(like, varied)
    changes = {"width": 0, "depth": 2, "first": shared}
    for update in ({}, {name: changes[name] for name in varied}):
        value = like.model_copy(update=update)
        assert text.key_of(value) == text.key_of(value) == key_of(value)


def test_shared_text_keeps_the_fields_that_do_not_vary():
    like = Second(width=4, depth=2)
    text = SharedText(like, {"first"})
    value = like.model_copy(update={"first": First(width=1)})
    assert text.key_of(value) == key_of(value)


def test_shared_text_tells_equal_parts_of_other_spelling_apart():
    class Part(Spec):
        number: float

    class Whole(Spec):
        part: Part

    zeros = [Whole(part=Part(number=zero)) for zero in (0.0, -0.0)]
    text = SharedText(zeros[0], {"part"})
    assert [text.key_of(zero) for zero in zeros] == [key_of(zero) for zero in zeros]
