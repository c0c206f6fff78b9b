"""An entry of the stage store: what its manifest says, each file checked when it is read.

In the copy of a bucket, an entry is there before it is here, and its files come when they are asked
for.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.bucket import Original, original_of
from trainables.errors import DataError
from trainables.faults import fault_point

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """A committed folder: `kind` is stage, diverged, weights, evaluation or progress."""

    folder: Path
    key: str
    kind: str
    files: dict[str, dict[str, Any]]
    original: Original | None = None

    def damaged(self, names: tuple[str, ...] | None = None) -> list[str]:
        """Names of files whose bytes are not those that were committed; of all, strangers too."""
        changed = [
            name
            for name, expected in self.files.items()
            if (names is None or name in names)
            and not self._still_away(name)
            and not _matches(self.folder / name, expected)
        ]
        return [*changed, *self._strangers()] if names is None else changed

    def cut(self) -> list[str]:
        """Names of files that have another size than was committed: seen without reading them."""
        return [
            name
            for name, expected in self.files.items()
            if not self._still_away(name) and _size(self.folder / name) != expected.get("bytes")
        ]

    def _strangers(self) -> list[str]:
        """Files that were not committed: Tune, which restores from the folder, may read them."""
        ours = {MANIFEST, *self.files}
        return sorted(path.name for path in self.folder.glob("*") if path.name not in ours)

    def _still_away(self, name: str) -> bool:
        return self.original is not None and not (self.folder / name).exists()

    def whole(self) -> bool:
        """Whether all files are there as they were committed, the bucket's once they are here."""
        try:
            for name in filter(self._still_away, self.files):
                self._bring(name)
        except FileNotFoundError:
            return False
        return not self.damaged()

    def _bring(self, name: str) -> None:
        try:
            if self.original is not None:
                self.original.get(name, self.folder)
        except FileNotFoundError:  # its writer took it back since the manifest came here
            (self.folder / MANIFEST).unlink(missing_ok=True)
            raise

    def path(self, name: str) -> Path:
        """A file of the entry, its checksum verified.

        Raises:
            DataError: when the file is missing or damaged.
        """
        if name in self.files and self._still_away(name):
            self._bring(name)
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


def read_entry(folder: Path) -> Entry | None:
    """The entry in a folder, or None where there is no valid manifest."""
    original = original_of(folder)
    try:
        if original is not None and not original.get_manifest(folder, MANIFEST):
            return None
        read = json.loads((folder / MANIFEST).read_bytes())
        entry = Entry(folder, str(read["key"]), str(read["kind"]), dict(read["files"]), original)
        inside = all(name == Path(name).name for name in entry.files)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if inside else None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _matches(path: Path, expected: dict[str, Any]) -> bool:
    """Whether a file has the bytes that were committed; a read that fails is tried once more."""
    for _ in range(2):
        try:
            return path.stat().st_size == expected["bytes"] and digest(path) == expected["sha256"]
        except (FileNotFoundError, KeyError, TypeError, ValueError):  # of a manifest that lies
            return False
        except OSError:
            continue
    return False


def digest(path: Path) -> str:
    """Sha256 of a file's bytes."""
    fault_point("read")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
