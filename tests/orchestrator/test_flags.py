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
        (["--seeds", "-1"], r"^seeds.0: Input should be .* equal to 0 \(given: -1\)$"),
        (["--seeds"], r"^seeds: give at least one$"),
        (["--data.canvas-px", "10"], r"^data.resolution_px \(16\) is above .* raise the canvas$"),
    ],
)
def test_flags_that_the_recipe_refuses_are_told_as_its_fields_are(flags, said):
    with pytest.raises(ConfigError, match=said):
        parse("demo", flags)


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
