"""Read a folder of sharp photos to learn from."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.decode import read_photo
from trainables.errors import DataError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def read_training_images(folder: Path) -> list[NDArray[np.uint8]]:
    """All photos directly in a folder, by name.

    Returns:
        (H, W, 3) uint8 each, as `read_photo`.

    Raises:
        DataError: when the folder is missing or holds no photos, or some cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with sharp photos to learn from")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no photos ({', '.join(SUFFIXES)}) to learn from")
    return [_read(file) for file in files]


def _read(file: Path) -> NDArray[np.uint8]:
    try:
        return read_photo(file)
    except DataError as fault:
        raise DataError(f"{file} cannot be learnt from: {fault}") from fault
