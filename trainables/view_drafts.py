"""Writing a prepared view: reserved first, manifest last, in place by one rename.

What is interrupted leaves a `.tmp-` folder at most, which nobody takes for a view.

Shape legend: N photos, H rows, W columns, C colour.
"""

import errno
import json
import os
import shutil
import socket
import uuid
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from trainables.bucket import original_of
from trainables.disk import fsync
from trainables.faults import fault_point
from trainables.fingerprint import key_of
from trainables.index import Index
from trainables.spec import ViewSpec
from trainables.views import (
    IMAGES,
    LABELS,
    MANIFEST,
    ROWS,
    FileRecord,
    Manifest,
    find_damage,
    sha256_of,
    stored_px,
    view_folder,
    view_name,
)


class ViewDraft:
    """A view being written in a temporary folder; leaving the context without commit drops it.

    Attributes:
        images_NHWC: uint8 memory map, to be filled in any order; its place on the disk is taken.
    """

    images_NHWC: np.memmap

    def __init__(
        self, data_root: Path, spec: ViewSpec, index: Index, rows: NDArray[np.int64]
    ) -> None:
        """Name the draft; nothing is written before the context is entered.

        Args:
            data_root: `<root>/data`.
            spec: of the view.
            index: of the data set.
            rows: (N,) the rows of `spec.split`, ascending.
        """
        scratch = f".tmp-{view_name(spec)}-{socket.gethostname()}-{os.getpid()}"
        self._folder = data_root / f"{scratch}-{uuid.uuid4().hex[:8]}"
        self._spec = spec
        self._index = index
        self._rows = rows

    def __enter__(self) -> "ViewDraft":
        """Reserve the space.

        Raises:
            OSError: ENOSPC when the disk is too full; it says what is needed and what is there.
        """
        side_px = stored_px(self._spec)
        self._folder.mkdir(parents=True)
        try:
            self.images_NHWC = _reserve(
                self._folder / IMAGES, (len(self._rows), side_px, side_px, 3)
            )
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drop()

    @property
    def images_file(self) -> Path:
        """The file of the memory map, for other processes of this machine."""
        return self._folder.absolute() / IMAGES

    def commit(self, n_clipped_boxes: int) -> Path:
        """Put the view in its place; where another process was first, its view stays.

        Returns:
            The view's folder.
        """
        self.images_NHWC.flush()
        paths = [self._index.paths[row] for row in self._rows]
        np.save(self._folder / LABELS, self._index.labels[self._rows])
        (self._folder / ROWS).write_text(json.dumps({"rows": self._rows.tolist(), "paths": paths}))
        fault_point("view.seal")
        manifest = self._describe(n_clipped_boxes)
        (self._folder / MANIFEST).write_text(manifest.model_dump_json(indent=1))
        fsync(self._folder / MANIFEST)
        fsync(self._folder)
        data_root = self._folder.parent
        target = view_folder(data_root, self._spec)
        original = original_of(target)
        if original is not None:
            original.put_all(self._folder, last=MANIFEST)
        fault_point("view.rename")
        _publish(self._folder, target, self._spec)
        fsync(data_root)
        return target

    def _describe(self, n_clipped_boxes: int) -> Manifest:
        return Manifest(
            key=key_of(self._spec),
            spec=self._spec,
            class_names=self._index.class_names,
            n_photos=len(self._rows),
            n_clipped_boxes=n_clipped_boxes,
            files={
                IMAGES: _seal(self._folder / IMAGES, checksum=False),
                LABELS: _seal(self._folder / LABELS, checksum=True),
                ROWS: _seal(self._folder / ROWS, checksum=True),
            },
            made_with={n: version(n) for n in ("numpy", "pillow", "simplejpeg", "torch")},
        )

    def _drop(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _reserve(path: Path, shape_NHWC: tuple[int, int, int, int]) -> np.memmap:
    """Make an .npy file of that shape whose blocks are all taken.

    A memory map over a sparse file would kill the process when the disk fills up.
    """
    need_bytes = int(np.prod(shape_NHWC))
    free_bytes = shutil.disk_usage(path.parent).free
    if need_bytes > free_bytes:
        raise _disk_full(path, need_bytes, free_bytes)
    images_NHWC = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape_NHWC)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as fault:
                if fault.errno == errno.ENOSPC:
                    raise _disk_full(path, need_bytes, free_bytes) from fault
                raise
    return images_NHWC


def _disk_full(path: Path, need_bytes: int, free_bytes: int) -> OSError:
    return OSError(
        errno.ENOSPC,
        f"disk full: need {need_bytes / 1e6:,.0f} MB, have {free_bytes / 1e6:,.0f} MB at "
        f"{path.parent.parent}; free some space and run the same command again",
    )


def _seal(path: Path, *, checksum: bool) -> FileRecord:
    fsync(path)
    return FileRecord(size_bytes=path.stat().st_size, sha256=sha256_of(path) if checksum else None)


def _publish(temporary: Path, target: Path, spec: ViewSpec) -> None:
    try:
        temporary.rename(target)
    except OSError as fault:
        if fault.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        if find_damage(target, spec) is None:
            return
        target.rename(target.with_name(f".damaged-{target.name}-{uuid.uuid4().hex[:8]}"))
        temporary.rename(target)
