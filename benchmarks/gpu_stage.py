"""A stage at the paper's scale on generated photos, on one device. No Ray, no MLflow.

Noise stands for photos: only their number and size matter here. N photos, B batch, H W C.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from floors import wait
from rounds import n_cpus, seconds_of
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from trainables.batches import Source, epoch_batches
from trainables.fingerprint import RECIPE_VERSION
from trainables.models import Network, build_model
from trainables.models.on_gpu import to_device
from trainables.spec import (
    AugmentSpec,
    Form,
    ModelSpec,
    ObjectiveSpec,
    StageSpec,
    SubsetSpec,
    TrainingSpec,
    ViewSpec,
)
from trainables.train import forward, make_optimizer, train_stage
from trainables.views import View

TEST_BATCH = 128
N_EPOCHS = 60


@dataclass(frozen=True)
class Scale:
    """How many photos of which size."""

    images: int
    tests: int
    n_classes: int
    side_px: int
    low_px: int
    batch: int

    @property
    def levels(self) -> list[int]:
        """Images of L1 to L8: steps of 1,000 at the paper's size, the last one all."""
        step = 1000 if self.images >= 8000 else self.images // 8
        return [*(step * level for level in range(1, 8)), self.images]


def view_of(form: Form, scale: Scale, n: int) -> View:
    """A view without pixels on the host: those are the source's."""
    spec = ViewSpec(
        form=form,
        split="train",
        data_key="generated",
        canvas_px=scale.side_px,
        resolution_px=None if form == "high" else scale.low_px,
        kernel="bicubic",
        antialias=True,
        degrade_from="object",
        box_margin_px=0,
        jpeg_quality=None,
    )
    labels_N = np.arange(n) % scale.n_classes
    pixels = np.empty((0, 0, 0, 3), np.uint8)
    return View(spec, pixels, labels_N, np.arange(n), (), ())


def generated(form: Form, scale: Scale, n: int, device: torch.device) -> Source:
    """Noise that lives on the device, as a view that fits there does."""
    view = view_of(form, scale, n)
    side_px = scale.side_px if form == "high" else scale.low_px
    images_NHWC = torch.empty(n, side_px, side_px, 3, dtype=torch.uint8, device=device)
    images_NHWC.random_(0, 256)
    return Source(view, images_NHWC, torch.from_numpy(view.labels_N).to(device), device)


def spec_of(views: tuple[ViewSpec, ...], model: str, n: int, scale: Scale, half: str) -> StageSpec:
    training = {"epochs": N_EPOCHS, "batch_size": scale.batch, "lr": 1e-4, "precision": half}
    return StageSpec(
        views=views,
        mixing="single" if len(views) == 1 else "union",
        subset=SubsetSpec(seed=0, n_images=n),
        n_classes=scale.n_classes,
        model=ModelSpec(name=model, normalisation="imagenet"),
        head="fresh",
        objective=ObjectiveSpec(),
        augment=AugmentSpec(),
        training=TrainingSpec.model_validate(training),
        seed=0,
        parent=None,
        teacher=None,
        recipe_version=RECIPE_VERSION,
    )


class Stage:
    """A network that trains epochs of one stage; each epoch is checked for its images."""

    def __init__(self, spec: StageSpec, sources: list[Source], compile_mode: str | None) -> None:
        self.spec, self.sources = spec, sources
        self.device = sources[0].device
        torch.manual_seed(0)
        self.network: Network = build_model(spec.model, spec.n_classes)
        if compile_mode is None:
            to_device(self.network.module, self.device)
        else:
            self.network.module.to(self.device).to(memory_format=torch.channels_last)
            self.network.module.compile(mode=compile_mode)
        self.optimizer = make_optimizer(self.network, spec)

    def epoch(self, batches_of: Callable[[int], Iterator] | None = None) -> int:
        """Train one epoch on the sources, or on other batches; the images seen."""
        rows = np.arange(self.spec.subset.n_images)
        own = lambda seed: epoch_batches(self.spec, self.sources, rows, seed)  # noqa: E731
        loop = train_stage(self.network, self.optimizer, self.spec, batches_of or own)
        return next(loop).images_seen

    def seconds(self, expected: int, batches_of: Callable[[int], Iterator] | None = None) -> float:
        seen: list[int] = []
        wait(self.device)
        took = seconds_of(lambda: (seen.append(self.epoch(batches_of)), wait(self.device)))
        if seen[0] != expected:
            raise SystemExit(f"an epoch of {seen[0]} images, not {expected}")
        return took

    def bare_s(self) -> float:
        """As many images as an epoch has, always the same batch in memory."""
        spec, batch = self.spec, self.spec.training.batch_size
        side_px = spec.views[0].canvas_px
        images = torch.randn(batch, 3, side_px, side_px, device=self.device)
        images = images.to(memory_format=torch.channels_last)
        labels = torch.randint(0, spec.n_classes, (batch,), device=self.device)
        half = spec.training.precision == "bfloat16"
        self.network.module.train()

        def run() -> None:
            for _ in range(spec.subset.n_images // batch):
                self.optimizer.zero_grad(set_to_none=True)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                    logits = self.network.module(images)
                F.cross_entropy(logits.float(), labels).backward()
                self.optimizer.step()
            wait(self.device)

        wait(self.device)
        n = spec.subset.n_images // batch * batch
        return seconds_of(run) * spec.subset.n_images / n

    @torch.inference_mode()
    def test_s(self, source: Source) -> float:
        """Seconds of the evaluation of a view."""

        def run() -> None:
            self.network.module.eval()
            right = torch.zeros((), dtype=torch.int64, device=self.device)
            for start in range(0, len(source.labels_N), TEST_BATCH):
                rows = np.arange(start, min(start + TEST_BATCH, len(source.labels_N)))
                logits = forward(self.network.module, source.gather(rows), self.spec)
                right += (logits.argmax(1) == source.labels_N[start : rows[-1] + 1]).sum()
            right.item()

        wait(self.device)
        return seconds_of(run)


class HostPhotos(Dataset):
    """The same photos in host memory, one at a time, for the DataLoader."""

    def __init__(self, source: Source) -> None:
        self.images_NHWC, self.labels_N = source.images_NHWC.cpu(), source.labels_N.cpu()

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.images_NHWC[place], self.labels_N[place]


def loader_batches(source: Source, batch: int) -> Callable[[int], Iterator]:
    """Batches for the same loop out of a DataLoader with pinned memory, one worker a core."""
    device = source.device
    loader = DataLoader(
        HostPhotos(source),
        batch,
        shuffle=True,
        num_workers=n_cpus(),
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )

    def batches(_epoch: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        for images_BHWC, labels_B in loader:
            moved = images_BHWC.to(device, non_blocking=True).permute(0, 3, 1, 2)
            yield [moved], labels_B.to(device, non_blocking=True)

    return batches


def scale_of(chosen: argparse.Namespace) -> Scale:
    names = ("images", "tests", "classes", "side_px", "low_px", "batch")
    return Scale(*(getattr(chosen, name) for name in names))
