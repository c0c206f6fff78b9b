"""Before anything starts on several nodes: do they see the root, have they the same packages?"""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.cluster import Machine
from trainables.errors import BusyError, ConfigError

#: What decides numbers, or what two processes say to each other.
PACKAGES = ("fine-to-coarse", "torch", "torchvision", "numpy", "pillow", "ray", "pyarrow")
ANSWER_S = 60.0


class Answer(NamedTuple):
    """What a node says of itself: whether it sees a file, and its versions; None is missing."""

    host: str
    sees_root: bool
    versions: Mapping[str, str | None]


def check_nodes(machine: Machine) -> None:
    """Ask every node that is there; those that come later are set up by the same lines.

    Raises:
        ConfigError: naming the nodes that cannot run stages, why, and what to do.
        BusyError: when one has gone meanwhile.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    mark = machine.root / f".seen-{secrets.token_hex(4)}"
    machine.root.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        shared = mark if machine.copy_of is None else None
        answers = _ask([node["NodeID"] for node in nodes], shared)
    finally:
        mark.unlink(missing_ok=True)
    judge(answers, str(machine.root))


def judge(answers: Sequence[Answer], root: str) -> None:
    """Refuse nodes that do not see the root, lack a package, or have another version of one.

    Raises:
        ConfigError: for the first kind of fault, with every node that has it.
    """
    blind = [answer.host for answer in answers if not answer.sees_root]
    if blind:
        raise ConfigError(
            f"{', '.join(blind)}: --root {root} is not the same folder there; give one that all "
            "nodes share (EFS, NFS) or a bucket (s3://...)"
        )
    lacking = [f"{a.host} ({', '.join(_lacking(a))})" for a in answers if _lacking(a)]
    if lacking:
        raise ConfigError(
            f"packages are missing on {', '.join(lacking)}: set the nodes up with "
            "docs/cluster/set_up_node.sh"
        )
    for package in (*PACKAGES, "python"):
        counts = Counter(str(answer.versions[package]) for answer in answers)
        if len(counts) > 1:
            said = ", ".join(f"{a.host} {a.versions[package]}" for a in answers)
            raise ConfigError(
                f"{package} differs between nodes ({said}): set them up from one "
                "requirements.lock, then start Ray again"
            )


def _lacking(answer: Answer) -> list[str]:
    return [name for name, version in answer.versions.items() if version is None]


def _ask(node_ids: Sequence[str], mark: Path | None) -> list[Answer]:
    import ray
    from ray.exceptions import GetTimeoutError, TaskUnschedulableError, WorkerCrashedError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_question(PACKAGES))
    path = None if mark is None else str(mark.absolute())
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
        ).remote(path)
        for node_id in node_ids
    ]
    try:
        return [Answer(*found) for found in ray.get(asked, timeout=ANSWER_S)]
    except GetTimeoutError:
        raise ConfigError(
            f"a node of the cluster did not answer within {ANSWER_S:.0f} s; see `ray status`"
        ) from None
    except (TaskUnschedulableError, WorkerCrashedError):
        raise BusyError(
            "a node of the cluster has gone before it answered; run the same command again"
        ) from None


def _question(packages: Sequence[str]) -> Callable[[str | None], tuple[Any, ...]]:
    """A function that Ray sends as code, not by name: the node may lack this package."""

    def answer(path: str | None) -> tuple[Any, ...]:
        import importlib.metadata
        import pathlib
        import platform
        import socket

        versions: dict[str, str | None] = {"python": platform.python_version()}
        for name in packages:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = None
        seen = path is None or pathlib.Path(path).exists()
        return socket.gethostname(), seen, versions

    return answer
