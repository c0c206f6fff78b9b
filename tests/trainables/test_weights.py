import json
import pickle
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from trainables.errors import DataError
from trainables.models import Network, build_model, weights
from trainables.models.normalise import normalise
from trainables.models.weights import load_all, load_body, read_weights, torchvision_weights
from trainables.spec import ModelSpec

SHARED = Path(__file__).parents[2].parent / "shared/data"
SQUEEZENET = SHARED / "weights/squeezenet1_1_imagenet/squeezenet1_1_imagenet.pth"
BIRDS = SHARED / "CUB_200_2011/images/014.Indigo_Bunting"
needs_squeezenet = pytest.mark.skipif(not SQUEEZENET.is_file(), reason=f"{SQUEEZENET} is absent")


TINY = ModelSpec(name="tiny")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


def tiny(seed: int = 0, n_classes: int = 4) -> Network:
    torch.manual_seed(seed)
    return build_model(ModelSpec(name="tiny"), n_classes)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_what_was_saved_is_read(tmp_path, suffix):
    state = tiny().module.state_dict()
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    assert same(read_weights(path, TINY), dict(state))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no weights file .*gone\.pt; give --model"):
        read_weights(tmp_path / "gone.pt", TINY)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, kept):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tiny().module.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=f"weights{suffix} is "):
        read_weights(path, TINY)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_text_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=f"weights{suffix} is "):
        read_weights(path, TINY)


@pytest.mark.parametrize("plain", [True, False])
def test_s01_pickled_objects_are_refused_unread(tmp_path, plain):
    path, canary = tmp_path / "weights.pt", tmp_path / "canary"
    if plain:
        path.write_bytes(pickle.dumps(Trap(canary), protocol=2))
    else:
        torch.save({"features.0.weight": Trap(canary)}, path)
    with pytest.raises(DataError, match="holds Python objects"):
        read_weights(path, TINY)
    assert not canary.exists()


def test_s02_the_unsafe_switch_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    path, canary = tmp_path / "weights.pt", tmp_path / "canary"
    torch.save(Trap(canary), path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(DataError, match=r"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set.*unset it"):
        read_weights(path, TINY)
    with pytest.raises(DataError, match="unset it"):
        torchvision_weights("squeezenet1_1")
    assert not canary.exists()


def test_what_is_not_a_state_dict_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"epoch": 3, "state_dict": tiny().module.state_dict()}, path)
    with pytest.raises(DataError, match="epoch, state_dict are not tensors"):
        read_weights(path, TINY)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(DataError, match="holds a list, not a state dict"):
        read_weights(path, TINY)


def test_load_body_keeps_the_head():
    network, given = tiny(0, n_classes=4), tiny(1, n_classes=9).module.state_dict()
    head = network.module.get_parameter("head.weight").clone()
    load_body(network, given)
    state = network.module.state_dict()
    assert torch.equal(state["head.weight"], head)
    body = [name for name in state if not name.startswith("head.")]
    assert all(torch.equal(state[name], given[name]) for name in body)


def test_load_body_passes_over_classifiers_for_training_only():
    given = dict(tiny(1).module.state_dict()) | {"aux1.fc2.weight": torch.zeros(3)}
    load_body(tiny(0), given)


def test_load_all_takes_the_head():
    network, given = tiny(0), tiny(1).module.state_dict()
    load_all(network, given)
    assert same(dict(network.module.state_dict()), dict(given))


def test_load_all_refuses_another_head():
    with pytest.raises(DataError, match=r"head\.weight: shape \(9, 48\), wanted \(4, 48\)"):
        load_all(tiny(n_classes=4), tiny(n_classes=9).module.state_dict())


@pytest.mark.parametrize("load", [load_body, load_all])
def test_all_faults_are_listed_and_nothing_is_loaded(load):
    network = tiny(0)
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    given = dict(tiny(1).module.state_dict())
    del given["features.1.1.bias"]
    given["features.2.0.weight"] = torch.zeros(5)
    given["extra.weight"] = torch.zeros(1)
    with pytest.raises(DataError) as refusal:
        load(network, given)
    text = str(refusal.value)
    assert "features.1.1.bias: missing" in text
    assert "features.2.0.weight: shape (5,), wanted (48, 24, 3, 3)" in text
    assert "extra.weight: not in the network" in text
    assert same(dict(network.module.state_dict()), before)


def test_old_files_without_batch_counters_load():
    given = dict(tiny(1).module.state_dict())
    old = {name: tensor for name, tensor in given.items() if "num_batches" not in name}
    network = tiny(0)
    load_all(network, old)
    assert same(dict(network.module.state_dict()), given)


def test_torchvisions_download_is_read_from_its_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = build_model(ModelSpec(name="squeezenet1_1"), 1000).module.state_dict()
    cached = tmp_path / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True)
    torch.save(state, cached)
    assert same(torchvision_weights("squeezenet1_1"), dict(state))


def test_densenets_old_names_are_brought_up_to_date(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub/checkpoints/densenet121-a639ec97.pth"
    cached.parent.mkdir(parents=True)
    old = "features.denseblock1.denselayer2.norm.1.weight"
    torch.save({old: torch.zeros(1), "features.norm0.weight": torch.ones(1)}, cached)
    expected = {"features.denseblock1.denselayer2.norm1.weight", "features.norm0.weight"}
    assert set(torchvision_weights("densenet121")) == expected


def test_an_unreachable_download_asks_for_a_file(tmp_path, monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(DataError, match=r"no network.*--model\.weights FILE"):
        torchvision_weights("squeezenet1_1")


@pytest.mark.parametrize("name", ["alexnet", "tiny", "timm/resnet18"])
def test_torchvision_has_no_weights_for_others_networks(name):
    with pytest.raises(DataError, match=f"no weights for {name}; give"):
        torchvision_weights(name)


@needs_squeezenet
def test_real_squeezenet_weights_load_but_for_the_head():
    tensors = read_weights(SQUEEZENET, TINY)
    assert sum(tensor.numel() for tensor in tensors.values()) == 1_235_496
    network = build_model(ModelSpec(name="squeezenet1_1"), 20)
    load_body(network, tensors)
    first = network.module.get_parameter("features.0.weight")
    assert torch.equal(first, tensors["features.0.weight"])
    assert network.module.get_parameter("classifier.1.weight").shape[0] == 20


@needs_squeezenet
@pytest.mark.skipif(not BIRDS.is_dir(), reason=f"{BIRDS} is absent")
def test_real_squeezenet_knows_a_bird():
    network = build_model(ModelSpec(name="squeezenet1_1"), 1000)
    load_all(network, read_weights(SQUEEZENET, TINY))
    files = sorted(BIRDS.glob("*.jpg"))[:8]
    photos = np.stack([np.asarray(Image.open(f).convert("RGB").resize((227, 227))) for f in files])
    photos_BCHW = torch.from_numpy(photos).permute(0, 3, 1, 2)
    with torch.no_grad():
        guesses = network.module.eval()(normalise(photos_BCHW, "imagenet")).argmax(1).tolist()
    labels = json.loads((SQUEEZENET.parent / "imagenet_labels.json").read_text())
    right = sum("indigo" in str(labels[guess]).lower() for guess in guesses)
    assert right >= 6


def test_a_long_name_of_a_class_does_not_hold_up_the_reader(tmp_path):
    """torch would search its own message about it for minutes."""
    file = tmp_path / "a.pth"
    name = b"9" * 200_000
    for head in (b"\x80\x02", b""):
        file.write_bytes(head + b"c" + name + b"\n" + name + b"\n.")
        with pytest.raises(DataError, match="not a plain state dict"):
            read_weights(file, ModelSpec(name="tiny"))
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("nothing", b"")
    file.write_bytes(b"\x80\x02c" + name + b"\n" + name + b"\n." + file.read_bytes())
    with pytest.raises(DataError, match="not a plain state dict"):  # torch looks at the beginning
        read_weights(file, ModelSpec(name="tiny"))
    archive = tmp_path / "b.pt"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("b/data.pkl", b"\x80\x02c" + name + b"\n" + name + b"\n.")
        zipped.writestr("b/version", b"3\n")
    with pytest.raises(DataError):
        read_weights(archive, ModelSpec(name="tiny"))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "a.pt"
    torch.save({"fc.weight": torch.ones(2)}, file)
    assert set(read_weights(file, ModelSpec(name="tiny"))) == {"fc.weight"}
    monkeypatch.setattr(weights, "LARGEST_PICKLE_BYTES", 10)
    with pytest.raises(DataError, match="not a plain state dict"):
        read_weights(file, ModelSpec(name="tiny"))
