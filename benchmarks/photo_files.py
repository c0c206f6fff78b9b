"""Photo files for benchmarks: Stanford Cars where that is beside the project, else drawn ones."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from rounds import REPOSITORY

from trainables.datasets import read_index
from trainables.datasets.synthetic import draw_photos
from trainables.fingerprint import RECIPE_VERSION
from trainables.index import Index
from trainables.prepare import prepare
from trainables.spec import (
    AugmentSpec,
    DataSpec,
    Form,
    ModelSpec,
    ObjectiveSpec,
    StageSpec,
    SubsetSpec,
    SyntheticSpec,
    TrainingSpec,
)
from trainables.views import View, open_view, view_spec

CARS = REPOSITORY.parent / "shared" / "data" / "stanford_cars" / "cars_train"
N_CLASSES, DRAWN_PX, QUALITY = 16, 320, 90
#: Drawn photos that are different; more files repeat them.
N_DRAWN = 256


def write_photos(folder: Path, n: int) -> str:
    """`n` JPEG files in class folders, classes dealt out in turn; what they are, in words."""
    made = folder / "made"
    real = sorted(CARS.glob("*.jpg"))
    sources = real or _draw(made, min(n, N_DRAWN))
    for number in range(n):
        file = folder / "train" / f"c{number % N_CLASSES:02d}" / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[number % len(sources)], file)
    for number in range(N_CLASSES):  # a data set has a test split
        file = folder / "test" / f"c{number:02d}" / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[number % len(sources)], file)
    shutil.rmtree(made, ignore_errors=True)
    kind = "Stanford Cars" if real else f"drawn, {DRAWN_PX} px"
    again = f", {len(sources)} of them different" if n > len(sources) else ""
    return f"{n} JPEG photos ({kind}{again})"


def _draw(folder: Path, n: int) -> list[Path]:
    synthetic = SyntheticSpec(n_train=n, n_test=1, image_px=DRAWN_PX)
    data = DataSpec(synthetic=synthetic)
    folder.mkdir(parents=True)
    files = [folder / f"{number}.jpg" for number in range(n)]
    for file, photo in zip(files, draw_photos(read_index(data), data, np.arange(n)), strict=True):
        Image.fromarray(photo).save(file, quality=QUALITY)
    return files


def data_of(folder: Path, canvas_px: int, low_px: int) -> DataSpec:
    """The files as a data set of this program."""
    return DataSpec(dataset="folder", root=str(folder), canvas_px=canvas_px, resolution_px=low_px)


def prepared(data: DataSpec, root: Path, forms: tuple[Form, ...]) -> tuple[Index, list[View]]:
    """Our views of the training photos, prepared in this process or by a Ray that is up."""
    index = read_index(data)
    specs = [view_spec(data, "benchmark", form, "train") for form in forms]
    prepare(index, data, specs, root, lambda _done, _all: None)
    return index, [open_view(root, spec) for spec in specs]


def stage_of(view: View, model: str, batch_size: int, precision: str) -> StageSpec:
    """One epoch on all photos of a view."""
    return StageSpec(
        views=(view.spec,),
        mixing="single",
        subset=SubsetSpec(seed=0, n_images=len(view)),
        n_classes=N_CLASSES,
        model=ModelSpec(name=model, normalisation="imagenet"),
        head="fresh",
        objective=ObjectiveSpec(),
        augment=AugmentSpec(),
        training=TrainingSpec.model_validate(
            {"epochs": 1, "batch_size": batch_size, "lr": 1e-4, "precision": precision}
        ),
        seed=0,
        parent=None,
        teacher=None,
        recipe_version=RECIPE_VERSION,
    )
