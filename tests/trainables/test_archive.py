import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from trainables import archive
from trainables.archive import download, extract
from trainables.errors import DataError

CONTENT = {"set/images.txt": b"1 a.jpg\n", "set/images/a.jpg": b"photo" * 100}


def tar_bytes(*members):
    """A tar of (name, content) files or ready-made TarInfo entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def zip_bytes(*members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def entry(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def save(tmp_path, content):
    file = tmp_path / "archive.bin"
    file.write_bytes(content)
    return file


def refusal(tmp_path, content, **caps):
    """The text of the refusal, once nothing is left in the target's folder or beside it."""
    file = save(tmp_path, content)
    home = tmp_path / "home"
    home.mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as caught:
        extract(file, home / "set", **caps)
    assert sorted(tmp_path.rglob("*")) == before
    return str(caught.value)


PLAIN = tar_bytes(*CONTENT.items())


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        gzip.compress(PLAIN),
        bz2.compress(PLAIN),
        lzma.compress(PLAIN),
        zip_bytes(*CONTENT.items()),
        zip_bytes(*CONTENT.items(), compression=zipfile.ZIP_STORED),
        tar_bytes(entry("set", tarfile.DIRTYPE), *CONTENT.items()),
    ],
    ids=["tar", "gz", "bz2", "xz", "zip", "zip-stored", "folder-entry"],
)
def test_every_kind_is_unpacked(tmp_path, content):
    target = tmp_path / "deep" / "target"
    assert extract(save(tmp_path, content), target) == target
    files = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if p.is_file()}
    assert {name: file.read_bytes() for name, file in files.items()} == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_zip_inside_a_tar_does_not_make_it_a_zip(tmp_path):
    inner = zip_bytes(("inner.txt", b"x"))
    extract(save(tmp_path, tar_bytes(("outer.zip", inner))), tmp_path / "target")
    assert [p.name for p in (tmp_path / "target").iterdir()] == ["outer.zip"]


def test_empty_target_is_filled_and_a_full_one_is_left_alone(tmp_path):
    file, target = save(tmp_path, PLAIN), tmp_path / "target"
    target.mkdir()
    extract(file, target)
    (target / "set" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        extract(file, target)
    assert (target / "set" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["../canary", "a/../../canary", "/canary", "//canary", "a\nb", "..\\canary"]
)
def test_s05_path_that_leads_outside_is_refused(tmp_path, name):
    assert "lead outside" in refusal(tmp_path, tar_bytes(("ok.txt", b"x"), (name, b"x")))


@pytest.mark.parametrize("name", ["../canary", "a/../../canary", "/canary", "a\nb", "..\\canary"])
def test_s08_zip_path_that_leads_outside_is_refused(tmp_path, name):
    assert "lead outside" in refusal(tmp_path, zip_bytes(("ok.txt", b"x"), (name, b"x")))


def test_zip_name_with_a_nul_is_refused(tmp_path):
    content = zip_bytes(("a-b.jpg", b"x")).replace(b"a-b.jpg", b"a\0b.jpg")
    assert "lead outside" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "member",
    [
        entry("link", tarfile.SYMTYPE, "../.."),
        entry("link", tarfile.SYMTYPE, "images.txt"),
        entry("link", tarfile.SYMTYPE, "/etc"),
        entry("link", tarfile.LNKTYPE, "set/images.txt"),
        entry("device", tarfile.CHRTYPE),
        entry("device", tarfile.BLKTYPE),
        entry("pipe", tarfile.FIFOTYPE),
    ],
)
def test_s06_what_is_neither_file_nor_folder_is_refused(tmp_path, member):
    content = tar_bytes(*CONTENT.items(), member, (f"{member.name}/canary", b"x"))
    assert "neither a file nor a folder" in refusal(tmp_path, content)


def test_s08_zip_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    assert "neither a file nor a folder" in refusal(tmp_path, zip_bytes((link, b"../..")))


def test_s06_set_user_id_is_dropped(tmp_path):
    info = tarfile.TarInfo("program")
    info.mode = 0o6777
    extract(save(tmp_path, tar_bytes(info)), tmp_path / "target")
    assert (tmp_path / "target" / "program").stat().st_mode & 0o6022 == 0


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_s07_too_many_members_are_refused(tmp_path, make):
    content = make(*((f"{i}.txt", b"") for i in range(6)))
    assert "more than 5 files" in refusal(tmp_path, content, max_members=5)


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_too_many_bytes_are_refused(tmp_path, make):
    content = make(("a.bin", bytes(40_000)), ("b.bin", bytes(40_000)))
    assert "more" in refusal(tmp_path, content, max_bytes=79_999)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(tar_bytes(("zeros", bytes(4 << 20)))), zip_bytes(("zeros", bytes(4 << 20)))],
    ids=["tar", "zip"],
)
def test_s07_bomb_is_refused(tmp_path, content):
    assert "more" in refusal(tmp_path, content)


def test_bomb_hidden_in_a_header_is_refused(tmp_path):
    info = tarfile.TarInfo("small")
    info.pax_headers = {"comment": "x" * (4 << 20)}
    assert "more bytes than allowed" in refusal(tmp_path, gzip.compress(tar_bytes(info)))


def test_caps_let_exactly_as_much_pass(tmp_path):
    content = zip_bytes(("a", bytes(50)), ("b", bytes(50)))
    extract(save(tmp_path, content), tmp_path / "target", max_members=2, max_bytes=100)
    assert len(list((tmp_path / "target").iterdir())) == 2


@pytest.mark.parametrize("head", [b"<!DOCTYPE html><p>moved", b"\n <HTML>login"])
def test_html_page_is_called_so(tmp_path, head):
    assert "this is an HTML page, not the archive" in refusal(tmp_path, head)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"PK\x03\x04 and no more",
        b"\x1f\x8b\x08 and no more",
        b"BZh9 and no more",
        b"\xfd7zXZ\x00 and no more",
        gzip.compress(b"text " * 300),
        gzip.compress(PLAIN)[:-20],
        gzip.compress(PLAIN)[:60],
        PLAIN[:1200],
        PLAIN[:1536],
        gzip.compress(PLAIN[:1200]),
        gzip.compress(PLAIN)[:-8] + bytes(8),
        zip_bytes(*CONTENT.items())[:-30],
        tar_bytes(),
        zip_bytes(),
        tar_bytes(("a", b"file"), ("a/b", b"file in a file")),
    ],
)
def test_damaged_or_foreign_file_is_refused(tmp_path, content):
    assert refusal(tmp_path, content)


def test_flipped_content_of_a_zip_is_refused(tmp_path):
    content = zip_bytes(("a", b"content" * 9), compression=zipfile.ZIP_STORED)
    assert "CRC" in refusal(tmp_path, content.replace(b"contentcontent", b"contentCONTENT", 1))


def test_missing_archive_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no archive"):
        extract(tmp_path / "none.tgz", tmp_path / "target")
    assert not any(tmp_path.iterdir())


# --- download ---

NOISE = np.random.default_rng(0).bytes(500_000)
BODY = gzip.compress(tar_bytes(("noise.bin", NOISE)), mtime=0)
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.body`; breaks off after `server.cut` bytes as long as `server.cuts` lasts."""

    def do_GET(self):
        body, first = self.server.body, 0
        self.server.ranges.append(self.headers.get("Range"))
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if self.headers.get("Range") and self.server.resumes:
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if first and first >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        last = len(body)
        if self.server.cuts:
            self.server.cuts -= 1
            last = first + self.server.cut
        self.wfile.write(body[first:last])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.body, running.ranges, running.status = BODY, [], 200
        running.cuts, running.cut, running.resumes = 0, 70_000, True
        running.url = f"http://127.0.0.1:{running.server_port}/set.tgz"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def failed_download(server, target):
    with pytest.raises(DataError) as caught:
        download(server.url, MD5, target)
    return str(caught.value)


def test_download_installs_what_has_the_right_sum(server, tmp_path):
    file = download(server.url, MD5, tmp_path / "new")
    assert file == tmp_path / "new" / "set.tgz"
    assert file.read_bytes() == BODY
    assert list(file.parent.iterdir()) == [file]
    extract(file, tmp_path / "target")


def test_file_that_is_there_is_not_fetched_again(server, tmp_path):
    download(server.url, MD5, tmp_path)
    download(server.url, MD5, tmp_path)
    assert len(server.ranges) == 1


def test_d24_cut_download_is_continued(server, tmp_path):
    server.cuts = 2
    assert download(server.url, MD5, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=65536-", "bytes=131072-"]


def test_cut_download_is_continued_by_the_next_call(server, tmp_path):
    server.cuts = 5
    assert "run it again to continue" in failed_download(server, tmp_path)
    assert not (tmp_path / "set.tgz").exists()
    assert download(server.url, MD5, tmp_path).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=327680-"
    assert [p.name for p in tmp_path.iterdir()] == ["set.tgz"]


def test_server_that_cannot_continue_starts_again(server, tmp_path):
    server.cuts, server.resumes = 1, False
    assert download(server.url, MD5, tmp_path).read_bytes() == BODY


def test_whole_leftover_is_taken(server, tmp_path):
    (tmp_path / ".set.tgz.part").write_bytes(BODY)
    assert download(server.url, MD5, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("body", [b"X" + BODY, BODY[:-1], b""])
def test_d24_wrong_sum_installs_nothing(server, tmp_path, body):
    server.body = body
    assert MD5 in failed_download(server, tmp_path)
    assert not any(tmp_path.iterdir())


def test_d24_html_page_in_place_of_the_archive_is_called_so(server, tmp_path):
    server.body = b"<!DOCTYPE html><title>Sign in</title>" * 9
    assert "this is an HTML page" in failed_download(server, tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("status", [404, 503])
def test_refusal_of_the_server_is_told(server, tmp_path, status):
    server.status = status
    assert str(status) in failed_download(server, tmp_path)
    assert not any(tmp_path.iterdir())


def test_birds_come_from_their_own_address(server, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "CUB200_URL", server.url)
    monkeypatch.setattr(archive, "CUB200_MD5", MD5)
    assert archive.download_cub200(tmp_path).read_bytes() == BODY
