"""What a plan will cost, said before it starts: stages, time, disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.cluster import Machine, local_cpus, local_gpus, slots_of
from orchestrator.display import duration
from orchestrator.experiment import Experiment
from orchestrator.growth import Node
from orchestrator.inventory import Inventory, Speeds, take_inventory
from orchestrator.plan import Plan
from orchestrator.schedule import Schedule, critical_tails
from orchestrator.simulation import Conditions, lower_bound_s, simulate
from trainables.store import Store
from trainables.views import stored_px

#: Parameters (millions) of networks that are not built just to estimate their size on disk.
MEGAPARAMETERS = {
    "alexnet": 57.7,
    "caffenet": 57.7,
    "lrcnn_recon": 8.2,
    "squeezenet1_1": 0.83,
    "tiny": 0.05,
    "resnet18": 11.3,
}
DEFAULT_MEGAPARAMETERS = 25.0


@dataclass(frozen=True)
class Estimate:
    """Seconds of wall clock on so many slots, summed slot seconds, and bytes on disk."""

    wall_s: float
    slot_s: float
    store_bytes: int
    views_bytes: int
    recorded: bool


def estimate(
    plan: Plan,
    inventory: Inventory,
    speeds: Speeds,
    counts: tuple[int, int],
    slots: int,
    device: str,
) -> Estimate:
    """Simulate the schedule with expected durations.

    Args:
        plan: all stages.
        inventory: which of them are missing.
        speeds: recorded or guessed.
        counts: training and evaluation photos of the data set.
        slots: stages that run at a time.
        device: what they train on.
    """
    missing = set(inventory.missing)
    seconds = _seconds(plan, inventory, speeds, counts[1], device)
    recorded = all(speeds.of(plan.stages[key].spec, device)[1] for key in missing)
    return Estimate(
        wall_s=simulate(Schedule(plan, missing, seconds), seconds, Conditions(slots)).seconds,
        slot_s=sum(seconds[key] for key in missing),
        store_bytes=sum(_stage_bytes(plan, key) for key in inventory.to_train),
        views_bytes=_views_bytes(plan, counts),
        recorded=recorded,
    )


def soonest_s(
    plan: Plan, inventory: Inventory, speeds: Speeds, n_evaluate: int, slots: int, device: str
) -> float:
    """No schedule of what is missing takes less; ours takes little more, and this is quick."""
    seconds = _seconds(plan, inventory, speeds, n_evaluate, device)
    left = {key: seconds[key] for key in inventory.missing}
    longest_s = max(critical_tails(plan, plan.children(), left).values(), default=0.0)
    return lower_bound_s(sum(left.values()), longest_s, slots)


def _seconds(
    plan: Plan, inventory: Inventory, speeds: Speeds, n_evaluate: int, device: str
) -> dict[str, float]:
    """Of every stage in one slot; those that are trained and not evaluated need only that."""
    trained = inventory.missing - inventory.to_train
    return {
        key: speeds.seconds(stage, n_evaluate, device, trained=key in trained)
        for key, stage in plan.stages.items()
    }


def _stage_bytes(plan: Plan, key: str) -> int:
    name = plan.stages[key].spec.model.name
    return int(4e6 * MEGAPARAMETERS.get(name, DEFAULT_MEGAPARAMETERS))


def _views_bytes(plan: Plan, counts: tuple[int, int]) -> int:
    sizes = [
        (counts[0] if view.split == "train" else counts[1]) * 3 * stored_px(view) ** 2
        for view in plan.views().values()
        if view.data_key not in plan.streamed
    ]
    return sum(sizes)


def plan_text(experiments: Sequence[Experiment], plan: Plan, machine: Machine) -> str:
    """What a plan says before anything starts."""
    inventory = take_inventory(plan, Store(machine.root / "store"))
    counts = (
        max(e.facts.n_train for e in experiments),
        max(e.facts.n_evaluate for e in experiments),
    )
    slots = 1
    if machine.executor == "ray" and machine.address == "local":
        slots = slots_of(machine, [Node(local_cpus(), local_gpus())])
    speeds = Speeds(machine.root / "speeds.json")
    cost = estimate(plan, inventory, speeds, counts, slots, machine.device)
    names = ", ".join(e.recipe.name for e in experiments)
    saved = 1 - plan.images / plan.unshared_images if plan.unshared_images else 0.0
    runs = plan.unshared_stages - len(plan.stages)
    lines = [
        f"Plan  {names}: {len(plan.cells)} cells -> {len(plan.stages)} stages "
        f"({runs} stage runs saved by sharing: {saved:.0%} of the images)",
        f"      {len(plan.stages) - len(inventory.to_train)} stages need no training, "
        f"{len(inventory.to_train)} to train: about {duration(cost.wall_s)} on {slots} "
        f"slot{'s'[: slots > 1]} ({duration(cost.slot_s)} of one slot's work; "
        f"{'recorded' if cost.recorded else 'guessed'} speeds), "
        f"{(cost.store_bytes + cost.views_bytes) / 1e6:,.0f} MB of disk",
    ]
    parts = (part for experiment in experiments for part in experiment.parts)
    told = dict.fromkeys(note for part in parts for note in notes(part))
    lines += [f"      {note}" for note in told]
    return "\n".join(lines)


def notes(experiment: Experiment) -> Iterator[str]:
    """What a reader must know of a plan before trusting its counts."""
    recipe = experiment.recipe
    if recipe.model.weights == "none":
        like = "as in the paper" if recipe.model.name == "lrcnn_recon" else "unlike the paper"
        yield (
            f"pretrained: none - {recipe.model.name} of {recipe.name} starts from random weights, "
            f"{like}"
        )
    if not experiment.weights_known:
        yield (
            f"the weights {recipe.model.weights} are not at hand: stages in the store cannot be "
            "matched; give --model.weights FILE"
        )
    if not experiment.facts.known:
        yield (
            f"the photos of {recipe.data.dataset} are not at hand: planned with the published "
            "counts; give --data.root DIR to run"
        )
