import importlib.util
import subprocess
import sys

import pytest
import torch
from torch import nn

from trainables.errors import ConfigError
from trainables.models import build_model, check_name, input_px_of, names
from trainables.models.normalise import factors, normalisation, normalise
from trainables.spec import ModelSpec

LAYOUTS = [torch.channels_last, torch.contiguous_format]
#: One of each way that torchvision spells its classifier.
HEADS = {
    "alexnet_tv": "classifier.6",
    "densenet121": "classifier",
    "googlenet": "fc",
    "mobilenet_v3_small": "classifier.3",
    "resnet18": "fc",
    "shufflenet_v2_x0_5": "fc",
    "squeezenet1_1": "classifier.1",
    "vit_b_16": "heads.head",
}


def dropouts(module: nn.Module) -> set[float]:
    return {layer.p for layer in module.modules() if isinstance(layer, nn.Dropout)}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_torchvision_networks_get_a_new_head(name, head):
    side_px = input_px_of(name) or 96
    with torch.device("meta"):
        network = build_model(ModelSpec(name=name), 7)
        assert network.module.train()(torch.zeros(2, 3, side_px, side_px)).shape == (2, 7)
    assert network.head == head
    assert network.module.get_parameter(f"{head}.weight").shape[0] == 7


@pytest.mark.parametrize("name", ["tiny", "squeezenet1_1"])
def test_heads_start_as_the_spec_says(name):
    torch.manual_seed(0)
    network = build_model(ModelSpec(name=name, head_init_std=0.05), 40)
    layer = network.module.get_submodule(network.head)
    assert layer.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert not layer.bias.any()


@pytest.mark.parametrize("side_px", [16, 33, 48, 96])
def test_tiny_takes_any_size(side_px):
    network = build_model(ModelSpec(name="tiny"), 16)
    assert network.head == "head"
    assert network.module(torch.rand(2, 3, side_px, side_px)).shape == (2, 16)
    assert dropouts(network.module) == {0.2}


def test_tiny_sees_a_detail_wherever_it_is():
    torch.manual_seed(0)
    module = build_model(ModelSpec(name="tiny"), 16).module.eval()
    here, there = torch.zeros(2, 1, 3, 64, 64)
    patch = torch.rand(3, 6, 6)
    here[0, :, 20:26, 20:26] = patch
    there[0, :, 36:42, 36:42] = patch
    torch.testing.assert_close(module(here), module(there))


def test_the_same_seed_builds_the_same_network():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model(ModelSpec(name="tiny"), 4).module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", ["tiny", "squeezenet1_1"])
def test_dropout_is_the_specs(name):
    assert dropouts(build_model(ModelSpec(name=name, dropout=0.35), 4).module) == {0.35}


def test_dropout_of_a_network_without_is_refused():
    with pytest.raises(ConfigError, match="resnet18 has no dropout layer"):
        build_model(ModelSpec(name="resnet18", dropout=0.5), 4)


def test_alexnet_is_never_torchvisions():
    assert {"alexnet", "alexnet_tv", "tiny", "resnet18"} <= set(names())
    with torch.device("meta"):
        caffes = build_model(ModelSpec(name="alexnet"), 1000).module
        torchvisions = build_model(ModelSpec(name="alexnet_tv"), 1000).module
    assert sum(p.numel() for p in caffes.parameters()) == 60_965_224
    assert sum(p.numel() for p in torchvisions.parameters()) == 61_100_840


def test_input_sizes():
    wanted = {"alexnet": 227, "vit_b_16": 224, "alexnet_tv": None, "tiny": None, "resnet18": None}
    assert {name: input_px_of(name) for name in wanted} == wanted


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(ConfigError, match=r"'sqeezenet1_1'; did you mean squeezenet1_1\?.*-c") as e:
        build_model(ModelSpec(name="sqeezenet1_1"), 4)
    assert "names()" in str(e.value)


def test_checking_own_names_needs_no_torch():
    code = "import sys; from trainables.models import check_name; check_name('alexnet')\n"
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_timm_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "fine-to-coarse\[timm\]"'):
        check_name("timm/resnet18")


def test_timm_networks_have_their_head():
    pytest.importorskip("timm", reason="timm is not installed")
    network = build_model(ModelSpec(name="timm/swin_tiny_patch4_window7_224"), 5)
    assert network.head == "head.fc"
    assert network.module.get_submodule(network.head).weight.shape[0] == 5
    assert input_px_of("timm/swin_tiny_patch4_window7_224") == 224
    assert input_px_of("timm/resnet18") is None
    with pytest.raises(ConfigError, match=r"did you mean timm/resnet18\?"):
        check_name("timm/resnet81")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("convention", ["imagenet", "caffe"])
def test_normalise_is_the_formula_and_keeps_the_layout(convention, layout):
    generator = torch.Generator().manual_seed(0)
    photos = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8, generator=generator)
    mean, std, order = normalisation(convention)
    channels = ["RGB".index(letter) for letter in order]
    expected = photos[:, channels].double()
    expected -= torch.tensor(mean).double().view(3, 1, 1)
    expected /= torch.tensor(std).double().view(3, 1, 1)
    inputs = normalise(photos.contiguous(memory_format=layout), convention)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous(memory_format=layout)
    torch.testing.assert_close(inputs, expected.float(), rtol=1e-5, atol=1e-5)


def test_normalise_leaves_the_photos_alone():
    photos = torch.full((1, 3, 2, 2), 9, dtype=torch.uint8)
    normalise(photos, "caffe")
    assert (photos == 9).all()


def test_imagenets_constants_are_torchvisions():
    extremes = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    grey = normalise(extremes, "imagenet")
    assert grey[0].flatten().tolist() == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-4)
    assert grey[1].flatten().tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


def test_an_unknown_convention_is_refused():
    with pytest.raises(ConfigError, match="known: imagenet, caffe"):
        normalisation("image_net")


def test_a_trace_leaves_the_normalisation_of_later_photos_alone():
    class Normalising(nn.Module):
        def forward(self, photos_B3HW):
            return normalise(photos_B3HW, "imagenet")

    photos_B3HW = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    expected = normalise(photos_B3HW, "imagenet")
    factors.cache_clear()
    traced = torch.export.export(Normalising(), (photos_B3HW,)).module()
    assert torch.equal(traced(photos_B3HW), expected)
    assert torch.equal(normalise(photos_B3HW, "imagenet"), expected)
