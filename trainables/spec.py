"""What an experiment is made of, as frozen models. Numbers carry their unit.

Everything in a `StageSpec` is part of its identity (see fingerprint.py); where, how fast and under
which human name it runs is not.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["high", "low", "sr"]
Split = Literal["train", "test", "validation"]
Kernel = Literal["bicubic", "bilinear", "area", "nearest"]
Mixing = Literal["single", "union", "balanced", "coin_flip", "paired", "replay"]
Objective = Literal["cross_entropy", "distill", "interpolate"]
Labels = Literal["true", "shuffled"]
ResolutionPx = Annotated[int, Field(ge=2, le=4096)]


class Spec(BaseModel):
    """Frozen, strict, and closed: an unknown field is an error, never ignored.

    Fields in `ADDED_LATER` are left out of an identity while they hold their default, so that
    stages made before such a field was there keep their keys.
    """

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SyntheticSpec(Spec):
    """The built-in drawn photos (honestly synthetic): sizes, seed, and what tells classes apart."""

    n_classes: int = Field(default=16, ge=2, le=4096)
    n_train: int = Field(default=1280, ge=1)
    n_test: int = Field(default=480, ge=1)
    image_px: int = Field(default=96, ge=16, le=1024)
    seed: int = Field(default=0, ge=0)
    fine_detail: bool = True
    coarse_cue: float = Field(default=0.6, ge=0.0, le=1.0)


class DataSpec(Spec):
    """Which photos, and how their high and low views are made (section 4 of the paper).

    `mode` is when: before training, into views on disk (`resident`), or while a stage trains
    (`stream`). It changes no pixel and no order, so it is no part of any identity.
    """

    dataset: str = "synthetic"
    root: str | None = None
    mode: Literal["resident", "stream"] = "resident"
    classes: int | None = Field(default=None, ge=2)
    class_seed: int = Field(default=0, ge=0)
    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    validation_seed: int = Field(default=0, ge=0)
    test_fraction: float = Field(default=0.2, gt=0.0, lt=1.0)
    canvas_px: int = Field(default=227, ge=8, le=4096)
    crop_px: int | None = Field(default=None, ge=8, le=4096)
    resolution_px: ResolutionPx = 50
    resolution_of: Literal["object", "crop"] = "object"
    degrade_from: Literal["object", "canvas"] = "object"
    kernel: Kernel = "bicubic"
    antialias: bool = True
    box_margin_px: int = Field(default=0, ge=0)
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    synthetic: SyntheticSpec = SyntheticSpec()

    def on_canvas(self, canvas_px: int) -> "DataSpec":
        """The same photos on another canvas, which is shown whole where it is below the crop."""
        whole = self.crop_px is not None and self.crop_px > canvas_px
        changes = {"crop_px": None, "resolution_of": "object"} if whole else {}
        return self.model_copy(update={"canvas_px": canvas_px} | changes)


class SuperresSpec(Spec):
    """How low photos are enlarged by a forest (3.5): its key, and the way to the canvas.

    `x4` and `x2x2` enlarge by four and then to the canvas by the bicubic kernel; `direct` has a
    forest of the very factor.
    """

    forest: str
    way: Literal["x4", "x2x2", "direct"] = "x4"


class ViewSpec(Spec):
    """One prepared form of a split; its key names the prepared pixels.

    `data_key` is the fingerprint of the index (files, labels, boxes, class table).
    `resolution_px` is None for the high view, `superres` for all but the `sr` view.
    """

    ADDED_LATER = frozenset({"superres"})

    form: Form
    split: Split
    data_key: str
    canvas_px: int
    resolution_px: int | None
    kernel: Kernel
    antialias: bool
    degrade_from: Literal["object", "canvas"]
    box_margin_px: int
    jpeg_quality: int | None
    superres: SuperresSpec | None = None


class SubsetSpec(Spec):
    """The training images of a stage: a prefix of one seeded permutation (A2, A3).

    `stream` separates the permutations of high and low where they shall be independent; `side` is
    the end of the permutation that the images come from (`back` makes low disjoint from high).
    `labels: shuffled` deals the training labels out at random: what is learned is worth nothing.
    """

    ADDED_LATER = frozenset({"labels"})

    seed: int
    n_images: int = Field(ge=1)
    rule: Literal["nested", "stratified", "independent"] = "nested"
    stream: Literal["shared", "high", "low"] = "shared"
    side: Literal["front", "back"] = "front"
    labels: Labels = "true"


class LrcnnSpec(Spec):
    """What `lrcnn_recon`, a reconstruction, may look like; `model.dropout` sets its dropout."""

    conv_widths: tuple[int, int, int] = (64, 128, 256)
    fc_widths: tuple[int, int] = (1024, 1024)
    norm: Literal["lrn", "contrast", "none"] = "lrn"


class ModelSpec(Spec):
    """A network by name, where its weights come from, and its input convention.

    `weights` is `none` (random), `torchvision` (its own download) or a file. `normalisation: auto`
    is Caffe's for Caffe's networks, otherwise torchvision's. `mean_image` is `none` or the file of
    a mean image, which Caffe's networks subtract in place of the mean pixel. `fc6_order` says how a
    `.npy` of Caffe's weights is laid out, should it not be plain from the weights themselves.
    """

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"mean_image", "fc6_order", "lrcnn"})

    name: str = "alexnet"
    weights: str = "none"
    normalisation: Literal["auto", "imagenet", "caffe", "bgr"] = "auto"
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    head_init_std: float = Field(default=0.01, gt=0.0)
    mean_image: str = "none"
    fc6_order: Literal["auto", "chw", "hwc"] = "auto"
    lrcnn: LrcnnSpec = LrcnnSpec()


class AugmentSpec(Spec):
    """Random changes of training images: mirror, shift, crop, random resolution.

    A shift moves a photo by up to `shift_px` each way and repeats its border.
    """

    ADDED_LATER = frozenset({"shift_px"})

    mirror: bool = True
    crop_px: int | None = None
    random_resolution_px: tuple[int, int] | None = None
    shift_px: int = Field(default=0, ge=0)


class ObjectiveSpec(Spec):
    """The loss: cross-entropy, or with a teacher's soft targets beside it (distillation).

    `interpolate` trains nothing: the weights are `teacher_share` of the teacher's and the rest of
    the parent's (WiSE-FT).
    """

    ADDED_LATER = frozenset({"teacher_share"})

    kind: Objective = "cross_entropy"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    temperature: float = Field(default=10.0, gt=0.0)
    teacher_weight: float = Field(default=1.0, ge=0.0)
    teacher_share: float = Field(default=0.5, ge=0.0, le=1.0)


class TrainingSpec(Spec):
    """Budget and optimiser of one stage (section 3; A5, A8, A17). Exactly one of epochs, steps.

    `milestones` are fractions of the budget at which `step` multiplies the rate by `gamma`.
    `frozen_share` of the layers, from the input, keep the weights that they start with; at 1 only
    the head is trained.
    """

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"frozen_share"})

    epochs: int | None = Field(default=60, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)
    lr: float = Field(default=1e-3, gt=0.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    nesterov: bool = False
    weight_decay: float = Field(default=5e-4, ge=0.0)
    bias_lr_multiplier: float = Field(default=2.0, gt=0.0)
    bias_weight_decay: bool = False
    head_lr_multiplier: float = Field(default=10.0, gt=0.0)
    schedule: Literal["step", "cosine", "onecycle", "constant"] = "step"
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    gamma: float = Field(default=0.1, gt=0.0, le=1.0)
    warmup: float = Field(default=0.25, ge=0.0, lt=1.0)
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    frozen_share: float = Field(default=0.0, ge=0.0, le=1.0)


class StageSpec(Spec):
    """One training run from a parent's weights: everything that decides its numbers.

    `parent` and `teacher` are keys: of a stage, or of imported weights; None is random weights.
    `seed` draws the first weights. Order and dropout follow from the stage's key, or where
    `order_seed` is given from that alone. `replay_share` is the share of high photos in a pass of
    mixing `replay`.
    """

    ADDED_LATER = frozenset({"order_seed", "replay_share"})

    views: tuple[ViewSpec, ...]
    mixing: Mixing
    subset: SubsetSpec
    n_classes: int
    model: ModelSpec
    head: Literal["fresh", "kept"]
    objective: ObjectiveSpec
    augment: AugmentSpec
    training: TrainingSpec
    seed: int
    parent: str | None
    teacher: str | None
    recipe_version: int
    order_seed: int | None = None
    replay_share: float = Field(default=0.0, ge=0.0, le=1.0)


class Cell(Spec):
    """One number of a table. `n_high`, `n_low` are images; the levels name them in eighths.

    `resolution_px` is of cells that a recipe asks for at several low resolutions.
    """

    strategy: str
    n_high: int = Field(ge=0)
    n_low: int = Field(ge=0)
    high_level: int = Field(ge=0)
    low_level: int = Field(ge=0)
    seed: int = Field(ge=0)
    resolution_px: int | None = None

    @property
    def name(self) -> str:
        """`staged_hl/h3-l5/s0`, or `staged_hl/h8-l8-25px/s0`: for commands, MLflow and tables."""
        at = "" if self.resolution_px is None else f"-{self.resolution_px}px"
        return f"{self.strategy}/h{self.high_level}-l{self.low_level}{at}/s{self.seed}"


class StageDraft(Spec):
    """What a strategy says of one stage; the plan adds data, model, training and parent.

    `views` are trained on together as `mixing` says. `updates_of` asks for as many updates as
    stages of so many images make one after another. `teacher` is the position of an earlier stage
    in the strategy, and what `objective` needs of numbers comes from the recipe. `resolution_times`
    is a multiple of the recipe's low resolution, the canvas at most. `random_resolution` gives each
    batch one between the low resolution and the canvas. `low_test` of the last stage says how
    low-res test photos reach the network: enlarged by the bicubic kernel (`low`) or super-resolved
    (`sr`).
    """

    views: tuple[Form, ...]
    n_images: int
    mixing: Mixing | None = None
    updates_of: tuple[int, ...] = ()
    teacher: int | None = None
    objective: Objective = "cross_entropy"
    resolution_px: int | None = None
    resolution_times: float | None = Field(default=None, ge=1.0)
    random_resolution: bool = False
    frozen_share: float = Field(default=0.0, ge=0.0, le=1.0)
    labels: Labels = "true"
    low_test: Literal["low", "sr"] = "low"
