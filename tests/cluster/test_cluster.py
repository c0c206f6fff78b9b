"""cluster.yaml on a head and three workers: the demo's 79 cells, hosts cut off and killed.

`make test-cluster`. Needs root; leaves no process, namespace or file. What the user typed and saw
is kept in the folder that F2C_CLUSTER_LOG names.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from orchestrator.cli import main
from tests.cluster.hosts import lan
from tests.cluster.launched import REPOSITORY, Launched, launch
from trainables.datasets.synthetic import draw_photos, read_index
from trainables.spec import DataSpec, SyntheticSpec
from trainables.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

N_HOSTS = 4
SUBMIT = "ray submit {config} orchestrator/grid.py"
RAY = ("gcs_server", "raylet", "ray::", "dashboard", "agent", "ray-", "python")
PATIENCE_S = 900.0
#: Between two looks by `ray status`, which imports Ray each time, on cores that start hosts.
ASKING_RAY_S = 5.0
STREAM = ("--data.mode", "stream")
N_STREAMED = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The hosts, and `ray up` on them."""
    logs = Path(os.environ.get("F2C_CLUSTER_LOG") or tmp_path_factory.mktemp("log"))
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "laptop.log").unlink(missing_ok=True)
    with lan() as made:
        launched = launch(made, logs)
        began = time.perf_counter()
        launched.up()
        wait_for(
            lambda: n_alive(launched) == N_HOSTS, "all hosts in the cluster", tick_s=ASKING_RAY_S
        )
        launched.up_s = time.perf_counter() - began
        yield launched


def wait_for(met, what, tick_s=1.0):
    """Ask again and again until a condition is met.

    Raises:
        TimeoutError: naming the condition.
    """
    tick, began = threading.Event(), time.monotonic()
    while not met():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        tick.wait(tick_s)


def n_alive(cluster: Launched) -> int:
    """Nodes that Ray's head counts."""
    said = cluster.head.run("source ~/.bashrc; ray status").stdout
    return sum(map(int, re.findall(r"^ (\d+) local\.cluster\.node", said, re.MULTILINE)))


def events(cluster: Launched) -> list[dict]:
    file = cluster.runs / "demo" / "events.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def ended(cluster: Launched) -> list[str]:
    return [
        e["key"] for e in events(cluster) if e["event"] == "stage_end" and e["status"] == "done"
    ]


def records(cluster: Launched) -> dict[str, dict]:
    """stage.json of every finished stage."""
    entries = Store(cluster.runs / "store").entries()
    return {entry.key: entry.json("stage.json") for entry in entries if entry.kind == "stage"}


def weights(root: Path) -> dict[str, str]:
    entries = Store(root / "store").entries()
    files = {e.key: e.path("weights.safetensors") for e in entries if e.kind == "stage"}
    return {key: hashlib.sha256(file.read_bytes()).hexdigest() for key, file in files.items()}


def write_streaming(folder: Path) -> Path:
    """JPEG files of class folders, and a recipe of three stages on them; its path."""
    drawn = SyntheticSpec(n_classes=4, n_train=320, n_test=80, image_px=256)
    data = DataSpec(synthetic=drawn)
    index = read_index(data)
    for row, photo in enumerate(draw_photos(index, data, np.arange(len(index)))):
        split, number = index.paths[row].split("/")
        file = folder / "photos" / split / f"c{index.labels[row]}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(file)
    photos = {"dataset": "folder", "root": str(folder / "photos"), "canvas_px": 64}
    fields = yaml.safe_load((REPOSITORY / "tests" / "small.yaml").read_text())
    fields["data"] = photos | {"resolution_px": 16}
    fields["cells"] = {"high": [8], "low": [8], "mixed": [8]}
    recipe = folder / "small.yaml"
    recipe.write_text(yaml.safe_dump(fields))
    return recipe


def on_head(cluster: Launched, recipe: Path, root: str, *flags: str) -> str:
    """`f2c run` as it is typed on the head, with a root of its own."""
    line = shlex.join(["f2c", "run", str(recipe), "--root", str(cluster.runs.parent / root)])
    return f"source ~/.bashrc; {line} {shlex.join(flags)}"


def kill_a_data_worker(cluster: Launched, run: subprocess.Popen[bytes]) -> str:
    """SIGKILL to the first process that is seen reading photos; the host it was on."""
    killed = []

    def seen() -> bool:
        for host in cluster.workers:
            found = host.run("pgrep -f '^ray::MapBatches'").stdout.split()
            if found and host.run(f"kill -9 {found[0]}").returncode == 0:
                killed.append(host.name)
                return True
        assert run.poll() is None, "it ended before a data worker was seen"
        return False

    wait_for(seen, "a data worker", tick_s=0.1)
    return killed[0]


def images_per_s(root: Path) -> float:
    """Of all stages of a store in training."""
    entries = [e for e in Store(root / "store").entries() if e.kind == "stage"]
    epochs = [epoch for entry in entries for epoch in entry.jsonl("epochs.jsonl")]
    return sum(e["images_seen"] for e in epochs) / sum(e["seconds"] for e in epochs)


def test_1_the_hosts_are_one_cluster_with_one_token(cluster):
    assert n_alive(cluster) == N_HOSTS
    for host in (cluster.head, *cluster.workers):
        mode = host.run("stat -c %a ~/.ray/auth_token; stat -c %a ~/.ray").stdout.split()
        assert mode == ["600", "700"]
    with (cluster.logs / "laptop.log").open("a") as log:
        log.write(f"# ray up until all hosts answered: {cluster.up_s:.0f} s\n")


def test_2_s14_who_has_no_token_runs_nothing(cluster):
    post = (
        "curl -s -o /dev/null -m 5 -w '%{http_code}' -X POST -H 'Content-Type: application/json'"
        """ -d '{"entrypoint": "id"}' http://HOST:8265/api/jobs/"""
    )
    there = cluster.laptop.run(post.replace("HOST", cluster.head.address)).stdout
    assert there == "000", "from another host there is no route"
    here = cluster.head.run(post.replace("HOST", "127.0.0.1")).stdout
    assert here == "401", "on the head it wants the token"
    stranger = "cd /; export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=wrong; source ~/.bashrc; ray status"
    said = cluster.head.run(stranger)
    assert said.returncode != 0
    assert "uthentic" in said.stdout


def test_3_nothing_but_ssh_answers_other_hosts_without_the_token(cluster):
    """What Ray measures of itself can be read (GET); nothing can be asked to run anything."""
    urls = []
    for host in (cluster.head, *cluster.workers):
        found = host.run("ss -Hltnp").stdout.splitlines()
        outside = [
            line for line in found if not re.search(r"\s\[?(::ffff:)?127\.0\.0\.1\]?:", line)
        ]
        names = {re.search(r'\(\("([^"]+)"', line)[1] for line in outside}
        assert names - {"sshd"}, "Ray's own"
        assert all(name == "sshd" or name.startswith(RAY) for name in names), names
        ports = {re.search(r":(\d+)\s", line)[1] for line in outside} - {"22"}
        paths = ("api/jobs/", "api/job_agent/jobs/")
        urls += [f"http://{host.address}:{port}/{path}" for port in sorted(ports) for path in paths]
    answers = posted(cluster, urls)
    assert len(answers) == len(urls)
    assert {u: code for u, code in answers.items() if code not in ("000", "401", "405")} == {}


def posted(cluster: Launched, urls: list[str]) -> dict[str, str]:
    """What each address answers the laptop that asks for a job; many at a time."""
    list_of_urls = cluster.laptop.home / "urls"
    list_of_urls.write_text("\n".join(urls))
    ask = "curl -s -o /dev/null -m 4 -w '%{url_effective} %{http_code}\\n' -X POST"
    body = """-d '{"entrypoint": "id"}'"""
    said = cluster.laptop.run(f"xargs -P 32 -n 1 {ask} {body} < {list_of_urls}").stdout
    return dict(line.split() for line in said.splitlines())


def test_4_table_2_survives_a_host_cut_off_another_killed_and_the_head_itself(cluster):
    """The literal command; then again, after the head was switched off and on."""
    one, two, _ = cluster.workers
    line = cluster.user_line(SUBMIT.format(config=cluster.config))
    first = cluster.laptop.start(line, cluster.logs / "submit-1.log")
    wait_for(lambda: len(ended(cluster)) >= 12, "12 stages")
    one.cut_off()
    wait_for(lambda: len(ended(cluster)) >= 24, "24 stages with a host cut off")
    two.kill()
    wait_for(lambda: len(ended(cluster)) >= 45, "45 stages on what is left")
    cluster.head.kill()
    assert first.wait(timeout=300) != 0
    finished = ended(cluster)
    cluster.restart()
    wait_for(lambda: n_alive(cluster) == N_HOSTS, "all hosts again", tick_s=ASKING_RAY_S)
    cluster.user(SUBMIT.format(config=cluster.config))

    rows = pd.read_parquet(cluster.runs / "demo" / "results.parquet")
    assert (len(rows), set(rows["status"])) == (79, {"done"})
    again = [key for key in ended(cluster) if key in finished]
    assert len(again) == len(set(again)) == len(finished), "a finished stage ended once only"
    hosts = {record["host"] for record in records(cluster).values()}
    assert len(hosts) >= 2, hosts


def test_5_its_weights_are_those_of_the_laptop(cluster, tmp_path):
    """Of cells of every kind: both levels of each axis and between, chains and mixed photos."""
    flags = ["--train.epochs", "2", "--executor", "inline", "--root", str(tmp_path)]
    cells = ["--cells.high", "0", "3", "8", "--cells.low", "1", "8", "--cells.mixed", "5"]
    assert main(["run", "demo", *flags, *cells]) == 0
    ours, theirs = weights(tmp_path), weights(cluster.runs)
    assert len(ours) == 9
    assert {key: theirs[key] for key in ours} == ours


def test_6_photos_are_streamed_from_other_hosts_and_a_killed_data_worker_loses_none(cluster):
    """A stage on one host, its photos read on the two others; beside it the resident mode."""
    recipe = write_streaming(cluster.lan.shared / "streaming")
    too_many = on_head(cluster, recipe, "refused", *STREAM, "--data-cpus-per-stage", "3")
    assert cluster.head.run(too_many).returncode == 2, "the three hosts have one CPU each"

    log = cluster.logs / "streamed.log"
    flags = (*STREAM, "--data-cpus-per-stage", "2")
    run = cluster.head.start(on_head(cluster, recipe, "streamed", *flags), log)
    killed = kill_a_data_worker(cluster, run)
    assert run.wait(timeout=300) == 0, log.read_text()[-4000:]
    done = cluster.head.run(on_head(cluster, recipe, "resident"))
    assert done.returncode == 0, done.stdout[-4000:]

    streamed, resident = (cluster.runs.parent / name for name in ("streamed", "resident"))
    assert not list((streamed / "data").glob("*/images.npy"))
    assert weights(streamed) == weights(resident)
    assert len(weights(streamed)) == N_STREAMED
    found = {name: images_per_s(cluster.runs.parent / name) for name in ("streamed", "resident")}
    with (cluster.logs / "laptop.log").open("a") as file:
        said = ", ".join(f"{name} {rate:.0f} images/s" for name, rate in found.items())
        file.write(f"# a data worker on {killed} was killed; stages in training: {said}\n")


def test_7_down_and_ray_stop_leave_nothing_running(cluster):
    """`ray down` ends the head; Ray's log monitor stays on machines that it did not start."""
    cluster.user(f"ray down {cluster.config} --yes")
    assert [p for p in cluster.head.processes() if "sshd" not in p] == []
    for worker in cluster.workers:
        ssh = f"ssh -i {cluster.lan.key} -o StrictHostKeyChecking=no root@{worker.address}"
        cluster.user(f"{ssh} bash --login -c -i '\"source ~/.bashrc; ray stop\"'")
        assert [p for p in worker.processes() if "sshd" not in p] == []
