import json
from pathlib import Path

import pytest

from trainables.errors import DataError
from trainables.store import Store, read_entry

KEY = "ab" * 32


def write(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"x" * 1000)
    (folder / "metrics.json").write_text(json.dumps({"a": 1}))


def committed(tmp_path, key=KEY, name="h3"):
    store = Store(tmp_path / "store")
    return store, store.commit(key, name, "stage", write)


def test_a_committed_entry_is_found_by_its_full_key(tmp_path):
    _, entry = committed(tmp_path)
    assert entry.folder.name == "h3-abababab"
    assert Store(tmp_path / "store").find(KEY) == entry
    assert Store(tmp_path / "store").find(KEY[:-1] + "0") is None


def test_two_keys_with_the_same_first_digits_both_have_their_place(tmp_path):
    store, _ = committed(tmp_path)
    other = KEY[:8] + "c" * 56
    entry = store.commit(other, "h3", "stage", write)
    assert entry.folder.name == f"h3-{other[:16]}"
    again = Store(tmp_path / "store")
    assert again.find(KEY).key == KEY
    assert again.find(other).key == other


def test_the_second_to_commit_keeps_the_first_ones_entry(tmp_path):
    store, first = committed(tmp_path)
    second = Store(tmp_path / "store").commit(KEY, "h3", "stage", write)
    assert second == first
    assert [p.name for p in store.folder.iterdir()] == ["h3-abababab"]


def test_f05_f06_a_changed_byte_or_a_cut_is_noticed(tmp_path):
    _, entry = committed(tmp_path)
    weights = entry.folder / "weights.safetensors"
    weights.write_bytes(b"x" * 999 + b"y")
    assert entry.damaged() == ["weights.safetensors"]
    weights.write_bytes(b"x" * 500)
    with pytest.raises(DataError, match="damaged or missing"):
        entry.path("weights.safetensors")


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"key": "x"}'])
def test_f07_a_folder_without_a_valid_manifest_is_no_stage_and_stays(tmp_path, text):
    store, entry = committed(tmp_path)
    manifest = entry.folder / "manifest.json"
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    assert read_entry(entry.folder) is None
    assert store.find(KEY) is None
    assert (entry.folder / "weights.safetensors").exists()


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path / "store")

    def full_disk(folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.commit(KEY, "h3", "stage", full_disk)
    assert list(store.folder.iterdir()) == []
    assert store.find(KEY) is None


def test_f18_a_moved_store_stays_valid(tmp_path):
    committed(tmp_path)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    assert not Store(tmp_path / "elsewhere").find(KEY).damaged()


def test_damaged_entries_are_set_aside_not_deleted(tmp_path):
    store, entry = committed(tmp_path)
    target = store.quarantine(entry)
    assert store.find(KEY) is None
    assert (target / "weights.safetensors").exists()


def test_progress_keeps_the_last_two_epochs_and_returns_the_newest(tmp_path):
    store = Store(tmp_path / "store")
    for epoch in (1, 2, 3):
        store.save_progress(KEY, "h3", epoch, write)
    folder = store.progress_folder(KEY, "h3")
    assert sorted(p.name for p in folder.iterdir()) == ["epoch-2", "epoch-3"]
    assert store.newest_progress(KEY, "h3").folder.name == "epoch-3"


def test_f10_a_damaged_newer_progress_falls_back_to_the_older(tmp_path):
    store = Store(tmp_path / "store")
    for epoch in (1, 2):
        store.save_progress(KEY, "h3", epoch, write)
    newest = store.newest_progress(KEY, "h3")
    (newest.folder / "weights.safetensors").write_bytes(b"short")
    assert store.newest_progress(KEY, "h3").folder.name == "epoch-1"


def test_progress_of_another_stage_is_not_taken(tmp_path):
    store = Store(tmp_path / "store")
    store.save_progress(KEY, "h3", 1, write)
    folder = store.progress_folder(KEY, "h3")
    other = "cd" * 32
    folder.rename(store.progress_folder(other, "h3"))
    assert store.newest_progress(other, "h3") is None
