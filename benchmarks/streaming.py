"""An epoch whose photos are streamed, beside one from the memory-mapped view: images/s.

`python benchmarks/streaming.py [--photos 2000] [--data-cpus 1] [--rounds 5]`

Both run where a stage would: in an actor of one CPU, in a placement group with the CPUs for photos
beside it. `here` is the stage's own process reading them, as `--executor inline` does. The bytes of
the three epochs are compared, batch by batch, before anything counts. What streaming costs is the
decoding and resizing of each photo in every epoch; it is for sets that no disk holds.
"""

import argparse
import hashlib
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from photo_files import data_of, prepared, stage_of, write_photos
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from rounds import alternate, arguments, ratios, require, row, seconds_of, sides, write

from orchestrator.cluster import Machine, bundles_of, ray_session
from trainables.batches import AnySource, StreamedSource, epoch_batches, open_source
from trainables.listing import write_listing
from trainables.ray_blocks import stream_by_ray
from trainables.spec import ViewSpec
from trainables.streamed import blocks_here, streamed_view
from trainables.views import open_view

ROW = "streaming/images a second, streamed over memory-mapped"
ROW_OF_RATE = "streaming/images a second, streamed"


class Epochs:
    """What reads epochs of a view in each way; becomes an actor."""

    def __init__(self, root: str, view: str, batch: int, data_cpus: int) -> None:
        torch.set_num_threads(1)
        spec, self.batch = ViewSpec.model_validate_json(view), batch
        streamed = streamed_view(Path(root), spec)
        labels_N, cpu = torch.from_numpy(streamed.labels_N), torch.device("cpu")

        def stream(blocks: Any) -> AnySource:
            return StreamedSource(streamed, streamed.images_NHWC, labels_N, cpu, blocks)

        self.sources = {
            "mapped": open_source(open_view(Path(root), spec), cpu),
            "here": stream(blocks_here),
            "streamed": stream(partial(stream_by_ray, n_cpus=data_cpus)),
        }

    def batches(self, way: str) -> Any:
        source = self.sources[way]
        spec = stage_of(source.view, "tiny", self.batch, "float32")
        return epoch_batches(spec, [source], np.arange(len(source.view)), seed=1)

    def seconds(self, way: str) -> float:
        return seconds_of(lambda: [len(labels) for _, labels in self.batches(way)])

    def digest(self, way: str) -> str:
        found = hashlib.sha256()
        for images, labels in self.batches(way):
            found.update(images[0].contiguous().numpy().tobytes())
            found.update(labels.numpy().tobytes())
        return found.hexdigest()


def beside(data_cpus: int) -> PlacementGroupSchedulingStrategy:
    """Where a stage of one CPU and its CPUs for photos would be."""
    machine = Machine(Path(), data_cpus_per_stage=data_cpus)
    group = placement_group(bundles_of(machine), strategy="SPREAD")
    ray.get(group.ready())
    return PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )


def measure(chosen: argparse.Namespace, place: Path) -> None:
    photos = write_photos(place / "photos", chosen.photos)
    data, root = data_of(place / "photos", chosen.canvas_px, chosen.low_px), place / "data"
    index, (view,) = prepared(data, root, (chosen.form,))
    write_listing(index, data, view.spec.data_key, root)
    with ray_session(Machine(Path(), data_cpus_per_stage=chosen.data_cpus)):
        where = beside(chosen.data_cpus)
        asked = (str(root), view.spec.model_dump_json(), chosen.batch, chosen.data_cpus)
        actor: Any = ray.remote(num_cpus=1)(Epochs).options(scheduling_strategy=where)
        epochs = actor.remote(*asked)
        ways = ("mapped", "here", "streamed")
        digests = {way: ray.get(epochs.digest.remote(way)) for way in ways}
        require(len(set(digests.values())) == 1, f"the epochs differ: {digests}")
        timed = {way: lambda way=way: ray.get(epochs.seconds.remote(way)) for way in ways}
        found = alternate(timed, chosen.rounds, warm=True)
    n = len(view)
    details = {"photos": photos, "form": chosen.form, "CPUs for photos": chosen.data_cpus}
    details["sides"] = sides(found, n)
    rows = [
        row(ROW, ratios(found["mapped"], found["streamed"]), **details),
        row(ROW_OF_RATE, [n / seconds for seconds in found["streamed"]], **details),
    ]
    write("streaming", rows, chosen.out)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--canvas-px", type=int, default=227)
    parser.add_argument("--low-px", type=int, default=50)
    parser.add_argument("--form", choices=("high", "low"), default="high")
    parser.add_argument("--data-cpus", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(chosen, Path(place))


if __name__ == "__main__":
    main()
