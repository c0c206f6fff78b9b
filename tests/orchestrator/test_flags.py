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


def test_an_unclosed_quote_in_standing_flags_is_told(monkeypatch):
    monkeypatch.setenv("F2C_FLAGS", "--root '/shared")
    with pytest.raises(ConfigError, match="F2C_FLAGS is not a list of flags"):
        parse("demo", [])
