"""Ray: start a private one or join the one that is named, after checking what is asked of it."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.growth import Node, cluster_nodes
from orchestrator.joining import join
from orchestrator.own_ray import Watch, end_workers, lean_head, ray_folder, tell, workers_here
from orchestrator.recipe import Recipe, TrainRecipe
from trainables.errors import BusyError, ConfigError

#: As `/proc/cpuinfo` spells the instructions, on x86 and on Arm.
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
#: Ray gives up after 30 s, which a busy machine may take once.
START_ATTEMPTS = 2
TIMED_OUT = "timed out during startup"


@dataclass(frozen=True)
class Machine:
    """How to run, never what: none of this is part of a stage's identity.

    `gpus_per_stage` is a share of a GPU; above 0, stages train on CUDA. `data_cpus_per_stage` are
    reserved beside each stage for its photos where they are streamed, else 0. `copy_of` is the
    address of the bucket that `root` is this machine's copy of, None where it stands for itself.
    """

    root: Path
    executor: str = "ray"
    address: str = "local"
    cpus_per_stage: int = 1
    gpus_per_stage: float = 0.0
    tracking_uri: str | None = None
    copy_of: str | None = None
    data_cpus_per_stage: int = 0

    @property
    def device(self) -> str:
        """Torch's name of what a stage trains on."""
        return "cuda" if self.gpus_per_stage > 0 else "cpu"

    @property
    def joins(self) -> bool:
        """Whether stages run on a Ray that is up already."""
        return self.executor == "ray" and self.address != "local"


def check_local_machine(machine: Machine) -> None:
    """Refuse at once what this machine can never give; Tune would wait for ever.

    Raises:
        ConfigError: naming the flag to change.
    """
    if machine.cpus_per_stage < 1 or not 0 <= machine.gpus_per_stage <= 1:
        raise ConfigError(
            "--cpus-per-stage is at least 1, and --gpus-per-stage a share of one GPU, from 0 to 1"
        )
    if machine.joins:
        return
    n_gpus, n_cpus = local_gpus(), local_cpus()
    if machine.gpus_per_stage > n_gpus:
        raise ConfigError(
            f"--gpus-per-stage {machine.gpus_per_stage:g} asks for a GPU, this machine has "
            f"{n_gpus}; use --gpus-per-stage 0 to train on its {n_cpus} CPUs"
        )
    if machine.cpus_per_stage > n_cpus:
        raise ConfigError(
            f"--cpus-per-stage {machine.cpus_per_stage} is more than this machine's {n_cpus} CPUs"
        )
    if machine.cpus_per_stage + machine.data_cpus_per_stage > n_cpus:
        raise ConfigError(
            f"this machine has {n_cpus} CPUs, {_streaming_needs(machine)}, or --executor inline"
        )


def make_root(root: Path) -> None:
    """Make the root, where it is new for its owner alone, and see that it can be written.

    Raises:
        ConfigError: when it cannot.
        OSError: ENOSPC when its disk is full.
    """
    with _told_of(root):
        if not root.exists():
            root.mkdir(parents=True, mode=0o700)
    check_root(root)


def check_root(root: Path) -> None:
    """See that a root can be written, where it is there: nobody shall learn it after computing.

    Raises:
        ConfigError: when it cannot.
        OSError: ENOSPC when its disk is full.
    """
    with _told_of(root):
        if root.exists():
            with tempfile.TemporaryFile(dir=root):
                pass


def check_place(root: Path) -> None:
    """Refuse a root that is no folder, or below what is none; one that is not there yet passes.

    Raises:
        ConfigError: naming the file in its place.
    """
    with _told_of(root):
        place = next(p for p in (root, *root.absolute().parents) if p.exists())
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")


@contextmanager
def _told_of(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(
            f"--root {root} cannot be written ({error.strerror}); name another folder"
        ) from None


def local_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_gpus() -> int:
    """NVIDIA GPUs of this machine, seen without importing torch (seconds)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    return len([p for p in Path("/dev").glob("nvidia*") if p.name[6:].isdigit()])


def bfloat16_pays(machine: Machine, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether stages should compute in bfloat16: on GPUs, and on CPUs with instructions for it.

    Without them the processor imitates it, five to eight times slower than float32.
    """
    if machine.gpus_per_stage > 0:
        return True
    try:
        words = set(cpuinfo.read_text(encoding="ascii", errors="replace").split())
    except OSError:  # not on Linux
        return False
    return not words.isdisjoint(BFLOAT16_FLAGS)


def settled(recipe: Recipe, machine: Machine) -> Recipe:
    """The recipe with `train.precision: auto` replaced by what pays on this machine.

    Precision changes numbers, so it is part of what is computed; a recipe that names it computes
    the same on every machine.
    """
    precision = "bfloat16" if bfloat16_pays(machine) else "float32"

    def settle(train: TrainRecipe | None) -> TrainRecipe | None:
        if train is None or train.precision != "auto":
            return train
        return train.model_copy(update={"precision": precision})

    variants = {
        name: variant.model_copy(update={"train": settle(variant.train)})
        for name, variant in recipe.variants.items()
    }
    return recipe.model_copy(update={"train": settle(recipe.train), "variants": variants})


def slots_of(machine: Machine, nodes: Sequence[Node]) -> int:
    """Stages that run at a time on these nodes; a stage never spreads over two.

    The CPUs for its photos may lie on any nodes. Each stage starts only with all of its own, so
    that stages cannot hold every CPU and wait for photos that no CPU is left to make.

    Raises:
        ConfigError: when not even one fits.
    """
    slots = sum(_slots_on(machine, node) for node in nodes)
    if slots > 0 and machine.data_cpus_per_stage:
        n_cpus = sum(int(node.n_cpus) for node in nodes)
        slots = min(slots, n_cpus // (machine.cpus_per_stage + machine.data_cpus_per_stage))
        if slots < 1:
            raise ConfigError(
                f"the cluster has {n_cpus} CPUs, {_streaming_needs(machine)}, or let the cluster "
                "grow"
            )
    if slots < 1:
        largest = max(nodes, key=lambda node: (node.n_gpus, node.n_cpus), default=Node(0, 0))
        raise ConfigError(
            f"the largest node has {largest.n_cpus:g} CPUs and {largest.n_gpus:g} GPUs, one stage "
            f"needs {machine.cpus_per_stage} and {machine.gpus_per_stage:g}; lower "
            "--cpus-per-stage or --gpus-per-stage, or let the cluster grow"
        )
    return slots


def _streaming_needs(machine: Machine) -> str:
    return (
        f"a stage whose photos are streamed needs {machine.cpus_per_stage} for itself and "
        f"{machine.data_cpus_per_stage} for its photos; lower --cpus-per-stage or "
        "--data-cpus-per-stage, or prepare the photos before (--data.mode resident)"
    )


def _slots_on(machine: Machine, node: Node) -> int:
    slots = int(node.n_cpus // machine.cpus_per_stage)
    if machine.gpus_per_stage <= 0:
        return slots
    per_gpu = int(1 / machine.gpus_per_stage + 1e-9)  # 1 // 0.2 is 4
    return min(slots, int(node.n_gpus) * per_gpu)


def bundles_of(machine: Machine) -> list[dict[str, float]]:
    """What a stage asks Ray for: its own bundle, and one for each CPU that its photos get.

    They may lie on different nodes: CPU nodes feed GPUs.
    """
    own = {"CPU": float(machine.cpus_per_stage)}
    if machine.gpus_per_stage > 0:
        own["GPU"] = machine.gpus_per_stage
    return [own, *({"CPU": 1.0} for _ in range(machine.data_cpus_per_stage))]


@contextmanager
def ray_session(machine: Machine, on_death: Callable[[str], None] = tell) -> Iterator[int]:
    """Ray for the length of a run; yields the number of stages that run at a time.

    Args:
        machine: says which.
        on_death: ends this process when one of Ray's own has died that was started here.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to Ray's makers
    import ray

    if ray.is_initialized():
        yield slots_of(machine, cluster_nodes(may_grow=machine.joins))
        return
    with nullcontext() if machine.joins else ray_folder() as folder:
        try:
            with Watch(on_death) as watch:
                _init(machine, folder, watch)
                _hide_token(Path.home() / ".ray" / "auth_token")
                yield slots_of(machine, cluster_nodes(may_grow=machine.joins))
        finally:
            workers = workers_here()
            ray.shutdown()
            end_workers(workers)


def _hide_token(file: Path) -> None:
    """Ray leaves its token readable by all; whoever has it can run code as this user."""
    with suppress(OSError):  # no token, or somebody else's
        file.chmod(0o600)


def _init(machine: Machine, temporary: Path | None, watch: Watch) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if machine.joins:
        join(machine.address, quiet)
        return
    for attempt in range(START_ATTEMPTS):
        watch.look()
        try:
            with lean_head():
                ray.init(
                    address="local",
                    num_cpus=local_cpus(),
                    num_gpus=local_gpus(),
                    include_dashboard=False,
                    _temp_dir=str(temporary),
                    **quiet,
                )
        except Exception as error:  # Ray raises no narrower kind
            watch.forget()
            ray.shutdown()
            if TIMED_OUT not in str(error):
                raise
            if attempt == START_ATTEMPTS - 1:
                raise BusyError(
                    "Ray could not start within its 30 s: this machine is too busy; run the same "
                    "command again when it is less so, or with --executor inline"
                ) from error
        else:
            return
