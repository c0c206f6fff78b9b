"""What our side gains by each of its choices: the same run with that one switched off.

`Without` is our trainable in a process where one choice was undone; which one, and the recipe's
data, come in the environment, which Ray hands to its workers.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import ray.tune
import torch
from numpy.typing import NDArray
from torch import Tensor

import trainables.trainable
from trainables.batches import Source
from trainables.datasets import read_index
from trainables.degrade import enlarge
from trainables.evaluate import evaluate
from trainables.index import Index
from trainables.photo_blocks import BlockTask, make_block, pixels_column
from trainables.spec import DataSpec
from trainables.stage_run import StageRun
from trainables.stage_sources import source_of
from trainables.trainable import StageTrainable

CHOICE, DATA = "F2C_BENCHMARK_WITHOUT", "F2C_BENCHMARK_DATA"
_RESTORE, _SAVE_PROGRESS, _GATHER = StageRun.restore, StageRun._save_progress, Source.gather  # noqa: SLF001


@cache
def _index() -> tuple[DataSpec, Index]:
    data = DataSpec.model_validate_json(os.environ[DATA])
    return data, read_index(data)


def _decoded(self: Source, rows_B: NDArray[np.int64]) -> Tensor:
    """Photos decoded and made anew for every batch."""
    data, index = _index()
    spec, rows = self.view.spec, self.view.rows_N[rows_B]
    batch = {"row": rows, "box": index.boxes[rows]}
    batch["path"] = np.array([index.paths[row] for row in rows], dtype=object)
    block = make_block(batch, BlockTask(index.root, data, (spec,), None))
    pixels_BHWC = torch.from_numpy(block[pixels_column(0)])
    images_BCHW = pixels_BHWC.permute(0, 3, 1, 2)
    return enlarge(images_BCHW, spec.canvas_px, spec.kernel, spec.antialias)


def without_views() -> None:
    Source.gather = _decoded


def without_layout() -> None:
    """Contiguous channels; the recipe of that run says float32."""

    def restore(self: StageRun, folder: Path | None) -> None:
        _RESTORE(self, folder)
        self._network.module.to(memory_format=torch.contiguous_format)

    StageRun.restore = restore
    Source.gather = lambda self, rows_B: _GATHER(self, rows_B).contiguous()


def without_sparing() -> None:
    """Both tests after every epoch instead of at a stage's end alone."""

    def save_progress(self: StageRun) -> None:
        for view in self.job.evaluations:
            evaluate(self._network, source_of(self.job, view), self.job.spec)
        _SAVE_PROGRESS(self)

    StageRun._save_progress = save_progress  # noqa: SLF001


def without_reuse() -> None:
    """The driver's part: a new actor for every stage."""
    made = ray.tune.TuneConfig

    def config(**given: Any) -> Any:
        return made(**given | {"reuse_actors": False})

    ray.tune.TuneConfig = config


#: By the words of the table; each is called where stages run, the last one in the driver.
WITHOUT: dict[str, Callable[[], None]] = {
    "prepared views": without_views,
    "bfloat16, channels last": without_layout,
    "evaluating at the end only": without_sparing,
    "reused actors": without_reuse,
}


class Without(StageTrainable):
    """Our trainable with one choice undone."""

    def setup(self, config: dict[str, Any]) -> None:
        WITHOUT[os.environ[CHOICE]]()
        super().setup(config)


def undo(choice: str, data: DataSpec) -> None:
    """Undo a choice in this process and in those that Ray starts from now on."""
    os.environ[CHOICE], os.environ[DATA] = choice, data.model_dump_json()
    WITHOUT[choice]()
    trainables.trainable.StageTrainable = Without
