"""The one training loop of every strategy. Shape legend: B batch, C colour, H W pixels."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.budget import batches_per_epoch, budget_of
from trainables.fingerprint import key_of, seed_of
from trainables.freezing import set_training
from trainables.models import Network
from trainables.models.normalise import normalise
from trainables.spec import ObjectiveSpec, StageSpec, TrainingSpec

Batches = Iterable[tuple[list[Tensor], Tensor]]

#: Updates from which it pays that cuDNN tries its algorithms: that takes seconds for each shape.
CUDNN_TRIES_FROM = 2000
#: Times the bound on a late epoch's loss; what is larger has exploded, even if it falls.
EXPLODED = 5.0


@dataclass(frozen=True)
class Epoch:
    """What one pass gave: means over the photos seen; `step` counts updates over the stage."""

    epoch: int
    step: int
    loss: float
    accuracy: float
    lr: float
    images_seen: int
    seconds: float


def lr_factor(training: TrainingSpec, progress: float) -> float:
    """The schedule's factor on the base rate at a share of the budget in [0, 1) (A17)."""
    if training.schedule == "step":
        return training.gamma ** sum(progress >= mark for mark in training.milestones)
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if training.schedule == "onecycle":
        if progress < training.warmup:
            return max(progress / training.warmup, 0.04)
        after = (progress - training.warmup) / (1 - training.warmup)
        return 0.5 * (1 + math.cos(math.pi * after))
    return 1.0


def make_optimizer(network: Network, spec: StageSpec) -> torch.optim.SGD:
    """SGD in the groups of the Caffe solver (methods A17): head and biases at their own rates."""
    training = spec.training
    groups = []
    for name, parameter in network.module.named_parameters():
        bias = name.endswith("bias")
        head = name.startswith(network.head + ".")
        scale = (training.bias_lr_multiplier if bias else 1.0) * (
            training.head_lr_multiplier if head else 1.0
        )
        decay = training.weight_decay if training.bias_weight_decay or not bias else 0.0
        groups.append({"params": [parameter], "scale": scale, "weight_decay": decay})
    on_gpu = next(network.module.parameters()).is_cuda
    return torch.optim.SGD(
        _merged(groups),
        lr=training.lr,
        momentum=training.momentum,
        nesterov=training.nesterov,
        fused=on_gpu or None,  # weights are read and written once an update
    )


def _merged(groups: list[dict]) -> list[dict]:
    """One group per distinct setting, so that one fused update serves many tensors."""
    merged: dict[tuple[float, float], dict] = {}
    for group in groups:
        setting = (group["scale"], group["weight_decay"])
        merged.setdefault(setting, group | {"params": []})["params"] += group["params"]
    return list(merged.values())


def loss_of(
    objective: ObjectiveSpec, logits_BC: Tensor, labels_B: Tensor, teacher_BC: Tensor | None
) -> Tensor:
    """Cross-entropy, plus the teacher's soft targets where the objective distils."""
    loss = F.cross_entropy(logits_BC, labels_B, label_smoothing=objective.label_smoothing)
    if teacher_BC is None:
        return loss
    soft = F.kl_div(
        F.log_softmax(logits_BC / objective.temperature, dim=1),
        F.log_softmax(teacher_BC / objective.temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return loss + objective.teacher_weight * objective.temperature**2 * soft


def train_stage(
    network: Network,
    optimizer: torch.optim.Optimizer,
    spec: StageSpec,
    batches_of: Callable[[int], Batches],
    *,
    start: tuple[int, int] = (0, 0),
    teacher: nn.Module | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Train one stage, yielding after each epoch; the network and optimiser change in place.

    Args:
        network: on its device, channels last.
        optimizer: from `make_optimizer`.
        spec: the stage.
        batches_of: an epoch's number to its batches (photos uint8 (B, C, H, W), labels (B,)).
        start: epochs and steps already done.
        teacher: frozen network for distillation; sees the second view of a pair.
        should_stop: asked at every batch; True drops the running epoch.
    """
    n_epochs, n_steps = budget_of(spec)
    torch.backends.cudnn.benchmark = n_steps >= CUDNN_TRIES_FROM
    chance, step = chance_of(spec), start[1]
    for epoch in range(start[0], n_epochs):
        torch.manual_seed(seed_of(chance, epoch, "dropout"))
        set_training(network, spec.training.frozen_share)
        began, seen, lr = time.perf_counter(), 0, 0.0
        totals = torch.zeros(2, device=next(network.module.parameters()).device)
        for images, labels_B in batches_of(epoch):
            if should_stop():
                return
            if step == n_steps:
                break
            lr = _set_rate(optimizer, spec.training, step / n_steps)
            optimizer.zero_grad(set_to_none=True)
            logits_BC = forward(network.module, images[0], spec)
            soft_BC = None if teacher is None else _teach(teacher, images[-1], spec)
            loss = loss_of(spec.objective, logits_BC, labels_B, soft_BC)
            loss.backward()
            optimizer.step()
            hits = (logits_BC.detach().argmax(1) == labels_B).sum()
            totals += torch.stack([loss.detach() * len(labels_B), hits])
            step, seen = step + 1, seen + len(labels_B)
        loss_sum, hit_sum = totals.tolist()
        seconds = time.perf_counter() - began
        yield Epoch(epoch + 1, step, loss_sum / seen, hit_sum / seen, lr, seen, seconds)


def chance_of(spec: StageSpec) -> str:
    """What a stage's order and dropout follow from: its key, or a seed that others may share."""
    if spec.order_seed is None:
        return key_of(spec)
    return key_of(["order", spec.order_seed, [view.form for view in spec.views]])


def _set_rate(optimizer: torch.optim.Optimizer, training: TrainingSpec, progress: float) -> float:
    lr = training.lr * lr_factor(training, progress)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
    return lr


def forward(module: nn.Module, images_BCHW: Tensor, spec: StageSpec) -> Tensor:
    """Float32 logits (B, classes) of uint8 photos, in the stage's precision."""
    half = spec.training.precision == "bfloat16"
    with torch.autocast(images_BCHW.device.type, torch.bfloat16, enabled=half):
        logits_BC = module(normalise(images_BCHW, spec.model.normalisation))
    return logits_BC.float()


@torch.no_grad()
def _teach(teacher: nn.Module, images_BCHW: Tensor, spec: StageSpec) -> Tensor:
    return forward(teacher, images_BCHW, spec)


def divergence(epoch: Epoch, spec: StageSpec, first_loss: float) -> str:
    """Why the stage has blown up: a non-finite loss, or one far worse than guessing; else empty.

    A fresh head and the first large rates may lose more than chance, ln(classes), for a while; an
    epoch in the second half of the budget may not, unless its loss still falls: few photos make few
    updates. A teacher's term has no such bound.

    Args:
        epoch: the last one.
        spec: of the stage.
        first_loss: of the stage's first epoch.
    """
    if not math.isfinite(epoch.loss):
        return f"training loss {epoch.loss}; a smaller --train.lr may help"
    bound = math.log(spec.n_classes) + 1
    late = epoch.step - batches_per_epoch(spec) >= budget_of(spec)[1] / 2
    falls = epoch.loss < min(first_loss, EXPLODED * bound)
    if spec.teacher is not None or not late or falls or epoch.loss <= bound:
        return ""
    return (
        f"training loss {epoch.loss:.3g} late in the stage, where guessing has "
        f"{bound - 1:.3g}; a smaller --train.lr may help"
    )
