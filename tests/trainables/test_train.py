import math

import pytest
import torch
from torch import nn

from trainables.models import Network
from trainables.spec import (
    AugmentSpec,
    ModelSpec,
    ObjectiveSpec,
    StageSpec,
    SubsetSpec,
    TrainingSpec,
)
from trainables.train import Epoch, divergence, loss_of, lr_factor, make_optimizer, train_stage


class Probe(nn.Module):
    """A linear network on four pixels, small enough to follow by hand."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 2)

    def forward(self, images_BCHW):
        return self.fc(images_BCHW.flatten(1))


def stage(head="fresh", **training):
    defaults = {"epochs": 3, "batch_size": 4, "lr": 0.1, "precision": "float32"}
    return StageSpec(
        views=(),
        mixing="single",
        subset=SubsetSpec(seed=0, n_images=8),
        n_classes=2,
        model=ModelSpec(normalisation="imagenet"),
        head=head,
        objective=ObjectiveSpec(),
        augment=AugmentSpec(),
        training=TrainingSpec(**(defaults | training)),
        seed=0,
        parent=None,
        teacher=None,
        recipe_version=1,
    )


def batches(_epoch):
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        images = torch.randint(0, 256, (4, 3, 2, 2), generator=generator, dtype=torch.uint8)
        yield [images], (images[:, 0, 0, 0] > 127).long()


def trained(spec, **arguments):
    torch.manual_seed(0)
    network = Network(Probe(), "fc")
    optimizer = make_optimizer(network, spec)
    return list(train_stage(network, optimizer, spec, batches, **arguments)), network


def test_the_loop_yields_each_epoch_and_learns():
    epochs, _ = trained(stage(epochs=20, schedule="constant", lr=0.01))
    assert [e.epoch for e in epochs] == list(range(1, 21))
    assert [e.step for e in epochs] == list(range(2, 41, 2))
    assert epochs[0].images_seen == 8
    assert epochs[-1].loss < epochs[0].loss


def test_a_budget_of_steps_ends_in_mid_epoch():
    epochs, _ = trained(stage(epochs=None, steps=3))
    assert [(e.step, e.images_seen) for e in epochs] == [(2, 8), (3, 4)]


def test_a_request_to_stop_drops_the_running_epoch():
    asked = iter([False] * 3 + [True] * 10)
    epochs, _ = trained(stage(), should_stop=lambda: next(asked))
    assert len(epochs) == 1


def test_the_same_stage_gives_the_same_weights_bit_for_bit():
    weights = [trained(stage())[1].module.fc.weight for _ in range(2)]
    assert torch.equal(*weights)


def test_the_caffe_solver_followed_by_hand_for_five_steps():
    """Rates and decay of weights, biases and head as methods A17; v = m v + g + wd w, w -= lr v."""
    spec = stage(epochs=None, steps=5, schedule="step", milestones=(0.5,), momentum=0.9)
    torch.manual_seed(0)
    by_hand = Probe()
    weight, bias = by_hand.fc.weight.detach().clone(), by_hand.fc.bias.detach().clone()
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    steps = [batch for epoch in range(3) for batch in batches(epoch)][:5]
    for number, ((images,), labels) in enumerate(steps):
        lr = 0.1 * (0.1 if number / 5 >= 0.5 else 1.0)
        inputs = ((images / 255 - mean) / std).flatten(1)
        w, b = weight.requires_grad_(), bias.requires_grad_()
        loss = nn.functional.cross_entropy(inputs @ w.T + b, labels)
        grad_w, grad_b = torch.autograd.grad(loss, (w, b))
        velocity[0] = 0.9 * velocity[0] + grad_w + 5e-4 * w.detach()
        velocity[1] = 0.9 * velocity[1] + grad_b
        weight = w.detach() - 10 * lr * velocity[0]
        bias = b.detach() - 10 * 2 * lr * velocity[1]
    _, network = trained(spec)
    assert torch.allclose(network.module.fc.weight, weight, rtol=1e-4, atol=1e-5)
    assert torch.allclose(network.module.fc.bias, bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["fresh", "kept"])
@pytest.mark.parametrize("multiplier", [1.0, 10.0])
def test_the_head_trains_at_its_own_rate(head, multiplier):
    spec = stage(head, head_lr_multiplier=multiplier)
    groups = make_optimizer(Network(Probe(), "fc"), spec).param_groups
    assert {group["scale"] for group in groups} == {multiplier, 2 * multiplier}


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("step", [1, 0.1, 0.1, 0.01]),
        ("cosine", [1, 0.75, 0.5, 0.25]),
        ("onecycle", [0.04, 1, 0.75, 0.25]),
    ],
)
def test_schedules(schedule, factors):
    training = TrainingSpec(schedule=schedule, warmup=0.25)
    places = {"step": [0, 1 / 3, 0.5, 2 / 3], "cosine": [0, 1 / 3, 1 / 2, 2 / 3]}
    at = places.get(schedule, [0, 0.25, 0.5, 0.75])
    assert [lr_factor(training, p) for p in at] == pytest.approx(factors)


def test_distillation_adds_the_teachers_soft_targets():
    logits, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    labels = torch.tensor([0])
    plain = ObjectiveSpec()
    soft = ObjectiveSpec(kind="distill", temperature=3.0, teacher_weight=0.5)
    p, q = (torch.softmax(x / 3, 1) for x in (teacher, logits))
    expected = loss_of(plain, logits, labels, None) + 0.5 * 9 * (p * (p / q).log()).sum()
    assert loss_of(soft, logits, labels, teacher).item() == pytest.approx(expected.item())
    assert loss_of(soft, logits, labels, logits).item() == pytest.approx(
        loss_of(plain, logits, labels, None).item()
    )


@pytest.mark.parametrize(
    ("loss", "step", "verdict"),
    [(math.nan, 2, True), (math.inf, 2, True), (5.0, 4, False), (5.0, 6, True), (1.5, 6, False)],
)
def test_n01_divergence_is_a_loss_that_is_not_finite_or_stays_far_above_chance(loss, step, verdict):
    epoch = Epoch(1, step, loss, 0.0, 0.1, 8, 1.0)
    assert bool(divergence(epoch, stage(), first_loss=4.0)) is verdict


@pytest.mark.parametrize(("loss", "verdict"), [(5.0, False), (1e7, True)])
def test_n01_a_loss_that_still_falls_has_not_diverged_unless_it_is_huge(loss, verdict):
    epoch = Epoch(3, 6, loss, 0.0, 0.1, 8, 1.0)
    assert bool(divergence(epoch, stage(), first_loss=2 * loss)) is verdict


def test_n01_a_divergence_says_what_guessing_would_have_and_what_to_try():
    said = divergence(Epoch(3, 6, 5.0, 0.0, 0.1, 8, 1.0), stage(), first_loss=4.0)
    assert "training loss 5 late in the stage, where guessing has" in said
    assert "--train.lr" in said
