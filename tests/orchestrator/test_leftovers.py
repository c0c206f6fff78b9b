"""What `f2c gc` may delete: only what is provably ours, dead and not needed."""

import os
import shutil
import time

import pytest

from orchestrator.cli import main
from trainables.bucket import local_root
from trainables.store import Store

KEY = "ab" * 32
DAY_S = 24 * 3600


def write(folder):
    (folder / "weights.safetensors").write_bytes(b"x")


def age(path):
    old = time.time() - DAY_S - 60
    os.utime(path, (old, old))


def test_f16_temporary_folders_are_ignored_and_go_after_a_day_only(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.commit(KEY, "h3", "stage", write)
    names = (".tmp-cdcdcdcd-host-1-aa", ".tmp-cdcdcdcd-host-2-bb", ".other", "somebody-else")
    for name in names:
        (store.folder / name).mkdir()
    age(store.folder / names[0])
    age(store.folder / names[2])
    assert [entry.key for entry in store.entries()] == [KEY]
    assert main(["gc", "--root", str(tmp_path)]) == 0
    assert "1 leftovers" in capsys.readouterr().out
    assert main(["gc", "--root", str(tmp_path), "--delete"]) == 0
    left = {path.name for path in store.folder.iterdir()}
    assert left == {*names[1:], "h3-abababab"}


@pytest.mark.parametrize("folder", [".", "data", "store", "store/leases", "small"])
def test_f16_temporary_files_have_a_size_and_go_too(tmp_path, capsys, folder):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    old, new = (tmp_path / folder / f".tmp-index.parquet-{n}-aa" for n in (1, 2))
    for file in (old, new):
        file.write_bytes(bytes(2_000_000))
    age(old)
    assert main(["gc", "--root", str(tmp_path)]) == 0
    assert "1 leftovers, 2.0 MB could go" in capsys.readouterr().out
    assert main(["gc", "--root", str(tmp_path), "--delete"]) == 0
    assert "1 leftovers, 2.0 MB deleted" in capsys.readouterr().out
    assert not old.exists()
    assert new.exists()


def test_f16_what_cannot_be_deleted_is_named_and_not_counted(tmp_path, capsys, monkeypatch):
    for name in ("h3-abababab-1", "h4-cdcdcdcd-2"):
        (tmp_path / "store" / "quarantine" / name).mkdir(parents=True)
        (tmp_path / "store" / "quarantine" / name / "w").write_bytes(bytes(1_000_000))
    rmtree = shutil.rmtree

    def not_the_first(folder, **options):
        if not folder.name.startswith("h3"):
            rmtree(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", not_the_first)
    assert main(["gc", "--root", str(tmp_path), "--delete"]) == 75
    said = capsys.readouterr().out
    assert "1 leftovers, 1.0 MB deleted" in said
    assert "1 could not be deleted, as " in said
    assert "h3-abababab-1" in said.splitlines()[-1]


def test_f16_of_a_bucket_the_copy_on_this_machine_is_cleared_up(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("F2C_CACHE", str(tmp_path / "cache"))
    there = tmp_path / "bucket"
    Store(there / "store").commit(KEY, "h3", "stage", write)
    here = local_root(f"file://{there}") / "store" / "progress" / f"h3-{KEY[:16]}"
    here.mkdir(parents=True)
    assert main(["gc", "--root", f"file://{there}", "--delete"]) == 0
    said = capsys.readouterr().out
    assert "1 leftovers, 0.0 MB deleted" in said
    assert f"in this machine's copy of file://{there}" in said
    assert not here.exists()
    assert Store(there / "store").find(KEY).whole()


def test_a_root_that_is_no_folder_is_refused_and_not_called_clean(tmp_path, capsys):
    (tmp_path / "file").touch()
    for root in (tmp_path / "none", tmp_path / "file"):
        assert main(["gc", "--root", str(root)]) == 2
        assert f"--root {root} is no folder" in capsys.readouterr().out


def test_the_root_of_every_command_is_that_of_the_standing_flags(tmp_path, capsys, monkeypatch):
    root = tmp_path / "shared runs"
    (root / "store" / "quarantine" / "h3-abababab-1").mkdir(parents=True)
    monkeypatch.setenv("F2C_FLAGS", f"--address auto --root '{root}'")
    assert main(["gc", "--delete"]) == 0
    assert "1 leftovers" in capsys.readouterr().out
    assert main(["prepare", "cars"]) == 2
    assert [place.name for place in root.iterdir()] == ["store"]


def test_a_view_that_was_set_aside_is_a_leftover(tmp_path, capsys):
    aside = tmp_path / "data" / ".damaged-low-train-abababab-12345678"
    aside.mkdir(parents=True)
    (aside / "pixels.npy").write_bytes(bytes(3_000_000))
    (tmp_path / "data" / "low-train-abababab").mkdir()
    assert main(["gc", "--root", str(tmp_path), "--delete"]) == 0
    assert "1 leftovers, 3.0 MB deleted" in capsys.readouterr().out
    assert [place.name for place in (tmp_path / "data").iterdir()] == ["low-train-abababab"]
