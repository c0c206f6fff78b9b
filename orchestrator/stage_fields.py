"""The fields of a stage that follow from its recipe and draft. Pure."""

from typing import Any, NamedTuple

from orchestrator.recipe import Recipe, TrainRecipe
from trainables.errors import ConfigError
from trainables.spec import (
    AugmentSpec,
    DataSpec,
    Mixing,
    ModelSpec,
    ObjectiveSpec,
    StageDraft,
    SubsetSpec,
    TrainingSpec,
)

#: Numbers of an objective that its kind uses; the others would change a stage's key only.
USED = {
    "cross_entropy": {"label_smoothing"},
    "distill": {"label_smoothing", "temperature", "teacher_weight"},
    "interpolate": {"teacher_share"},
}


class Seeds(NamedTuple):
    """What a cell's seed draws: the photos, the first weights, the order (None: by the key)."""

    subset: int
    initialisation: int
    order: int | None


def seeds_of(recipe: Recipe, seed: int) -> Seeds:
    """Of a cell; where the recipe varies one of the three alone, the others are of seed 0."""
    if recipe.vary == "all":
        return Seeds(seed, seed, None)
    return Seeds(0, 0, 0)._replace(**{recipe.vary: seed})


def augment_of(recipe: Recipe, data: DataSpec, draft: StageDraft) -> AugmentSpec:
    """The recipe's augmentation, with the crop of its data and the strategy's random resolution."""
    chosen = recipe.augment
    range_px = chosen.random_resolution_px
    if draft.random_resolution and range_px is None:
        range_px = (data.resolution_px, data.canvas_px)
    return AugmentSpec(
        mirror=chosen.mirror,
        crop_px=data.crop_px,
        random_resolution_px=range_px,
        shift_px=chosen.shift_px,
    )


def objective_of(recipe: Recipe, draft: StageDraft) -> ObjectiveSpec:
    """The strategy's loss with the recipe's numbers.

    Raises:
        ConfigError: when it needs a teacher and has none, or has one that it does not use.
    """
    if (draft.objective == "cross_entropy") != (draft.teacher is None):
        raise ConfigError(
            "the objectives distill and interpolate go with a stage that has a teacher, and only "
            "with one"
        )
    numbers = recipe.objective.model_dump(include=USED[draft.objective])
    return ObjectiveSpec(kind=draft.objective, **numbers)


def mixing_of(recipe: Recipe, draft: StageDraft) -> Mixing:
    """How a stage trains on several views together; a teacher and its pupil see the same photo."""
    if draft.mixing is not None or len(draft.views) == 1:
        return draft.mixing or "single"
    return "paired" if draft.objective == "distill" else recipe.train.mixing


def resolution_of(data: DataSpec, draft: StageDraft) -> int | None:
    """A low stage's own resolution in pixels; None is the recipe's."""
    if draft.resolution_times is None:
        return draft.resolution_px
    return min(data.canvas_px, round(draft.resolution_times * data.resolution_px))


def model_of(model: ModelSpec) -> ModelSpec:
    """Where weights and mean image lie is no identity: their content is the parent's key."""
    convention = model.normalisation
    if convention == "auto":
        caffe = "caffe" if model.mean_image == "none" else "bgr"
        convention = caffe if model.name in ("alexnet", "caffenet") else "imagenet"
    files = {
        name: "none" if getattr(model, name) == "none" else "given"
        for name in ("weights", "mean_image")
    }
    return model.model_copy(update=files | {"normalisation": convention, "fc6_order": "auto"})


def subset_of(recipe: Recipe, draft: StageDraft, seed: int) -> SubsetSpec:
    """The photos of a stage, by the recipe's rule and its relation of high and low (A1 to A3)."""
    relation = recipe.subset.relation
    low = draft.views[0] != "high"
    return SubsetSpec(
        seed=seed,
        n_images=draft.n_images,
        rule=recipe.subset.rule,
        stream=("low" if low else "high") if relation == "independent" else "shared",
        side="back" if relation == "disjoint" and low else "front",
        labels=draft.labels,
    )


def training_of(recipe: Recipe, draft: StageDraft, n_train: int, *, fresh: bool) -> TrainingSpec:
    """Budget and optimiser: of the first stage, or with what later ones change (A5, A8)."""
    train = recipe.train
    values: dict[str, Any] = train.model_dump(include=set(TrainingSpec.model_fields))
    if not fresh:
        later = train.later
        values["lr"] = later.lr or train.lr
        values["epochs"] = later.epochs or train.epochs
        values["head_lr_multiplier"] = later.head_lr_multiplier
    if train.precision == "auto":  # no machine was asked
        values["precision"] = TrainingSpec().precision
    values["frozen_share"] = draft.frozen_share or train.frozen_share
    values["steps"] = _steps_of(train, draft, n_train, values["epochs"])
    if values["steps"] is not None:
        values["epochs"] = None
    return TrainingSpec(**values)


def _steps_of(
    train: TrainRecipe, draft: StageDraft, n_train: int, epochs: int | None
) -> int | None:
    """Updates of a stage: its own, and those of the later stages that it stands for.

    None where `epochs` passes over its own photos are the budget.
    """
    chain = draft.updates_of
    if train.steps is not None:
        return train.steps * max(1, len(chain))
    # As many updates as its own photos make is no budget of its own: such stages are shared.
    own = len(draft.views) == 1 and chain == (draft.n_images,)
    if train.budget == "steps":
        chain = (n_train,) * max(1, len(chain))
    elif own or not chain:
        return None
    epochs_each = (epochs, *[train.later.epochs or train.epochs] * (len(chain) - 1))
    batches = (-(-images // train.batch_size) for images in chain)
    return sum((e or 1) * n for e, n in zip(epochs_each, batches, strict=True))
