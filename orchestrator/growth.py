"""Nodes of a cluster: those that are there, and those that its autoscaler may add."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

#: On the head, by `ray up`: JSON in spite of its name.
LAUNCHED = Path("~/ray_bootstrap_config.yaml")
HEAD_RESOURCE = "node:__internal_head__"


class Node(NamedTuple):
    """What a node offers to stages."""

    n_cpus: float
    n_gpus: float

    @classmethod
    def of(cls, resources: Mapping[str, float]) -> "Node":
        """From Ray's names of resources."""
        return cls(resources.get("CPU", 0), resources.get("GPU", 0))


def present_nodes(nodes: Iterable[Mapping[str, Any]]) -> tuple[list[Node], list[Node]]:
    """The head, and the workers that are alive, of `ray.nodes()`."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    heads = [Node.of(found) for found in alive if HEAD_RESOURCE in found]
    return heads, [Node.of(found) for found in alive if HEAD_RESOURCE not in found]


def launched_workers(file: Path = LAUNCHED) -> list[Node]:
    """Workers that the launcher of this head may start, the largest types first.

    Empty where no launcher started this head, or where its nodes are machines that exist already.
    """
    try:
        config = json.loads(file.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    left, found = config.get("max_workers", 0), []
    types = config.get("available_node_types", {})
    workers = [kind for name, kind in types.items() if name != config.get("head_node_type")]
    for kind in sorted(workers, key=lambda kind: _size(kind["resources"]), reverse=True):
        count = min(kind.get("max_workers", 0), left)
        found += [Node.of(kind["resources"])] * count
        left -= count
    return found


def _size(resources: Mapping[str, float]) -> tuple[float, float]:
    return resources.get("GPU", 0), resources.get("CPU", 0)


def cluster_nodes(*, may_grow: bool) -> list[Node]:
    """What the connected Ray has, or may have once its autoscaler has added all it may.

    A Ray of our own never grows, also on a head whose launcher has said what that one may add.
    """
    import ray

    heads, workers = present_nodes(ray.nodes())
    if may_grow:
        workers = max(workers, launched_workers(), _reported_workers(), key=_total)
    return heads + workers


def _total(nodes: list[Node]) -> tuple[float, float]:
    return sum(node.n_gpus for node in nodes), sum(node.n_cpus for node in nodes)


def _reported_workers() -> list[Node]:
    """What an autoscaler that keeps its limits in Ray itself (KubeRay's) may add, as one sum."""
    from ray._private.state import state

    most = state.get_max_resources_from_cluster_config()
    return [Node.of(most)] if most else []
