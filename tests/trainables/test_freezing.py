"""Frozen layers keep their weights and statistics; the rest is trained."""

import pytest
import torch

from trainables.freezing import frozen_layers, set_training
from trainables.models import build_model
from trainables.spec import ModelSpec


@pytest.fixture
def network():
    return build_model(ModelSpec(name="tiny"), n_classes=4)


def test_shares_count_whole_layers_from_the_input_and_never_the_head(network):
    sizes = [len(frozen_layers(network, share)) for share in (0, 0.25, 0.5, 1)]
    assert sizes == [0, 2, 4, 8]
    assert frozen_layers(network, 0.25) == list(network.module.features[0][:2])
    assert network.module.head not in frozen_layers(network, 1)


def test_what_is_frozen_gets_no_gradient_and_keeps_its_running_statistics(network):
    before = {name: t.clone() for name, t in network.module.state_dict().items()}
    set_training(network, 0.5)
    network.module(torch.rand(4, 3, 32, 32)).sum().backward()
    trained = {name for name, p in network.module.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in trained if name.startswith("features")} == {"2", "3"}
    now = network.module.state_dict()
    moved = {n for n in now if "running" in n and (now[n] != before[n]).any()}
    assert {name.split(".")[1] for name in moved} == {"2", "3"}


def test_without_a_share_everything_is_trained_also_after_an_evaluation(network):
    network.module.eval()
    set_training(network, 0.0)
    assert all(p.requires_grad for p in network.module.parameters())
    assert all(module.training for module in network.module.modules())
