"""Prepared views: what they are called, where they lie, opened memory-mapped.

A view is a folder with `images.npy`, `labels.npy`, `rows.json` and `manifest.json`; one without a
valid manifest is no view. view_drafts.py writes them.

Shape legend: N photos, H rows, W columns, C colour.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainables.bucket import original_of
from trainables.errors import ConfigError, DataError
from trainables.fingerprint import key_of
from trainables.spec import DataSpec, Form, Spec, Split, SuperresSpec, ViewSpec

MANIFEST = "manifest.json"
IMAGES = "images.npy"
LABELS = "labels.npy"
ROWS = "rows.json"


class Pixels(Protocol):
    """Uint8 photos by their places: a memory map, or photos that are read when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, H, W, C."""
        ...

    def __getitem__(self, places: Any, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class View:
    """One form of a split, in index order.

    Attributes:
        spec: what it is.
        images_NHWC: uint8, never in memory as a whole. Prepared ones are mapped copy-on-write and
            never written back. H and W are `stored_px(spec)`.
        labels_N: int64, positions in `class_names`.
        rows_N: int64, row numbers of the index.
        class_names: the class table of all splits.
        paths: N relative paths, for messages and galleries.
    """

    spec: ViewSpec
    images_NHWC: Pixels
    labels_N: NDArray[np.int64]
    rows_N: NDArray[np.int64]
    class_names: tuple[str, ...]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels_N)


class FileRecord(Spec):
    """Size of a view's file and, except for the images, its checksum."""

    size_bytes: int
    sha256: str | None


class Manifest(Spec):
    """What a view's folder holds; `made_with` is a record, not part of the identity."""

    key: str
    spec: ViewSpec
    class_names: tuple[str, ...]
    n_photos: int
    n_clipped_boxes: int
    files: dict[str, FileRecord]
    made_with: dict[str, str]


def stored_px(spec: ViewSpec) -> int:
    """Side of the pixels that a view stores: a low view keeps its native size."""
    native_px = spec.resolution_px if spec.form == "low" else None
    return spec.canvas_px if native_px is None else native_px


def check_resolution(resolution_px: int, canvas_px: int) -> None:
    """Refuse a low view that would be sharper than the canvas it is enlarged to.

    Raises:
        ConfigError: when it would.
    """
    if resolution_px > canvas_px:
        raise ConfigError(
            f"a low view of {resolution_px} px is above the canvas of {canvas_px} px, so it would "
            "be sharper than the high view; lower data.resolution_px or raise data.canvas_px"
        )


def view_spec(
    data: DataSpec,
    data_key: str,
    form: Form,
    split: Split,
    resolution_px: int | None = None,
    superres: SuperresSpec | None = None,
) -> ViewSpec:
    """The view of a split.

    A high view's pixels do not depend on how low ones are made, so neither does its key.

    Args:
        data: the recipe's data.
        data_key: fingerprint of the index.
        form: high, low or sr.
        split: of the index.
        resolution_px: in place of `data.resolution_px`. Where `data.resolution_of` is `crop`, it
            is the resolution of the crop, and the whole canvas gets more in proportion (A11).
        superres: of an `sr` view; not part of the others.

    Raises:
        ConfigError: when the resolution is above the canvas.
    """
    low_px = data.resolution_px if resolution_px is None else resolution_px
    if data.resolution_of == "crop" and data.crop_px is not None:
        low_px = round(low_px * data.canvas_px / data.crop_px)
    check_resolution(low_px, data.canvas_px)
    high = form == "high"
    return ViewSpec(
        form=form,
        split=split,
        data_key=data_key,
        canvas_px=data.canvas_px,
        resolution_px=None if high else low_px,
        kernel=data.kernel,
        antialias=data.antialias,
        degrade_from="object" if high else data.degrade_from,
        box_margin_px=data.box_margin_px,
        jpeg_quality=None if high else data.jpeg_quality,
        superres=superres if form == "sr" else None,
    )


def names_of_tests(views: Iterable[ViewSpec]) -> dict[str, ViewSpec]:
    """What accuracies on some views are called: by their form, further ones of it in full.

    Returns:
        `high`, `low`, `sr`, and for a second low view such as `low25px-nearest`.
    """
    named: dict[str, ViewSpec] = {}
    for view in views:
        plain = "" if view.antialias else "-plain"
        full = f"{view.form}{view.resolution_px}px-{view.kernel}{plain}"
        named[full if view.form in named else view.form] = view
    return named


def view_name(spec: ViewSpec) -> str:
    """What people call a view: `train-low25-ab12cd34`, with the first digits of its key."""
    return _name(spec, 8)


def _name(spec: ViewSpec, digits: int) -> str:
    side_px = spec.canvas_px if spec.resolution_px is None else spec.resolution_px
    return f"{spec.split}-{spec.form}{side_px}-{key_of(spec)[:digits]}"


def low_source(view: ViewSpec) -> ViewSpec:
    """The low view that an `sr` view is made from."""
    return view.model_copy(update={"form": "low", "superres": None})


def view_folder(data_root: Path, spec: ViewSpec) -> Path:
    """Where a view lies or would lie; a longer name where another view has the short one."""
    folder = data_root / view_name(spec)
    manifest = read_manifest(folder)
    clash = manifest is not None and manifest.key != key_of(spec)
    return data_root / _name(spec, 16) if clash else folder


def is_prepared(data_root: Path, spec: ViewSpec) -> bool:
    """Whether `open_view` would succeed."""
    folder = view_folder(data_root, spec)
    if find_damage(folder, spec) is None:
        return True
    away = _manifest_away(folder)
    return away is not None and away.key == key_of(spec)


def _manifest_away(folder: Path) -> Manifest | None:
    """The manifest of a view's original, where its root is a copy of a bucket."""
    original = original_of(folder)
    text = None if original is None else original.bucket.read(f"{original.path}/{MANIFEST}")
    return None if text is None else Manifest.model_validate_json(text)


def _bring(folder: Path) -> None:
    """Copy a view here from where its original lies, the manifest last."""
    original, manifest = original_of(folder), _manifest_away(folder)
    if original is None or manifest is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*manifest.files, MANIFEST):
        original.get(name, folder)


def open_view(data_root: Path, spec: ViewSpec) -> View:
    """Open a prepared view.

    Raises:
        DataError: when it was not prepared or is damaged.
    """
    folder = view_folder(data_root, spec)
    damage = find_damage(folder, spec)
    if damage is not None:
        _bring(folder)
        damage = find_damage(folder, spec)
    manifest = read_manifest(folder)
    if damage is not None or manifest is None:
        raise DataError(f"the view {folder} cannot be used: {damage}; run prepare again")
    listed = json.loads((folder / ROWS).read_bytes())
    return View(
        spec=spec,
        images_NHWC=np.load(folder / IMAGES, mmap_mode="c", allow_pickle=False),
        labels_N=np.load(folder / LABELS, allow_pickle=False),
        rows_N=np.array(listed["rows"], dtype=np.int64),
        class_names=manifest.class_names,
        paths=tuple(listed["paths"]),
    )


def read_manifest(folder: Path) -> Manifest | None:
    """A folder's manifest, or None where there is no valid one."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def find_damage(folder: Path, spec: ViewSpec) -> str | None:
    """Say what keeps a folder from being this view; None when nothing does."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "it has no valid manifest" if folder.exists() else "it was never prepared"
    if manifest.key != key_of(spec):
        return "it holds another view"
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected.size_bytes:
            return f"{name} is missing or has another size"
        if expected.sha256 is not None and sha256_of(path) != expected.sha256:
            return f"{name} was changed"
    return None


def sha256_of(path: Path) -> str:
    """The checksum that a manifest records of a small file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
