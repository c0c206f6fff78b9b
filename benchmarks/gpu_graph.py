"""A stage whose full batches replay one recorded step: the host starts one thing, not hundreds.

An experiment beside the program, until a GPU has shown what it gains. On a CPU the step is called
again where a GPU replays it, which shows that it trains the same. No Ray, no MLflow.
B batch, C colour, H W pixels.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from gpu_stage import Stage
from torch import Tensor

from trainables.batches import Source, epoch_batches
from trainables.budget import budget_of
from trainables.fingerprint import seed_of
from trainables.freezing import set_training
from trainables.spec import StageSpec
from trainables.train import chance_of, forward, loss_of, lr_factor

#: Steps before one is recorded: they compile kernels and make the momentum.
N_BEFORE = 3


class GraphedStage(Stage):
    """`Stage` with a CUDA graph. Rates are tensors: a replay reads what they hold now."""

    def __init__(self, spec: StageSpec, sources: list[Source]) -> None:
        super().__init__(spec, sources, None)
        side_px, batch = spec.views[0].canvas_px, spec.training.batch_size
        images_BCHW = torch.zeros(batch, 3, side_px, side_px, dtype=torch.uint8)
        self.images_BCHW = images_BCHW.to(self.device, memory_format=torch.channels_last)
        self.labels_B = torch.zeros(batch, dtype=torch.int64, device=self.device)
        self.totals = torch.zeros(2, device=self.device)
        self.replay: Callable[[], None] | None = None
        self.n_steps = 0
        for group in self.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=self.device)

    def epoch(self, batches_of: Callable[[int], Iterator] | None = None) -> int:
        """As `train_stage` trains its first epoch; the images seen."""
        rows, chance = np.arange(self.spec.subset.n_images), chance_of(self.spec)
        own = lambda seed: epoch_batches(self.spec, self.sources, rows, seed)  # noqa: E731
        torch.manual_seed(seed_of(chance, 0, "dropout"))
        set_training(self.network, self.spec.training.frozen_share)
        self.totals.zero_()
        seen, n_steps = 0, budget_of(self.spec)[1]
        for step, (images, labels_B) in enumerate((batches_of or own)(0)):
            self._set_rates(step / n_steps)
            self._step(images[0], labels_B)
            seen += len(labels_B)
        self.totals.tolist()  # the host waits here once an epoch, as `train_stage` does
        return seen

    def _set_rates(self, progress: float) -> None:
        rate = self.spec.training.lr * lr_factor(self.spec.training, progress)
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate * group["scale"])

    def _step(self, images_BCHW: Tensor, labels_B: Tensor) -> None:
        self.n_steps += 1
        if self.n_steps <= N_BEFORE or len(labels_B) != len(self.labels_B):
            self._update(images_BCHW, labels_B)
            return
        self.images_BCHW.copy_(images_BCHW)
        self.labels_B.copy_(labels_B)
        self.replay = self.replay or self._recorded()
        self.replay()

    def _update(self, images_BCHW: Tensor, labels_B: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        logits_BC = forward(self.network.module, images_BCHW, self.spec)
        loss = loss_of(self.spec.objective, logits_BC, labels_B, None)
        loss.backward()
        self.optimizer.step()
        hits = (logits_BC.detach().argmax(1) == labels_B).sum()
        self.totals += torch.stack([loss.detach() * len(labels_B), hits])

    def _recorded(self) -> Callable[[], None]:
        """The update of the batch that is in place, to be run as often as one likes."""
        if self.device.type != "cuda":
            return lambda: self._update(self.images_BCHW, self.labels_B)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)  # gradients come to lie in the graph's memory
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._update(self.images_BCHW, self.labels_B)
        return graph.replay
