"""Weights and mean image on their way into the store, and what of them is in whose key."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orchestrator.experiment import load_experiment
from orchestrator.networks import check_model_fits
from orchestrator.plan import make_plan
from orchestrator.recipe import CellsRecipe, Recipe
from orchestrator.roots import import_weights
from trainables.errors import ConfigError, DataError
from trainables.models.mean_image import MEAN_IMAGE
from trainables.spec import DataSpec, ModelSpec, SyntheticSpec
from trainables.store import Store


def recipe_of(**model) -> Recipe:
    return Recipe(
        name="caffe",
        data=DataSpec(synthetic=SyntheticSpec(n_classes=2, n_train=8, n_test=4)),
        model=ModelSpec(**model),
        cells=CellsRecipe(strategies=("staged_hl",)),
    )


@pytest.fixture
def files(tmp_path):
    """A weights file and two mean images of other content."""
    save_file({"conv1.bias": torch.ones(96)}, tmp_path / "weights.safetensors")
    np.save(tmp_path / "mean.npy", np.full((3, 256, 256), 100.0, np.float32))
    np.save(tmp_path / "other.npy", np.full((3, 256, 256), 101.0, np.float32))
    return tmp_path


def keys_of(root, **model) -> tuple[str | None, list[str]]:
    experiment = load_experiment(recipe_of(**model), root, must_exist=True)
    return experiment.weights_key, list(make_plan([experiment]).stages)


def test_the_mean_image_is_imported_with_the_weights(files):
    weights, mean = str(files / "weights.safetensors"), str(files / "mean.npy")
    recipe = recipe_of(weights=weights, mean_image=mean)
    experiment = load_experiment(recipe, files, must_exist=True)
    store = Store(files / "store")
    import_weights(experiment, store)
    assert experiment.weights_key is not None
    entry = store.find(experiment.weights_key)
    assert entry is not None
    tensors = load_file(entry.path("weights.safetensors"))
    assert set(tensors) == {"conv1.bias", MEAN_IMAGE}
    assert tensors[MEAN_IMAGE].shape == (1, 3, 227, 227)
    assert (tensors[MEAN_IMAGE] == 100).all()


def test_stages_know_that_there_is_a_mean_image_and_not_where(files):
    weights, mean = str(files / "weights.safetensors"), str(files / "mean.npy")
    recipe = recipe_of(weights=weights, mean_image=mean)
    plan = make_plan([load_experiment(recipe, files, must_exist=True)])
    for stage in plan.stages.values():
        model = stage.spec.model
        assert (model.weights, model.mean_image, model.normalisation) == ("given", "given", "bgr")
        assert model.fc6_order == "auto"


def test_the_content_of_the_mean_image_decides_keys_and_its_place_does_not(files):
    weights = str(files / "weights.safetensors")
    (files / "elsewhere").mkdir()
    moved = files / "elsewhere" / "imagenet_mean.npy"
    moved.write_bytes((files / "mean.npy").read_bytes())
    first = keys_of(files, weights=weights, mean_image=str(files / "mean.npy"))
    assert keys_of(files, weights=weights, mean_image=str(moved)) == first
    without, other = (
        keys_of(files, weights=weights),
        keys_of(files, weights=weights, mean_image=str(files / "other.npy")),
    )
    assert len({first[0], without[0], other[0]}) == 3
    assert not set(first[1]) & set(without[1])
    assert not set(first[1]) & set(other[1])


def test_a_named_order_of_fc6_changes_the_weights_key(files):
    weights = str(files / "weights.safetensors")
    keys = {keys_of(files, weights=weights, fc6_order=o)[0] for o in ("auto", "hwc", "chw")}
    assert len(keys) == 3


def test_missing_files_are_named_together(files):
    recipe = recipe_of(weights="gone.caffemodel", mean_image="gone.binaryproto")
    with pytest.raises(DataError) as refusal:
        load_experiment(recipe, files, must_exist=True)
    assert "mean image gone.binaryproto of alexnet is missing" in str(refusal.value)
    assert "weights gone.caffemodel of alexnet are missing" in str(refusal.value)
    assert not load_experiment(recipe, files, must_exist=False).weights_known


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"mean_image": "mean.npy"}, "give --model.weights FILE too"),
        ({"mean_image": "m", "weights": "w", "normalisation": "caffe"}, "leave that at auto"),
        ({"mean_image": "m", "weights": "w", "name": "tiny"}, "is for alexnet and caffenet"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(model, said):
    with pytest.raises(ConfigError, match=said):
        check_model_fits(recipe_of(**model))


def test_caffenet_sees_photos_as_alexnet_does(files):
    for name in ("alexnet", "caffenet"):
        plan = make_plan([load_experiment(recipe_of(name=name), files, must_exist=True)])
        conventions = {stage.spec.model.normalisation for stage in plan.stages.values()}
        assert conventions == {"caffe"}
