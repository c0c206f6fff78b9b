"""Fetch and unpack archives that nobody here vouches for.

Nothing is written outside the target, nothing is left after a failure, and what is installed is
installed whole, by one rename.
"""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from trainables.errors import DataError

CUB200_URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
CUB200_MD5 = "97eceeb196236b17998738112f37df78"  # as published with the archive

_GIB = 1024**3
# Padding alone makes tiny archives shrink a hundredfold; below this they harm nobody.
_HARMLESS_BYTES = 1024**2
_CHUNK_BYTES = 64 * 1024
_ATTEMPTS = 5
_TIMEOUT_S = 30
_OPENERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)


@dataclass(frozen=True)
class _Caps:
    """How much an archive may hold; `bytes_out` is the size of what is unpacked."""

    n_members: int
    bytes_out: int


def download_cub200(target: Path) -> Path:
    """Fetch the archive of CUB-200-2011 (1.2 GB) into a folder.

    Args:
        target: folder, made if needed. What a cut download left there is continued.

    Returns:
        The archive, whose sum is right.

    Raises:
        DataError: as `download`.
    """
    return download(CUB200_URL, CUB200_MD5, target)


def download(url: str, md5: str, target: Path) -> Path:
    """Fetch one file into a folder, unless it is there already with the right sum.

    Args:
        url: whose last part names the file.
        md5: of the whole file.
        target: folder.

    Returns:
        The file.

    Raises:
        DataError: when the server cannot be reached or breaks off (run again to continue), sends a
            page in place of the file, or the sum is wrong (nothing is installed then).
    """
    import pooch

    name = url.rsplit("/", 1)[-1]
    part = target / f".{name}.part"

    def fetch(source: str, output_file: str, _pooch: object) -> None:
        _continue_download(source, part)
        part.replace(output_file)
        _refuse_page(Path(output_file), source)

    try:
        file = pooch.retrieve(
            url, f"md5:{md5}", fname=name, path=target, downloader=cast("Any", fetch)
        )
    except ValueError as error:
        raise DataError(
            f"{url}: the sum of what was fetched is not {md5} and nothing was installed; try "
            "again, or fetch it with a browser and use --from PATH"
        ) from error
    return Path(file)


def _continue_download(url: str, part: Path) -> None:
    """Append to `part` what it lacks; the sum decides later whether the pieces fit."""
    import requests

    problem: Exception | None = None
    for _ in range(_ATTEMPTS):
        n_bytes = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if n_bytes:
            headers["Range"] = f"bytes={n_bytes}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
                if n_bytes and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # nothing is lacking
                answer.raise_for_status()
                is_rest = answer.status_code == HTTPStatus.PARTIAL_CONTENT
                with part.open("ab" if is_rest else "wb") as file:
                    for chunk in answer.iter_content(_CHUNK_BYTES):
                        file.write(chunk)
            return
        except requests.RequestException as error:
            problem = error
    raise DataError(
        f"{url} could not be fetched ({problem}); run it again to continue, or fetch it with a "
        "browser and use --from PATH"
    )


def _refuse_page(file: Path, source: str) -> None:
    with file.open("rb") as opened:
        head = opened.read(512).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise DataError(
            f"{source}: this is an HTML page, not the archive; open it in a browser to see what it "
            "says"
        )


def extract(
    archive: Path,
    target: Path,
    *,
    max_members: int = 200_000,
    max_bytes: int = 20 * _GIB,
    max_ratio: int = 200,
) -> Path:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into a new folder.

    Only plain files and folders are unpacked; links, devices, absolute paths and `..` are refused.

    Args:
        archive: told by its first bytes, not by its name.
        target: must not exist, or be an empty folder.
        max_members: most files and folders.
        max_bytes: most bytes once unpacked.
        max_ratio: most bytes unpacked for each byte of the archive (beyond the first MiB).

    Returns:
        The target.

    Raises:
        DataError: for any refusal or damage; nothing is left then.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target} is there already; remove it or name another folder")
    if not archive.is_file():
        raise DataError(f"there is no archive {archive}")
    ratio_bytes = max(max_ratio * archive.stat().st_size, _HARMLESS_BYTES)
    caps = _Caps(max_members, min(max_bytes, ratio_bytes))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        content = Path(temporary) / "content"
        content.mkdir()
        try:
            _unpack(archive, content, caps)
            content.rename(target)
        except _DAMAGE as error:
            raise DataError(f"{archive} cannot be unpacked: {error}") from error
    return target


def _unpack(archive: Path, content: Path, caps: _Caps) -> None:
    _refuse_page(archive, str(archive))
    with archive.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        _unpack_zip(archive, content, caps)
        return
    opener = next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)
    if opener is None and head[257:262] != b"ustar":
        raise DataError(f"{archive} is neither a tar nor a zip archive")
    with (opener or open)(archive, "rb") as stream:
        _unpack_tar(_Capped(stream, caps.bytes_out), content, caps)


class _Capped:
    """A byte stream that refuses to yield more than it may: no header escapes the count."""

    def __init__(self, stream: IO[bytes], max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes
        self._tail = b""

    def read(self, size: int) -> bytes:
        """Read on; raises DataError once the cap is passed."""
        data = self._stream.read(size)
        self._left -= len(data)
        self._tail = (self._tail + data)[-tarfile.BLOCKSIZE :]
        if self._left < 0:
            raise DataError("the archive unpacks to more bytes than allowed; is it what it says?")
        return data

    def finish(self) -> None:
        """Read the rest, so that its sum is checked; a whole tar ends with a block of zeros."""
        while self.read(_CHUNK_BYTES):
            pass
        if self._tail.strip(b"\0"):
            raise DataError("the archive is cut off; fetch it again")


def _unpack_tar(stream: _Capped, content: Path, caps: _Caps) -> None:
    n_members, n_bytes = 0, 0
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
        for member in tar:
            n_members, n_bytes = n_members + 1, n_bytes + member.size
            _check_member(member.name, is_plain=member.isreg() or member.isdir())
            _check_caps(n_members, n_bytes, caps)
            tar.extract(member, content, filter="data")
    stream.finish()
    _check_any(n_members)


def _unpack_zip(archive: Path, content: Path, caps: _Caps) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            # The name as stored: the module's own has lost what follows a NUL.
            _check_member(member.orig_filename, is_plain=kind in {0, stat.S_IFREG, stat.S_IFDIR})
        _check_caps(len(members), sum(member.file_size for member in members), caps)
        _check_any(len(members))
        for member in members:
            opened.extract(member, content)


def _check_member(name: str, *, is_plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    has_control = any(character < " " for character in name)
    if not is_plain:
        raise DataError(f"the archive holds {name!r}, which is neither a file nor a folder")
    if path.is_absolute() or ".." in path.parts or has_control:
        raise DataError(f"the archive holds {name!r}, a path that may lead outside")


def _check_caps(n_members: int, n_bytes: int, caps: _Caps) -> None:
    if n_members > caps.n_members:
        raise DataError(f"the archive holds more than {caps.n_members:,} files")
    if n_bytes > caps.bytes_out:
        raise DataError(
            f"the archive unpacks to more than the {caps.bytes_out:,} bytes allowed for its size"
        )


def _check_any(n_members: int) -> None:
    if n_members == 0:
        raise DataError("the archive is empty")
