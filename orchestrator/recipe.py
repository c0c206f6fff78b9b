"""A recipe: an experiment by name, as a frozen model whose fields are checked together. Pure."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainables.spec import (
    DataSpec,
    Kernel,
    ModelSpec,
    ResolutionPx,
    Spec,
    StageDraft,
    TrainingSpec,
)

#: What a seed draws: all of it, or one alone while the others stay as seed 0 draws them.
Vary = Literal["all", "subset", "initialisation", "order"]
#: What the tables of results can hold.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
#: Of a strategy or a test: part of the names of cells, which `/` divides, and of files.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


#: What a root holds beside its runs' folders; SQLite's own files lie beside a database.
OF_THE_ROOT = frozenset(
    ["store", "data", "datasets", "downloads", "speeds.json", "temperatures.json", "mlartifacts"]
    + [f"mlflow.db{ending}" for ending in ("", "-journal", "-wal", "-shm")]
)


class LaterSpec(Spec):
    """What differs in stages that keep their head: "with a low learning rate"."""

    lr: float | None = Field(default=None, gt=0.0)
    epochs: int | None = Field(default=None, ge=1)
    head_lr_multiplier: float = Field(default=1.0, gt=0.0)


class TrainRecipe(TrainingSpec):
    """Training of every stage, and what later stages change.

    `budget: steps` gives every stage the updates that `epochs` passes over all photos make.
    `replay_share` is the share of high photos in the low stage of `replay_hl`.
    `precision: auto` is settled by the machine before anything is planned (`cluster.settled`).
    """

    precision: Literal["auto", "bfloat16", "float32"] = "auto"  # pyright: ignore[reportIncompatibleVariableOverride]

    budget: Literal["epochs", "steps"] = "epochs"
    mixing: Literal["union", "balanced", "coin_flip"] = "union"
    replay_share: float = Field(default=0.25, ge=0.0, le=1.0)
    later_head: Literal["kept", "fresh"] = "kept"
    later: LaterSpec = LaterSpec()


class SubsetRecipe(Spec):
    """How the training images of a cell are drawn."""

    rule: Literal["nested", "stratified", "independent"] = "nested"
    relation: Literal["same", "independent", "disjoint"] = "same"


class AugmentRecipe(Spec):
    """Random changes of training images; the crop is `data.crop_px`, the same as in the test."""

    mirror: bool = True
    random_resolution_px: tuple[int, int] | None = None
    shift_px: int = Field(default=0, ge=0)


class ObjectiveRecipe(Spec):
    """The numbers of the losses; which loss a stage has is its strategy's to say."""

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    temperature: float = Field(default=10.0, gt=0.0)
    teacher_weight: float = Field(default=1.0, ge=0.0)
    teacher_share: float = Field(default=0.5, ge=0.0, le=1.0)


class SequenceStage(Spec):
    """A stage of a strategy that a recipe spells out: views, and whose images it takes."""

    views: tuple[Literal["high", "low"], ...] = Field(min_length=1, max_length=2)
    images: Literal["high", "low"]
    resolution_px: ResolutionPx | None = None
    random_resolution: bool = False
    frozen_share: float = Field(default=0.0, ge=0.0, le=1.0)
    mixing: Literal["union", "balanced", "coin_flip", "replay"] | None = None

    @model_validator(mode="after")
    def _two_to_mix(self) -> "SequenceStage":
        if self.mixing is not None and len(self.views) == 1:
            raise ValueError(f"mixing ({self.mixing}) needs two views; there is {self.views[0]}")
        return self


class CellsRecipe(Spec):
    """Which cells: Table 2's grid, or strategies at full data.

    Levels are eighths of the training images, or multiples of `step` images. `resolutions_px`
    repeats every cell at each of these low resolutions; empty, it is `data.resolution_px`.
    `diagonal` are staged cells with as many high as low photos, the paper's daggers.
    `strategies_at` are the levels of high and low of the strategies' cells; left out, all photos.
    """

    high: tuple[int, ...] = ()
    low: tuple[int, ...] = ()
    diagonal: tuple[int, ...] = ()
    mixed: tuple[int, ...] = ()
    strategies: tuple[str, ...] = ()
    strategies_at: tuple[int, int] | None = None
    resolutions_px: tuple[ResolutionPx, ...] = ()
    step: Literal["auto"] | int = "auto"
    top_level: int = Field(default=8, ge=1)

    @property
    def levels(self) -> tuple[int, ...]:
        """Every level that is asked for."""
        return (*self.high, *self.low, *self.diagonal, *self.mixed, *(self.strategies_at or ()))


class SuperresRecipe(Spec):
    """How low photos are super-resolved (section 3.5), and the forest that does it (3.2).

    `images` is a folder of sharp images that the forest learns from, such as T91; None takes the
    data set's own high-res training photos.
    """

    way: Literal["x4", "x2x2", "direct"] = "x4"
    images: str | None = None
    n_trees: int = Field(default=8, ge=1, le=64)
    depth: int = Field(default=11, ge=1, le=16)
    n_scales: int = Field(default=16, ge=1, le=64)
    max_patches: int = Field(default=4_000_000, ge=1000)


class VariantRecipe(Spec):
    """A row of its own: a strategy with another network, training or canvas than the recipe's.

    What is None comes from the recipe; what is given replaces it whole. A canvas of
    `data.resolution_px` shows the network low photos at their native size, and only those.
    """

    strategy: str
    model: ModelSpec | None = None
    train: TrainRecipe | None = None
    augment: AugmentRecipe | None = None
    objective: ObjectiveRecipe | None = None
    vary: Vary | None = None
    canvas_px: int | None = Field(default=None, ge=8)


class LowTest(Spec):
    """Test photos made low in another way than `data` says; None takes its.

    `strategies` are those that are tested on them; empty, all are.
    """

    resolution_px: ResolutionPx | None = None
    kernel: Kernel | None = None
    antialias: bool | None = None
    strategies: tuple[str, ...] = ()


class Recipe(Spec):
    """An experiment by name: data, model, training, cells."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="of the run, and its folder's"
    )
    description: str = Field(default="", description="what it is, in words")
    table: Literal["table1", "table2", "table3", "custom"] = Field(
        default="custom", description="of the paper that the results are shown as"
    )
    data: DataSpec = DataSpec()
    auxiliary: DataSpec | None = None
    model: ModelSpec = ModelSpec()
    augment: AugmentRecipe = AugmentRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    train: TrainRecipe = TrainRecipe()
    subset: SubsetRecipe = SubsetRecipe()
    superres: SuperresRecipe = SuperresRecipe()
    cells: CellsRecipe = CellsRecipe()
    sequences: dict[str, tuple[SequenceStage, ...]] = {}
    variants: dict[str, VariantRecipe] = {}
    tests: dict[str, LowTest] = {}
    seeds: tuple[Seed, ...] = Field(default=(0,), description="every cell is run once with each")
    vary: Vary = Field(default="all", description="what a seed draws: all of it, or one alone")

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in OF_THE_ROOT:
            raise ValueError(f"{name} is the root's own; give the run another name")
        return name

    @model_validator(mode="after")
    def _fields_together(self) -> "Recipe":
        if not self.seeds:
            raise ValueError("seeds: give at least one")
        for fault in _contradictions(self):
            raise ValueError(fault)
        for name in self.variants:
            for fault in _contradictions(self.of(name)):
                raise ValueError(f"variants.{name}: {fault}")
        return self

    @model_validator(mode="after")
    def _names(self) -> "Recipe":
        for field in ("sequences", "variants", "tests"):
            for name in getattr(self, field):
                if not NAME.fullmatch(name):
                    raise ValueError(
                        f"{field}: {name!r} is no name; take at most 64 letters, digits, dots, "
                        "hyphens and underscores, and neither dot nor hyphen first"
                    )
        for name in sorted({"high", "low", "sr"} & set(self.tests)):
            raise ValueError(f"tests.{name}: the test on {name} photos has this name already")
        return self

    @property
    def streams(self) -> bool:
        """Whether photos are read while stages train."""
        sets = (self.data, self.auxiliary)
        return any(data is not None and data.mode == "stream" for data in sets)

    def of(self, strategy: str) -> "Recipe":
        """The recipe that a strategy is trained by: its variant's, else this one."""
        variant = self.variants.get(strategy)
        if variant is None:
            return self
        names = ("model", "train", "augment", "objective", "vary")
        given = {name: getattr(variant, name) for name in names}
        changes = {name: value for name, value in given.items() if value is not None}
        if variant.canvas_px is not None:
            changes["data"] = self.data.on_canvas(variant.canvas_px)
        return self.model_copy(update=changes)

    def at(self, resolution_px: int | None) -> "Recipe":
        """The recipe for cells of a low resolution; None leaves it as it is."""
        if resolution_px is None:
            return self
        data = self.data.model_copy(update={"resolution_px": resolution_px})
        return self.model_copy(update={"data": data})


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """What fields say against one another, of a recipe or of one that a variant is trained by."""
    yield from _of_photos(recipe)
    yield from _of_training(recipe)


def _of_photos(recipe: Recipe) -> Iterator[str]:
    data, canvas_px = recipe.data, recipe.data.canvas_px
    if data.dataset == "synthetic" and data.root is not None:
        yield (
            "data.root has no effect on synthetic, whose photos are drawn; for a folder of photos "
            "add data.dataset: folder (--data.dataset folder)"
        )
    low_px = max((data.resolution_px, *recipe.cells.resolutions_px))
    if low_px > canvas_px:
        yield (
            f"data.resolution_px ({low_px}) is above data.canvas_px ({canvas_px}): low-res "
            "photos would be sharper than high-res ones; lower it or raise the canvas"
        )
    if data.crop_px is not None and data.crop_px > canvas_px:
        yield f"data.crop_px ({data.crop_px}) is above the canvas"
    if data.resolution_of == "crop" and data.crop_px is None:
        yield "data.resolution_of: crop needs data.crop_px"
    least_px, most_px = recipe.augment.random_resolution_px or (1, canvas_px)
    if not 1 <= least_px <= most_px <= canvas_px:
        yield (
            f"augment.random_resolution_px ({least_px}, {most_px}) must rise and end at the "
            f"canvas ({canvas_px}) or below"
        )


def _of_training(recipe: Recipe) -> Iterator[str]:
    train = recipe.train
    if train.epochs is None and (train.steps is None or train.budget == "steps"):
        yield "train needs epochs, or steps in their place"
    if train.later_head == "fresh" and train.later != LaterSpec():
        yield "train.later is for stages that keep their head; drop it or later_head"
    if train.steps is not None and train.later.epochs is not None:
        yield "train.later.epochs has no effect beside train.steps; drop one"


def sequence_drafts(
    stages: tuple[SequenceStage, ...], n_high: int, n_low: int
) -> tuple[StageDraft, ...]:
    """The general form of a strategy: any list of stages; those without images are left out."""
    counts = {"high": n_high, "low": n_low}
    return tuple(
        StageDraft(n_images=counts[stage.images], **stage.model_dump(exclude={"images"}))
        for stage in stages
        if counts[stage.images]
    )
