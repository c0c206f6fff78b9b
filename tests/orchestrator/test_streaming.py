"""`data.mode: stream`: the run of the resident mode without views on disk; its CPUs are counted."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

import analysis
from orchestrator import cluster
from orchestrator.cli import main
from orchestrator.cluster import Machine, bundles_of, check_local_machine, slots_of
from orchestrator.experiment import load_experiment
from orchestrator.flags import parse
from orchestrator.growth import Node
from orchestrator.plan import make_plan
from orchestrator.recipe import Recipe
from orchestrator.run_tags import sweep_id
from orchestrator.sweep import Outcome, Sweep
from trainables.datasets.synthetic import draw_photos, read_index
from trainables.errors import ConfigError
from trainables.spec import DataSpec
from trainables.store import Store

CELLS = {"high": [0, 8], "low": [8], "mixed": [8]}


def machine(cpus: int = 1, gpus: float = 0.0, data: int = 1) -> Machine:
    return Machine(Path(), cpus_per_stage=cpus, gpus_per_stage=gpus, data_cpus_per_stage=data)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Class folders of JPEG files: 48 to train on, 16 to test."""
    folder = tmp_path_factory.mktemp("photos")
    data = DataSpec.model_validate(small()["data"] | {"synthetic": DRAWN})
    index = read_index(data)
    for row, photo in enumerate(draw_photos(index, data, np.arange(len(index)))):
        split, number = index.paths[row].split("/")
        file = folder / split / f"c{index.labels[row]}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(file, quality=95)
    return folder


DRAWN = {"n_classes": 4, "n_train": 48, "n_test": 16, "image_px": 32}


def small(**data) -> dict:
    fields = yaml.safe_load((Path(__file__).parents[1] / "small.yaml").read_text())
    return fields | {"cells": CELLS, "data": fields["data"] | data}


def of_files(photos: Path, **data) -> dict:
    fields = small(dataset="folder", root=str(photos), **data)
    del fields["data"]["synthetic"]
    return fields


def sweep(fields: dict, on: Machine) -> Outcome:
    recipe = Recipe.model_validate(fields, strict=False)
    experiment = load_experiment(recipe, on.root, must_exist=True)
    plan = make_plan([experiment])
    outcome = Sweep(experiment, plan, on, "test", Console(quiet=True)).run()
    outcome.tracker.finish("done", {}, "", [])
    return outcome


def weights(root: Path) -> dict[str, str]:
    entries = [e for e in Store(root / "store").entries() if e.kind == "stage"]
    return {e.key: e.files["weights.safetensors"]["sha256"] for e in entries}


@pytest.fixture(scope="module")
def golden(tmp_path_factory, photos) -> Path:
    """The root of a resident run."""
    root = tmp_path_factory.mktemp("golden")
    assert sweep(of_files(photos), Machine(root, executor="inline")).exit_status == 0
    return root


def table(root: Path) -> str:
    frame = analysis.load(root / "small").drop(columns=["train_s", "trial_id"], errors="ignore")
    return frame.to_csv()


def test_a_streamed_run_has_the_weights_and_the_table_of_the_resident_one(golden, photos, tmp_path):
    outcome = sweep(of_files(photos, mode="stream"), Machine(tmp_path, executor="inline"))
    assert outcome.exit_status == 0
    assert weights(tmp_path) == weights(golden)
    assert table(tmp_path) == table(golden)
    assert [p.name for p in (tmp_path / "data").iterdir() if p.is_dir()] == []


def test_what_one_mode_has_trained_the_other_does_not_train_again(golden, photos):
    fields = of_files(photos, mode="stream")
    again = sweep(fields, Machine(golden, executor="inline"))
    assert again.progress.statuses == {}
    modes = [
        load_experiment(Recipe.model_validate(f, strict=False), golden, must_exist=True)
        for f in (fields, of_files(photos))
    ]
    assert sweep_id(modes[0]) == sweep_id(modes[1]), "one run in MLflow, not two"
    assert modes[0].facts == modes[1].facts


def test_the_report_shows_photos_that_were_never_prepared(photos, tmp_path, capsys):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(of_files(photos, mode="stream")))
    assert main(["run", str(recipe), "--root", str(tmp_path), "--executor", "inline"]) == 0
    assert "high-res" in (tmp_path / "small" / "report.html").read_text()
    record = json.loads((tmp_path / "small" / "run.json").read_text())
    assert record["class_names"] == ["c0", "c1", "c2", "c3"]


def test_prepare_writes_the_list_of_photos_in_place_of_views(photos, tmp_path, capsys):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(of_files(photos, mode="stream")))
    assert main(["prepare", str(recipe), "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "photos are read while stages train" in said
    assert "ready: 0 views" in said


@pytest.mark.ray
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")
def test_n06_ray_data_beside_the_stages_gives_the_same_weights(
    golden, photos, tmp_path, ray_session
):
    outcome = sweep(of_files(photos, mode="stream"), Machine(tmp_path, data_cpus_per_stage=1))
    assert outcome.exit_status == 0
    assert outcome.progress.slots == 1, "one CPU of two is for the photos"
    assert weights(tmp_path) == weights(golden)
    assert table(tmp_path) == table(golden)


@pytest.mark.parametrize(
    ("asked", "nodes", "slots"),
    [
        (machine(), [Node(2, 0)], 1),
        (machine(), [Node(4, 0)], 2),
        (machine(data=2), [Node(1, 0), Node(1, 0), Node(1, 0)], 1),
        (machine(gpus=1.0, data=4), [Node(4, 4), Node(32, 0)], 4),
        (machine(gpus=1.0, data=8), [Node(4, 4), Node(32, 0)], 4),
        (machine(gpus=1.0, data=12), [Node(4, 4), Node(32, 0)], 2),
        (machine(gpus=1.0, data=0), [Node(4, 4), Node(32, 0)], 4),
        (machine(cpus=3), [Node(4, 0), Node(4, 0)], 2),
    ],
)
def test_the_cpus_for_photos_are_counted_wherever_they_lie(asked, nodes, slots):
    assert slots_of(asked, nodes) == slots


def test_a_stage_asks_for_all_its_cpus_at_once():
    assert bundles_of(machine(cpus=2, data=0)) == [{"CPU": 2.0}]
    assert bundles_of(machine(gpus=0.5, data=2)) == [
        {"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0}, {"CPU": 1.0}
    ]  # fmt: skip


def test_a_cluster_without_cpus_for_photos_is_refused_before_anything_starts():
    with pytest.raises(
        ConfigError,
        match=r"has 3 CPUs, .* needs 1 for itself and 4 .*--data-cpus-per-stage.*resident",
    ):
        slots_of(machine(data=4), [Node(1, 0), Node(2, 0)])


def test_this_machine_is_asked_the_same(monkeypatch):
    monkeypatch.setattr(cluster, "local_cpus", lambda: 2)
    check_local_machine(machine())
    with pytest.raises(ConfigError, match=r"2 CPUs, .*--data-cpus-per-stage.*--executor inline"):
        check_local_machine(machine(data=2))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data-cpus-per-stage", "0"], "--data-cpus-per-stage is at least 1"),
        (["--data-cpus-per-stage", "4096"], "lower --cpus-per-stage or --data-cpus-per-stage"),
        (["--cells.strategies", "sr_low", "--executor", "inline"], "data.mode: resident"),
    ],
)
def test_what_cannot_stream_is_refused_with_status_2(tmp_path, capsys, flags, said):
    line = ["run", "demo", "--data.mode", "stream", "--root", str(tmp_path)]
    assert main([*line, "--gpus-per-stage", "0", *flags]) == 2
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_no_cpus_are_kept_where_nothing_streams():
    for flags in ([], ["--data.mode", "stream", "--executor", "inline"]):
        _, found = parse("demo", [*flags, "--data-cpus-per-stage", "3"])
        assert found.data_cpus_per_stage == 0
    _, found = parse("demo", ["--data.mode", "stream", "--data-cpus-per-stage", "3"])
    assert found.data_cpus_per_stage == 3
