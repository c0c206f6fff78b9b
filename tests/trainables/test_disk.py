"""A file that is replaced: the old one or the whole new one, and nothing beside it."""

import errno
import os
from pathlib import Path

import pytest

from tests.trainables.crash_states import Recorder
from trainables.disk import replace_file, replace_text


def test_f11_a_crash_while_a_file_is_replaced_leaves_the_old_text_or_the_new(tmp_path, monkeypatch):
    file = tmp_path / "plan.json"
    file.write_text("old")
    recorder = Recorder(tmp_path, monkeypatch)
    replace_text(file, "the new text")
    assert {tree["plan.json"] for tree in recorder.states} == {b"old", b"the new text"}
    assert {tree["plan.json"] for tree in recorder.crash()} == {b"the new text"}
    recorder.close()


def test_a_text_is_written_in_utf8_and_its_folder_made(tmp_path):
    replace_text(tmp_path / "run" / "recipe.yaml", "name: Vögel")
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == "name: Vögel".encode()


@pytest.mark.parametrize("within", [None, "elsewhere"])
def test_f01_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path, within):
    file, scratch = tmp_path / "run" / "plan.json", within and tmp_path / within
    for folder in filter(None, (file.parent, scratch)):
        folder.mkdir()
    file.write_text("old")

    def fill_up(aside: Path) -> None:
        assert aside.parent == (scratch or file.parent)
        aside.write_text("ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        replace_file(file, fill_up, scratch)
    assert file.read_text() == "old"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
