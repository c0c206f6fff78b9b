"""What a forest is made of; its key names what it computes."""

from typing import Literal, Self

from pydantic import Field, model_validator

from trainables.fingerprint import key_of
from trainables.spec import Spec

#: Raise by one whenever the same spec and images would train to another forest than before.
FOREST_VERSION = 1

Score = Literal["leaf", "path", "log_odds"]


class ForestSpec(Spec):
    """A forest for one factor (3.2, 3.3). See `forest_spec` for the sides that fit a factor.

    Patches of `patch_px` lie `step_px` apart on the enlarged grid, in training and after.
    `energy` is the share of the patches' energy that their principal axes keep. The `n_scales`
    shrunken copies of a training image take turns in `n_turns` of the eight flips and rotations.
    A leaf learns from the `leaf_patches` nearest to it under its ancestor `pool_levels` higher.
    The regressors of the `n_best` trees with the best scores are averaged for each patch.
    """

    factor: float = Field(gt=1.0, le=16.0)
    patch_px: int = Field(ge=3, le=64)
    step_px: int = Field(ge=1, le=16)
    n_trees: int = Field(default=4, ge=1, le=64)
    depth: int = Field(default=11, ge=1, le=16)
    n_scales: int = Field(default=16, ge=1, le=64)
    scale_ratio: float = Field(default=0.98, gt=0.0, lt=1.0)
    n_turns: int = Field(default=8, ge=1, le=8)
    ridge: float = Field(default=0.1, gt=0.0)
    n_ibp: int = Field(default=5, ge=0, le=100)
    energy: float = Field(default=0.9999, gt=0.0, lt=1.0)
    min_contrast: float = Field(default=0.1, ge=0.0)
    tree_patches: int = Field(default=600_000, ge=2)
    leaf_patches: int = Field(default=1500, ge=1)
    pool_levels: int = Field(default=7, ge=0, le=16)
    max_patches: int = Field(default=4_000_000, ge=2)
    n_means_steps: int = Field(default=10, ge=1)
    score: Score = "leaf"
    n_best: int = Field(default=1, ge=1)
    n_final_ibp: int = Field(default=1, ge=0, le=100)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.step_px > self.patch_px:
            raise ValueError("step_px above patch_px would leave gaps between patches")
        return self


def forest_spec(factor: float, **changes: object) -> ForestSpec:
    """The recipe for a factor: patches of three factors, one factor apart (3.2, 3.5)."""
    sides = {"patch_px": round(3 * factor), "step_px": int(factor)}
    return ForestSpec.model_validate({"factor": float(factor), **sides, **changes})


def forest_key(spec: ForestSpec, images_key: str) -> str:
    """The identity of a forest: its spec, the content of its training images, the version."""
    return key_of(["forest", FOREST_VERSION, spec, images_key])
