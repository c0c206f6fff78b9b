"""A plan on a cluster without a worker: nodes come for it and go after it, by Ray's autoscaler.

Ray's fake provider stands for the cloud: its nodes are real raylets on one host.
"""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.hosts import lan
from tests.cluster.launched import BIN, REPOSITORY
from tests.cluster.test_cluster import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

N_MOST = 2
CLOUD = {
    "cluster_name": "growing",
    "max_workers": N_MOST,
    "idle_timeout_minutes": 0.1,
    "upscaling_speed": 10.0,
    "provider": {"type": "fake_multinode", "head_node_id": "f" * 56},
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {
            "resources": {"CPU": 1, "object_store_memory": 80_000_000},
            "node_config": {},
            "min_workers": 0,
            "max_workers": N_MOST,
        },
    },
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}
START = (
    "RAY_FAKE_CLUSTER=1 AUTOSCALER_UPDATE_INTERVAL_S=1 ray start --head --port=6379 --num-cpus=0"
    " --dashboard-host=127.0.0.1 --object-store-memory=80000000"
    " --autoscaling-config=$HOME/ray_bootstrap_config.yaml"
)


def test_nodes_come_for_a_plan_and_go_after_it(tmp_path):
    with lan() as made:
        host = made.add("cloud", {}, sshd=False)
        (host.home / "ray_bootstrap_config.yaml").write_text(json.dumps(CLOUD))
        inside = f"cd {REPOSITORY} && export PATH={BIN}:$PATH RAY_AUTH_MODE=token && "
        started = host.run(f"{inside} ray get-auth-token --generate > /dev/null; {START}")
        assert started.returncode == 0, started.stdout
        settings = ["--address", "auto", "--root", str(made.shared / "runs")]
        line = shlex.join(["f2c", "run", str(Path("tests", "small.yaml")), *settings])
        alone = n_raylets(host)
        run = host.start(inside + line, tmp_path / "run.log", {"PYTHONPATH": str(REPOSITORY)})
        seen = []

        def ended() -> bool:
            seen.append(n_raylets(host) - alone)
            return run.poll() is not None

        wait_for(ended, "the run to end", 600)
        assert run.returncode == 0, (tmp_path / "run.log").read_text()[-3000:]
        assert max(seen) == N_MOST, seen
        wait_for(lambda: n_raylets(host) == alone, "idle nodes to go", 180)
        rows = pd.read_parquet(made.shared / "runs" / "small" / "results.parquet")
        assert set(rows["status"]) == {"done"}


def n_raylets(host) -> int:
    """Nodes of the host: the head's own, and what the autoscaler started."""
    programs = [line.split()[0] for line in host.processes()]
    return sum(program.endswith("raylet/raylet") for program in programs)
