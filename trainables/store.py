"""The stage store: folders addressed by what they compute, atomic and checksummed.

A folder counts only with its manifest, which is written last, and moves into place by one rename.
Nothing is ever deleted that cannot be proved to be ours; what is damaged is set aside.
"""

import errno
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import DataError
from trainables.faults import fault_point

MANIFEST = "manifest.json"
KEEP_PROGRESS = 2
#: How libraries spell ENOSPC that raise something else than OSError.
FULL = ("No space left", "StorageFull")
#: Folder times advance in ticks; a change within one may not show.
CLOCK_TICK_NS = 1_000_000_000


@dataclass(frozen=True)
class Entry:
    """A committed folder: `kind` is stage, diverged, weights, evaluation or progress."""

    folder: Path
    key: str
    kind: str
    files: dict[str, dict[str, Any]]

    def damaged(self, names: tuple[str, ...] | None = None) -> list[str]:
        """Names of files whose bytes are not those that were committed."""
        return [
            name
            for name, expected in self.files.items()
            if (names is None or name in names) and not _matches(self.folder / name, expected)
        ]

    def path(self, name: str) -> Path:
        """A file of the entry, its checksum verified.

        Raises:
            DataError: when the file is missing or damaged.
        """
        if name not in self.files or self.damaged((name,)):
            raise DataError(
                f"{self.folder / name} is damaged or missing; run the same command again: "
                "the stage is set aside and trained anew"
            )
        return self.folder / name

    def json(self, name: str) -> Any:
        """A verified JSON file of the entry."""
        return json.loads(self.path(name).read_text())

    def jsonl(self, name: str) -> list[Any]:
        """A verified file of one JSON value a line."""
        return [json.loads(line) for line in self.path(name).read_text().splitlines()]


class Store:
    """All stages of all runs under one root (`<root>/store`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_suffix: dict[str, list[Path]] = {}
        self._scanned_ns = -1
        self._scan()

    def _scan(self) -> None:
        self._by_suffix.clear()
        if not self.folder.is_dir():
            return
        self._scanned_ns = self._changed_ns()
        for item in os.scandir(self.folder):
            if item.is_dir() and not item.name.startswith("."):
                suffix = item.name.rsplit("-", 1)[-1]
                self._by_suffix.setdefault(suffix[:8], []).append(Path(item.path))

    def find(self, key: str) -> Entry | None:
        """The committed entry of a key, or None. Only the full key counts, never the name."""
        for attempt in (1, 2):
            for folder in self._by_suffix.get(key[:8], ()):
                entry = read_entry(folder)
                if entry is not None and entry.key == key:
                    return entry
            if attempt == 1 and not self._refreshed(key):
                return None
        return None

    def _changed_ns(self) -> int:
        return self.folder.stat().st_mtime_ns if self.folder.is_dir() else -1

    def _refreshed(self, key: str) -> bool:
        """Look again if another process may have committed since; whether that can help."""
        changed_ns = self._changed_ns()
        if changed_ns == self._scanned_ns and time.time_ns() - changed_ns > CLOCK_TICK_NS:
            return False
        self._scan()
        return key[:8] in self._by_suffix

    def commit(self, key: str, name: str, kind: str, write: Callable[[Path], None]) -> Entry:
        """Write an entry; when another process was first, keep its and drop ours.

        Args:
            key: full key of what the folder holds.
            name: human name; the folder is `<name>-<first 8 of key>`, 16 on a clash.
            kind: see `Entry`.
            write: puts the files into the folder it is given.
        """
        for digits in (8, 16):
            target = self.folder / f"{name}-{key[:digits]}"
            there = read_entry(target)
            if there is not None and there.key == key:
                return there
            if not target.exists():
                entry = commit_folder(target, key, kind, write)
                self._by_suffix.setdefault(key[:8], []).append(target)
                return entry
        raise DataError(f"{target} is in the way of a stage; move it out of the store")

    def quarantine(self, entry: Entry) -> Path:
        """Set a damaged entry aside, so that it is made anew; never deleted."""
        target = self.folder / "quarantine" / f"{entry.folder.name}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(exist_ok=True)
        entry.folder.rename(target)
        self._scan()
        return target

    def progress_folder(self, key: str, name: str) -> Path:
        """Where a stage's unfinished epochs lie."""
        return self.folder / "progress" / f"{name}-{key[:16]}"

    def save_progress(self, key: str, name: str, epoch: int, write: Callable[[Path], None]) -> None:
        """Commit the state after an epoch and keep the last two."""
        folder = self.progress_folder(key, name)
        target = folder / f"epoch-{epoch}"
        if not target.exists():
            commit_folder(target, key, "progress", write)
        for old in _epochs(folder)[KEEP_PROGRESS:]:
            shutil.rmtree(old, ignore_errors=True)

    def newest_progress(self, key: str, name: str) -> Entry | None:
        """The newest whole state of an unfinished stage; a damaged one falls back to the older."""
        for folder in _epochs(self.progress_folder(key, name)):
            entry = read_entry(folder)
            if entry is not None and entry.key == key and not entry.damaged():
                return entry
        return None

    def drop_progress(self, key: str, name: str) -> None:
        """Forget the unfinished epochs of a stage that is done."""
        shutil.rmtree(self.progress_folder(key, name), ignore_errors=True)

    def entries(self) -> Iterator[Entry]:
        """Every committed entry."""
        self._scan()
        for folders in self._by_suffix.values():
            for folder in folders:
                entry = read_entry(folder)
                if entry is not None:
                    yield entry


def _epochs(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("epoch-*") if p.name.removeprefix("epoch-").isdigit()]
    return sorted(found, key=lambda p: -int(p.name.removeprefix("epoch-")))


def read_entry(folder: Path) -> Entry | None:
    """The entry in a folder, or None where there is no valid manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return Entry(folder, manifest["key"], manifest["kind"], manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def commit_folder(target: Path, key: str, kind: str, write: Callable[[Path], None]) -> Entry:
    """Temporary folder, files, fsync, manifest last, fsync, one rename."""
    make_folders(target.parent)
    scratch = f".tmp-{key[:8]}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = target.parent / scratch
    temporary.mkdir()
    try:
        fault_point(f"{kind}.write")
        write(temporary)
        fault_point(f"{kind}.seal")
        files = {path.name: _seal(path) for path in sorted(temporary.iterdir())}
        manifest = {"key": key, "kind": kind, "committed_at": time.time(), "files": files}
        fault_point(f"{kind}.manifest")
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
        fsync(temporary / MANIFEST)
        fsync(temporary)
        fault_point(f"{kind}.rename")
        return _rename(temporary, target, Entry(target, key, kind, files))
    except Exception as error:
        full = _full_disk(error, target.parent, _bytes_in(temporary))
        if full is None:
            raise
        raise full from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, so that a loss of power does not take them back."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        fsync(place.parent)


def _rename(temporary: Path, target: Path, entry: Entry) -> Entry:
    try:
        temporary.rename(target)
    except OSError:
        there = read_entry(target)
        if there is None or there.key != entry.key:
            raise
        return there
    fault_point(f"{entry.kind}.renamed")
    fsync(target.parent)
    return entry


def _seal(path: Path) -> dict[str, Any]:
    fsync(path)
    return {"sha256": _digest(path), "bytes": path.stat().st_size}


def fsync(path: Path) -> None:
    """Force a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _matches(path: Path, expected: dict[str, Any]) -> bool:
    """Whether a file has the bytes that were committed; a read that fails is tried once more."""
    for _ in range(2):
        try:
            return path.stat().st_size == expected["bytes"] and _digest(path) == expected["sha256"]
        except (FileNotFoundError, KeyError):
            return False
        except OSError:
            continue
    return False


def _digest(path: Path) -> str:
    fault_point("read")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def _full_disk(error: Exception, folder: Path, written_bytes: int) -> OSError | None:
    """What to tell of an error that comes from a full disk; libraries have many names for it."""
    text = str(error)
    by_number = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not by_number and not any(mark in text for mark in FULL):
        return None
    free_bytes = shutil.disk_usage(folder).free
    return OSError(
        errno.ENOSPC,
        f"disk full: need more than {written_bytes / 1e6:.1f} MB, have {free_bytes / 1e6:.1f} MB "
        f"at {folder}; free some space and run the same command again",
    )
