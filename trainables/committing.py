"""How a folder becomes an entry of the store: its manifest is written last, then one rename."""

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainables.bucket import original_of
from trainables.disk import fsync, full_disk, make_folders
from trainables.entry import MANIFEST, Entry, digest, read_entry
from trainables.faults import fault_point


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
        original = original_of(target)
        if original is not None:
            original.put_all(temporary, last=MANIFEST)
        return _rename(temporary, target, Entry(target, key, kind, files, original))
    except Exception as error:
        full = full_disk(error, target.parent, temporary)
        if full is None:
            raise
        raise full from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


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
    return {"sha256": digest(path), "bytes": path.stat().st_size}
