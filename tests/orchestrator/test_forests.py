"""Forests of recipes: which one, where it comes from, trained once, found by its content."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from orchestrator.cli import main
from orchestrator.experiment import load_experiment
from orchestrator.forests import spec_of, superres_of
from orchestrator.recipe import Recipe
from trainables.errors import ConfigError, DataError
from trainables.store import Store

TINY = {"n_trees": 1, "depth": 2, "n_scales": 1, "max_patches": 2000}
FLAGS = [f"--superres.{name.replace('_', '-')}={value}" for name, value in TINY.items()]


def recipe(**superres):
    data = {"canvas_px": 48, "resolution_px": 12}
    return Recipe.model_validate({"name": "x", "data": data, "superres": TINY | superres})


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "sharp"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for i in range(2):
        waves = np.cumsum(generator.normal(0, 8, (80, 80, 3)), axis=0)
        Image.fromarray(np.clip(waves + 128, 0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(("way", "factor"), [("x4", 4.0), ("x2x2", 2.0), ("direct", 4.0)])
def test_the_way_decides_the_factor(way, factor):
    assert spec_of(recipe(way=way)).factor == factor


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"cells": {"strategies": ["sr_low"], "resolutions_px": [12, 16]}}, "need 3, too"),
        (
            {
                "cells": {"strategies": ["large"]},
                "variants": {"large": {"strategy": "sr_low", "canvas_px": 60}},
            },
            "need 5, too",
        ),
    ],
)
def test_a_forest_of_one_factor_is_not_asked_for_another(changes, factor, tmp_path):
    fields = recipe(way="direct").model_dump(mode="json") | changes
    asked = Recipe.model_validate_json(json.dumps(fields))
    with pytest.raises(ConfigError, match=factor):
        load_experiment(asked, tmp_path, must_exist=False)
    x4 = fields | {"superres": fields["superres"] | {"way": "x4"}}
    load_experiment(Recipe.model_validate_json(json.dumps(x4)), tmp_path, must_exist=False)


def test_a_forest_is_known_by_its_images_wherever_they_lie(images, tmp_path):
    first = superres_of(recipe(images=str(images)), "d", tmp_path)
    moved = shutil.copytree(images, tmp_path / "moved")
    assert superres_of(recipe(images=str(moved)), "d", tmp_path) == first
    (moved / "1.png").unlink()
    assert superres_of(recipe(images=str(moved)), "d", tmp_path) != first
    assert superres_of(recipe(), "d", tmp_path) != superres_of(recipe(), "e", tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="no photos"):
        superres_of(recipe(images=str(tmp_path)), "d", tmp_path / "root")


def test_prepare_forest_trains_once_what_the_run_then_uses(images, tmp_path, capsys):
    command = ["prepare", "forest", "--images", str(images), *FLAGS, "--root", str(tmp_path)]
    assert main(command) == 0
    assert "forest-x4-" in capsys.readouterr().out
    (entry,) = [e for e in Store(tmp_path / "store").entries() if e.kind == "forest"]
    assert main(command) == 0
    assert "training a forest" not in capsys.readouterr().out
    (entry.folder / "forest.safetensors").write_bytes(b"damaged")
    assert main(command) == 0
    assert "training a forest" in capsys.readouterr().out, "a damaged one is made anew"


def test_without_a_folder_it_learns_from_the_training_photos(tmp_path, capsys):
    small = ["--data.synthetic.n-train", "8", "--data.synthetic.n-test", "8"]
    command = ["prepare", "forest", "demo", *FLAGS, *small, "--root", str(tmp_path)]
    assert main(command) == 0
    assert "on 8 images" in capsys.readouterr().out


def test_every_way_of_super_resolution_runs_through_plan_and_tables(tmp_path, small_recipe):
    import pandas as pd
    import yaml

    rows = ["high", "sr_low", "high_sr", "staged_h_sr"]
    data = small_recipe["data"] | {"canvas_px": 48, "resolution_px": 12}
    train = small_recipe["train"] | {"lr": 1e-3}
    fields = {"table": "table1", "data": data, "superres": TINY, "cells": {"strategies": rows}}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(small_recipe | fields | {"train": train}))
    assert main(["run", str(file), "--executor", "inline", "--root", str(tmp_path)]) == 0
    results = pd.read_parquet(tmp_path / "small" / "results.parquet").set_index("strategy")
    assert results["status"].tolist() == ["done"] * 4
    assert results.loc["high", "stage_key"] == results.loc["high_sr", "stage_key"]
    table = (tmp_path / "small" / "tables" / "table1.md").read_text()
    assert "Super-Res NBSRF" in table
