"""What one keeps of a run: predict, export and the MLflow model all say what the test said."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from orchestrator import tracked_model
from orchestrator.cli import main
from orchestrator.exporting import how_to_use
from orchestrator.predicting import seeing_in_words
from trainables import exported
from trainables.datasets import find_dataset, read_index
from trainables.errors import DataError
from trainables.fingerprint import key_of
from trainables.predictor import load_predictor
from trainables.spec import DataSpec, SyntheticSpec, ViewSpec
from trainables.store import Store
from trainables.views import View, open_view

pytestmark = pytest.mark.timeout(300)  # the run that all of them share

CELL = "staged_hl/h8-l8/s0"
N_TEST = 200


def write_photos(folder: Path) -> None:
    """Drawn photos as files: 24 to train on, 200 to test on."""
    sizes = SyntheticSpec(n_classes=4, n_train=24, n_test=N_TEST, image_px=32)
    data = DataSpec(dataset="synthetic", synthetic=sizes)
    index, draw = read_index(data), find_dataset("synthetic").read_photos
    assert draw is not None
    for row, photo_HW3 in enumerate(draw(index, data, np.arange(len(index.labels)))):
        name = index.class_names[index.labels[row]]
        file = folder / str(index.splits[row]) / name / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo_HW3).save(file)


class Kept:
    """A finished run of one cell, and how to ask it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos = root / "photos"
        write_photos(self.photos)
        fields = yaml.safe_load((Path(__file__).parents[1] / "small.yaml").read_text())
        fields["data"] = {"dataset": "folder", "root": str(self.photos)} | {
            "canvas_px": 24,
            "resolution_px": 12,
        }
        fields["cells"] = {"high": [8], "low": [8]}
        fields["train"] |= {"epochs": 1}
        self.recipe = root / "small.yaml"
        self.recipe.write_text(yaml.safe_dump(fields))
        assert self.call("run", self.recipe) == 0

    def call(self, verb: str, *words: object) -> int:
        flags = ["--root", str(self.root), "--executor", "inline"]
        return main([verb, *map(str, words), *flags])

    @property
    def stage(self) -> tuple[Any, ViewSpec]:
        """The cell's entry and the view of its low-res test."""
        stages = [e for e in Store(self.root / "store").entries() if e.kind == "stage"]
        entry = next(e for e in stages if e.json("stage.json")["spec"]["parent"])
        low = ViewSpec.model_validate_json(
            json.dumps(entry.json("stage.json")["spec"]["views"][0] | {"split": "test"})
        )
        return entry, low

    @property
    def tested(self) -> View:
        return open_view(self.root / "data", self.stage[1])

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that the run predicted for each test photo."""
        entry, low = self.stage
        table = pq.read_table(entry.path(f"predictions-{key_of(low)[:8]}.parquet"))
        return table["predicted"].to_numpy()

    def photos_on_canvas(self) -> torch.Tensor:
        from trainables.batches import open_source

        source = open_source(self.tested, torch.device("cpu"))
        return source.gather(np.arange(N_TEST)).contiguous()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("kept"))


def classes(model: Any, photos_B3HW: torch.Tensor) -> list[int]:
    with torch.no_grad():
        return model(photos_B3HW).argmax(1).tolist()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_predict_gives_every_test_photo_the_class_that_the_run_gave_it(kept, tmp_path):
    tested = kept.tested
    files = [kept.photos / path for path in tested.paths]
    assert kept.call("predict", kept.recipe, CELL, *files, "--json", tmp_path / "p.json") == 0
    photos = json.loads((tmp_path / "p.json").read_text())["photos"]
    names = [photo["top"][0]["class"] for photo in photos]
    assert len(names) == N_TEST
    assert names == [tested.class_names[k] for k in kept.predicted]


def test_the_exported_model_gives_every_test_photo_the_class_that_the_run_gave_it(kept, tmp_path):
    assert kept.call("export", kept.recipe, CELL, "--to", tmp_path / "model") == 0
    model = torch.export.load(tmp_path / "model" / "model.pt2").module()
    assert classes(model, kept.photos_on_canvas()) == kept.predicted.tolist()
    assert classes(model, kept.photos_on_canvas()[:1]) == kept.predicted.tolist()[:1]


def test_the_mlflow_model_gives_every_test_photo_the_class_that_the_run_gave_it(kept, monkeypatch):
    model, info = mlflow_model(kept, monkeypatch)
    assert classes(model, kept.photos_on_canvas()) == kept.predicted.tolist()
    assert info.signature.inputs.to_dict()[0]["tensor-spec"] == {
        "dtype": "uint8",
        "shape": (-1, 3, 24, 24),
    }
    assert info.metadata["cell"] == CELL
    assert info.saved_input_example_info is not None


def mlflow_runs(kept: Kept) -> tuple[Any, Any]:
    """A client, and the run of the sweep."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{kept.root}/mlflow.db")
    ids = [found.experiment_id for found in client.search_experiments()]
    (parent,) = client.search_runs(ids, "tags.kind = 'sweep'")
    return client, parent


def mlflow_model(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The model by the name that the docs give, and what is known of it."""
    from mlflow import models, pytorch

    _, parent = mlflow_runs(kept)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{kept.root}/mlflow.db")
    uri = f"runs:/{parent.info.run_id}/best_cell"
    return pytorch.load_model(uri), models.get_model_info(uri)


def test_a_run_that_finds_everything_done_logs_no_second_model(kept):
    assert kept.call("run", kept.recipe) == 0
    _, parent = mlflow_runs(kept)
    assert len(parent.outputs.model_outputs) == 1
    assert parent.info.status == "FINISHED"


def test_a_network_that_torch_cannot_export_leaves_its_reason_and_the_run_complete(
    kept, monkeypatch
):
    client, parent = mlflow_runs(kept)
    client.delete_tag(parent.info.run_id, tracked_model.TAG)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no graph for this")

    monkeypatch.setattr(tracked_model, "_save", refuse)
    assert kept.call("run", kept.recipe) == 0
    _, parent = mlflow_runs(kept)
    assert parent.data.tags[tracked_model.REASON] == "RuntimeError: no graph for this"
    assert parent.info.status == "FINISHED"


def test_the_lines_that_export_prints_run_as_printed(kept, tmp_path, capsys):
    kept.call("export", kept.recipe, CELL, "--to", tmp_path / "model")
    printed = capsys.readouterr().out.splitlines()
    first = printed.index("import json, numpy, pathlib, torch")
    exec("\n".join(printed[first : first + 6]), {})
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert capsys.readouterr().out.strip() == kept.tested.class_names[kept.predicted[0]]
    assert record["how_to_use"] == how_to_use(tmp_path / "model", kept.stage[1])
    assert record["classes"] == list(kept.tested.class_names)
    assert record["stage_key"] == kept.stage[0].key


def test_a_file_that_predicts_otherwise_than_its_network_is_not_written(
    kept, tmp_path, capsys, monkeypatch
):
    def guess(photos_B3HW: torch.Tensor) -> torch.Tensor:
        return torch.full((len(photos_B3HW), 4), 0.25)

    monkeypatch.setattr(exported, "write_pt2", lambda *_: guess)
    assert kept.call("export", kept.recipe, CELL, "--to", tmp_path / "model") == 65
    assert "is not the network" in said(capsys)
    assert list(tmp_path.iterdir()) == []


def test_probabilities_that_differ_by_the_tolerance_are_refused():
    photos = torch.zeros((2, 3, 4, 4), dtype=torch.uint8)
    expected = torch.tensor([[0.6, 0.4], [0.3, 0.7]])
    near, far = expected + 5e-5, expected + 2e-4
    assert exported.largest_difference(lambda _: near, lambda _: expected, photos) < 1e-4
    for other in (far, expected.flip(1), torch.full((2, 2), torch.nan)):
        with pytest.raises(DataError, match="is not the network"):
            exported.largest_difference(lambda _, o=other: o, lambda _: expected, photos)


def test_another_cell_s_model_is_not_overwritten(kept, tmp_path, capsys):
    (tmp_path / "model.json").write_text('{"cell": "low/h0-l8/s0", "stage_key": "other"}')
    assert kept.call("export", kept.recipe, CELL, "--to", tmp_path) == 2
    assert "holds the model of low/h0-l8/s0" in said(capsys)


def test_onnx_without_its_packages_says_what_to_install(kept, capsys, monkeypatch):
    monkeypatch.setattr(exported, "ONNX_PACKAGES", ("onnx_that_is_not_there",))
    assert kept.call("export", kept.recipe, CELL, "--onnx") == 2
    assert 'pip install "fine-to-coarse[onnx]"' in said(capsys)


def test_the_onnx_model_gives_every_test_photo_the_class_that_the_run_gave_it(kept, tmp_path):
    for package in exported.ONNX_PACKAGES:
        pytest.importorskip(package)
    import onnxruntime  # pyright: ignore[reportMissingImports]

    assert kept.call("export", kept.recipe, CELL, "--onnx", "--to", tmp_path / "m") == 0
    session = onnxruntime.InferenceSession(tmp_path / "m" / "model.onnx")
    (given,) = session.run(None, {"photos": kept.photos_on_canvas().numpy()})
    assert given.argmax(1).tolist() == kept.predicted.tolist()


def test_predict_says_how_a_photo_was_made_low_and_what_the_temperature_is_from(
    kept, tmp_path, capsys
):
    Image.new("RGB", (64, 40), (200, 30, 30)).save(tmp_path / "red.png")
    assert kept.call("predict", kept.recipe, CELL, tmp_path / "red.png") == 0
    words = said(capsys)
    assert "64 x 40 px, degraded to 12 x 12 px, enlarged to 24 px" in words
    assert "fitted on 100 of the test photos, a seeded half; on 100 others" in words
    assert kept.call("predict", kept.recipe, CELL, tmp_path / "red.png", "--as-is") == 0
    assert "64 x 40 px, as it is on 24 px" in said(capsys)


def test_predict_draws_the_photo_what_the_network_saw_and_the_classes(kept, tmp_path, capsys):
    Image.new("L", (200, 300), 90).save(tmp_path / "grey.jpg")
    sheet = tmp_path / "new" / "sheet.png"
    photo = tmp_path / "grey.jpg"
    assert kept.call("predict", kept.recipe, CELL, photo, photo, "--picture", sheet) == 0
    assert f"picture {sheet} (2 of 2 photos)" in said(capsys)
    with Image.open(sheet) as image:
        assert image.size == (1536, 696)


def test_a_box_is_cut_out_as_in_preparation(kept, tmp_path):
    photo_HW3 = np.array(Image.open(kept.photos / kept.tested.paths[0]))
    wide_HW3 = np.zeros((50, 60, 3), np.uint8)
    wide_HW3[10:42, 20:52] = photo_HW3
    Image.fromarray(wide_HW3).save(tmp_path / "wide.png")
    assert top(kept, tmp_path, tmp_path / "wide.png", "--box", 20, 10, 52, 42) == top(
        kept, tmp_path, kept.photos / kept.tested.paths[0]
    )


def top(kept: Kept, folder: Path, *words: object) -> list[dict[str, Any]]:
    assert kept.call("predict", kept.recipe, CELL, *words, "--json", folder / "p.json") == 0
    return json.loads((folder / "p.json").read_text())["photos"][0]["top"]


def test_every_photo_that_cannot_be_read_is_named(kept, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no photo")
    command = ["predict", kept.recipe, CELL, tmp_path / "text.jpg", tmp_path / "gone.jpg"]
    assert kept.call(*command) == 65
    words = said(capsys)
    assert f"{tmp_path / 'text.jpg'}: it is not a JPEG, PNG, BMP or WebP photo" in words
    assert f"{tmp_path / 'gone.jpg'}: the file is missing" in words


@pytest.mark.parametrize("verb", ["predict", "export"])
def test_a_cell_that_is_not_there_or_not_trained_is_named_with_what_to_do(
    kept, tmp_path, capsys, verb
):
    photo = [kept.photos / kept.tested.paths[0]] if verb == "predict" else []
    assert kept.call(verb, kept.recipe, "staged_hl/h8-l9/s0", *photo) == 2
    assert f"no cell staged_hl/h8-l9/s0 in this recipe; did you mean {CELL}" in said(capsys)
    assert kept.call(verb, kept.recipe, CELL, *photo, "--train.epochs", 3) == 65
    assert f"{CELL} is not trained" in (words := said(capsys))
    assert f"f2c run {kept.recipe} --train.epochs 3" in words
    assert kept.call(verb, kept.recipe) == 2


def test_a_small_photo_is_brought_to_the_resolution_and_never_called_degraded(kept):
    view = kept.stage[1]
    assert seeing_in_words((9, 12), view) == "9 x 12 px, brought to 12 x 12 px, enlarged to 24 px"


def test_a_stage_trained_in_bfloat16_is_exported_in_float32(kept, tmp_path):
    entry, _ = kept.stage
    record = entry.json("stage.json")
    record["spec"]["training"]["precision"] = "bfloat16"

    def write(folder: Path) -> None:
        shutil.copy(entry.path("weights.safetensors"), folder)
        (folder / "stage.json").write_text(json.dumps(record))

    half = Store(tmp_path).commit("b" * 64, "half", "stage", write)
    assert load_predictor(half).spec.training.precision == "bfloat16"
    program = exported.export_program(load_predictor(half, portable=True))
    photos, float32 = kept.photos_on_canvas()[:8], load_predictor(entry)
    assert exported.largest_difference(program.module(), float32, photos) < 1e-6
