"""Stores, views, records and results that somebody else made, or a disk has changed."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.pages import Page, write_page
from analysis.runs import COLUMNS, load
from orchestrator.events import read_events
from orchestrator.leases import Leases
from tests.fuzz.changed import files, fuzz, told
from trainables.entry import MANIFEST
from trainables.errors import DataError
from trainables.store import Store
from trainables.views import read_manifest

KEY = "ab" * 32
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["key", "kind", "files", "sha256", "bytes", "w", "../w"]), inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)  # fmt: skip


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
    valid = (folder / MANIFEST).read_bytes()
    some = st.one_of(files(valid), JSON.map(lambda value: json.dumps(value).encode()))
    (folder / MANIFEST).write_bytes(data.draw(some))
    entry = store.find(KEY)
    if entry is not None and not entry.damaged():
        for name in entry.files:
            assert entry.path(name).resolve().parent == folder.resolve()
    if entry is not None and entry.damaged():
        with pytest.raises(DataError):
            entry.path(entry.damaged()[0])
    list(store.entries())


@fuzz()
@given(content=files(b'{"key": "x", "spec": {"form": "high"}, "files": {}, "n_photos": 3}'))
def test_a_changed_manifest_of_a_view_is_none(root, content):
    (root / MANIFEST).write_bytes(content)
    assert read_manifest(root) is None


@fuzz()
@given(content=files(b'{"event": "stage_end", "key": "a"}\n{"event": "epoch", "key": "b"}\n'))
def test_the_whole_lines_of_any_record_are_read(root, content):
    (root / "events.jsonl").write_bytes(content)
    assert all(isinstance(event, dict) for event in read_events(root / "events.jsonl"))


@fuzz()
@given(content=files(b'{"token": "t", "pid": 1, "began": 2.0, "machine": ["a"], "beat": 3}'))
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


@fuzz(cheap=False)
@given(content=files(results()))
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
