"""How many updates and image passes a stage makes. Pure."""

from trainables.spec import StageSpec


def batches_per_epoch(spec: StageSpec) -> int:
    """Updates of one pass over the subset; the last batch may be smaller."""
    return -(-images_per_epoch(spec) // spec.training.batch_size)


def images_per_epoch(spec: StageSpec) -> int:
    """Photos of one pass; Mixed as a union sees both forms of each (A4)."""
    return (2 if spec.mixing in ("union", "balanced") else 1) * spec.subset.n_images


def budget_of(spec: StageSpec) -> tuple[int, int]:
    """Epochs and steps of a stage: one is given, the other follows (A5)."""
    if spec.objective.kind == "interpolate":
        return 0, 0
    per_epoch = batches_per_epoch(spec)
    if spec.training.steps is not None:
        return -(-spec.training.steps // per_epoch), spec.training.steps
    epochs = spec.training.epochs or 1
    return epochs, epochs * per_epoch


def image_passes(spec: StageSpec) -> int:
    """Photos that pass through the network in a stage's training, the unit of cost."""
    epochs, steps = budget_of(spec)
    if spec.training.steps is None or not steps:
        return epochs * images_per_epoch(spec)
    return round(steps / batches_per_epoch(spec) * images_per_epoch(spec))
