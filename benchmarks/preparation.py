"""Preparation: photos to memory maps at two sizes; ours, a DataLoader, Ray Data's read_images.

`python benchmarks/preparation.py [--small 6400] [--large 12800] [--rounds 3] [--ray-rounds 1]`

Each side decodes every file, makes a high and a low form of it and writes both. The rate is the
marginal one, (large - small) photos over the difference of their seconds, in a Ray that is up and
warm; the seconds of the very first, cold run of the small set are printed too. The peers resize
with Pillow; all pixels are compared with ours before anything counts.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from photo_files import data_of, prepared, write_photos
from PIL import Image
from rounds import alternate, arguments, n_cpus, require, row, seconds_of, sides, write
from torch.utils.data import DataLoader, Dataset

from orchestrator.cluster import Machine, ray_session
from trainables.spec import DataSpec

BATCH = 128
#: Pillow goes over a tall photo vertically first, we never do, and both round and clip to 8 bits
#: in between: of 1,000 values this many may be apart, at hard edges by this many levels.
LEVELS, APART_PER_MILLE = 16, 20
Maps = list[NDArray[np.uint8]]


def both_forms(image: Image.Image, data: DataSpec) -> list[NDArray[np.uint8]]:
    """High and low pixels by Pillow's bicubic."""
    sides_px = (data.canvas_px, data.resolution_px)
    return [np.array(image.resize((px, px), Image.Resampling.BICUBIC)) for px in sides_px]


class BothForms(Dataset):
    """A file to its two forms."""

    def __init__(self, files: list[Path], data: DataSpec) -> None:
        self.files, self.data = files, data

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> list[NDArray[np.uint8]]:
        with Image.open(self.files[place]) as photo:
            return both_forms(photo.convert("RGB"), self.data)


def files_of(data: DataSpec) -> list[Path]:
    return sorted((Path(str(data.root)) / "train").glob("*/*.jpg"))


def new_maps(place: Path, n: int, data: DataSpec) -> Maps:
    place.mkdir(parents=True)
    return [
        np.lib.format.open_memmap(place / f"{px}.npy", "w+", np.uint8, (n, px, px, 3))
        for px in (data.canvas_px, data.resolution_px)
    ]


def flushed(maps: Maps) -> Maps:
    for made in maps:
        made.flush()
    return maps


def by_us(data: DataSpec, place: Path) -> Maps:
    """As `f2c run` prepares: Ray Data for large sets, this process for small ones."""
    _, views = prepared(data, place, ("high", "low"))
    return [view.images_NHWC for view in views]


def by_dataloader(data: DataSpec, place: Path) -> Maps:
    files = files_of(data)
    maps, done = new_maps(place, len(files), data), 0
    loader = DataLoader(BothForms(files, data), BATCH, num_workers=n_cpus())
    for forms in loader:
        for made, images in zip(maps, forms, strict=True):
            made[done : done + len(images)] = images.numpy()
        done += len(forms[0])
    return flushed(maps)


def by_ray_data(data: DataSpec, place: Path) -> Maps:
    """`read_images` and `map`, as Ray's documentation prepares images."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    files = [str(file) for file in files_of(data)]
    places = {file: number for number, file in enumerate(files)}
    maps = new_maps(place, len(files), data)

    def forms(record: dict[str, Any]) -> dict[str, Any]:
        high, low = both_forms(Image.fromarray(record["image"]), data)
        return {"high": high, "low": low, "path": record["path"]}

    images = ray.data.read_images(files, mode="RGB", include_paths=True).map(forms)
    for batch in images.iter_batches(batch_size=BATCH):
        rows = [places[path] for path in batch["path"]]
        for made, name in zip(maps, ("high", "low"), strict=True):
            made[rows] = batch[name]
    return flushed(maps)


SIDES: dict[str, Callable[[DataSpec, Path], Maps]] = {
    "ours": by_us,
    "dataloader": by_dataloader,
    "ray_data": by_ray_data,
}


def cold_runs(data: DataSpec, names: list[str], place: Path) -> dict[str, float]:
    """Seconds of each side's first run; all make the same maps of the same photos."""
    made: dict[str, Maps] = {}

    def first(name: str) -> None:
        made[name] = SIDES[name](data, place / name)

    seconds = {name: seconds_of(lambda name=name: first(name)) for name in names}
    for name in names[1:]:
        for us, them in zip(made["ours"], made[name], strict=True):
            require(us.shape == them.shape, f"shapes of {name}: {us.shape}, {them.shape}")
            apart = np.abs(us.astype(np.int16) - them)
            few = 1000 * np.mean(apart > 0) <= APART_PER_MILLE
            require(apart.max() <= LEVELS and few, f"pixels of {name}, by {apart.max()} levels")
    return seconds


def run(name: str, data: DataSpec, place: Path) -> float:
    """Seconds of one side; what it made is deleted."""
    seconds = seconds_of(lambda: SIDES[name](data, place / "made"))
    shutil.rmtree(place / "made")
    return seconds


def compare(peer: str, sets: tuple[DataSpec, DataSpec], rounds: int, place: Path) -> Any:
    """A row: our marginal rate over the peer's."""
    names = ("ours", peer)
    ways = {
        f"{name} {size}": lambda name=name, data=data: run(name, data, place)
        for size, data in zip(("small", "large"), sets, strict=True)
        for name in names
    }
    found = alternate(ways, rounds)
    shown = sides(found)
    n_more = len(files_of(sets[1])) - len(files_of(sets[0]))
    rates = {
        name: [
            n_more / max(large - small, 1e-9)
            for small, large in zip(found[f"{name} small"], found[f"{name} large"], strict=True)
        ]
        for name in names
    }
    print("  marginal: " + ", ".join(f"{n} {np.median(r):.0f} photos/s" for n, r in rates.items()))
    marginal = {name: float(np.median(rate)) for name, rate in rates.items()}
    gains = [us / them for us, them in zip(rates["ours"], rates[peer], strict=True)]
    return row(f"preparation/{peer}", gains, sides=shown, **{"marginal, photos/s": marginal})


def measure(chosen: argparse.Namespace, place: Path) -> None:
    sets, said = [], ""
    for n in (chosen.small, chosen.large):
        folder = place / f"photos-{n}"
        said = write_photos(folder, n)
        sets.append(data_of(folder, chosen.canvas_px, chosen.low_px))
    print(f"{said}, {chosen.canvas_px} and {chosen.low_px} px")
    names = ["ours", "dataloader", *(["ray_data"] if chosen.ray_rounds else [])]
    with ray_session(Machine(Path())) if chosen.ray_rounds else nullcontext():
        cold = cold_runs(sets[0], names, place / "cold")
        print(
            f"  cold, {chosen.small} photos: "
            + ", ".join(f"{n} {s:.1f} s" for n, s in cold.items())
        )
        shutil.rmtree(place / "cold")
        rows = [compare("dataloader", (sets[0], sets[1]), chosen.rounds, place)]
        if chosen.ray_rounds:
            rows.append(compare("ray_data", (sets[0], sets[1]), chosen.ray_rounds, place))
    for found in rows:
        found["details"] |= {"photos": said, "sizes": [chosen.small, chosen.large]}
        found["details"] |= {f"cold, {chosen.small} photos, s": cold}
    write("preparation", rows, chosen.out)


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--small", type=int, default=6400)
    parser.add_argument("--large", type=int, default=12_800)
    parser.add_argument("--ray-rounds", type=int, default=1, help="0 leaves Ray out altogether")
    parser.add_argument("--canvas-px", type=int, default=227)
    parser.add_argument("--low-px", type=int, default=50)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(chosen, Path(place))


if __name__ == "__main__":
    main()
