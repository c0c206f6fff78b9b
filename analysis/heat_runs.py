"""Heat maps of two networks on the same test photos, computed once, kept with the run (Figure 3).

N photos, H W pixels, C colours.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.heat_network import HeatNetwork, HeatSettings
from analysis.heatmaps import THRESHOLDS, joint_areas
from analysis.runs import PLAN_FILE, load_plan
from analysis.shown import at_random, shown_cells
from trainables.entry import Entry
from trainables.errors import ConfigError, DataError
from trainables.spec import ViewSpec
from trainables.store import Store
from trainables.streamed import view_at_hand

MEASURES_FILE, MAPS_FILE = "heatmaps.parquet", "heatmaps.npz"
#: Photos whose maps are kept to be drawn; of the others only the measures are.
N_KEPT = 8

Track = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class HeatRun:
    """Heat maps of two cells.

    Attributes:
        cells: their names.
        keys: of their last stages.
        settings: what was computed.
        measures: a row a photo and cell: `cell`, `row`, `label`, `predicted`,
            `probability_true`, and the measures of `heatmaps`.
        class_names: by label.
        images_NHWC: uint8, the first photos as both networks saw them.
        maps: of each cell, (N, H, W) float32, of those photos.
    """

    cells: tuple[str, str]
    keys: tuple[str, str]
    settings: HeatSettings
    measures: pd.DataFrame
    class_names: tuple[str, ...]
    images_NHWC: NDArray[np.uint8]
    maps: tuple[NDArray[np.float32], NDArray[np.float32]]

    @property
    def patch_px(self) -> int:
        """Side of the patch."""
        return self.settings.patch_of(self.images_NHWC.shape[2])

    @property
    def names(self) -> tuple[str, str]:
        """The cells as readers are told them: without the seed where both have the same."""
        (first, *seeds), (second, *others) = (cell.rsplit("/", 1) for cell in self.cells)
        return (first, second) if seeds == others else self.cells

    def second_by_row(self) -> dict[int, NDArray[np.float32]]:
        """The kept maps (H, W) of the second cell, by the photo's row in the index."""
        rows = self.measures.loc[self.measures["cell"] == self.cells[1], "row"].tolist()
        return dict(zip(rows, self.maps[1], strict=False))

    def covers(self, keys: tuple[str, str], settings: HeatSettings) -> bool:
        """Whether these are the maps of some stages, of at least so many photos."""
        ours, asked = self.settings, settings
        same = (ours.patch_px, ours.stride_px) == (asked.patch_px, asked.stride_px)
        return same and self.keys == keys and ours.n_photos >= asked.n_photos


def heat_of(
    folder: Path,
    root: Path,
    frame: pd.DataFrame,
    settings: HeatSettings,
    cells: tuple[str, str] | None = None,
    track: Track = lambda photos, _: photos,
) -> HeatRun | None:
    """The heat maps of a run, kept ones where they are of the same stages, else computed and kept.

    Args:
        folder: of the run.
        root: of store and data.
        frame: of `runs.load`.
        settings: what is wanted at least.
        cells: two names; by default the largest of `low` and of `staged_hl`, as in the paper.
        track: walks over photos and shows how far it is.

    Returns:
        None where no cells are given and the run has not both.

    Raises:
        ConfigError, DataError: as `compute` does; and where the run's plan is gone or torn.
    """
    plan = load_plan(folder)
    if not plan["cells"]:
        raise DataError(f"{folder / PLAN_FILE} is not there; f2c run RECIPE writes it again")
    cells = cells or _default_cells(frame)
    if cells is None:
        return None
    kept = load_heat(folder)
    if kept is not None and kept.covers(stage_keys(plan, cells), settings):
        return kept
    heat = compute(plan, cells, root, settings, track)
    write_heat(folder, heat)
    return heat


def _default_cells(frame: pd.DataFrame) -> tuple[str, str] | None:
    of = {strategy: cell for cell, strategy in shown_cells(frame).items()}
    return (of["low"], of["staged_hl"]) if {"low", "staged_hl"} <= of.keys() else None


def stage_keys(plan: Mapping[str, Any], cells: tuple[str, str]) -> tuple[str, str]:
    """The keys of two cells' last stages.

    Raises:
        ConfigError: naming a cell that the plan does not have.
    """
    for cell in cells:
        if cell not in plan["cells"]:
            raise ConfigError(f"no cell {cell} in this run; it has {', '.join(plan['cells'])}")
    first, second = (plan["cells"][cell]["stage"] for cell in cells)
    return first, second


def compute(
    plan: Mapping[str, Any],
    cells: tuple[str, str],
    root: Path,
    settings: HeatSettings,
    track: Track,
) -> HeatRun:
    """Compute both networks' maps of test photos chosen at random, the same for any two cells.

    Args:
        plan: of `plan.json`.
        cells: two names.
        root: of store and data.
        settings: what to compute.
        track: walks over photos and shows how far it is.

    Raises:
        ConfigError: for cells that are not there, or that see photos of different sizes.
        DataError: for cells that are not trained, or whose test photos are not prepared any more.
    """
    keys = stage_keys(plan, cells)
    views = [view_at_hand(root / "data", _low_test(plan, key)) for key in keys]
    places_N = at_random(len(views[0]), settings.n_photos)
    networks = [
        HeatNetwork(_entry(root, key, cell), settings)
        for key, cell in zip(keys, cells, strict=True)
    ]
    photos = [net.photos(view, places_N) for net, view in zip(networks, views, strict=True)]
    if photos[0].shape != photos[1].shape:
        sides = " and ".join(f"{photo.shape[-1]} px" for photo in photos)
        raise ConfigError(f"{cells[0]} and {cells[1]} see photos of {sides}; choose cells alike")
    records: list[dict[str, Any]] = []
    maps: list[list[NDArray[np.float32]]] = []
    for n in track(range(len(places_N)), "heat maps"):
        heats = [net.map(of[n]) for net, of in zip(networks, photos, strict=True)]
        photo = {
            name: int(getattr(views[0], f"{name}s_N")[places_N[n]]) for name in ("row", "label")
        }
        for c, joint in enumerate(_joint(heats)):
            said = networks[c].measures(photos[c][n], heats[c], photo["label"])
            records.append({"cell": cells[c]} | photo | said | joint)
        maps += [heats] if n < N_KEPT else []
    images_NHWC = photos[0][:N_KEPT].permute(0, 2, 3, 1).contiguous().numpy()
    first, second = (np.stack(of) for of in zip(*maps, strict=True))
    names, measures = tuple(views[0].class_names), pd.DataFrame(records)
    return HeatRun(cells, keys, settings, measures, names, images_NHWC, (first, second))


def _joint(heats: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
    """Areas of each map against a threshold that all share."""
    areas = {f"area_{t:g}": joint_areas(heats, t) for t in THRESHOLDS}
    return [{name: of[c] for name, of in areas.items()} for c in range(len(heats))]


def _low_test(plan: Mapping[str, Any], key: str) -> ViewSpec:
    """The low-res test of a stage, else the super-resolved one."""
    views = {view["form"]: view for view in reversed(plan["stages"][key]["evaluations"])}
    found = views.get("low") or views.get("sr")
    if found is None:
        raise ConfigError(f"{plan['stages'][key]['name']} was not tested on low-res photos")
    return ViewSpec.model_validate_json(json.dumps(found))


def _entry(root: Path, key: str, cell: str) -> Entry:
    entry = Store(root / "store").checked(key)
    if entry is None or entry.kind != "stage":
        raise DataError(f"{cell} is not trained: {root / 'store'} does not have its last stage")
    return entry


def write_heat(folder: Path, heat: HeatRun) -> list[Path]:
    """Keep maps and measures in a run's folder; both files say of what they are."""
    facts = {
        "cells": heat.cells,
        "keys": heat.keys,
        "settings": heat.settings._asdict(),
        "class_names": heat.class_names,
    }
    about, (first, second) = json.dumps(facts), heat.maps
    table = pa.Table.from_pandas(heat.measures, preserve_index=False)
    files = [folder / MEASURES_FILE, folder / MAPS_FILE]
    asides = [file.with_name(f".{file.name}.{os.getpid()}") for file in files]
    pq.write_table(table.replace_schema_metadata({b"heat": about.encode()}), asides[0])
    with asides[1].open("wb") as file:  # of a path NumPy would change the ending
        arrays = {"images": heat.images_NHWC, "first": first, "second": second}
        np.savez_compressed(file, about=np.array(about), **arrays)
    for aside, file in zip(asides, files, strict=True):
        aside.replace(file)
    return files


def load_heat(folder: Path) -> HeatRun | None:
    """Read what `write_heat` kept; None where there is none, it is damaged, or of two runs."""
    try:
        table = pq.read_table(folder / MEASURES_FILE)
        about = table.schema.metadata[b"heat"].decode()
        # NumPy leaves a damaged file open that it opened itself.
        with (folder / MAPS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            same = kept["about"].item() == about
            images_NHWC, maps = kept["images"], (kept["first"], kept["second"])
        facts = json.loads(about)
        cells, keys = tuple(facts["cells"]), tuple(facts["keys"])
        settings, names = HeatSettings(**facts["settings"]), tuple(facts["class_names"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, pa.ArrowException):
        return None
    found = HeatRun(cells, keys, settings, table.to_pandas(), names, images_NHWC, maps)
    return found if same else None


def heat_of_plan(folder: Path, plan: Mapping[str, Any]) -> HeatRun | None:
    """What `load_heat` finds, where it is of the stages of a plan: not of an earlier recipe."""
    heat = load_heat(folder)
    if heat is None:
        return None
    cells = (plan["cells"].get(cell, {}) for cell in heat.cells)
    return heat if heat.keys == tuple(cell.get("stage") for cell in cells) else None
