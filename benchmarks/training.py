"""One training epoch: ours against torchvision's reference recipe, and against the bare model.

`python benchmarks/training.py [--models squeezenet1_1 resnet18] [--photos 192] [--rounds 3]`

The recipe is float32 with a DataLoader of one worker a core that decodes and resizes every photo,
in a process of its own, as its user would start it. The bare model trains on one batch in memory,
in our precision, layout and process, which keeps its freed memory as a stage's process does. All
take as many images in as many updates, and the recipe's pixels are ours; both are asserted.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import measure_device, operations
from photo_files import data_of, prepared, stage_of, write_photos
from rounds import (
    alternate,
    apart,
    arguments,
    n_cpus,
    ratios,
    require,
    row,
    seconds_of,
    sides,
    timed,
    write,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from orchestrator.cluster import Machine, bfloat16_pays
from trainables.batches import Source, epoch_batches, open_source
from trainables.memory import keep_freed_memory
from trainables.models import Network, build_model
from trainables.models.normalise import normalise
from trainables.spec import StageSpec
from trainables.train import make_optimizer, train_stage

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEVELS, N_COMPARED = 2, 16


def network_of(spec: StageSpec) -> Network:
    torch.manual_seed(0)
    return build_model(spec.model, spec.n_classes)


def our_epoch(spec: StageSpec, source: Source, counts: dict[str, tuple[int, int]]) -> Any:
    """The loop of every stage, on a prepared view."""
    network = network_of(spec)
    network.module.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, spec)
    rows = np.arange(spec.subset.n_images)

    def run() -> None:
        loop = train_stage(
            network, optimizer, spec, lambda seed: epoch_batches(spec, [source], rows, seed)
        )
        epoch = next(loop)
        counts["ours"] = epoch.images_seen, epoch.step

    return run


def recipe_photos(folder: Path, canvas_px: int, *, mirror: bool) -> datasets.ImageFolder:
    steps: list[Any] = [
        transforms.Resize((canvas_px, canvas_px), transforms.InterpolationMode.BICUBIC)
    ]
    steps += [transforms.RandomHorizontalFlip()] if mirror else []
    steps += [transforms.ToTensor(), transforms.Normalize(*IMAGENET)]
    return datasets.ImageFolder(str(folder / "train"), transforms.Compose(steps))


def recipe_epoch(
    spec: StageSpec, folder: Path, workers: int, counts: dict[str, tuple[int, int]]
) -> Callable[[], None]:
    """As torchvision's references/classification, without distribution."""
    network = network_of(spec)
    optimizer = make_optimizer(network, spec)
    photos = recipe_photos(folder, spec.views[0].canvas_px, mirror=True)
    batch_size = spec.training.batch_size
    loader = DataLoader(photos, batch_size, shuffle=True, num_workers=workers)

    def run() -> None:
        network.module.train()
        seen = updates = 0
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network.module(images), labels).backward()
            optimizer.step()
            seen, updates = seen + len(labels), updates + 1
        counts["recipe"] = seen, updates

    return run


def recipe_counted(
    spec: StageSpec, folder: Path, workers: int
) -> Callable[[], tuple[float, tuple[int, int]]]:
    """An epoch of the recipe: its seconds, and how many images and updates it took."""
    torch.set_num_threads(n_cpus())
    counts: dict[str, tuple[int, int]] = {}
    run = recipe_epoch(spec, folder, workers, counts)
    return lambda: (seconds_of(run), counts["recipe"])


def bare_epoch(spec: StageSpec, counts: dict[str, tuple[int, int]]) -> Callable[[], None]:
    """Forward, backward, update on one batch in memory."""
    network = network_of(spec)
    module: nn.Module = network.module.to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(network, spec)
    side_px, batch_size = spec.views[0].canvas_px, spec.training.batch_size
    images = torch.randn(batch_size, 3, side_px, side_px).to(memory_format=torch.channels_last)
    labels = torch.randint(0, spec.n_classes, (batch_size,))
    half = spec.training.precision == "bfloat16"

    def run() -> None:
        updates = spec.subset.n_images // batch_size
        for _ in range(updates):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = module(images)
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        counts["bare"] = updates * batch_size, updates

    return run


def check_pixels(source: Source, folder: Path) -> None:
    canvas_px = source.view.spec.canvas_px
    photos = recipe_photos(folder, canvas_px, mirror=False)
    rows = np.arange(min(N_COMPARED, len(photos)))
    theirs = torch.stack([photos[int(row)][0] for row in rows])
    scale = torch.tensor(IMAGENET[1])[:, None, None] * 255
    apart: Tensor = (normalise(source.gather(rows), "imagenet") - theirs).abs() * scale
    require(bool((apart <= LEVELS + 0.01).all()), f"pixels, by {float(apart.max()):.1f} levels")
    labels = [photos.targets[int(row)] for row in rows]
    require(labels == source.view.labels_N[rows].tolist(), "labels")


def measure(name: str, source: Source, folder: Path, chosen: argparse.Namespace) -> list[Any]:
    precision = "bfloat16" if bfloat16_pays(Machine(Path())) else "float32"
    spec = stage_of(source.view, name, chosen.batch, precision)
    counts: dict[str, tuple[int, int]] = {}
    ways = {
        "ours": timed(our_epoch(spec, source, counts)),
        "bare": timed(bare_epoch(spec, counts)),
    }
    with apart(recipe_counted, spec, folder, n_cpus()) as recipe:

        def recipe_seconds() -> float:
            seconds, counts["recipe"] = recipe()
            return seconds

        found = alternate(ways | {"recipe": recipe_seconds}, chosen.rounds, warm=True)
    require(len(set(counts.values())) == 1, f"images and updates {counts}")
    shown = sides(found, len(source.view))
    details = {"images and updates": counts["ours"], "precision": precision, "sides": shown}
    rows = [
        row(f"training/{name}/{side}", ratios(found[side], found["ours"]), **details)
        for side in ("recipe", "bare")
    ]
    return [*rows, *floors(spec, found)]


def floors(spec: StageSpec, found: dict[str, list[float]]) -> list[dict[str, Any]]:
    """How near an epoch is to its operations at the rate of large matrix products here.

    The last row is what could be reached at most: with our operations and no other work at all.
    """
    side_px = spec.views[0].canvas_px
    an_image = operations(network_of(spec).module, torch.randn(2, 3, side_px, side_px)) / 2
    said = {"G operations an image": an_image / 1e9}
    ours_s, recipe_s = (
        spec.subset.n_images * an_image / rate
        for rate in (matrix_rate(spec.training.precision), matrix_rate("float32"))
    )
    said |= {"floor, s": ours_s, "floor in float32, s": recipe_s}
    name = f"training/{spec.model.name}"
    return [
        row(f"{name}/operations floor over time", [ours_s / s for s in found["ours"]], **said),
        row(f"{name}/recipe, floor over time", [recipe_s / s for s in found["recipe"]], **said),
        row(f"{name}/recipe's time over our floor", [s / ours_s for s in found["recipe"]], **said),
    ]


def matrix_rate(precision: str) -> float:
    """Operations a second, the best of a few measurements."""
    dtype = getattr(torch, precision)
    return max(measure_device(torch.device("cpu"), dtype).operations_s for _ in range(3))


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--models", nargs="+", default=["squeezenet1_1", "resnet18"])
    parser.add_argument("--photos", type=int, default=192)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--canvas-px", type=int, default=227)
    chosen = parser.parse_args()
    if chosen.photos % chosen.batch:
        parser.error("--photos has to be a multiple of --batch")
    torch.set_num_threads(n_cpus())
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        photos = write_photos(folder, chosen.photos)
        data = data_of(folder, chosen.canvas_px, chosen.canvas_px // 4)
        _, (view,) = prepared(data, Path(place) / "data", ("high",))
        source = open_source(view, torch.device("cpu"))
        check_pixels(source, folder)
        print(f"{photos}, {chosen.canvas_px} px, {n_cpus()} threads")
        rows = []
        for name in chosen.models:
            rows += measure(name, source, folder, chosen)
            write("training", rows, chosen.out)


if __name__ == "__main__":
    main()
