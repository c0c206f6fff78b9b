"""An object store such as S3 that a root may lie in, reached through pyarrow's filesystems.

Every machine works in a folder of its own, the copy; the address it is a copy of stands in it.
Objects have no rename, so a folder of objects counts only with its manifest, which is put last.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

from trainables.disk import replace_file, replace_text
from trainables.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow import fs

#: In a copy's folder: the address that it is a copy of.
COPY_OF = ".copy-of"
#: Tries of one request; a store that refuses a fifth of them fails once in a million.
ATTEMPTS = 9
CHUNK_BYTES = 8 << 20
#: Tried again by us: what pyarrow reports when its own tries ran out, or a connection broke.
OWN_ATTEMPTS = 3

Found = TypeVar("Found")


def is_bucket(address: str) -> bool:
    """Whether a root lies in an object store; a path of this machine has no scheme."""
    return "://" in address


def copy_folder(address: str) -> Path:
    """Where this machine keeps its copy: under `F2C_CACHE`, else the user's cache."""
    cache = os.environ.get("F2C_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    place = urlsplit(address)
    name = f"{place.netloc}{place.path}".strip("/").replace("/", "-")
    return Path(cache).expanduser() / "fine-to-coarse" / f"{name}-{digest}"


def local_root(root: str) -> Path:
    """The folder to work in: the root itself, or this machine's copy of a bucket."""
    if not is_bucket(root):
        return Path(root)
    folder = copy_folder(root)
    replace_text(folder / COPY_OF, root)
    _copied_root.cache_clear()
    return folder


class Original(NamedTuple):
    """Where the original of a local folder lies: a bucket, and the folder's path in it."""

    bucket: "Bucket"
    path: str

    def get(self, name: str, folder: Path) -> None:
        """Copy one file of the folder here; what is unfinished never lies in it."""
        self.bucket.get(f"{self.path}/{name}", folder / name, folder.parent)

    def put_all(self, folder: Path, last: str) -> None:
        """Copy a folder's files there; with the last one they count."""
        names = [file.name for file in sorted(folder.iterdir()) if file.name != last]
        for name in (*names, last):
            self.bucket.put(folder / name, f"{self.path}/{name}")

    def get_manifest(self, folder: Path, name: str) -> bool:
        """Copy a folder's manifest here if it has one, so that it counts here, too."""
        if (folder / name).exists():
            return True
        text = self.bucket.read(f"{self.path}/{name}")
        if text is not None:
            replace_file(folder / name, lambda aside: aside.write_bytes(text), folder.parent)
        return text is not None


def original_of(folder: Path) -> Original | None:
    """The original of a folder in a root that is a copy; None where roots stand for themselves."""
    found = _copied_root(folder.parent)
    if found is None:
        return None
    root, address = found
    return Original(bucket(address), folder.relative_to(root).as_posix())


@lru_cache(maxsize=1024)
def _copied_root(folder: Path) -> tuple[Path, str] | None:
    for root in (folder, *folder.parents[:3]):
        try:
            return root, (root / COPY_OF).read_text(encoding="utf-8")
        except OSError:
            continue
    return None


@lru_cache
def bucket(address: str) -> "Bucket":
    """The bucket at an address, opened once in a process."""
    return Bucket(address)


class Bucket:
    """Files under an address; paths are relative to it, with `/` between their parts."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.filesystem, self.prefix = _open(address)

    def path(self, name: str) -> str:
        """A path as the filesystem wants it."""
        return f"{self.prefix}/{name}"

    def folders(self, name: str) -> list[str]:
        """Names of the folders directly below one; none where it is not there."""
        from pyarrow import fs

        selector = fs.FileSelector(self.path(name), allow_not_found=True, recursive=False)
        found = self._try(lambda: self.filesystem.get_file_info(selector))
        return [item.base_name for item in found if item.type == fs.FileType.Directory]

    def files(self, name: str) -> list[str]:
        """Paths of all objects below a folder; none where it is not there."""
        from pyarrow import fs

        selector = fs.FileSelector(self.path(name), allow_not_found=True, recursive=True)
        found = self._try(lambda: self.filesystem.get_file_info(selector))
        whole = [item.path for item in found if item.type == fs.FileType.File]
        return [path.removeprefix(f"{self.prefix}/") for path in whole]

    def read(self, name: str) -> bytes | None:
        """A small object, or None where there is none."""

        def whole() -> bytes | None:
            try:
                with self.filesystem.open_input_stream(self.path(name)) as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

        return self._try(whole)

    def put_at_ns(self, name: str) -> int:
        """When an object was put, by the store's clock; those that are gone come last."""
        found = self._try(lambda: self.filesystem.get_file_info(self.path(name)))
        return sys.maxsize if found.mtime_ns is None else found.mtime_ns

    def get(self, name: str, file: Path, scratch_folder: Path | None = None) -> None:
        """Copy an object to a file, which appears whole or not at all, see `replace_file`."""

        def copy(aside: Path) -> None:
            with (
                self.filesystem.open_input_stream(self.path(name)) as stream,
                aside.open("wb") as f,
            ):
                while chunk := stream.read(CHUNK_BYTES):
                    f.write(chunk)

        replace_file(file, lambda aside: self._try(lambda: copy(aside)), scratch_folder)

    def put(self, file: Path, name: str) -> None:
        """Copy a file to an object, which appears whole or not at all."""

        def copy() -> None:
            with file.open("rb") as f, self.filesystem.open_output_stream(self.path(name)) as out:
                while chunk := f.read(CHUNK_BYTES):
                    out.write(chunk)

        self._try(copy)

    def delete(self, name: str) -> None:
        """Delete a folder of objects; nothing to do where it is not there."""

        def gone() -> None:
            try:
                self.filesystem.delete_dir(self.path(name))
            except FileNotFoundError:
                return

        self._try(gone)

    def delete_object(self, name: str) -> None:
        """Delete one object; nothing to do where it is not there."""

        def gone() -> None:
            try:
                self.filesystem.delete_file(self.path(name))
            except FileNotFoundError:
                return

        self._try(gone)

    def _try(self, action: Callable[[], Found]) -> Found:
        for _ in range(OWN_ATTEMPTS - 1):
            try:
                return action()
            except OSError as error:
                if _refused(error):
                    break
        try:
            return action()
        except OSError as error:
            if not _refused(error):
                raise
            raise ConfigError(
                f"{self.address} refuses this machine ({_code(error)}): check the bucket's name "
                "and region, and that this machine's role or credentials may read and write it"
            ) from None


def _refused(error: OSError) -> bool:
    codes = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH")
    return any(code in str(error) for code in codes) or "HTTP status 403" in str(error)


def _code(error: OSError) -> str:
    words = str(error).split("AWS Error ")
    return words[1].split()[0].rstrip(":") if len(words) > 1 else type(error).__name__


def _open(address: str) -> "tuple[fs.FileSystem, str]":
    from pyarrow import fs

    place = urlsplit(address)
    if "@" in place.netloc:
        raise ConfigError("--root carries a key; give it by the environment or a role instead")
    prefix = f"{place.netloc}{place.path}".rstrip("/")
    if place.scheme == "s3":
        options = dict(_options(place.query))
        retries = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        return fs.S3FileSystem(**options, retry_strategy=retries, allow_delayed_open=True), prefix
    try:
        return fs.FileSystem.from_uri(address)[0], prefix
    except (OSError, ValueError) as error:
        raise ConfigError(f"--root {address} cannot be opened: {error}") from None


def _options(query: str) -> Iterator[tuple[str, Any]]:
    known = ("region", "scheme", "endpoint_override")
    for key, value in parse_qsl(query):
        if key not in known:
            raise ConfigError(f"--root: {key} is unknown; known are {', '.join(known)}")
        yield key, value
