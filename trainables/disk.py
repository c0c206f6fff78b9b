"""What a disk promises: bytes and names that outlive a loss of power, and its being full."""

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: How libraries spell ENOSPC that raise something else than OSError.
FULL = ("No space left", "StorageFull")
#: A place that may be read and not be written.
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, so that a loss of power does not take them back."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        fsync(place.parent)


def fsync(path: Path) -> None:
    """Force a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(
    file: Path, write: Callable[[Path], object], scratch_folder: Path | None = None
) -> None:
    """Put a file in its place whole or not at all, also where power is lost meanwhile.

    Args:
        file: in a folder that is made where it is missing.
        write: puts the content into the file that it is given.
        scratch_folder: where that one lies, on the same disk; beside `file` without.
    """
    make_folders(file.parent)
    name = f".tmp-{file.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    aside = (scratch_folder or file.parent) / name
    try:
        write(aside)
        fsync(aside)
        aside.replace(file)
        fsync(file.parent)
    finally:
        aside.unlink(missing_ok=True)


def replace_text(file: Path, text: str) -> None:
    """Put a text in UTF-8 in a file's place, see `replace_file`."""
    replace_file(file, lambda aside: aside.write_text(text, encoding="utf-8"))


@contextmanager
def where_writable() -> Iterator[None]:
    """For what only saves time later: a place that may be read and not written is passed over."""
    try:
        yield
    except OSError as error:
        if error.errno not in FORBIDDEN:
            raise


def full_disk(error: Exception, folder: Path, written: Path) -> OSError | None:
    """What to tell of an error that comes from a full disk; libraries have many names for it."""
    text = str(error)
    by_number = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not by_number and not any(mark in text for mark in FULL):
        return None
    written_bytes = sum(p.stat().st_size for p in written.iterdir()) if written.is_dir() else 0
    free_bytes = shutil.disk_usage(folder).free
    return OSError(
        errno.ENOSPC,
        f"disk full: need more than {written_bytes / 1e6:.1f} MB, have {free_bytes / 1e6:.1f} MB "
        f"at {folder}; free some space and run the same command again",
    )
