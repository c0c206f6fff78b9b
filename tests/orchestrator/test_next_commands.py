"""What a command names as the next one runs as printed, wherever the run is."""

import shlex
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import main

CELL = "staged_hl/h8-l8/s0"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML file of a run of two cells that has ended, beside the run's root `runs`."""
    file = tmp_path_factory.mktemp("ran") / "small.yaml"
    fields = yaml.safe_load((Path(__file__).parents[1] / "small.yaml").read_text())
    fields["cells"] = {"high": [0, 8], "low": [8]}
    fields["train"] |= {"epochs": 1}
    fields["data"]["synthetic"] |= {"n_test": 24}
    file.write_text(yaml.safe_dump(fields))
    flags = ["--root", str(file.parent / "runs"), "--executor", "inline"]
    assert main(["run", str(file), *flags]) == 0
    return file


def next_of(printed: str) -> list[str]:
    """The words after the program's name of the one line that says what comes next."""
    (line,) = [line for line in printed.splitlines() if line.startswith("next")]
    return shlex.split(line)[2:]


def test_a_run_that_is_named_by_its_folder_brings_its_root_along(recipe, capsys):
    assert main(["status", str(recipe.parent / "runs" / "small")]) == 0
    assert "2 of 2 cells done, 0 of 3 stages to train" in capsys.readouterr().out


@pytest.mark.parametrize("by", ["file", "folder"])
def test_report_names_a_next_command_that_finds_the_same_run(recipe, by, capsys):
    root = recipe.parent / "runs"
    words = {"file": [str(recipe), "--root", str(root)], "folder": [str(root / "small")]}[by]
    assert main(["report", *words]) == 0
    command = next_of(capsys.readouterr().out)
    assert main(command) == 0
    assert "2 of 2 cells done" in capsys.readouterr().out


def test_prepare_names_a_plan_under_the_same_root(shared_data, tmp_path, capsys):
    folder, root = shared_data / "CUB_200_2011", tmp_path / "my runs"
    assert main(["prepare", "cub200", "--from", str(folder), "--root", str(root)]) == 0
    assert next_of(capsys.readouterr().out)[-2:] == ["--root", str(root)]


def test_a_folder_that_is_no_run_is_called_so(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder without recipe.yaml" in capsys.readouterr().out
