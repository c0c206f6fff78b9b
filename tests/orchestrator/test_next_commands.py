"""What a command names as the next one runs as printed, wherever the run is."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import main

CELL = "staged_hl/h8-l8/s0"
#: Words after the recipe's name (gc has none), and the verb of the next command.
COMMANDS = [
    (["status"], "report"),
    (["explain", CELL], "export"),
    (["explain", CELL, "--train.lr", "0.02"], "run"),
    (["heatmap", "--images", "4"], "export"),
    (["export", CELL], "predict"),
    (["gc"], "status"),
]


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


def test_a_run_of_an_earlier_version_has_its_pages_by_its_folder(recipe, tmp_path):
    """Fields of a recipe come and go; what a run has found stays."""
    shutil.copytree(recipe.parent / "runs" / "small", tmp_path / "old")
    recorded = tmp_path / "old" / "recipe.yaml"
    recorded.write_text(recorded.read_text().replace("label_smoothing", "smoothing_of_old"))
    (tmp_path / "old" / "report.html").unlink()
    assert main(["report", str(tmp_path / "old")]) == 0
    assert (tmp_path / "old" / "report.html").is_file()


def test_prepare_names_a_plan_under_the_same_root(shared_data, tmp_path, capsys):
    folder, root = shared_data / "CUB_200_2011", tmp_path / "my runs"
    assert main(["prepare", "cub200", "--from", str(folder), "--root", str(root)]) == 0
    assert next_of(capsys.readouterr().out)[-2:] == ["--root", str(root)]


def test_a_folder_that_is_no_run_is_called_so(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder without recipe.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "following"), COMMANDS, ids=[" ".join(c) for c, _ in COMMANDS])
def test_a_command_names_a_next_one_that_runs_as_printed(recipe, command, following, capsys):
    verb, *words = command
    root = recipe.parent / "runs"
    named = [] if verb == "gc" else [str(recipe)]
    assert main([verb, *named, *words, "--root", str(root)]) == 0
    found = next_of(capsys.readouterr().out)
    assert found[0] == following
    if following != "run":  # which would train
        assert main(found) == 0


def test_predict_names_export_but_only_where_json_is_not_what_is_printed(recipe, capsys):
    root = ["--root", str(recipe.parent / "runs")]
    assert main(["export", str(recipe), CELL, *root]) == 0
    predict = next_of(capsys.readouterr().out)
    assert main(predict) == 0
    assert next_of(capsys.readouterr().out) == ["export", str(recipe), CELL, *root]
    assert main([*predict, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["cell"] == CELL


def test_sync_names_the_command_that_shows_mlflow(recipe, capsys):
    root = recipe.parent / "runs"
    assert main(["sync", str(recipe), "--root", str(root)]) == 0
    assert next_of(capsys.readouterr().out) == [
        "ui",
        "--backend-store-uri",
        f"sqlite:///{root}/mlflow.db",
    ]


def test_a_store_that_has_all_of_a_run_that_wrote_no_results_names_the_run(recipe, capsys):
    root = ["--root", str(recipe.parent / "runs"), "--name", "other"]
    assert main(["status", str(recipe), *root]) == 0
    assert next_of(capsys.readouterr().out) == ["run", str(recipe), *root]
