"""The work of one small Table 2, the same for every side: photos as files, cells, budgets."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from rounds import REPOSITORY

from orchestrator.cluster import Machine, settled
from orchestrator.experiment import Experiment, load_experiment
from orchestrator.plan import Plan, PlannedStage, make_plan
from orchestrator.recipe import Recipe
from orchestrator.recipe_files import load_recipe
from trainables.datasets import read_index
from trainables.datasets.synthetic import draw_photos
from trainables.spec import Form, StageSpec
from trainables.subset import subset_rows


@dataclass(frozen=True)
class Size:
    """How much of the recipe is trained: epochs a stage, levels of the grid, and its photos.

    `photos` are drawn of each split; of real ones those of `classes` are taken, None is all.
    """

    recipe: str
    epochs: int
    levels: int
    photos: int
    classes: int | None = None
    precision: str = "auto"


def write_photos(recipe: Recipe, folder: Path) -> None:
    """The recipe's drawn photos as PNG files in class folders, so that every side reads files."""
    index = read_index(recipe.data)
    for split in ("train", "test"):
        rows = index.rows(split)
        for row, photo in zip(rows, draw_photos(index, recipe.data, rows), strict=True):
            name = index.class_names[index.labels[row]]
            file = folder / split / name / f"{row:06d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(file)


def recipe_of(size: Size, photos: Path) -> Recipe:
    """The recipe cut to size; drawn photos are written once, and read as a folder of files."""
    recipe = load_recipe(size.recipe)
    levels = {"high": range(size.levels + 1), "low": range(1, size.levels + 1)}
    levels["mixed"] = range(min(2, size.levels), size.levels + 1)
    cells = recipe.cells.model_copy(update={k: tuple(v) for k, v in levels.items()})
    chosen = {"epochs": size.epochs, "precision": size.precision}
    train = recipe.train.model_copy(update=chosen)
    cut = recipe.model_copy(update={"cells": cells, "train": train})
    if recipe.data.dataset == "synthetic":
        return _drawn(cut, size, photos)
    root = str((REPOSITORY / str(cut.data.root)).resolve())
    data = cut.data.model_copy(update={"root": root, "classes": size.classes or cut.data.classes})
    weights = cut.model.weights
    if weights != "none":
        weights = str((REPOSITORY / weights).resolve())
    model = cut.model.model_copy(update={"weights": weights})
    return settled(cut.model_copy(update={"data": data, "model": model}), Machine(Path()))


def _drawn(recipe: Recipe, size: Size, photos: Path) -> Recipe:
    counts = {"n_train": size.photos, "n_test": size.photos}
    synthetic = recipe.data.synthetic.model_copy(update=counts)
    data = recipe.data.model_copy(update={"synthetic": synthetic})
    if not photos.is_dir():
        write_photos(recipe.model_copy(update={"data": data}), photos)
    folder = {"dataset": "folder", "root": str(photos)}
    return settled(
        recipe.model_copy(update={"data": data.model_copy(update=folder)}), Machine(Path())
    )


class GridWork:
    """Plan and index of the small table, as every side is given them."""

    def __init__(self, size: Size, photos: Path, root: Path) -> None:
        self.recipe = recipe_of(size, photos)
        self.experiment: Experiment = load_experiment(self.recipe, root, must_exist=True)
        self.plan: Plan = make_plan([self.experiment])

    def chains(self) -> dict[str, list[PlannedStage]]:
        """The stages of each cell in order, as one who shares nothing trains them."""
        return {cell: self._chain(key) for cell, (_, key) in self.plan.cells.items()}

    def _chain(self, key: str) -> list[PlannedStage]:
        stage = self.plan.stages[key]
        parent = stage.spec.parent
        before = self._chain(parent) if parent in self.plan.stages else []
        return [*before, stage]

    def files(self, split: str) -> tuple[list[Path], np.ndarray]:
        """Photo files of a split in index order, and their labels."""
        index = self.experiment.index
        if index is None:
            raise SystemExit("the photos of the recipe are not here")
        rows = index.rows(split)
        return [index.root / index.paths[row] for row in rows], index.labels[rows]

    def examples(self, spec: StageSpec) -> list[tuple[Form, int]]:
        """View and row of each photo of one epoch, before its order is drawn."""
        _, labels_N = self.files("train")
        rows = subset_rows(spec.subset, labels_N)
        return [(view.form, int(row)) for view in spec.views for row in rows]


@dataclass
class Done:
    """What a side did, to be compared before its seconds are.

    `counts` has per cell images, updates and epochs of all its stages, as its loops counted them;
    `parts` has our own account of our seconds.
    """

    seconds: float
    images: int
    counts: dict[str, list[int]]
    accuracies: dict[str, float]
    parts: dict[str, float] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> "Done":
        return cls(**json.loads(file.read_text()))
