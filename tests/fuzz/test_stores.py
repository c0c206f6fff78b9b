"""Stores, views, records and results that somebody else made, or a disk has changed."""

import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.pages import Page, write_page
from analysis.runs import COLUMNS, load
from orchestrator.events import read_events
from orchestrator.leases import Leases
from orchestrator.owner import owner_here
from tests.fuzz.changed import files, fuzz, told
from tests.fuzz.trees import columns, trees
from trainables.entry import MANIFEST
from trainables.errors import DataError
from trainables.index import Index
from trainables.spec import ViewSpec
from trainables.store import Store
from trainables.view_drafts import ViewDraft
from trainables.views import open_view, read_manifest, view_name

KEY = "ab" * 32


def changed_json(valid: bytes) -> st.SearchStrategy[bytes]:
    """Changed bytes of a JSON file, and files whose values are changed."""
    values = trees(json.loads(valid)).map(lambda value: json.dumps(value).encode())
    return st.one_of(files(valid), values)


def changed_lines(*valid: dict) -> st.SearchStrategy[bytes]:
    """The same of a file with one value a line."""
    lines = st.lists(trees(*valid).map(json.dumps), max_size=3).map("\n".join).map(str.encode)
    return st.one_of(files(b"".join(json.dumps(line).encode() + b"\n" for line in valid)), lines)


@pytest.fixture
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


def committed(root: Path) -> tuple[Store, Path]:
    shutil.rmtree(root / "store", ignore_errors=True)
    store = Store(root / "store")
    entry = store.commit(KEY, "h3", "stage", write)
    return store, entry.folder


def write(folder: Path) -> None:
    (folder / "w").write_bytes(b"x" * 40)


@fuzz()
@given(data=st.data())
def test_a_changed_manifest_is_a_whole_entry_a_damaged_one_or_none(root, data):
    store, folder = committed(root)
    (folder / MANIFEST).write_bytes(data.draw(changed_json((folder / MANIFEST).read_bytes())))
    entry = store.find(KEY)
    if entry is not None and not entry.damaged():
        for name in entry.files:
            assert entry.path(name).resolve().parent == folder.resolve()
    if entry is not None and entry.damaged():
        with pytest.raises(DataError):
            entry.path(entry.damaged()[0])
    list(store.entries())


@fuzz()
@given(content=changed_json(b'{"key": "x", "spec": {"form": "high"}, "files": {}, "n_photos": 3}'))
def test_what_lacks_a_field_is_no_manifest_of_a_view(root, content):
    (root / MANIFEST).write_bytes(content)
    assert read_manifest(root) is None


SPEC = ViewSpec(
    form="high", split="train", data_key="d" * 64, canvas_px=8, resolution_px=None,
    kernel="bicubic", antialias=True, degrade_from="canvas", box_margin_px=0, jpeg_quality=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> tuple[Path, bytes]:
    """A prepared view of two photos, and its manifest."""
    root = tmp_path_factory.mktemp("data")
    boxes, splits = np.full((2, 4), np.nan), np.array(["train", "train"])
    index = Index("x", root, ("a", "b"), np.array([0, 1]), boxes, splits, ("A", "B"))
    with ViewDraft(root, SPEC, index, np.arange(2)) as draft:
        draft.images_NHWC[:] = 7
        return root, (draft.commit(0) / MANIFEST).read_bytes()


@fuzz()
@given(data=st.data())
def test_a_view_with_a_changed_manifest_is_opened_or_refused(view, data):
    root, manifest = view
    (root / view_name(SPEC) / MANIFEST).write_bytes(data.draw(changed_json(manifest)))
    try:
        opened = open_view(root, SPEC)
    except DataError as error:
        told(error)
        return
    assert opened.images_NHWC.shape == (2, 8, 8, 3)


@fuzz()
@given(content=changed_lines({"event": "stage_end", "key": "a"}, {"event": "epoch", "key": "b"}))
def test_the_whole_lines_of_any_record_are_read(root, content):
    (root / "events.jsonl").write_bytes(content)
    assert all(isinstance(event, dict) for event in read_events(root / "events.jsonl"))


@fuzz()
@given(content=changed_json(
    json.dumps(owner_here() | {"token": "t", "pid": 1, "began": 2.0, "beat": 3}).encode()
))  # fmt: skip
def test_a_changed_lease_belongs_to_somebody_else(root, content):
    leases = root / "leases"
    leases.mkdir(exist_ok=True)
    (leases / KEY).write_bytes(content)
    mine = Leases(leases)
    mine.take(KEY)
    mine.renew()


def results() -> bytes:
    row = {name: [1] for name in COLUMNS} | {"status": ["done"]}
    for name in ("cell", "table", "dataset", "model", "strategy", "stage_key", "trial_id"):
        row[name] = ["x"]
    return pd.DataFrame(row).to_parquet()


def written(columns: dict[str, list]) -> bytes:
    """The valid results with some columns exchanged."""
    try:
        return pd.read_parquet(io.BytesIO(results())).loc[[0, 0, 0]].assign(**columns).to_parquet()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # what cannot be written
        return b""


@fuzz(cheap=False)
@given(content=st.one_of(files(results()), columns([*COLUMNS, "other"], 3).map(written)))
def test_results_are_read_or_refused(root, content):
    (root / "results.parquet").write_bytes(content)
    try:
        frame = load(root / "results.parquet")
    except DataError as error:
        told(error)
        return
    assert set(COLUMNS) <= set(frame.columns)


class Tags(HTMLParser):
    """The tags of a page and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, frozenset[str]]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.found.add((tag, frozenset(name for name, _ in attrs)))


def tags_of(folder: Path, *texts: str) -> set:
    title, row, column, cell, note = texts
    table = pd.DataFrame([[cell]], index=[row], columns=[column])
    write_page(folder, "page", Page(title, [table], [note]), table)
    parser = Tags()
    parser.feed((folder / "page.html").read_text(encoding="utf-8"))
    return parser.found


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.sampled_from(["<script>x</script>", '" onload="x', "<img src=x onerror=x>", "</table><b>",
                     "{{7*7}}", "&lt;b&gt;", "'><svg/onload=x>", "]]>", "<!--"]),
)  # fmt: skip


@fuzz(cheap=False)
@given(texts=st.tuples(*[HOSTILE] * 5))
def test_s11_no_name_of_a_class_becomes_markup(root, texts):
    assert tags_of(root, *texts) <= tags_of(root, *"abcde")
