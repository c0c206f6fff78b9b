"""Verification of a data set's photos: every one that is bad, and photos that two splits share.

Shape legend: N photos of an index.
"""

import hashlib
import os
import tempfile
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from trainables.decode import box_on_photo, read_photo
from trainables.errors import DataError
from trainables.index import Index

#: Bits in which the hashes of two prints of one photo may differ.
NEAR_BITS = 4
HASH_SIDE_PX = 32
#: Below this contrast (grey levels) a photo has no shape to compare.
LEAST_CONTRAST = 4.0
_STDERR = threading.Lock()


@dataclass(frozen=True)
class Audit:
    """What is wrong with the photos of an index, as lines for a person.

    Attributes:
        n_photos: looked at.
        bad: photos that cannot be used.
        doubtful: JPEGs whose decoder complained and went on.
        shared: photos of equal pixels in two splits.
        similar: photos of two splits that look alike.
        n_repeated: photos of equal pixels within a split.
    """

    n_photos: int
    bad: tuple[str, ...]
    doubtful: tuple[str, ...]
    shared: tuple[str, ...]
    similar: tuple[str, ...]
    n_repeated: int


@dataclass(frozen=True)
class _Print:
    row: int
    pixels: str
    look: int | None


def audit(index: Index, on_progress: Callable[[int, int], None]) -> Audit:
    """Read every photo of an index once.

    Args:
        index: of files.
        on_progress: called with photos done and photos in all.
    """
    bad, doubtful, prints = [], [], []
    for row, path in enumerate(index.paths):
        file, where = index.root / path, f"row {row}  {path!r} ({index.splits[row]})"
        try:
            photo_HWC = read_photo(file)
            box_on_photo(index.boxes[row], photo_HWC.shape[1], photo_HWC.shape[0])
        except DataError as fault:
            bad.append(f"{where}: {fault}")
        else:
            prints.append(_print_of(row, photo_HWC))
            complaint = jpeg_complaint(file)
            doubtful += [f"{where}: {complaint}"] if complaint else []
        on_progress(row + 1, len(index))
    shared, n_repeated = _equal(index, prints)
    similar = list(_alike(index, prints))
    return Audit(len(index), tuple(bad), tuple(doubtful), tuple(shared), tuple(similar), n_repeated)


def _print_of(row: int, photo_HWC: NDArray[np.uint8]) -> _Print:
    digest = hashlib.sha256(repr(photo_HWC.shape).encode() + photo_HWC.tobytes()).hexdigest()
    return _Print(row, digest, look_of(photo_HWC))


def look_of(photo_HWC: NDArray[np.uint8]) -> int | None:
    """Sixty-four bits that change little with size and compression; None for a blank photo.

    The signs, about their median, of the 8 x 8 lowest frequencies of the grey photo at 32 px.
    """
    grey = Image.fromarray(photo_HWC).convert("L")
    small_HW = np.asarray(grey.resize((HASH_SIDE_PX, HASH_SIDE_PX)), dtype=np.float64)
    if small_HW.std() < LEAST_CONTRAST:
        return None
    low = np.asarray(dctn(small_HW, norm="ortho"))[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int(np.packbits(bits).view(">u8")[0])


def jpeg_complaint(file: Path) -> str:
    """What libjpeg says of a photo that it decodes all the same; empty for a sound one.

    Pillow hides it; torchvision's decoder lets it through to the process's stderr.
    """
    content = file.read_bytes()
    if not content.startswith(b"\xff\xd8"):
        return ""
    import torch
    from torchvision.io import decode_jpeg

    with _STDERR, tempfile.TemporaryFile() as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        except RuntimeError:
            return ""  # colours that it does not know; Pillow has read it
        finally:
            os.dup2(before, 2)
            os.close(before)
        caught.seek(0)
        return caught.read().decode("ascii", "replace").strip().partition("\n")[0]


def _equal(index: Index, prints: Sequence[_Print]) -> tuple[list[str], int]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for each in prints:
        rows_of[each.pixels].append(each.row)
    groups = [rows for rows in rows_of.values() if len(rows) > 1]
    across = [rows for rows in groups if len({index.splits[row] for row in rows}) > 1]
    n_repeated = sum(len(rows) - 1 for rows in groups if rows not in across)
    return [" = ".join(_name(index, row) for row in rows) for rows in across], n_repeated


def _alike(index: Index, prints: Sequence[_Print]) -> Iterator[str]:
    """Pairs of two splits whose looks differ in few bits and whose pixels differ."""
    seen = [each for each in prints if each.look is not None]
    for first, second in combinations(sorted({str(index.splits[p.row]) for p in seen}), 2):
        ones = [p for p in seen if index.splits[p.row] == first]
        others = [p for p in seen if index.splits[p.row] == second]
        looks_N = np.array([p.look for p in others], dtype=np.uint64)
        for one in ones:
            bits_N = np.bitwise_count(looks_N ^ np.uint64(one.look or 0))
            for place in np.flatnonzero(bits_N <= NEAR_BITS):
                if others[place].pixels != one.pixels:
                    yield f"{_name(index, one.row)} ~ {_name(index, others[place].row)}"


def _name(index: Index, row: int) -> str:
    return f"{index.paths[row]!r} ({index.splits[row]})"
