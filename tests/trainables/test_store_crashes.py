"""After a loss of power at any moment there is the old or the new whole stage, never a torn one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.crash_states import Recorder, Tree, build
from trainables.entry import Entry
from trainables.index import Index
from trainables.spec import DataSpec
from trainables.store import Store
from trainables.view_drafts import ViewDraft
from trainables.views import is_prepared, open_view, view_spec

KEY = "ab" * 32
WEIGHTS = bytes(range(1, 101))


def write(folder: Path, weights: bytes = WEIGHTS) -> None:
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "metrics.json").write_text('{"accuracy": 0.5}')


def write_small(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(WEIGHTS)


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> Iterator[tuple[Path, Recorder]]:
    root = tmp_path / "disk"
    root.mkdir()
    recorder = Recorder(root, monkeypatch)
    yield root, recorder
    recorder.close()


@pytest.fixture
def judge(tmp_path) -> Callable[[list[Tree]], Iterator[Store]]:
    """Build each state and open the store that is in it."""

    def open_each(states: list[Tree]) -> Iterator[Store]:
        for tree in states:
            folder = build(tree, tmp_path / "crashed")
            yield Store(folder / "store")
            shutil.rmtree(folder)

    return open_each


def assert_whole(entry: Entry) -> None:
    assert entry.damaged() == []
    assert entry.path("weights.safetensors").read_bytes() == WEIGHTS


def test_f11_a_crash_at_any_moment_of_a_commit_leaves_the_whole_stage_or_none(recorded, judge):
    root, recorder = recorded
    Store(root / "store").commit(KEY, "h3", "stage", write)
    assert len(recorder.states) > 40
    found = [store.find(KEY) for store in judge_whole(judge, recorder.states)]
    assert any(found)
    assert not all(found)


def judge_whole(judge, states: list[Tree]) -> Iterator[Store]:
    for store in judge(states):
        entry = store.find(KEY)
        if entry is not None:
            assert_whole(entry)
        yield store


def test_f11_a_stage_that_was_committed_outlives_every_crash_after_it(recorded, judge):
    root, recorder = recorded
    Store(root / "store").commit(KEY, "h3", "stage", write)
    after = recorder.crash()
    assert all(store.find(KEY) is not None for store in judge_whole(judge, after))


def test_f11_a_committed_stage_is_not_harmed_by_the_crash_of_a_later_commit(recorded, judge):
    root, recorder = recorded
    store = Store(root / "store")
    store.commit(KEY, "h3", "stage", write)
    recorder.states.clear()
    store.commit("cd" * 32, "h4", "stage", write_small)
    assert all(found.find(KEY) is not None for found in judge_whole(judge, recorder.states))


def test_f11_a_crash_while_progress_is_saved_leaves_the_epoch_before_or_the_new_one(
    recorded, judge
):
    root, recorder = recorded
    store = Store(root / "store")
    for epoch in (1, 2, 3, 4):
        recorder.states.clear()
        store.save_progress(KEY, "h3", epoch, write_small)
        for crashed in judge(recorder.states):
            assert newest_epoch(crashed) in ({epoch, epoch - 1} if epoch > 1 else {0, 1})
        for crashed in judge(recorder.crash()):
            assert newest_epoch(crashed) == epoch


def newest_epoch(store: Store) -> int:
    """The newest whole epoch, 0 without any."""
    entry = store.newest_progress(KEY, "h3")
    if entry is None:
        return 0
    assert_whole(entry)
    return int(entry.folder.name.removeprefix("epoch-"))


def test_f11_a_crash_while_a_done_stage_drops_its_progress_loses_neither(recorded, judge):
    root, recorder = recorded
    store = Store(root / "store")
    store.save_progress(KEY, "h3", 1, write_small)
    recorder.states.clear()
    store.commit(KEY, "h3", "stage", write_small)
    store.drop_progress(KEY, "h3")
    for crashed in judge_whole(judge, [*recorder.states, *recorder.crash()]):
        assert crashed.find(KEY) is not None or newest_epoch(crashed) == 1


def test_without_fsync_a_torn_stage_would_be_there_under_its_name(recorded, judge, monkeypatch):
    root, recorder = recorded
    monkeypatch.setattr("trainables.committing.fsync", lambda _path: None)
    Store(root / "store").commit(KEY, "h3", "stage", write)
    torn = [store.find(KEY) for store in judge(recorder.crash())]
    assert any(entry is not None and entry.damaged() for entry in torn)


def test_f11_a_crash_while_a_view_is_written_leaves_the_whole_view_or_none(recorded, tmp_path):
    root, recorder = recorded
    rows_N = np.array([0, 1])
    index = Index(
        "folder", root, ("a", "b"), rows_N, np.full((2, 4), np.nan), np.array(["train"] * 2), ("x",)
    )
    spec = view_spec(DataSpec(dataset="folder", canvas_px=8, resolution_px=4), "d", "low", "train")
    with ViewDraft(root / "data", spec, index, rows_N) as draft:
        draft.images_NHWC[:] = 7
        draft.commit(0)
    n_whole = 0
    for tree in recorder.states:
        data = build(tree, tmp_path / "crashed") / "data"
        if is_prepared(data, spec):
            n_whole += 1
            assert (open_view(data, spec).images_NHWC == 7).all()
        shutil.rmtree(data.parent)
    assert 0 < n_whole < len(recorder.states)
