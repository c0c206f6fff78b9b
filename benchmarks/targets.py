"""What each benchmark has to reach on two cores (the GPU's on one H100), in one place.

A figure is a ratio within one run unless it has a unit.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A comparison by its name `benchmark/row`, and its bound."""

    what: str
    against: str
    bound: Literal["at most", "at least"]
    figure: float
    unit: str = ""

    def reached(self, value: float) -> bool:
        return value <= self.figure if self.bound == "at most" else value >= self.figure

    @property
    def text(self) -> str:
        return f"{self.bound} {self.figure:g}{f' {self.unit}' if self.unit else ''}"


def _grid(what: str) -> dict[str, Target]:
    return {
        "tune": Target(f"{what}, time", "Ray Tune as documented, torchvision", "at most", 0.35),
        "strong": Target(f"{what}, time", "Ray Tune, our loop and views", "at most", 0.70),
        "script": Target(f"{what}, time", "a script with DataLoader", "at most", 0.40),
    }


def _epoch(name: str) -> dict[str, Target]:
    return {
        f"{name}/recipe": Target(f"{name}, images/s", "torchvision's recipe", "at least", 3.0),
        f"{name}/bare": Target(f"{name}, images/s", "the bare model", "at least", 0.97),
    }


def _endings(how: str, name: str) -> dict[str, Target]:
    return {
        f"stop_{name}": Target(f"Ctrl-C to the end, {how}", "-", "at most", 20.0, "s"),
        f"lost_{name}": Target(
            f"kill -9, {how}: training lost", "an epoch", "at most", 1.0, "s more"
        ),
        f"resume_{name}": Target(f"command to first batch again, {how}", "-", "at most", 25.0, "s"),
    }


def _named(benchmark: str, targets: dict[str, Target]) -> dict[str, Target]:
    return {f"{benchmark}/{name}": target for name, target in targets.items()}


TARGETS: dict[str, Target] = {
    **_named("grid_peers", _grid("Table 2 in miniature")),
    **_named("grid_peers_cars", _grid("table2-cars-small, cut short")),
    **_named("grid_peers_quarter", _grid("table2-cars-small, a quarter of its epochs")),
    **_named("training", _epoch("squeezenet1_1") | _epoch("resnet18")),
    "lrn/torch": Target("Caffe's AlexNet, images/s", "torch's LRN", "at least", 2.2),
    "lrn/none": Target("Caffe's AlexNet, images/s", "no LRN", "at least", 0.75),
    "preparation/dataloader": Target("preparation, photos/s", "DataLoader", "at least", 2.0),
    "preparation/ray_data": Target("preparation, photos/s", "read_images + map", "at least", 4.0),
    "reading/webdataset": Target("prepared epoch, images/s", "webdataset", "at least", 1.5),
    "reading/dataloader": Target("prepared epoch, images/s", "DataLoader", "at least", 1.5),
    "reading/decoding": Target("prepared epoch, images/s", "decoding again", "at least", 10.0),
    "reading/low_bytes": Target("low view, bytes", "227 px uint8", "at most", 0.05),
    "occlusion/captum": Target("heat map, maps/s", "captum Occlusion", "at least", 3.0),
    "nbsrf_dictionary/dictionary": Target(
        "super-resolution x2, images/s", "one dictionary (A+)", "at least", 2.0
    ),
    "nbsrf_srcnn/srcnn": Target("50 -> 227 px, images/s", "bicubic + SRCNN", "at least", 2.0),
    "orchestration/tune": Target("87 idle stages, time", "87 Tune trials", "at most", 1.2),
    "orchestration/stage": Target("an idle stage", "-", "at most", 0.05, "s"),
    "orchestration/start": Target("start to first stage", "-", "at most", 25.0, "s"),
    "planning/plan": Target("plan of 100,000 cells", "-", "at most", 5.0, "s"),
    "planning/memory": Target("plan of 100,000 cells", "-", "at most", 1.0, "GB"),
    "planning/decision": Target("a decision, 100,000 waiting", "-", "at most", 2.0, "ms"),
    **_named("endings", _endings("without Ray", "inline") | _endings("through Ray", "ray")),
    "gpu/alexnet/rate": Target("alexnet on one GPU", "-", "at least", 25_000.0, "images/s"),
    "gpu/alexnet/bare": Target("alexnet, images/s", "the bare model", "at least", 0.95),
    "gpu/squeezenet1_1/bare": Target("squeezenet1_1, images/s", "the bare model", "at least", 0.95),
    "gpu/resnet50/bare": Target("resnet50, images/s", "the bare model", "at least", 0.95),
    "gpu/table2": Target("Table 2, sum over its stages", "-", "at most", 20.0, "min"),
}
