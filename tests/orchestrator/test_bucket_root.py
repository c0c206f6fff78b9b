"""`--root s3://...` against moto's server: killed, resumed elsewhere, a store that fails."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from orchestrator.cli import main
from trainables.bucket import bucket, local_root
from trainables.committing import commit_folder
from trainables.datasets import read_index
from trainables.errors import DataError
from trainables.listing import read_listing, write_listing
from trainables.spec import DataSpec, SyntheticSpec
from trainables.store import Store

REPOSITORY = Path(__file__).parents[2]
SMALL = str(REPOSITORY / "tests" / "small.yaml")


class Unreliable:
    """Answers late; every `every`-th request with 503, as a busy store; writers with 403."""

    def __init__(self, application):
        self._application = application
        self._count = itertools.count(1)
        self._tick = threading.Event()
        self.reset()

    def reset(self):
        self.every, self.latency_s, self.read_only = 0, 0.0, False
        self.answered = self.refused = 0

    def __call__(self, environment, start):
        self._tick.wait(self.latency_s)
        self.answered += 1
        if self.every and next(self._count) % self.every == 0:
            self.refused += 1
            return self._refuse(environment, start, "503 Slow Down", b"")
        if self.read_only and environment["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
            return self._refuse(environment, start, "403 Forbidden", denied)
        return self._application(environment, start)

    def _refuse(self, environment, start, status, body):
        environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        start(status, [("Content-Length", str(len(body))), ("Content-Type", "application/xml")])
        return [body]


@pytest.fixture(scope="module")
def server():
    """moto on the loopback, ours to break."""
    application = Unreliable(DomainDispatcherApplication(create_backend_app))
    made = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made.server_port, application
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def root(server, monkeypatch, request):
    """The address of an empty bucket."""
    port, application = server
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    application.reset()
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}/runs?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"


def run(root, cache, monkeypatch, *flags):
    """`f2c run` on a machine whose copy lies in `cache`."""
    monkeypatch.setenv("F2C_CACHE", str(cache))
    return main(["run", SMALL, "--executor", "inline", "--root", str(root), *flags])


def weights(folder):
    """Bytes of all weights under a root's store, by stage."""
    store = Store(folder / "store")
    return {
        entry.key: hashlib.sha256(entry.path("weights.safetensors").read_bytes()).hexdigest()
        for entry in store.entries()
    }


def copy_of(cache):
    (folder,) = (cache / "fine-to-coarse").iterdir()
    return folder


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The same run in a folder of this machine."""
    folder = tmp_path_factory.mktemp("golden")
    assert main(["run", SMALL, "--executor", "inline", "--root", str(folder)]) == 0
    return weights(folder)


def test_a_run_in_a_bucket_has_the_weights_of_one_in_a_folder(root, tmp_path, monkeypatch, golden):
    assert run(root, tmp_path / "a", monkeypatch) == 0
    assert weights(copy_of(tmp_path / "a")) == golden


LOWS = ("--cells.high", "8", "--cells.low", *map(str, range(1, 9)))


@pytest.mark.ray
@pytest.mark.parametrize(("flags", "n_known"), [((), 9), (LOWS, 4)])
def test_tune_restores_parents_out_of_the_bucket(
    root, tmp_path, monkeypatch, golden, flags, n_known
):
    """A process of its own: Ray's workers get their environment when Ray starts."""
    monkeypatch.setenv("F2C_CACHE", str(tmp_path / "a"))
    command = [sys.executable, "-m", "orchestrator.cli", "run", SMALL, "--root", root, *flags]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    store = Store(copy_of(tmp_path / "a") / "store")
    found = weights(store.folder.parent)
    assert len(found.items() & golden.items()) == len(found.keys() & golden.keys()) == n_known
    records = [entry.json("stage.json") for entry in store.entries()]
    assert (len({record["trial_id"] for record in records}) < len(records)) == bool(flags)
    for record in records:
        parent = record["spec"]["parent"]
        if parent is not None:
            assert record["restored_from"] == store.find(parent).folder.name


def manifests(client, bucket):
    """Keys of the committed stages of a bucket."""
    found = client.list_objects_v2(Bucket=bucket, Prefix="runs/store/").get("Contents", [])
    names = [item["Key"] for item in found]
    return [n for n in names if n.count("/") == 3 and n.endswith("manifest.json")]


def test_killed_it_goes_on_elsewhere_and_trains_nothing_twice(
    root, server, tmp_path, monkeypatch, golden
):
    command = [sys.executable, "-m", "orchestrator.cli", "run", SMALL, "--executor", "inline"]
    environment = os.environ | {"F2C_CACHE": str(tmp_path / "a"), "PYTHONPATH": str(REPOSITORY)}
    first = subprocess.Popen(
        [*command, "--root", root], env=environment, stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[0]}")
    bucket = root.removeprefix("s3://").split("/")[0]
    wait = threading.Event()
    while len(manifests(client, bucket)) < 3 and first.poll() is None:
        wait.wait(0.05)
    first.kill()
    first.wait()
    kept = manifests(client, bucket)
    before = {key: client.head_object(Bucket=bucket, Key=key)["LastModified"] for key in kept}
    assert 3 <= len(kept) < len(golden), "the kill came in the middle"
    assert run(root, tmp_path / "b", monkeypatch) == 0
    after = {key: client.head_object(Bucket=bucket, Key=key)["LastModified"] for key in kept}
    assert after == before
    client.close()
    assert weights(copy_of(tmp_path / "b")) == golden


def test_a_store_that_refuses_a_fifth_of_all_requests_changes_nothing(
    root, server, tmp_path, monkeypatch, golden
):
    server[1].every = 5
    assert run(root, tmp_path / "a", monkeypatch) == 0
    server[1].every = 0
    assert server[1].refused > 20
    assert weights(copy_of(tmp_path / "a")) == golden


@pytest.mark.faults
def test_a_store_that_also_answers_200_ms_late_changes_nothing_but_the_time(
    root, server, tmp_path, monkeypatch, golden
):
    """A chain of two stages and one of mixed photos; most of a minute is waiting."""
    server[1].every, server[1].latency_s = 5, 0.2
    cells = ["--cells.high", "8", "--cells.low", "4", "--cells.mixed", "8"]
    assert run(root, tmp_path / "a", monkeypatch, *cells) == 0
    server[1].every = server[1].latency_s = 0
    assert server[1].refused > 20
    found = weights(copy_of(tmp_path / "a"))
    assert len(found) == 3
    assert found.items() <= golden.items()


def test_a_machine_that_has_nothing_brings_what_it_needs_and_checks_it(
    root, server, tmp_path, monkeypatch, capsys
):
    assert run(root, tmp_path / "a", monkeypatch) == 0
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[0]}")
    bucket = root.removeprefix("s3://").split("/")[0]
    key = manifests(client, bucket)[0].replace("manifest.json", "weights.safetensors")
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=body[:-1] + bytes([body[-1] ^ 1]))
    client.close()
    capsys.readouterr()
    assert run(root, tmp_path / "b", monkeypatch) == 0
    assert "0 to train" in capsys.readouterr().out
    store = Store(copy_of(tmp_path / "b") / "store")
    (damaged,) = [e for e in store.entries() if e.folder.name == key.split("/")[-2]]
    with pytest.raises(DataError, match="is damaged or missing"):
        damaged.path("weights.safetensors")


def test_a_bucket_that_is_not_there_is_told_before_anything_starts(
    root, tmp_path, monkeypatch, capsys
):
    elsewhere = root.replace("s3://", "s3://no-such-")
    assert run(elsewhere, tmp_path / "a", monkeypatch) == 2
    assert "NO_SUCH_BUCKET" in capsys.readouterr().out
    assert run(root + "&speed=fast", tmp_path / "b", monkeypatch) == 2
    assert "speed is unknown; known are region, scheme" in capsys.readouterr().out
    assert run(root.replace("s3://", "s3://key:secret@"), tmp_path / "c", monkeypatch) == 2
    said = capsys.readouterr().out
    assert "--root carries a key" in said
    assert "secret" not in said


def test_f04_a_bucket_that_cannot_be_written_is_told_in_one_sentence(
    root, server, tmp_path, monkeypatch, capsys
):
    server[1].read_only = True
    assert run(root, tmp_path / "a", monkeypatch) == 2
    said = capsys.readouterr().out.strip()
    assert "refuses this machine (ACCESS_DENIED): check the bucket's name and region, and" in said
    assert len(said.splitlines()) == 1


KEY = "ab" * 32


def write_as(name):
    """A writer whose file no other writer's equals, as stage.json with its times."""
    return lambda folder: (folder / "stage.json").write_text(json.dumps({"by": name}))


@pytest.fixture
def stores(root, tmp_path, monkeypatch):
    """Two machines' copies of one bucket's store."""
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("F2C_CACHE", str(tmp_path / name))
        made.append(Store(local_root(root) / "store"))
    return made


def by_whom(store):
    """Who wrote the entry that a machine finds, whole."""
    entry = Store(store.folder).find(KEY)
    assert entry.whole()
    return entry.json("stage.json")["by"]


def entries_of(root, server):
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[0]}")
    found = manifests(client, root.removeprefix("s3://").split("/")[0])
    client.close()
    return found


def test_f12_of_two_writers_of_one_stage_the_first_stays_and_the_other_takes_it(
    root, server, stores
):
    first, second = stores

    def late(folder):
        first.commit(KEY, "h8", "stage", write_as("first"))
        write_as("second")(folder)

    entry = second.commit(KEY, "h8", "stage", late)
    assert entry.json("stage.json") == {"by": "first"}
    assert len(entries_of(root, server)) == 1
    assert [by_whom(store) for store in stores] == ["first", "first"]


def test_f12_an_entry_that_was_taken_back_since_its_manifest_came_here_is_found_once_only(
    root, server, stores
):
    first, second = stores
    folder = first.commit(KEY, "h8", "stage", write_as("first")).folder
    entry = second.find(KEY)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[0]}")
    for name in ("manifest.json", "stage.json"):
        bucket = root.removeprefix("s3://").split("/")[0]
        client.delete_object(Bucket=bucket, Key=f"runs/store/{folder.name}/{name}")
    client.close()
    with pytest.raises(FileNotFoundError):
        entry.path("stage.json")
    assert Store(second.folder).find(KEY) is None


def test_f12_an_entry_whose_files_are_on_their_way_is_not_damaged(root, stores, monkeypatch):
    """Killed now, the download leaves its part for good; it must not cost the bucket its entry."""
    first, second = stores
    first.commit(KEY, "h8", "stage", write_as("first"))
    entry, there, found = second.find(KEY), bucket(root), []

    @contextmanager
    def open_input_stream(path):
        with reached.open_input_stream(path) as stream:
            yield SimpleNamespace(read=lambda n: found.append(entry.damaged()) or stream.read(n))

    reached = there.filesystem
    watched = SimpleNamespace(open_input_stream=open_input_stream)
    monkeypatch.setattr(there, "filesystem", watched)
    assert entry.json("stage.json") == {"by": "first"}
    assert found == [[], []]


@pytest.mark.parametrize("where", ["here", "there", "gone there"])
def test_f05_what_is_damaged_here_only_is_brought_again_and_leaves_the_bucket_as_it_is(
    root, server, stores, where
):
    first, second = stores
    folder = first.commit(KEY, "h8", "stage", write_as("first")).folder
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[0]}")
    there = {
        "Bucket": root.removeprefix("s3://").split("/")[0],
        "Key": f"runs/store/{folder.name}/stage.json",
    }
    if where == "there":
        client.put_object(**there, Body=b"{}")
    elif where == "gone there":
        client.delete_object(**there)
    client.close()
    entry = second.find(KEY)
    (entry.folder / "stage.json").write_text("{}")
    aside = second.quarantine(entry)
    assert (aside / "stage.json").read_text() == "{}"
    if where == "here":
        assert by_whom(second) == "first"
    assert len(entries_of(root, server)) == (where == "here")
    assert (second.find(KEY) is not None) == (where == "here")


@pytest.mark.parametrize("_again", range(5))
def test_f12_two_writers_at_the_very_same_time_leave_one_whole_entry(
    root, server, stores, monkeypatch, _again
):
    both_there = threading.Barrier(2)

    def commit_and_wait(*arguments):
        entry = commit_folder(*arguments)
        both_there.wait(60)
        return entry

    monkeypatch.setattr("trainables.store.commit_folder", commit_and_wait)
    with ThreadPoolExecutor(2) as pool:
        writers = zip(stores, ("a", "b"), strict=True)
        done = [pool.submit(s.commit, KEY, "h8", "stage", write_as(name)) for s, name in writers]
        kept = {future.result().json("stage.json")["by"] for future in done}
    assert len(kept) == len(entries_of(root, server)) == 1
    assert {by_whom(store) for store in stores} == kept


def test_f10_progress_that_two_machines_mixed_in_the_bucket_falls_back_to_the_older(
    root, server, stores, tmp_path
):
    first, _ = stores
    for epoch in (1, 2):
        first.save_progress(KEY, "h8", epoch, write_as("first"))
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[0]}")
    key = f"runs/store/progress/h8-{KEY[:16]}/epoch-2/stage.json"
    client.put_object(Bucket=root.removeprefix("s3://").split("/")[0], Key=key, Body=b"other")
    client.close()
    shutil.rmtree(first.folder / "progress")
    assert first.newest_progress(KEY, "h8").folder.name == "epoch-1"


def test_the_list_of_streamed_photos_goes_through_the_bucket(root, tmp_path, monkeypatch):
    """A machine reads what the driver wrote last, not what it has a copy of."""
    data = DataSpec(synthetic=SyntheticSpec(n_classes=2, n_train=3, n_test=2), mode="stream")
    index = read_index(data)
    for photos in (tmp_path / "old", tmp_path / "new"):
        monkeypatch.setenv("F2C_CACHE", str(tmp_path / "driver"))
        write_listing(replace(index, root=photos), data, "d" * 64, local_root(root) / "data")
        monkeypatch.setenv("F2C_CACHE", str(tmp_path / "worker"))
        found = read_listing(local_root(root) / "data", "d" * 64)
        assert (found.index.paths, found.index.root) == (index.paths, photos)
