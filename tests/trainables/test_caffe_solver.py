"""The Caffe solver's conventions (methods A17), followed by hand in float64 numpy.

Caffe keeps v = m v + lr (g + wd w) and takes w - v; torch keeps v = m v + g + wd w and takes
w - lr v. Both are the same while the rate is constant. After a drop, Caffe's old velocity still
has the old rate, torch's takes the new one at once; this program does as torch does.
"""

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.recipe import TrainRecipe
from trainables.models import Network
from trainables.spec import (
    AugmentSpec,
    ModelSpec,
    ObjectiveSpec,
    StageSpec,
    SubsetSpec,
    TrainingSpec,
)
from trainables.train import make_optimizer, train_stage

BASE_LR, DECAY, MOMENTUM = 1e-3, 5e-4, 0.9
N_IN, N_HIDDEN, N_CLASSES, BATCH = 12, 5, 3, 4
#: Rates relative to the base: weight and bias of the body, weight and bias of the head.
FRESH, KEPT = (1, 2, 10, 20), (1, 2, 1, 2)
DECAYS = (DECAY, 0, DECAY, 0)


class Small(nn.Module):
    """fc7, ReLU and a head fc8 on photos of 2 x 2 px."""

    def __init__(self):
        super().__init__()
        self.fc7 = nn.Linear(N_IN, N_HIDDEN)
        self.fc8 = nn.Linear(N_HIDDEN, N_CLASSES)

    def forward(self, images_BCHW):
        return self.fc8(self.fc7(images_BCHW.flatten(1)).relu())


def stage(head: str, **training) -> StageSpec:
    """Five steps of which the last two are behind a drop of the rate."""
    defaults = {
        "epochs": None,
        "steps": 5,
        "batch_size": BATCH,
        "lr": BASE_LR,
        "milestones": (0.5,),
        "precision": "float32",
    }
    return StageSpec(
        views=(),
        mixing="single",
        subset=SubsetSpec(seed=0, n_images=5 * BATCH),
        n_classes=N_CLASSES,
        model=ModelSpec(normalisation="caffe"),
        head=head,
        objective=ObjectiveSpec(),
        augment=AugmentSpec(),
        training=TrainingSpec(**(defaults | training)),
        seed=0,
        parent=None,
        teacher=None,
        recipe_version=1,
    )


def batches(_epoch=0):
    generator = torch.Generator().manual_seed(5)
    for _ in range(5):
        images = torch.randint(0, 256, (BATCH, 3, 2, 2), generator=generator, dtype=torch.uint8)
        yield [images], torch.randint(0, N_CLASSES, (BATCH,), generator=generator)


def small() -> Network:
    torch.manual_seed(0)
    network = Network(Small(), "fc8")
    with torch.no_grad():
        network.module.get_parameter("fc7.weight").mul_(0.05)
    return network


def values_of(network: Network) -> list[np.ndarray]:
    parameters = network.module.parameters()
    return [p.detach().double().numpy().copy() for p in parameters]


def train(network: Network, spec: StageSpec) -> torch.optim.SGD:
    optimizer = make_optimizer(network, spec)
    list(train_stage(network, optimizer, spec, batches))
    return optimizer


def gradients(values, images, labels):
    """Of the mean cross-entropy over a batch, BGR photos less the mean pixel in."""
    weight7, bias7, weight8, bias8 = values
    mean = np.array([104.007, 116.669, 122.679])[:, None, None]
    inputs = (images.numpy()[:, ::-1].astype(np.float64) - mean).reshape(BATCH, -1)
    hidden = np.maximum(inputs @ weight7.T + bias7, 0)
    logits = hidden @ weight8.T + bias8
    odds = np.exp(logits - logits.max(1, keepdims=True))
    d_logits = (odds / odds.sum(1, keepdims=True) - np.eye(N_CLASSES)[labels]) / BATCH
    d_hidden = (d_logits @ weight8) * (hidden > 0)
    return d_hidden.T @ inputs, d_hidden.sum(0), d_logits.T @ hidden, d_logits.sum(0)


def by_hand(values, multipliers, *, caffes_velocity=False, n_steps=5):
    values, velocities = [v.copy() for v in values], [np.zeros_like(v) for v in values]
    for step, ((images,), labels) in enumerate(list(batches())[:n_steps]):
        base = BASE_LR * (0.1 if step / 5 >= 0.5 else 1.0)
        grads = gradients(values, images, labels.numpy())
        for i, grad in enumerate(grads):
            lr, change = base * multipliers[i], grad + DECAYS[i] * values[i]
            if caffes_velocity:
                velocities[i] = MOMENTUM * velocities[i] + lr * change
                values[i] = values[i] - velocities[i]
            else:
                velocities[i] = MOMENTUM * velocities[i] + change
                values[i] = values[i] - lr * velocities[i]
    return values


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_five_steps_with_a_fresh_head_are_those_by_hand():
    network = small()
    before = values_of(network)
    train(network, stage("fresh"))
    after = values_of(network)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
    assert_same(after, by_hand(before, FRESH))


@pytest.mark.parametrize("wrong", [(1, 1, 10, 10), (1, 2, 10, 10), (1, 2, 1, 2), (1, 2, 10, 2)])
def test_no_other_rates_give_these_weights(wrong):
    network = small()
    before = values_of(network)
    train(network, stage("fresh"))
    with pytest.raises(AssertionError):
        assert_same(values_of(network), by_hand(before, wrong))


def test_caffes_velocity_differs_only_after_the_rate_has_dropped():
    before = values_of(small())
    for n_steps in (1, 2, 3):
        ours = by_hand(before, FRESH, n_steps=n_steps)
        assert_same(ours, by_hand(before, FRESH, n_steps=n_steps, caffes_velocity=True))
    ours, caffes = (by_hand(before, FRESH, caffes_velocity=flag) for flag in (False, True))
    assert max(np.abs(a - b).max() for a, b in zip(ours, caffes, strict=True)) > 1e-4


def test_the_stage_that_follows_starts_at_rest_and_its_head_learns_as_the_body():
    network = small()
    first = train(network, stage("fresh"))
    assert all("momentum_buffer" in state for state in first.state.values())
    between = values_of(network)
    kept = stage("kept", head_lr_multiplier=TrainRecipe().later.head_lr_multiplier)
    assert not make_optimizer(network, kept).state
    train(network, kept)
    assert_same(values_of(network), by_hand(between, KEPT))


def test_the_shipped_defaults_are_the_solvers():
    training = TrainRecipe()
    assert (training.lr, training.momentum, training.weight_decay) == (BASE_LR, MOMENTUM, DECAY)
    assert (training.bias_lr_multiplier, training.head_lr_multiplier) == (2.0, 10.0)
    assert training.later.head_lr_multiplier == 1.0
    assert not training.bias_weight_decay
    assert not training.nesterov
    assert (training.batch_size, training.epochs, training.gamma) == (128, 60, 0.1)
    assert [60 * mark for mark in training.milestones] == [20, 40]
