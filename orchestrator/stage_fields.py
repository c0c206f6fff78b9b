"""The fields of a stage that follow from its recipe and draft. Pure."""

from typing import Any

from orchestrator.recipe import Recipe
from trainables.errors import ConfigError
from trainables.spec import (
    AugmentSpec,
    DataSpec,
    ModelSpec,
    ObjectiveSpec,
    StageDraft,
    SubsetSpec,
    TrainingSpec,
)


def augment_of(recipe: Recipe, data: DataSpec) -> AugmentSpec:
    """The recipe's augmentation, with the crop of its data."""
    chosen = recipe.augment
    return AugmentSpec(
        mirror=chosen.mirror,
        crop_px=data.crop_px,
        random_resolution_px=chosen.random_resolution_px,
        shift_px=chosen.shift_px,
    )


def objective_of(recipe: Recipe, draft: StageDraft) -> ObjectiveSpec:
    """The draft's or the recipe's loss.

    Raises:
        ConfigError: when it distils without a teacher, or has a teacher that it does not use.
    """
    objective = draft.objective or recipe.objective
    if (objective.kind == "distill") != (draft.teacher is not None):
        raise ConfigError(
            "objective.kind: distill goes with a stage that has a teacher, and only with one"
        )
    return objective


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
    low = "high" not in draft.views
    return SubsetSpec(
        seed=seed,
        n_images=draft.n_images,
        rule=recipe.subset.rule,
        stream=("low" if low else "high") if relation == "independent" else "shared",
        side="back" if relation == "disjoint" and low else "front",
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
    images = n_train if train.budget == "steps" else draft.updates_of
    if train.steps is None and images is not None:
        values["steps"] = (values["epochs"] or 1) * -(-images // train.batch_size)
    if values["steps"] is not None:
        values["epochs"] = None
    return TrainingSpec(**values)
