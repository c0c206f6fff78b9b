"""What a disk may hold after a crash: every legal state, from a record of writes and fsyncs.

A kill loses nothing that the kernel has cached, so killing cannot show a missing fsync. Here every
state is built that POSIX allows after a loss of power, with the weakest promises:

* The bytes of a file are safe once it was fsynced after its last write. Until then they are the old
  ones, none, a part, zeros of the right length, or the new ones.
* A change in a folder (a file made, removed or renamed, a folder made) is safe once that folder was
  fsynced. Until then each may have happened or not, in any combination. A rename is one change.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Relative path to content; a folder's is None.
Tree = dict[str, bytes | None]
Change = dict[str, int | None]


@dataclass
class Node:
    """A file or folder by its inode: what is safe, and what waits for an fsync."""

    is_folder: bool
    entries: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    safe: bytes = b""
    content: bytes = b""

    def contents(self) -> list[bytes]:
        """All bytes that a file may hold after a crash."""
        if self.safe == self.content:
            return [self.content]
        half = self.content[: len(self.content) // 2]
        return list(dict.fromkeys([self.safe, half, bytes(len(self.content)), self.content]))

    def listings(self) -> list[dict[str, int]]:
        """All lists of names that a folder may hold after a crash."""
        kept = itertools.product((False, True), repeat=len(self.changes))
        return [self._applied(choice) for choice in kept]

    def _applied(self, choice: tuple[bool, ...]) -> dict[str, int]:
        names = dict(self.entries)
        for change in itertools.compress(self.changes, choice):
            for name, inode in change.items():
                if inode is None:
                    names.pop(name, None)
                else:
                    names[name] = inode
        return names


class Recorder:
    """Follows a folder; `states` are all trees that a crash at any moment so far could leave."""

    def __init__(self, root: Path, monkeypatch: Any) -> None:
        """Start with what is there, as if it were safe; from now on every fsync is seen."""
        self._root = root
        self._nodes: dict[int, Node] = {}
        self._held: list[int] = []
        self.states: list[Tree] = []
        self._seen: set[tuple] = set()
        self._observe()
        for node in self._nodes.values():
            node.entries, node.safe = self._applied(node), node.content
            node.changes = []
        self._real_fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._fsync)

    def crash(self) -> list[Tree]:
        """All trees that a crash right now could leave."""
        self._observe()
        return list(self._states_now())

    def _applied(self, node: Node) -> dict[str, int]:
        return node.listings()[-1]

    def _fsync(self, descriptor: int) -> None:
        self._note()
        self._real_fsync(descriptor)
        node = self._nodes.get(os.fstat(descriptor).st_ino)
        if node is not None:
            node.entries, node.changes = self._applied(node), []
            node.safe = node.content
        self._note()

    def _note(self) -> None:
        for tree in self.crash():
            identity = tuple(sorted(tree.items()))
            if identity not in self._seen:
                self._seen.add(identity)
                self.states.append(tree)

    def _observe(self) -> None:
        """Turn what has changed since the last look into changes that wait for an fsync."""
        for folder, folders, files in os.walk(self._root):
            node = self._node(Path(folder), is_folder=True)
            now = {name: (Path(folder) / name).stat().st_ino for name in (*folders, *files)}
            before = self._applied(node)
            node.changes += _changes(before, now)
            for name in files:
                file = Path(folder) / name
                self._node(file, is_folder=False).content = file.read_bytes()

    def _node(self, path: Path, *, is_folder: bool) -> Node:
        inode = path.stat().st_ino
        if inode not in self._nodes:
            self._nodes[inode] = Node(is_folder)
            # Held open, an inode is not given to another file after its own is removed.
            self._held.append(os.open(path, os.O_RDONLY))
        return self._nodes[inode]

    def close(self) -> None:
        """Let go of everything seen."""
        for descriptor in self._held:
            os.close(descriptor)

    def _states_now(self) -> Iterator[Tree]:
        root = self._root.stat().st_ino
        folders = {i: n.listings() for i, n in self._nodes.items() if n.is_folder}
        for listings in itertools.product(*folders.values()):
            names = dict(zip(folders, listings, strict=True))
            reached = dict(_walk(root, names))
            files = [(p, i) for p, i in reached.items() if i not in folders]
            kinds = {path: None for path, inode in reached.items() if inode in folders}
            for contents in itertools.product(*(self._nodes[i].contents() for _, i in files)):
                yield kinds | {path: c for (path, _), c in zip(files, contents, strict=True)}


def _changes(before: dict[str, int], now: dict[str, int]) -> list[Change]:
    """The fewest changes between two listings; an inode that moved is one rename."""
    gone = {inode: name for name, inode in before.items() if now.get(name) != inode}
    changes: list[Change] = []
    for name, inode in now.items():
        if before.get(name) != inode:
            old = gone.pop(inode, None)
            changes.append({name: inode} if old is None else {old: None, name: inode})
    replaced = {name for change in changes for name in change}
    return changes + [{name: None} for name in gone.values() if name not in replaced]


def _walk(inode: int, names: dict[int, dict[str, int]], at: str = "") -> Iterator[tuple[str, int]]:
    for name, child in names[inode].items():
        path = f"{at}/{name}" if at else name
        yield path, child
        if child in names:
            yield from _walk(child, names, path)


def build(tree: Tree, folder: Path) -> Path:
    """Put a state on the disk, to be judged as a program finds it after the crash."""
    folder.mkdir()
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    return folder
