"""Nodes come when stages wait for one, and go after the last: Ray's own autoscaler at work.

cluster.yaml on one host, with Ray's provider of nodes that are processes of the head's machine and
whose GPUs are a number only; stages train on CPUs. Needs root, for a host of its own.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.cluster.hosts import Host, lan
from tests.cluster.launched import BIN, REPOSITORY
from trainables.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

MOST = 2
#: The provider knows its head by these.
HEAD_TYPE, HEAD_ID = "ray.head.default", "f" * 51 + "00000"
PROVIDER = {
    "type": "external",  # by its name Ray 2.60 looks for defaults that its wheel does not have
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
    "launch_multiple": True,
    "head_node_id": HEAD_ID,
}
NODES = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
NODES |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD_ID}
NODES |= {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID, "RAY_memory_monitor_refresh_ms": "0"}
SETTINGS = {"PYTHONPATH": str(REPOSITORY), "RAY_AUTH_MODE": "token", "MLFLOW_TRACKING_URI": ""}
#: Enough for some seconds a stage.
EPOCHS = 200
#: `f2c run`, noting how many nodes there are.
DRIVER = """
import json, sys, threading, time
from pathlib import Path
from orchestrator import cli, cluster

cluster.Machine.device = property(lambda machine: "cpu")  # GPUs are a number here
over = threading.Event()

def count():
    import ray
    with Path("nodes.jsonl").open("w") as file:
        while not over.wait(0.5):
            if ray.is_initialized():
                alive = sum(node["Alive"] for node in ray.nodes())
                print(json.dumps([time.time(), alive]), file=file, flush=True)

threading.Thread(target=count, daemon=True).start()
status = cli.main(["run", *sys.argv[1:]])
over.set()
sys.exit(status)
"""
#: Waits until only the head is left.
WATCH = """
import ray, threading
ray.init("auto", log_to_driver=False)
tick = threading.Event()
while sum(node["Alive"] for node in ray.nodes()) > 1:
    tick.wait(1.0)
"""


def autoscaling_config() -> dict[str, Any]:
    """cluster.yaml but for its provider, how nodes are made, and how soon they go."""
    config = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    kinds = config["available_node_types"]
    gpu = {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0}
    workers = {name: kinds[name] | gpu for name in kinds if name != config["head_node_type"]}
    head = kinds[config["head_node_type"]] | {"node_config": {}}
    empty = {key: [] for key in config if key.endswith("_commands")}
    return config | empty | {
        "provider": PROVIDER, "max_workers": MOST, "idle_timeout_minutes": 0.05, "auth": {},
        "available_node_types": workers | {HEAD_TYPE: head}, "head_node_type": HEAD_TYPE,
        "file_mounts": {}, "cluster_synced_files": [], "docker": {}, "upscaling_speed": 1.0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def head():
    """A host with Ray's head started by the line of cluster.yaml."""
    with lan() as made:
        host = made.add("head", {}, sshd=False)
        (host.home / "ray_bootstrap_config.yaml").write_text(json.dumps(autoscaling_config()))
        (host.home / "driver.py").write_text(DRIVER)
        (host.home / "watch.py").write_text(WATCH)
        (host.home / ".ray").mkdir(mode=0o700)
        run(host, "ray get-auth-token --generate > /dev/null; chmod 600 ~/.ray/auth_token")
        config = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
        start = config["head_start_ray_commands"][-1]
        run(host, f"{start} --num-cpus=2 --include-dashboard=false", NODES)
        yield host


def run(host: Host, line: str, environment: dict[str, str] | None = None, status: int = 0) -> str:
    """A line on the host with this repository's packages; what it printed."""
    done = host.run(f"export PATH={BIN}:$PATH; {line}", SETTINGS | (environment or {}))
    assert done.returncode == status, f"{line}: {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


def f2c(root: Path, address: str = "auto") -> str:
    small = REPOSITORY / "tests" / "small.yaml"
    where = f"--address {address} --gpus-per-stage 1 --root {root}"
    return f"{sys.executable} driver.py {small} {where}"


def events(root: Path) -> list[dict[str, Any]]:
    file = root / "small" / "events.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def counted(head: Host) -> list[tuple[float, int]]:
    """When the driver looked, and how many nodes there were."""
    file = head.home / "nodes.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def wait_for_nodes_and_epochs(head: Host, root: Path, driver: subprocess.Popen[bytes]) -> None:
    """Until all nodes are there and an epoch is saved; a driver that ends before has failed."""
    tick = threading.Event()
    while not (
        any(count == 1 + MOST for _, count in counted(head))
        and any(e["event"] == "epoch" for e in events(root))
    ):
        assert driver.poll() is None
        tick.wait(0.5)


def workers_of(host: Host) -> list[int]:
    """Raylets of the nodes that came, by the host's own numbers."""
    found = host.run("ps -e -o pid=,args=").stdout.splitlines()
    raylets = [line for line in found if "/raylet/raylet " in line and "--head" not in line]
    return [int(line.split()[0]) for line in raylets]


def test_nodes_come_from_none_one_is_taken_back_and_replaced_and_all_go_in_the_end(head):
    """SIGTERM to a node's raylet is what a machine that shuts down sends."""
    root = head.place / "runs"
    driver = head.start(f"{f2c(root)} --train.epochs {EPOCHS}", head.place / "log", SETTINGS)
    wait_for_nodes_and_epochs(head, root, driver)
    taken = workers_of(head)[0]
    assert head.run(f"kill -TERM {taken}").returncode == 0
    assert driver.wait(timeout=400) == 0, (head.place / "log").read_text()[-4000:]
    rows = pd.read_parquet(root / "small" / "results.parquet")
    assert set(rows["status"]) == {"done"}
    noted = counted(head)
    counts = [count for _, count in noted]
    assert counts[0] == 1, "the head alone"
    assert max(counts) == 1 + MOST
    at = counts.index(1 + MOST)
    assert min(counts[at:]) <= MOST, "one node was gone"
    run(head, f"timeout 120 {sys.executable} watch.py")
    if folder := os.environ.get("F2C_CLUSTER_LOG"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        log = f"a node's first stage began {seconds_to_first_stage(root, noted):.0f} s after it\n"
        (Path(folder) / "autoscaler.log").write_text(log)


def seconds_to_first_stage(root: Path, noted: list[tuple[float, int]]) -> float:
    """From the first node's coming to the first stage on one."""
    entries = Store(root / "store").entries()
    began = min(entry.json("stage.json")["started_at"] for entry in entries)
    return began - next(at for at, count in noted if count > 1)


def test_another_token_is_told_in_one_sentence(head):
    line = f2c(head.place / "other", f"{head.address}:6379")
    said = run(head, line, {"RAY_AUTH_TOKEN": "b" * 64}, status=2)
    assert "wants another token: put its ~/.ray/auth_token" in said.splitlines()[-1]
    assert "Traceback" not in said
