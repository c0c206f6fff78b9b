import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainables.committing import commit_folder
from trainables.entry import read_entry
from trainables.errors import DataError
from trainables.store import Store

KEY = "ab" * 32
REPOSITORY = Path(__file__).parents[2]


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


def test_f13_what_others_commit_or_set_aside_is_seen_beside_ones_own(tmp_path):
    ours, theirs = Store(tmp_path / "store"), Store(tmp_path / "store")
    for number in range(3):
        own, other = (f"{digit}{number}" * 32 for digit in "ab")
        ours.commit(own, "h3", "stage", write)
        theirs.commit(other, "h4", "stage", write)
        assert [ours.find(key).key for key in (own, other)] == [own, other]
        assert theirs.quarantine(theirs.find(own)).parent == theirs.folder / "quarantine"
        assert ours.find(own) is None
    assert [entry.key for entry in ours.entries()] == ["b0" * 32, "b1" * 32, "b2" * 32]


def n_calls(action) -> int:
    """How many functions of Python an action calls."""
    called = []
    sys.setprofile(lambda _frame, event, _argument: called.append(event))
    try:
        action()
    finally:
        sys.setprofile(None)
    return called.count("call")


def test_a_key_that_is_not_there_costs_no_more_work_in_a_large_store(tmp_path):
    found = []
    for n_entries in (10, 200):
        store = Store(tmp_path / str(n_entries))
        for number in range(n_entries):
            (store.folder / f"h3-{number:08x}").mkdir(parents=True)
        store.look()
        (store.folder / "h4-cdcdcdcd").mkdir()
        found.append(n_calls(lambda store=store: store.find(KEY)))
    assert found[0] == found[1]


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


def test_f05_f06_who_uses_weights_that_are_damaged_sets_them_aside_and_says_so(tmp_path):
    store, entry = committed(tmp_path)
    weights = entry.folder / "weights.safetensors"
    weights.write_bytes(b"x" * 999 + b"y")
    with pytest.raises(DataError, match=r"weights\.safetensors of h3-.* set aside to .*quarantine"):
        store.checked(KEY)
    assert store.checked(KEY) is None, "so that it is made anew"


def test_s04_a_file_that_was_put_into_an_entry_is_noticed(tmp_path):
    """Tune would unpickle a `_dict_checkpoint.pkl` that lies where it restores from."""
    _, entry = committed(tmp_path)
    (entry.folder / "_dict_checkpoint.pkl").write_bytes(b"a pickle")
    assert entry.damaged() == ["_dict_checkpoint.pkl"]


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


@pytest.mark.parametrize(
    "files",
    [[], 3, "w", {"../w": {}}, {"..": {}}, {"/etc/passwd": {}}, {"": {}}, [[1, 2]], {"w": 1},
     {"w": {"bytes": 1}}, {"\x00": {"bytes": 1, "sha256": ""}}, {"w": {"bytes": {}, "sha256": []}}],
)  # fmt: skip
def test_f07_a_manifest_that_lies_is_no_entry_or_a_damaged_one(tmp_path, files):
    store, entry = committed(tmp_path)
    manifest = json.loads((entry.folder / "manifest.json").read_text()) | {"files": files}
    (entry.folder / "manifest.json").write_text(json.dumps(manifest))
    found = store.find(KEY)
    assert found is None or found.damaged() != []


def test_f07_a_manifest_nested_without_end_is_none(tmp_path):
    _, entry = committed(tmp_path)
    (entry.folder / "manifest.json").write_text("[" * 100_000)
    assert read_entry(entry.folder) is None


def test_a_folder_that_only_looks_like_an_epoch_is_passed_over(tmp_path):
    store = Store(tmp_path / "store")
    (store.progress_folder(KEY, "h3") / "epoch-²").mkdir(parents=True)
    assert store.newest_progress(KEY, "h3") is None


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path / "store")

    def full_disk(folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="disk full"):
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


def test_f13_what_another_driver_has_set_aside_already_is_done(tmp_path):
    store, entry = committed(tmp_path)
    other = Store(store.folder)
    (entry.folder / "metrics.json").write_text("{}")
    damaged = other.find(KEY)
    assert (store.quarantine(entry) / "metrics.json").read_text() == "{}"
    assert other.quarantine(damaged) is None
    assert other.find(KEY) is None


def test_f13_what_another_driver_has_made_anew_meanwhile_is_not_set_aside(tmp_path):
    store, entry = committed(tmp_path)
    store.quarantine(entry)
    anew = store.commit(KEY, "h3", "stage", lambda f: (f / "metrics.json").write_text("{}"))
    assert Store(store.folder).quarantine(entry) is None
    assert store.find(KEY) == anew


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


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_f10_a_damaged_progress_is_set_aside_and_its_epoch_saved_anew(tmp_path, name):
    store = Store(tmp_path / "store")
    for epoch in (1, 2, 3):
        store.save_progress(KEY, "h3", epoch, write)
    (store.newest_progress(KEY, "h3").folder / name).write_bytes(b"short")
    assert store.newest_progress(KEY, "h3").folder.name == "epoch-2"
    (aside,) = (store.folder / "quarantine").iterdir()
    assert aside.name.startswith(f"progress-h3-{KEY[:16]}-epoch-3-")
    assert (aside / name).read_bytes() == b"short"
    for epoch in (3, 4):
        store.save_progress(KEY, "h3", epoch, write)
        assert store.newest_progress(KEY, "h3").folder.name == f"epoch-{epoch}"
    kept = store.progress_folder(KEY, "h3").iterdir()
    assert {path.name: read_entry(path).whole() for path in kept} == {
        "epoch-3": True,
        "epoch-4": True,
    }


def test_progress_of_another_stage_is_not_taken(tmp_path):
    store = Store(tmp_path / "store")
    store.save_progress(KEY, "h3", 1, write)
    folder = store.progress_folder(KEY, "h3")
    other = "cd" * 32
    folder.rename(store.progress_folder(other, "h3"))
    assert store.newest_progress(other, "h3") is None


def test_f01_a_full_disk_is_told_with_numbers_and_leaves_what_was_there(tmp_path):
    store, entry = committed(tmp_path)

    def full(folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"x" * 2_000_000)
        raise RuntimeError("Error while serializing: Os { code: 28, kind: StorageFull }")

    with pytest.raises(OSError, match=r"disk full: need more than 2\.0 MB, have .* MB at") as error:
        store.commit("cd" * 32, "h4", "stage", full)
    assert error.value.errno == errno.ENOSPC
    assert str(store.folder) in str(error.value)
    assert entry.damaged() == []
    assert [p.name for p in store.folder.iterdir()] == [entry.folder.name]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_f01_on_a_real_full_disk_the_old_progress_stays_whole(tiny_disk):
    store = Store(tiny_disk / "store")

    def write_tensors(folder: Path) -> None:
        save_file({"a": torch.zeros(300_000)}, folder / "weights.safetensors")

    store.save_progress(KEY, "h3", 1, write_tensors)
    with pytest.raises(OSError, match="disk full: need more than"):
        store.save_progress(KEY, "h3", 2, write_tensors)
    assert [p.name for p in store.progress_folder(KEY, "h3").iterdir()] == ["epoch-1"]
    assert store.newest_progress(KEY, "h3").damaged() == []


def test_f12_of_eight_processes_that_commit_one_stage_all_get_the_same_entry(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom trainables.store import Store\n"
        "def write(folder):\n  (folder / 'w').write_bytes(b'x' * 100000)\n  sys.stdin.readline()\n"
        "print(Store(Path(sys.argv[1])).commit('ab' * 32, 'h3', 'stage', write).files['w'])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=REPOSITORY, **pipes) for _ in range(8)]
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    printed = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0] * 8
    assert len(printed) == 1
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["h3-abababab"]


def test_f19_a_read_that_fails_once_is_tried_again_and_twice_is_damage(tmp_path, monkeypatch):
    _, entry = committed(tmp_path)
    failing = iter([OSError(errno.EIO, "once"), None, None])

    def fail(name: str) -> None:
        error = next(failing, None)
        if error is not None:
            raise error

    monkeypatch.setattr("trainables.entry.fault_point", fail)
    assert entry.damaged() == []
    failing = iter([OSError(errno.EIO, "a"), OSError(errno.EIO, "b")])
    assert entry.damaged(("metrics.json",)) == ["metrics.json"]


def test_where_both_names_of_a_stage_are_taken_it_says_what_is_in_the_way(tmp_path):
    store = Store(tmp_path / "store")
    for digits in (8, 16):
        (store.folder / f"h3-{KEY[:digits]}").mkdir(parents=True)
    with pytest.raises(DataError, match=f"h3-{KEY[:16]} is in the way of a stage; move it out"):
        store.commit(KEY, "h3", "stage", write)


def test_an_epoch_that_is_kept_already_is_not_written_again(tmp_path):
    store, written = Store(tmp_path / "store"), []
    for _ in range(2):
        store.save_progress(KEY, "h3", 1, lambda folder: (written.append(1), write(folder)))
    assert written == [1]


def test_f12_of_two_that_commit_at_once_the_first_one_s_entry_stays(tmp_path):
    target = tmp_path / "store" / "h3"

    def write_late(folder: Path) -> None:
        write(folder)
        commit_folder(target, KEY, "stage", write)

    entry = commit_folder(target, KEY, "stage", write_late)
    assert entry == read_entry(target)
    assert [path.name for path in target.parent.iterdir()] == ["h3"]


def test_what_came_in_the_way_of_a_commit_stays_as_it_is(tmp_path):
    target = tmp_path / "store" / "h3"

    def write_late(folder: Path) -> None:
        write(folder)
        target.mkdir()
        (target / "notes.txt").write_text("mine")

    with pytest.raises(OSError, match="not empty"):
        commit_folder(target, KEY, "stage", write_late)
    assert [path.name for path in target.parent.iterdir()] == ["h3"]
    assert (target / "notes.txt").read_text() == "mine"
