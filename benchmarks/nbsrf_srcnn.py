"""50 -> 227 px photos by the forest, against bicubic and SRCNN (9-1-5, Dong et al., 2014).

`python benchmarks/nbsrf_srcnn.py [--photos 64] [--rounds 5]`

Both take uint8 colour photos and give uint8 colour photos: luminance is enlarged by the method,
colour by the bicubic kernel. SRCNN's weights are random, for its time does not depend on them; it
runs in the precision that pays here, channels last. The forest is that of `nbsrf.py`; it works in a
process that keeps its freed memory, as those that prepare photos do, and SRCNN in one as it comes
and in such a one.
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nbsrf import HIGH_PX, LOW_PX, forest_of
from PIL import Image
from rounds import (
    REPOSITORY,
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

from orchestrator.cluster import Machine, bfloat16_pays
from trainables.memory import keep_freed_memory
from trainables.superres.coarse import bicubic
from trainables.superres.colour import to_rgb, to_ycbcr
from trainables.superres.super_resolve import super_resolve
from trainables.superres.training_images import read_training_images

BATCH = 16
KEPT = "srcnn, freed memory kept"
Way = Callable[[], Tensor]


def srcnn() -> nn.Module:
    """8,032 weights: 9 x 9 to 64 maps, 1 x 1 to 32, 5 x 5 to one."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 64, 9, padding=4),
        nn.ReLU(inplace=True),
        nn.Conv2d(64, 32, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 1, 5, padding=2),
    ]
    return nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def by_srcnn(photos_NHWC: Tensor, network: nn.Module, side_px: int, *, half: bool) -> Tensor:
    """Bicubic; then the network makes the luminance anew: uint8 (N, side, side, 3)."""
    parts = []
    for batch_BHWC in photos_NHWC.split(BATCH):
        low_B3HW = to_ycbcr(batch_BHWC.permute(0, 3, 1, 2))
        large_BHW = bicubic(low_B3HW.flatten(0, 1), side_px, side_px)
        large_B3HW = large_BHW.view(-1, 3, side_px, side_px)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made_B1HW = network(large_B3HW[:, :1] / 255).float() * 255
        whole_B3HW = torch.cat([made_B1HW, large_B3HW[:, 1:]], 1)
        parts.append(to_rgb(whole_B3HW).permute(0, 2, 3, 1))
    return torch.cat(parts)


def low_photos(folder: Path, n: int) -> Tensor:
    """(N, 50, 50, 3) uint8, of the first photos; noise where there are none."""
    files = sorted(folder.glob("*.jpg"))[:n]
    if not files:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (n, LOW_PX, LOW_PX, 3), generator=generator).to(torch.uint8)
    size_px = (LOW_PX, LOW_PX)
    low = [
        Image.open(file).convert("RGB").resize(size_px, Image.Resampling.BICUBIC) for file in files
    ]
    return torch.from_numpy(np.stack([np.array(image) for image in low]))


def forest_way(data: Path, root: Path, n: int, side_px: int) -> Way:
    forest = forest_of(4, read_training_images(data / "super_resolution" / "T91"), root)
    photos = photos_of(data, n)
    return lambda: super_resolve(photos, forest, side_px)


def srcnn_way(data: Path, n: int, side_px: int) -> Way:
    photos, network, half = photos_of(data, n), srcnn(), bfloat16_pays(Machine(Path()))
    return lambda: by_srcnn(photos, network, side_px, half=half)


def photos_of(data: Path, n: int) -> Tensor:
    torch.set_num_threads(n_cpus())
    return low_photos(data / "stanford_cars" / "cars_test", n)


def keeping(make: Callable[..., Way], *given: Any) -> Callable[[], tuple[float, Any]]:
    """In a process that keeps its freed memory: its seconds, and what it gives."""
    keep_freed_memory()
    way = make(*given)

    def call() -> tuple[float, Any]:
        made: list[Tensor] = []
        seconds = seconds_of(lambda: made.append(way()))
        return seconds, (tuple(made[0].shape), str(made[0].dtype))

    return call


def compare(chosen: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every side, once all are seen to give photos of one shape."""
    given = chosen.photos, chosen.side_px
    plain = srcnn_way(chosen.data, *given)
    with ExitStack() as stack:
        kept = {
            "forest": stack.enter_context(
                apart(keeping, forest_way, chosen.data, chosen.root, *given)
            ),
            KEPT: stack.enter_context(apart(keeping, srcnn_way, chosen.data, *given)),
        }
        shapes = {name: call()[1] for name, call in kept.items()}
        made = plain()
        shapes["srcnn"] = tuple(made.shape), str(made.dtype)
        require(len(set(shapes.values())) == 1, f"what they give: {shapes}")
        ways = {name: lambda call=call: call()[0] for name, call in kept.items()}
        return alternate(ways | {"srcnn": timed(plain)}, chosen.rounds, warm=True)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--root", type=Path, default=REPOSITORY / "runs")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--side-px", type=int, default=HIGH_PX)
    chosen = parser.parse_args()
    training = chosen.data / "super_resolution" / "T91"
    if not training.is_dir():
        parser.error(f"{training} is not here: give --data, a folder with super_resolution/T91")
    forest_of(4, read_training_images(training), chosen.root)  # once, before anything is timed
    found = compare(chosen)
    half = bfloat16_pays(Machine(Path()))
    details = {"photos": chosen.photos, "sides": sides(found, chosen.photos)}
    details |= {"SRCNN in": "bfloat16" if half else "float32"}
    rows = [
        row(f"nbsrf_srcnn/{name}", ratios(found[name], found["forest"]), **details)
        for name in ("srcnn", KEPT)
    ]
    write("nbsrf_srcnn", rows, chosen.out)


if __name__ == "__main__":
    main()
