"""Reading a prepared epoch as uint8 batches, shuffled: ours, webdataset, DataLoader, decoding.

`python benchmarks/reading.py [--photos 2000] [--passes 20] [--rounds 5]`

All give every photo of the high view once (the same bytes, asserted but for `decoding`, which reads
the files anew and makes both forms, as a program without prepared views does). Ours reads in a
process that keeps its freed memory, as a stage's process does. webdataset reads shards of raw
pixels; its number of workers and the DataLoader's is the faster of none and one a core. Beside
them, what limits: the DataLoader in a process that keeps its memory, too; one whose data set gives
whole batches (`__getitems__`); and the same bytes copied by one thread a core, nothing else. A row
tells the size of the low view.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from photo_files import data_of, prepared, stage_of, write_photos
from preparation import BothForms, files_of
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
    write,
)
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainables.batches import epoch_batches, open_source
from trainables.memory import keep_freed_memory
from trainables.spec import AugmentSpec, DataSpec, ViewSpec
from trainables.views import View, open_view

SHARD_PHOTOS = 500
WHOLE_BATCHES, COPY = "dataloader with __getitems__", "bytes copied alone"
KEPT = "dataloader, freed memory kept"
#: An epoch of theirs takes a few hundredths of a second: several in a row count as one.
SHORT = ("dataloader", WHOLE_BATCHES, COPY)
Epoch = Callable[[], Iterator[Tensor]]
#: Photos of an epoch and the sum of their bytes, which no order changes.
Bytes = tuple[int, int]


class Pixels(Dataset):
    """The prepared view's pixels, one photo at a time."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.view.images_NHWC[place]), int(self.view.labels_N[place])


class Batches(Pixels):
    """The same, a whole batch at a time, as a data set may offer since torch 2.0."""

    def __getitems__(self, places: list[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor(places)
        images = torch.from_numpy(self.view.images_NHWC).index_select(0, index)
        return images, torch.from_numpy(self.view.labels_N)[index]


def our_epoch(view: View, batch_size: int) -> Epoch:
    spec = stage_of(view, "tiny", batch_size, "float32")
    spec = spec.model_copy(update={"augment": AugmentSpec(mirror=False)})
    source, rows = open_source(view, torch.device("cpu")), np.arange(len(view))
    return lambda: (images[0] for images, _ in epoch_batches(spec, [source], rows, 0))


def loader_epoch(
    photos: Dataset, batch_size: int, workers: int, collate: Callable[..., Any] | None = None
) -> Epoch:
    loader = DataLoader(photos, batch_size, shuffle=True, num_workers=workers, collate_fn=collate)
    return lambda: (images for images, _ in loader)


def copying_epoch(view: View, batch_size: int) -> Epoch:
    """The bytes alone: each photo from its place into one batch, which is used again."""
    images_NHWC, n_threads = view.images_NHWC, n_cpus()
    made_BHWC = np.empty((batch_size, *images_NHWC.shape[1:]), np.uint8)
    pool = ThreadPoolExecutor(n_threads)

    def copy(rows: NDArray[np.int64], made_BHWC: NDArray[np.uint8]) -> None:
        images_NHWC.take(rows, axis=0, out=made_BHWC, mode="clip")

    def batches() -> Iterator[Tensor]:
        order = np.random.default_rng(0).permutation(len(view))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            parts = (np.array_split(a, n_threads) for a in (rows, made_BHWC[: len(rows)]))
            list(pool.map(copy, *parts))
            yield torch.from_numpy(made_BHWC[: len(rows)])

    return batches


def write_shards(view: View, folder: Path) -> list[str]:
    import webdataset

    folder.mkdir()
    pattern = str(folder / "%04d.tar")
    with webdataset.ShardWriter(pattern, maxcount=SHARD_PHOTOS, verbose=0) as sink:
        for place, (image, label) in enumerate(zip(view.images_NHWC, view.labels_N, strict=True)):
            pixels, said = image.tobytes(), str(label).encode()
            sink.write({"__key__": f"{place:07d}", "pixels": pixels, "label": said})
    return sorted(str(file) for file in folder.glob("*.tar"))


def webdataset_epoch(shards: list[str], side_px: int, batch_size: int, workers: int) -> Epoch:
    import webdataset

    def decoded(sample: dict[str, Any]) -> tuple[Tensor, int]:
        pixels = torch.frombuffer(bytearray(sample["pixels"]), dtype=torch.uint8)
        return pixels.view(side_px, side_px, 3), int(sample["label"])

    photos = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
    photos = photos.shuffle(2 * batch_size).map(decoded).batched(batch_size, collation_fn=None)
    stacked = photos.map(lambda batch: torch.stack([image for image, _ in batch]))
    loader = webdataset.WebLoader(stacked, batch_size=None, num_workers=workers)
    return lambda: iter(loader)


def decoding_epoch(data: DataSpec, batch_size: int) -> Epoch:
    photos = BothForms(files_of(data), data)
    loader = DataLoader(photos, batch_size, shuffle=True, num_workers=n_cpus())
    return lambda: (forms[0] for forms in loader)


def read(epoch: Epoch, passes: int = 1) -> int:
    return sum(len(batch) for _ in range(passes) for batch in epoch())


def several_s(epoch: Epoch, passes: int) -> float:
    """Seconds of one of several epochs, one after another."""
    return seconds_of(lambda: read(epoch, passes)) / passes


def fastest(made: Callable[[int], Epoch]) -> tuple[Epoch, int]:
    """With no worker or one a core, by one epoch each."""
    epochs = {workers: made(workers) for workers in (0, n_cpus())}
    seconds = {w: seconds_of(lambda e=epoch: read(e)) for w, epoch in epochs.items()}
    workers = min(seconds, key=seconds.__getitem__)
    return epochs[workers], workers


def bytes_of(epoch: Epoch) -> Bytes:
    n = total = 0
    for batch in epoch():
        n, total = n + len(batch), total + int(batch.sum(dtype=torch.int64))
    return n, total


def keeping(
    make: Callable[..., Epoch], root: Path, spec: ViewSpec, passes: int, *given: Any
) -> Callable[[], tuple[float, Bytes]]:
    """An epoch in a process that keeps its freed memory: its seconds, and what came."""
    keep_freed_memory()
    torch.set_num_threads(n_cpus())
    epoch = make(open_view(root, spec), *given)
    came = bytes_of(epoch)
    return lambda: (several_s(epoch, passes), came)


def pixels_epoch(view: View, batch_size: int, workers: int) -> Epoch:
    return loader_epoch(Pixels(view), batch_size, workers)


def epochs_of(
    view: View, data: DataSpec, place: Path, batch: int
) -> tuple[dict[str, Epoch], dict[str, int]]:
    """The peers, and the numbers of workers that they are fastest with."""
    shards, side_px = write_shards(view, place / "shards"), view.spec.canvas_px
    web, web_workers = fastest(lambda w: webdataset_epoch(shards, side_px, batch, w))
    loader, loader_workers = fastest(lambda w: pixels_epoch(view, batch, w))
    epochs = {"webdataset": web, "dataloader": loader}
    epochs["decoding"] = decoding_epoch(data, batch)
    epochs[WHOLE_BATCHES] = loader_epoch(Batches(view), batch, 0, lambda batch: batch)
    epochs[COPY] = copying_epoch(view, batch)
    return epochs, {"webdataset": web_workers, "dataloader": loader_workers}


def check(came: dict[str, Bytes]) -> None:
    ours = came["ours"]
    for name, (n, total) in came.items():
        exact = total == ours[1] or (name == "decoding" and abs(total / ours[1] - 1) < 1e-3)
        require(n == ours[0] and exact, f"bytes of {name}: {n}, {total}; ours {ours}")


def alternated(
    epochs: dict[str, Epoch], root: Path, view: View, chosen: argparse.Namespace, workers: int
) -> dict[str, list[float]]:
    """Seconds of every side's epoch, once all are seen to read the same bytes."""
    where = (root, view.spec, chosen.passes, chosen.batch)
    with (
        apart(keeping, our_epoch, *where) as ours,
        apart(keeping, pixels_epoch, *where, workers) as loader,
    ):
        kept = {"ours": ours, KEPT: loader}
        came = {name: call()[1] for name, call in kept.items()}
        check(came | {name: bytes_of(epoch) for name, epoch in epochs.items()})
        ways = {name: lambda e=epoch: seconds_of(lambda: read(e)) for name, epoch in epochs.items()}
        ways |= {name: lambda e=epochs[name]: several_s(e, chosen.passes) for name in SHORT}
        ways |= {name: lambda call=call: call()[0] for name, call in kept.items()}
        return alternate(ways, chosen.rounds, warm=True)


def measure(chosen: argparse.Namespace, place: Path) -> None:
    folder, root = place / "photos", place / "data"
    photos = write_photos(folder, chosen.photos)
    data = data_of(folder, chosen.canvas_px, chosen.low_px)
    _, (high, low) = prepared(data, root, ("high", "low"))
    epochs, workers = epochs_of(high, data, place, chosen.batch)
    found = alternated(epochs, root, high, chosen, workers["dataloader"])
    details = {"photos": photos, "workers": workers, "sides": sides(found, len(high))}
    rows = [
        row(f"reading/{name}", ratios(found[name], found["ours"]), **details)
        for name in found
        if name != "ours"
    ]
    share = low.images_NHWC.nbytes / high.images_NHWC.nbytes
    rows.append(row("reading/low_bytes", [share], bytes_a_photo=low.images_NHWC[0].nbytes))
    write("reading", rows, chosen.out)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--passes", type=int, default=20, help="epochs in a row of the fast sides")
    parser.add_argument("--canvas-px", type=int, default=227)
    parser.add_argument("--low-px", type=int, default=50)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(chosen, Path(place))


if __name__ == "__main__":
    main()
