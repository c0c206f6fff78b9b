"""The super-resolution forest on Set5 and Set14: PSNR beside published numbers, and speed.

`python benchmarks/nbsrf.py [--root runs] [--out DIR] [--data ../shared/data] [--factors 2 4]`

Protocol: the photo cut to a multiple of the factor, shrunk by Pillow's bicubic to 8 bits; PSNR of
BT.601 luminance without a border of one factor; a grey photo is its own luminance. Published
numbers: A+ (Timofte et al., ACCV 2014), NBSRF's official package (Salvador and Perez-Pellitero,
ICCV 2015). Forests are kept under ROOT/forests by their keys.
"""

import argparse
import csv
import json
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rounds import REPOSITORY
from torch import Tensor

from trainables.superres.coarse import bicubic
from trainables.superres.colour import luminance
from trainables.superres.enhance import enhance
from trainables.superres.forest import Forest
from trainables.superres.forest_files import load_forest, save_forest
from trainables.superres.forest_spec import forest_key, forest_spec
from trainables.superres.nbsrf import images_key, train_forest
from trainables.superres.super_resolve import super_resolve
from trainables.superres.training_images import read_training_images

#: (set, factor): bicubic, A+, official NBSRF in dB; None where not known for certain.
PUBLISHED = {
    ("Set5", 2): (33.66, 36.55, None),
    ("Set14", 2): (30.24, 32.28, 32.45),
    ("Set5", 4): (28.42, 30.29, None),
    ("Set14", 4): (26.00, 27.33, 27.41),
}
N_PHOTOS, LOW_PX, HIGH_PX = 64, 50, 227


@dataclass(frozen=True)
class Row:
    set: str
    image: str
    factor: int
    bicubic_db: float
    forest_db: float
    seconds: float


def forest_of(factor: int, images: list[NDArray[np.uint8]], root: Path) -> Forest:
    """From the cache, or trained and kept there."""
    spec = forest_spec(factor)
    folder = root / "forests" / forest_key(spec, images_key(images))
    if not (folder / "forest.json").is_file():
        began, began_cpu = time.perf_counter(), time.process_time()
        forest = train_forest(images, spec, lambda line: print(f"  {line}", flush=True))
        took = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - began_cpu}
        save_forest(forest, folder)
        (folder / "training.json").write_text(json.dumps(took))
    took = json.loads((folder / "training.json").read_text())
    print(f"x{factor}: trained in {took['seconds']:.0f} s ({took['cpu_s']:.0f} s of CPU)")
    return load_forest(folder)


def luminance_of(image: NDArray[np.uint8]) -> Tensor:
    pixels = torch.tensor(image)
    return pixels / 255 if pixels.ndim == 2 else luminance(pixels)


def psnr_db(sharp_HW: Tensor, made_HW: Tensor, shave_px: int) -> float:
    inner = slice(shave_px, -shave_px)
    return float(-10 * (sharp_HW - made_HW.clamp(0, 1))[inner, inner].square().mean().log10())


def read_pair(file: Path, factor: int) -> tuple[Tensor, Tensor]:
    """Luminance of a photo (H, W), and of its small form (1, H / factor, W / factor)."""
    with Image.open(file) as photo:
        image = photo if photo.mode == "L" else photo.convert("RGB")
        low_px = image.width // factor, image.height // factor
        cut = image.crop((0, 0, low_px[0] * factor, low_px[1] * factor))
    small = np.asarray(cut.resize(low_px, Image.Resampling.BICUBIC))
    return luminance_of(np.asarray(cut)), luminance_of(small)[None]


def measure(file: Path, forest: Forest) -> Row:
    factor = int(forest.spec.factor)
    sharp_HW, low_BHW = read_pair(file, factor)
    plain_HW = bicubic(low_BHW, *sharp_HW.shape)[0]
    began = time.perf_counter()
    made_HW = enhance(low_BHW, forest)[0]
    seconds = time.perf_counter() - began
    decibels = (psnr_db(sharp_HW, made, factor) for made in (plain_HW, made_HW))
    return Row(file.parent.name, file.stem, factor, *decibels, seconds)


def print_table(rows: list[Row]) -> None:
    print("\nmean PSNR of luminance, dB  bicubic  forest | published: bicubic  A+  official NBSRF")
    for name, factor in sorted({(row.set, row.factor) for row in rows}):
        some = [row for row in rows if (row.set, row.factor) == (name, factor)]
        ours = [
            statistics.mean(getattr(row, f"{kind}_db") for row in some)
            for kind in ("bicubic", "forest")
        ]
        known = ["  -  " if value is None else f"{value:.2f}" for value in PUBLISHED[name, factor]]
        seconds = statistics.mean(row.seconds for row in some)
        print(
            f"{name:6} x{factor}  {ours[0]:.2f}  {ours[1]:.2f} | {'  '.join(known)}   "
            f"{seconds:.3f} s an image"
        )


def write_rows(rows: list[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "nbsrf.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows(
            [
                r.set,
                r.image,
                r.factor,
                f"{r.bicubic_db:.4f}",
                f"{r.forest_db:.4f}",
                f"{r.seconds:.4f}",
            ]
            for r in rows
        )


def print_rate(forest: Forest, photos: Path) -> None:
    """Images a second from LOW_PX to HIGH_PX, the middle of three runs."""
    files = sorted(photos.glob("*.jpg"))[:N_PHOTOS]
    low = [
        Image.open(file).convert("RGB").resize((LOW_PX, LOW_PX), Image.Resampling.BICUBIC)
        for file in files
    ]
    images = torch.from_numpy(np.stack([np.asarray(image) for image in low]))
    super_resolve(images[:16], forest, HIGH_PX)
    rates, cpu_s = [], []
    for _ in range(3):
        began, began_cpu = time.perf_counter(), time.process_time()
        super_resolve(images, forest, HIGH_PX)
        rates.append(len(images) / (time.perf_counter() - began))
        cpu_s.append((time.process_time() - began_cpu) / len(images))
    print(
        f"{LOW_PX} -> {HIGH_PX} px, x4 then bicubic, {len(images)} photos: "
        f"{statistics.median(rates):.1f} images/s, {statistics.median(cpu_s):.3f} s of CPU each"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=REPOSITORY / "runs")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--factors", type=int, nargs="+", default=[2, 4], choices=[2, 4])
    chosen = parser.parse_args()
    print(f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads")
    folder = chosen.data / "super_resolution"
    images = read_training_images(folder / "T91")
    rows: list[Row] = []
    for factor in chosen.factors:
        forest = forest_of(factor, images, chosen.root)
        for name in ("Set5", "Set14"):
            files = sorted((folder / name).glob("*.png"))
            measure(files[0], forest)
            rows += [measure(file, forest) for file in files]
        if factor == 4:
            print_rate(forest, chosen.data / "stanford_cars" / "cars_test")
    print_table(rows)
    if chosen.out:
        write_rows(rows, chosen.out)


if __name__ == "__main__":
    main()
