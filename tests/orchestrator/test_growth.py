"""How many stages a cluster can ever run at a time, before any of its workers exist."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.cluster import Machine, slots_of
from orchestrator.growth import (
    HEAD_RESOURCE,
    LAUNCHED,
    Node,
    cluster_nodes,
    launched_workers,
    present_nodes,
)
from trainables.errors import ConfigError


def machine(cpus: int = 1, gpus: float = 0.0) -> Machine:
    return Machine(Path(), cpus_per_stage=cpus, gpus_per_stage=gpus)


def launched(tmp_path: Path, **config) -> list[Node]:
    file = tmp_path / "bootstrap.yaml"
    file.write_text(json.dumps(config))
    return launched_workers(file)


TYPES = {
    "head": {"resources": {"CPU": 2}, "max_workers": 0},
    "small": {"resources": {"CPU": 8}, "max_workers": 5},
    "gpu": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 2},
}


def test_workers_that_may_come_are_counted_type_by_type_up_to_the_cap(tmp_path):
    nodes = launched(tmp_path, max_workers=3, head_node_type="head", available_node_types=TYPES)
    assert nodes == [Node(4, 1), Node(4, 1), Node(8, 0)]
    assert slots_of(machine(gpus=1.0), [Node(2, 0), *nodes]) == 2
    assert slots_of(machine(gpus=0.5), nodes) == 4
    assert slots_of(machine(gpus=0.2), [Node(16, 1)]) == 5
    assert slots_of(machine(cpus=3), [Node(2, 0), *nodes]) == 4


def test_nothing_may_come_where_no_launcher_started_the_head(tmp_path):
    assert launched_workers(tmp_path / "none") == []
    (tmp_path / "torn").write_text("{")
    assert launched_workers(tmp_path / "torn") == []


def test_a_ray_of_our_own_on_a_launched_head_counts_none_of_the_workers_that_may_come(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = {"max_workers": 3, "head_node_type": "head", "available_node_types": TYPES}
    LAUNCHED.expanduser().write_text(json.dumps(config))
    here = {"Alive": True, "Resources": {"CPU": 2.0, HEAD_RESOURCE: 1.0}}
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: [here]))
    assert cluster_nodes(may_grow=False) == [Node(2, 0)]


def test_dead_nodes_do_not_count():
    nodes = [
        {"Alive": True, "Resources": {"CPU": 2.0, HEAD_RESOURCE: 1.0}},
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 4.0, "GPU": 1.0}},
    ]
    assert present_nodes(nodes) == ([Node(2, 0)], [Node(4, 1)])


def test_a_stage_never_spreads_over_two_nodes():
    assert slots_of(machine(cpus=3), [Node(4, 0), Node(4, 0)]) == 2
    with pytest.raises(ConfigError, match=r"largest node has 4 CPUs and 0 GPUs.*--cpus"):
        slots_of(machine(cpus=8), [Node(4, 0), Node(4, 0)])
    with pytest.raises(ConfigError, match="one stage needs 1 and 1"):
        slots_of(machine(gpus=1.0), [Node(64, 0)])
