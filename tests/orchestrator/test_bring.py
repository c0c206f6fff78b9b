import shlex
import tarfile

import pytest

from orchestrator.cli import main


def test_a_folder_is_checked_and_the_next_command_runs_as_printed(shared_data, capsys, tmp_path):
    folder = shared_data / "CUB_200_2011"
    assert main(["prepare", "cub200", "--from", str(folder), "--root", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "20 classes, 600 train, 515 test" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("next")]
    command = shlex.split(line.removeprefix("next"))[1:]
    assert main([*command, "--root", str(tmp_path)]) == 0
    assert "7 cells" in capsys.readouterr().out


def test_an_archive_is_unpacked_once(shared_data, capsys, tmp_path):
    archive = tmp_path / "cub.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(shared_data / "CUB_200_2011", "CUB_200_2011")
    command = ["prepare", "cub200", "--from", str(archive), "--root", str(tmp_path / "runs")]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0
    assert capsys.readouterr().out == first


def test_s05_an_archive_that_leaves_its_folder_is_refused(tmp_path, capsys):
    archive, inside = tmp_path / "bad.tgz", tmp_path / "x.txt"
    inside.write_text("x")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(inside, "../outside.txt")
    root = tmp_path / "runs"
    assert main(["prepare", "cub200", "--from", str(archive), "--root", str(root)]) == 65
    assert not (tmp_path / "outside.txt").exists()
    assert not list(root.rglob("outside.txt"))


@pytest.mark.parametrize(
    ("flags", "status", "text"),
    [
        (["cars"], 2, "say where the photos are"),
        (["cars", "--download"], 2, "no public archive"),
        (["cars", "--from", "/nowhere"], 65, "nothing at /nowhere"),
        (["cub201"], 2, "no recipe named cub201"),
    ],
)
def test_bad_requests_say_what_to_do(flags, status, text, capsys, tmp_path):
    assert main(["prepare", *flags, "--root", str(tmp_path)]) == status
    assert text in capsys.readouterr().out


def test_the_views_of_a_recipe_are_made_once(tmp_path, capsys):
    command = ["prepare", "demo", "--root", str(tmp_path)]
    assert main(command) == 0
    assert "960 photos ->" in capsys.readouterr().out
    assert main(command) == 0
    assert "photos ->" not in capsys.readouterr().out
