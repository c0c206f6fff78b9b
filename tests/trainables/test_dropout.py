"""Our dropout is torch's: in distribution, in gradients, in evaluation; and its seed decides it."""

import pytest
import torch
from torch import nn

from trainables.models import build_model
from trainables.models.dropout import Dropout, mask_of, with_fast_dropout
from trainables.spec import ModelSpec

N = 200_000


@pytest.mark.parametrize("p", [0.5, 0.25, 0.3, 0.9])
def test_a_share_p_is_zero_and_the_others_keep_the_mean(p):
    torch.manual_seed(0)
    mask_N = mask_of(torch.ones(N), p)
    zero, kept = mask_N == 0, mask_N[mask_N != 0]
    n_standard_errors = (zero.float().mean() - p).abs() / (p * (1 - p) / N) ** 0.5
    assert n_standard_errors < 4
    assert torch.allclose(kept, torch.tensor(1 / (1 - p)), rtol=2e-4)
    # neighbours in memory know nothing of each other
    both = (zero[1:] & zero[:-1]).float().mean()
    assert (both - p**2).abs() < 4 * (p**2 * (1 - p**2) / N) ** 0.5 * 1.5


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_the_seed_decides_the_mask_and_the_next_one_is_another(p):
    def masks():
        torch.manual_seed(7)
        return [mask_of(torch.ones(1000), p) for _ in range(2)]

    first, second = masks()
    assert all(torch.equal(a, b) for a, b in zip((first, second), masks(), strict=True))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_the_mask_in_any_layout(dtype, layout):
    values = torch.rand(3, 5, 4, 7, dtype=dtype).contiguous(memory_format=layout) + 1
    values.requires_grad_()
    layer = Dropout(0.5).train()
    torch.manual_seed(1)
    made = layer(values)
    made.sum().backward()
    torch.manual_seed(1)
    mask = mask_of(values, 0.5)
    assert made.dtype == dtype
    assert made.is_contiguous(memory_format=layout)
    assert torch.equal(made, values * mask)
    assert torch.equal(values.grad, mask)
    assert set(mask.unique().tolist()) == {0.0, 2.0}


def test_values_that_do_not_lie_in_one_piece_are_dropped_out_too():
    torch.manual_seed(0)
    made = Dropout(0.5).train()(torch.ones(64, 1).expand(64, 64))
    assert made.shape == (64, 64)
    assert 0.4 < (made == 0).float().mean() < 0.6
    assert made[0].unique().numel() == 2  # each value has a draw of its own
    assert Dropout(0.5).train()(torch.ones(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_evaluation_and_no_dropout_are_torchs(p):
    values = torch.rand(4, 6)
    assert torch.equal(Dropout(p).eval()(values), values)
    if p in (0.0, 1.0):
        assert torch.equal(Dropout(p).train()(values), nn.Dropout(p).train()(values))


def test_every_dropout_layer_of_a_network_is_ours_and_keeps_its_probability():
    module = nn.Sequential(
        nn.Dropout(0.3), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), nn.Dropout2d()
    )
    first, (_, second), maps = with_fast_dropout(module)
    assert isinstance(first, Dropout)
    assert isinstance(second, Dropout)
    assert (first.p, second.p, type(maps)) == (0.3, 0.5, nn.Dropout2d)


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet", "tiny", "lrcnn_recon"])
def test_networks_are_built_with_it(name):
    module = build_model(ModelSpec(name=name), 5).module
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    assert layers
    assert all(type(layer) is Dropout for layer in layers)
