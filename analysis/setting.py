"""With what a run was made, in words, and how that differs from the paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

DATASET_NAMES = {
    "cars": "Stanford Cars",
    "cub200": "CUB-200-2011",
    "folder": "own photos",
    "synthetic": "synthetic",
}
PAPER_DATASETS = {"table1": "cars", "table2": "cars", "table3": "cub200"}
PAPER_IMAGES = {"cars": 8144, "cub200": 5994}
PAPER_CANVAS_PX = 227
PAPER_RESOLUTION_PX = 50


@dataclass(frozen=True)
class Setting:
    """What a caption must say of a run.

    Attributes:
        name: of the recipe.
        dataset: name of its reader.
        classes: how many classes were kept, or None for all.
        validation: share of the training photos that stands for the test; 0: tested on test.
        model: name of the network.
        weights: where its first weights came from; `none` is random, None is not known.
        canvas_px: side of the network's input.
        resolution_px: side of the low-res photos.
        budget: a stage's length in words, or an empty text.
        n_images: the largest number of training photos of a cell.
        n_seeds: seeds planned.
        relation: of the images in high to those in low: `same`, `independent` or `disjoint`.
        variants: rows with another network, canvas or budget, each in words.
    """

    name: str
    dataset: str
    classes: int | None
    validation: float
    model: str
    weights: str | None
    canvas_px: int
    resolution_px: int
    budget: str
    n_images: int
    n_seeds: int
    relation: str = "same"
    variants: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Data set, network, resolution, canvas and seeds in one line."""
        dataset = DATASET_NAMES.get(self.dataset, self.dataset)
        seeds = "1 seed" if self.n_seeds == 1 else f"{self.n_seeds} seeds"
        pixels = f"low-res {self.resolution_px} px on a {self.canvas_px} px canvas"
        return f"{dataset}, {self.model}, {pixels}, {seeds}"

    @property
    def title_without_resolution(self) -> str:
        """The title of what is shown over several low resolutions."""
        return self.title.replace(f"low-res {self.resolution_px} px on a ", "")


def setting_of(frame: pd.DataFrame, recipe: Mapping[str, Any]) -> Setting:
    """Read the setting from a recipe and, where it is silent, from the results.

    Args:
        frame: of `runs.load`, with one row at least.
        recipe: of `recipe.yaml`, free-form; `name`, `data`, `model`, `train` are looked at.
    """
    data, model = _section(recipe, "data"), _section(recipe, "model")
    return Setting(
        name=str(recipe.get("name") or ""),
        dataset=str(data.get("dataset") or _commonest(frame, "dataset")),
        classes=data.get("classes"),
        validation=float(data.get("validation") or 0.0),
        model=str(model.get("name") or _commonest(frame, "model")),
        weights=model.get("weights"),
        canvas_px=int(str(data.get("canvas_px") or _commonest(frame, "canvas_px"))),
        resolution_px=int(str(data.get("resolution_px") or _commonest(frame, "resolution_px"))),
        budget=_budget(_section(recipe, "train")),
        n_images=int(frame[["n_high", "n_low"]].to_numpy().max(initial=0)),
        n_seeds=len(set(frame["seed"].tolist())),
        relation=str(_section(recipe, "subset").get("relation") or "same"),
        variants=tuple(
            f"row {name}: {_variant(variant)}"
            for name, variant in _section(recipe, "variants").items()
            if name in set(frame["strategy"]) and isinstance(variant, Mapping)
        ),
    )


def describe(recipe: Mapping[str, Any]) -> str:
    """A recipe's description, empty where it tells of a shipped recipe's photos or network.

    Args:
        recipe: of `recipe.yaml`, perhaps a shipped one with other fields on the command line.
    """
    from orchestrator.recipe_files import load_recipe, shipped

    description = str(recipe.get("description") or "")
    lenders = (load_recipe(name).model_dump(mode="json") for name in shipped())
    lent_by = next((fields for fields in lenders if fields["description"] == description), None)
    alike = lent_by is None or _identity(recipe, lent_by) == _identity(lent_by, lent_by)
    return description if alike else ""


def _identity(recipe: Mapping[str, Any], lent_by: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say which table of which photos through which network; not where they lie."""
    data = lent_by["data"] | _section(recipe, "data")
    told = {name: value for name, value in data.items() if name not in {"root", "mode"}}
    return told | {"table": recipe.get("table"), "network": _section(recipe, "model").get("name")}


def at_own_resolution(frame: pd.DataFrame, recipe: Mapping[str, Any]) -> pd.DataFrame:
    """The cells that a setting's title speaks of: none of the other low resolutions of a sweep."""
    own = _section(recipe, "data").get("resolution_px")
    return frame if own is None else frame.loc[frame["resolution_px"] == int(own)]


def paper_dataset(table: str) -> str:
    """Name of the data set of a table of the paper, for readers."""
    return DATASET_NAMES[PAPER_DATASETS[table]]


def deviations(setting: Setting, table: str) -> list[str]:
    """What differs from the paper's table, each as `ours (paper: theirs)`; empty: nothing known."""
    dataset = PAPER_DATASETS.get(table)
    if dataset is None:
        return []
    return [
        f"{what} {ours} (paper: {theirs})"
        for what, ours, theirs in _pairs(setting, dataset)
        if ours != theirs
    ] + _unpublished(setting)


def _pairs(setting: Setting, dataset: str) -> list[tuple[str, str, str]]:
    names = DATASET_NAMES
    random = setting.weights == "none"
    return [
        ("data set", names.get(setting.dataset, setting.dataset), names[dataset]),
        ("training photos", str(setting.n_images), str(PAPER_IMAGES[dataset])),
        ("classes", str(setting.classes) if setting.classes else "all", "all"),
        ("tested on", "validation photos" if setting.validation else "test photos", "test photos"),
        ("network", setting.model, "alexnet"),
        ("first weights", "random" if random else "ImageNet", "ImageNet"),
        ("canvas", f"{setting.canvas_px} px", f"{PAPER_CANVAS_PX} px"),
        ("low resolution", f"{setting.resolution_px} px", f"{PAPER_RESOLUTION_PX} px"),
        ("photos in high-res and in low-res", setting.relation, "same"),
    ]


def _unpublished(setting: Setting) -> list[str]:
    seeds = [f"{setting.n_seeds} seeds (paper: one run)"] if setting.n_seeds > 1 else []
    budget = [f"{setting.budget} (the paper does not say)"] if setting.budget else []
    return [*seeds, *budget, *setting.variants]


def _variant(variant: Mapping[str, Any]) -> str:
    """A variant's network, canvas and budget in words."""
    model, train = _section(variant, "model"), _section(variant, "train")
    canvas_px = variant.get("canvas_px")
    parts = [
        str(model.get("name") or ""),
        "from random weights" if model.get("weights") == "none" else "",
        f"{canvas_px} px" if canvas_px else "",
        _budget(train),
    ]
    return ", ".join(filter(None, parts))


def _budget(train: Mapping[str, Any]) -> str:
    later = _section(train, "later").get("epochs")
    ending = f", {later} in later stages" if later else ""
    if train.get("budget") == "steps":
        ending += ", as many updates with fewer photos"
    for unit in ("steps", "epochs"):
        if train.get(unit):
            return f"{train[unit]} {unit} a stage{ending}"
    return ""


def _section(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = recipe.get(name)
    return section if isinstance(section, Mapping) else {}


def _commonest(frame: pd.DataFrame, column: str) -> str:
    return str(frame[column].mode().tolist()[0])
