"""What `f2c gc` may delete: only what is provably ours, dead and not needed."""

import os
import time

from orchestrator.cli import main
from trainables.store import Store

KEY = "ab" * 32
DAY_S = 24 * 3600


def write(folder):
    (folder / "weights.safetensors").write_bytes(b"x")


def test_f16_temporary_folders_are_ignored_and_go_after_a_day_only(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.commit(KEY, "h3", "stage", write)
    names = (".tmp-cdcdcdcd-host-1-aa", ".tmp-cdcdcdcd-host-2-bb", ".other", "somebody-else")
    for name in names:
        (store.folder / name).mkdir()
    old = time.time() - DAY_S - 60
    os.utime(store.folder / names[0], (old, old))
    os.utime(store.folder / names[2], (old, old))
    assert [entry.key for entry in store.entries()] == [KEY]
    assert main(["gc", "--root", str(tmp_path)]) == 0
    assert "1 leftovers" in capsys.readouterr().out
    assert main(["gc", "--root", str(tmp_path), "--delete"]) == 0
    left = {path.name for path in store.folder.iterdir()}
    assert left == {*names[1:], "h3-abababab"}


def test_a_root_that_is_no_folder_is_refused_and_not_called_clean(tmp_path, capsys):
    (tmp_path / "file").touch()
    for root in (tmp_path / "none", tmp_path / "file"):
        assert main(["gc", "--root", str(root)]) == 2
        assert f"--root {root} is no folder" in capsys.readouterr().out
