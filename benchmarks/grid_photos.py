"""Photos as the plain peers read them: torchvision's transforms over files, in a DataLoader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from grid_work import GridWork
from PIL import Image
from rounds import require
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from trainables.batches import open_source
from trainables.models.normalise import normalise
from trainables.spec import DataSpec, Form, StageSpec
from trainables.views import open_view

TEST_BATCH = 128
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Largest difference of the two sides' pixels, in grey levels: what two resizes may round apart.
LEVELS = 2
N_COMPARED = 16


def transform_of(data: DataSpec, form: Form, *, mirror: bool) -> transforms.Compose:
    """Resize (low photos down and up), mirror, to a normalised float tensor."""
    sides_px = [data.canvas_px] if form == "high" else [data.resolution_px, data.canvas_px]
    bicubic = transforms.InterpolationMode.BICUBIC
    steps: list[Any] = [transforms.Resize((side, side), bicubic) for side in sides_px]
    if mirror:
        steps.append(transforms.RandomHorizontalFlip())
    steps += [transforms.ToTensor(), transforms.Normalize(*IMAGENET)]
    return transforms.Compose(steps)


class Photos(Dataset):
    """Files with labels; an example is a photo in one of its forms."""

    def __init__(
        self,
        files: list[Path],
        labels_N: np.ndarray,
        examples: list[tuple[Form, int]],
        transform_by_form: dict[Form, transforms.Compose],
    ) -> None:
        self.files, self.labels_N = files, labels_N
        self.examples, self.transform_by_form = examples, transform_by_form

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        form, row = self.examples[place]
        with Image.open(self.files[row]) as photo:
            image = photo.convert("RGB")
        return self.transform_by_form[form](image), int(self.labels_N[row])


def transforms_of(data: DataSpec, *, mirror: bool) -> dict[Form, transforms.Compose]:
    forms: tuple[Form, ...] = ("high", "low")
    return {form: transform_of(data, form, mirror=mirror) for form in forms}


def loader_of(work: GridWork, spec: StageSpec, workers: int) -> DataLoader:
    """Batches of a stage's epoch, shuffled anew each time."""
    files, labels_N = work.files("train")
    made = transforms_of(work.recipe.data, mirror=spec.augment.mirror)
    photos = Photos(files, labels_N, work.examples(spec), made)
    return DataLoader(
        photos,
        spec.training.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(spec.seed),
    )


@dataclass(frozen=True)
class TestSets:
    """The test photos in both forms."""

    high: DataLoader
    low: DataLoader

    @classmethod
    def of(cls, work: GridWork, workers: int) -> "TestSets":
        files, labels_N = work.files("test")
        made = transforms_of(work.recipe.data, mirror=False)
        forms: tuple[Form, ...] = ("high", "low")
        loaders = [
            DataLoader(
                Photos(files, labels_N, [(form, row) for row in range(len(files))], made),
                TEST_BATCH,
                num_workers=workers,
                persistent_workers=workers > 0,
            )
            for form in forms
        ]
        return cls(*loaders)


def check_pixels(work: GridWork, root: Path) -> None:
    """The peers' photos are ours: files, labels and pixels of the first photos of each view."""
    files, labels_N = work.files("train")
    made = transforms_of(work.recipe.data, mirror=False)
    for spec in work.plan.views().values():
        if spec.split != "train":
            continue
        source = open_source(open_view(root / "data", spec), torch.device("cpu"))
        rows = np.arange(min(N_COMPARED, len(files)))
        ours_BCHW = normalise(source.gather(rows), "imagenet")
        examples = Photos(files, labels_N, [(spec.form, int(row)) for row in rows], made)
        theirs = [examples[place] for place in range(len(rows))]
        scale = torch.tensor(IMAGENET[1])[:, None, None] * 255
        apart = (ours_BCHW - torch.stack([image for image, _ in theirs])).abs() * scale
        same = (apart <= LEVELS + 0.01).all() and (apart <= 0.01).float().mean() > 0.9
        require(bool(same), f"pixels of {spec.form} photos, up to {float(apart.max()):.1f} levels")
        labels = [label for _, label in theirs]
        require(labels == source.view.labels_N[rows].tolist(), f"labels of {spec.form} photos")
