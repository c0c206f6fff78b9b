import re

import pytest

from orchestrator.flags import parse
from trainables.errors import ConfigError


def test_standing_flags_come_first_and_given_ones_win(monkeypatch):
    monkeypatch.setenv("F2C_FLAGS", "--root '/shared/my runs'\n  --train.epochs 7 --address auto")
    recipe, machine = parse("demo", ["--train.epochs", "3"])
    assert (recipe.train.epochs, machine.address, str(machine.root)) == (
        3,
        "auto",
        "/shared/my runs",
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--seeds", "-1"],
            r"^1 fault in the flags\n  seeds.0: Input should be .* equal to 0 \(given: -1\)$",
        ),
        (["--seeds"], r"^1 fault in the flags\n  seeds: give at least one"),
        (
            ["--data.canvas-px", "10"],
            r"^1 fault in the flags\n  data.resolution_px \(16\) is above .* raise the canvas",
        ),
    ],
)
def test_flags_that_the_recipe_refuses_are_told_as_its_fields_are(flags, said):
    with pytest.raises(ConfigError, match=said):
        parse("demo", flags)


def test_values_of_a_wrong_type_are_told_with_all_other_faults():
    flags = ["--train.lr", "fast", "--train.milestones", "0.5", "x", "--seeds", "one"]
    text = complaint(*flags, "--train.precision", "half", "--gpus-per-stage", "many")
    assert text.splitlines() == [
        "5 faults in the flags",
        "  train.lr: Input should be a valid number (given: 'fast')",
        "  train.milestones.1: Input should be a valid number (given: 'x')",
        "  train.precision: Input should be 'auto', 'bfloat16' or 'float32' (given: 'half')",
        "  seeds.0: Input should be a valid integer (given: 'one')",
        "  gpus_per_stage: Input should be a valid number (given: 'many')",
    ]


def test_resolutions_of_the_cells_are_a_flag():
    recipe, _ = parse("demo", ["--cells.resolutions-px", "10", "12"])
    assert recipe.cells.resolutions_px == (10, 12)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:sup3r@127.0.0.1:1/db",
        "postgresql://me:sup3r/s3cret@127.0.0.1:1/db",
        "postgresql://me:sup3r?s3cret@127.0.0.1:1/db",
        "postgresql://me:sup3r#s3cret@127.0.0.1:1/db",
        "http://user:p@ss@host",
        "http://token@host",
        "postgresql:///db?user=me&password=s3cret",
    ],
)
def test_s18_an_address_with_a_login_is_refused_before_anything_is_said_of_it(address):
    with pytest.raises(ConfigError) as caught:
        parse("demo", ["--tracking-uri", address])
    assert "MLFLOW_TRACKING_PASSWORD" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["sqlite:////home/me@work/mlflow.db", "http://host:5000"])
def test_an_address_without_a_login_is_taken(address):
    assert parse("demo", ["--tracking-uri", address])[1].tracking_uri == address


def test_an_unclosed_quote_in_standing_flags_is_told(monkeypatch):
    monkeypatch.setenv("F2C_FLAGS", "--root '/shared")
    with pytest.raises(ConfigError, match="F2C_FLAGS is not a list of flags"):
        parse("demo", [])


def complaint(*flags):
    with pytest.raises(ConfigError) as caught:
        parse("demo", flags)
    return str(caught.value)


def test_c01_all_faults_of_the_flags_come_at_once_in_the_words_of_a_recipe_s():
    text = complaint("--train.epochs", "0", "--data.crop-px", "1", "--data.keernel", "x")
    assert text.splitlines() == [
        "3 faults in the flags",
        "  --data.keernel: unknown flag; did you mean --data.kernel?",
        "  data.crop_px: Input should be greater than or equal to 8 (given: 1)",
        "  train.epochs: Input should be greater than or equal to 1 (given: 0)",
    ]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--data.resolution-px", "64"], "data.resolution_px (64) is above data.canvas_px (48)"),
        (["--seeds"], "seeds: give at least one"),
        (["--name", "a/b"], "name: String should match pattern"),
        (["--epochs", "3"], "--epochs: unknown flag; did you mean --train.epochs"),
        (["--roott", "x"], "--roott: unknown flag; did you mean --root?"),
        (["--train.epochs", "3", "more"], "more: belongs to no flag"),
    ],
)
def test_c01_a_fault_of_a_flag_is_told_without_pydantic_s_own_words(flags, text):
    told = complaint(*flags)
    assert told.startswith(f"1 fault in the flags\n  {text}")
    assert "pydantic" not in told
    assert "validation error" not in told


def test_flags_reach_every_part_of_a_recipe_and_leave_the_rest_as_it_is():
    flags = ["--train.later.epochs", "2", "--seeds", "3", "4", "--cells.high", "0", "8"]
    recipe, _ = parse("demo", [*flags, "--data.no-antialias", "--model.dropout", "0.5"])
    plain, _ = parse("demo", [])
    assert (recipe.train.later.epochs, recipe.seeds, recipe.cells.high) == (2, (3, 4), (0, 8))
    assert (recipe.data.antialias, recipe.model.dropout) == (False, 0.5)
    kept = {"train": plain.train, "seeds": plain.seeds, "cells": plain.cells}
    assert recipe.model_copy(update=kept | {"data": plain.data, "model": plain.model}) == plain


def test_help_says_what_each_top_level_flag_is_and_names_nothing_a_user_cannot_look_up(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse("demo", ["--help"])
    printed = capsys.readouterr().out
    top = printed.partition("data options")[0]
    said = re.findall(r"--(\S+) [^\n]*\n\W {7}([^(\n]*)", top)
    assert {"root", "executor", "address", "cpus-per-stage", "name", "seeds"} <= dict(said).keys()
    assert all(text.strip() for _, text in said)
    assert not re.search(r"\bA\d+\b", printed)
    assert "How the training images of a cell are drawn" in printed
