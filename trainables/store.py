"""The stage store: folders addressed by what they compute, atomic and checksummed.

A folder counts only with its manifest, which is written last, and moves into place by one rename.
Nothing is ever deleted that cannot be proved to be ours; what is damaged is set aside. Objects of a
bucket have no rename: there each writer has a folder of its own.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from trainables.bucket import Original, original_of
from trainables.committing import commit_folder
from trainables.entry import MANIFEST, Entry, read_entry
from trainables.errors import DataError

KEEP_PROGRESS = 2
#: Folder times advance in ticks; a change within one may not show.
CLOCK_TICK_NS = 1_000_000_000


class Store:
    """All stages of all runs under one root (`<root>/store`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._original = original_of(folder)
        self._names: set[str] = set()
        self._by_suffix: dict[str, set[str]] = {}
        self._scanned_ns = -1
        self.look()

    def look(self) -> None:
        """Note which entries are there now; only those that came or went are work."""
        self._scanned_ns = self._changed_ns()
        there = self._listing()
        for name in there - self._names:
            self._note(name)
        for name in self._names - there:
            self._by_suffix.get(_suffix(name), set()).discard(name)
        self._names = there

    def _note(self, name: str) -> None:
        if not name.startswith("."):
            self._names.add(name)
            self._by_suffix.setdefault(_suffix(name), set()).add(name)

    def _listing(self) -> set[str]:
        here = set(os.listdir(self.folder)) if self.folder.is_dir() else set()  # noqa: PTH208
        return here if self._original is None else here | set(_folders(self._original))

    def find(self, key: str) -> Entry | None:
        """The committed entry of a key, or None. Only the full key counts, never the name."""
        found = self.known(key)
        return self.known(key) if found is None and self._refreshed(key) else found

    def known(self, key: str) -> Entry | None:
        """`find` among the entries that were there at the last look, without a new one."""
        return next(self._all(key), None)

    def _all(self, key: str) -> Iterator[Entry]:
        for name in sorted(self._by_suffix.get(key[:8], ())):
            entry = read_entry(self.folder / name)
            if entry is not None and entry.key == key:
                yield entry

    def _changed_ns(self) -> int:
        return self.folder.stat().st_mtime_ns if self.folder.is_dir() else -1

    def _refreshed(self, key: str) -> bool:
        """Look again if another process may have committed since; whether that can help."""
        changed_ns, whole = self._changed_ns(), self._original is None
        if whole and changed_ns == self._scanned_ns and time.time_ns() - changed_ns > CLOCK_TICK_NS:
            return False
        self.look()
        return bool(self._by_suffix.get(key[:8]))

    def commit(self, key: str, name: str, kind: str, write: Callable[[Path], None]) -> Entry:
        """Write an entry; when another process was first, keep its and drop ours.

        Args:
            key: full key of what the folder holds.
            name: human name; the folder is `<name>-<first 8 of key>`, 16 on a clash; in a bucket
                8 more that are the writer's own.
            kind: see `Entry`.
            write: puts the files into the folder it is given.
        """
        if self._original is not None:
            return self._commit_to_bucket(key, name, kind, write)
        for digits in (8, 16):
            target = self.folder / f"{name}-{key[:digits]}"
            there = read_entry(target)
            if there is not None and there.key == key:
                return there
            if not target.exists():
                entry = commit_folder(target, key, kind, write)
                self._note(target.name)
                return entry
        raise DataError(f"{target} is in the way of a stage; move it out of the store")

    def _commit_to_bucket(
        self, key: str, name: str, kind: str, write: Callable[[Path], None]
    ) -> Entry:
        """Each writer has a folder of its own, so no two mix; of two whole ones the first stays.

        Both look after both manifests are there, so at least one of them sees the other.
        """
        there = self.find(key)
        if there is not None:
            return there
        target = self.folder / f"{name}-{key[:8]}{uuid.uuid4().hex[:8]}"
        ours = commit_folder(target, key, kind, write)
        self.look()
        first, *others = sorted(self._all(key), key=_put_at)
        if first.folder != target:
            _withdraw(ours)
        for other in others:  # what its writer takes back must not be found in our copy
            shutil.rmtree(other.folder, ignore_errors=True)
        self.look()
        return first

    def checked(self, key: str) -> Entry | None:
        """`find`, and each byte of the entry's files read: for those that only use it.

        Raises:
            DataError: when it is damaged; it is set aside then, so that the next run makes it anew.
        """
        entry = self.find(key)
        if entry is None or not (damaged := entry.damaged(tuple(entry.files))):
            return entry
        try:
            target = self.quarantine(entry)
            what = "was set aside already" if target is None else f"was set aside to {target}"
        except OSError as error:
            what = f"cannot be set aside ({error.strerror})"
        raise DataError(
            f"{damaged[0]} of {entry.folder.name} is damaged; the stage {what}, and the command "
            "that trained it, f2c run, trains it anew"
        )

    def quarantine(self, entry: Entry) -> Path | None:
        """Set a damaged entry aside, so that it is made anew; never deleted.

        Returns:
            Where it lies now; None where another driver was faster, and perhaps made it anew.
        """
        target = self._set_aside(entry.folder) if read_entry(entry.folder) == entry else None
        self.look()
        return target

    def _set_aside(self, folder: Path) -> Path | None:
        name = "-".join(folder.relative_to(self.folder).parts)
        target = self.folder / "quarantine" / f"{name}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except FileNotFoundError:
            return None
        again = None if original_of(folder) is None else read_entry(folder)
        if again is not None and not again.whole():
            _withdraw_damaged(again, target.name)
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
            _forget(old)

    def newest_progress(self, key: str, name: str) -> Entry | None:
        """The newest whole state of an unfinished stage; damaged ones are set aside."""
        for folder in _epochs(self.progress_folder(key, name)):
            entry = read_entry(folder)
            if entry is not None and entry.key == key and entry.whole():
                return entry
            self._set_aside(folder)
        return None

    def drop_progress(self, key: str, name: str) -> None:
        """Forget the unfinished epochs of a stage that is done."""
        _forget(self.progress_folder(key, name))

    def entries(self) -> Iterator[Entry]:
        """Every committed entry."""
        self.look()
        for name in sorted(self._names):
            entry = None if name.startswith(".") else read_entry(self.folder / name)
            if entry is not None:
                yield entry


def _suffix(name: str) -> str:
    return name.rsplit("-", 1)[-1][:8]


def _epochs(folder: Path) -> list[Path]:
    """States of an unfinished stage, here and in the bucket, the newest first."""
    original = original_of(folder)
    away = [] if original is None else _folders(original)
    names = {path.name for path in folder.glob("epoch-*")} | set(away)
    numbers = [name.removeprefix("epoch-") for name in names if name.startswith("epoch-")]
    newest_first = sorted((int(n) for n in numbers if n.isdecimal()), reverse=True)
    return [folder / f"epoch-{number}" for number in newest_first]


def _folders(original: Original) -> list[str]:
    return original.bucket.folders(original.path)


def _put_at(entry: Entry) -> tuple[int, float, str]:
    """When an entry came to its bucket: the bucket's whole seconds, then the writer's clock."""
    assert entry.original is not None
    bucket, path = entry.original
    committed_at = json.loads((entry.folder / MANIFEST).read_bytes())["committed_at"]
    return bucket.put_at_ns(f"{path}/{MANIFEST}"), committed_at, entry.folder.name


def _withdraw(entry: Entry) -> None:
    """Take an entry back of which another is there; it stops to count first."""
    if entry.original is not None:
        bucket, path = entry.original
        bucket.delete_object(f"{path}/{MANIFEST}")
    _forget(entry.folder)


def _withdraw_damaged(entry: Entry, name: str) -> None:
    """Let an entry that is damaged in its bucket, too, stop to count; its files stay there."""
    if entry.original is not None:
        bucket, path = entry.original
        if (entry.folder / MANIFEST).exists():
            bucket.put(entry.folder / MANIFEST, f"store/quarantine/{name}/{MANIFEST}")
        bucket.delete_object(f"{path}/{MANIFEST}")
    shutil.rmtree(entry.folder, ignore_errors=True)


def _forget(folder: Path) -> None:
    original = original_of(folder)
    if original is not None:
        original.bucket.delete(original.path)
    shutil.rmtree(folder, ignore_errors=True)
