import errno
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from trainables import decode
from trainables.decode import MAX_PIXELS, MAX_SIDE_PX, box_on_photo, read_photo
from trainables.errors import DataError

WHITE = (255, 255, 255)


@pytest.fixture
def photo() -> Image.Image:
    """Smooth colours, 64 x 48, so that JPEG changes little."""
    rows, columns = np.mgrid[0:48, 0:64]
    return Image.fromarray(
        np.stack([columns * 3, rows * 4, 255 - columns * 2], axis=-1).astype(np.uint8)
    )


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_photo(path)
    assert str(path) not in str(caught.value)
    assert path.name not in str(caught.value)
    return str(caught.value)


def png_header(width_px: int, height_px: int) -> bytes:
    """A PNG that says it is that large and holds almost nothing."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_rgb_comes_back_unchanged_and_writable(tmp_path: Path, photo: Image.Image):
    pixels = read_photo(save(photo, tmp_path / "a.png"))

    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert np.array_equal(pixels, np.asarray(photo))


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "WEBP"])
def test_every_format_is_read(tmp_path: Path, photo: Image.Image, kind: str):
    pixels = read_photo(save(photo, tmp_path / "a", format=kind, quality=95))

    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - np.asarray(photo)).mean() < 3


def jpeg(photo: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("longest_bytes", [1_000_000, 100], ids=["at once", "by Pillow"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 9}, {"keep_rgb": True}]
)
def test_a_jpeg_is_what_pillow_makes_of_it_whoever_decodes(
    tmp_path: Path, photo: Image.Image, monkeypatch, options: dict[str, Any], longest_bytes: int
):
    monkeypatch.setattr(decode, "JPEG_METADATA_BYTES", longest_bytes)
    monkeypatch.setattr(decode, "JPEG_BYTES_A_PIXEL", 0)
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(photo, **options) + b"left over")

    pixels_HWC = read_photo(file)

    assert np.array_equal(pixels_HWC, np.asarray(Image.open(file)))
    assert pixels_HWC.flags.writeable


@pytest.mark.parametrize("kept", [0.5, 0.99, 0.03])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_d01_cut_off_photo_is_refused(tmp_path: Path, photo: Image.Image, kind: str, kept: float):
    noise = np.random.default_rng(0).integers(0, 30, (48, 64, 3), dtype=np.uint8)
    whole = save(Image.fromarray(np.asarray(photo) // 2 + noise), tmp_path / "whole", format=kind)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: int(kept * whole.stat().st_size)])

    assert refusal(cut)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "not a JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not a JPEG"),
    ],
)
def test_d03_what_is_no_photo_is_refused(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)

    assert reason in refusal(path)


def test_d03_missing_file_and_folder_are_refused(tmp_path: Path):
    assert "missing" in refusal(tmp_path / "nowhere.jpg")
    assert refusal(tmp_path) == "it is a folder, not a photo"


def test_d04_png_named_jpg_is_read(tmp_path: Path, photo: Image.Image):
    path = save(photo, tmp_path / "a.jpg", format="PNG")

    assert np.array_equal(read_photo(path), np.asarray(photo))


def test_d05_grey_and_one_bit_become_three_equal_channels(tmp_path: Path, photo: Image.Image):
    grey = photo.convert("L")
    bits = Image.fromarray(np.asarray(grey) > 128)

    read_grey = read_photo(save(grey, tmp_path / "grey.png"))
    read_bits = read_photo(save(bits, tmp_path / "bits.png"))

    assert np.array_equal(read_grey, np.stack([np.asarray(grey)] * 3, axis=-1))
    assert np.array_equal(read_bits, 255 * np.stack([np.asarray(bits)] * 3, axis=-1))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_d05_transparency_shows_white(tmp_path: Path, kind: str):
    image = Image.new("RGBA", (4, 2), (200, 100, 0, 255))
    image.putpixel((0, 0), (10, 20, 30, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))

    pixels = read_photo(save(image, tmp_path / "a", format=kind, lossless=True))

    assert tuple(pixels[0, 0]) == WHITE
    assert tuple(pixels[0, 1]) == (127, 127, 127)
    assert tuple(pixels[1, 3]) == (200, 100, 0)


def test_d05_grey_with_transparency_shows_white(tmp_path: Path):
    image = Image.new("LA", (2, 1), (90, 255))
    image.putpixel((0, 0), (90, 0))

    pixels = read_photo(save(image, tmp_path / "a.png"))

    assert tuple(pixels[0, 0]) == WHITE
    assert tuple(pixels[0, 1]) == (90, 90, 90)


def test_d05_palette_with_and_without_transparency(tmp_path: Path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 20, 40, 60])
    image.putpixel((1, 0), 1)

    plain = read_photo(save(image, tmp_path / "plain.png"))
    clear = read_photo(save(image, tmp_path / "clear.png", transparency=0))
    partly = read_photo(save(image, tmp_path / "partly.png", transparency=b"\x00\xff"))

    assert plain.tolist() == [[[0, 0, 0], [20, 40, 60]]]
    assert clear.tolist() == partly.tolist() == [[[255, 255, 255], [20, 40, 60]]]


def test_d05_transparent_colour_key_shows_white(tmp_path: Path):
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((0, 0), (9, 9, 9))

    pixels = read_photo(save(image, tmp_path / "a.png", transparency=(9, 9, 9)))

    assert pixels.tolist() == [[[255, 255, 255], [1, 2, 3]]]


def test_d05_cmyk_becomes_rgb(tmp_path: Path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))

    pixels = read_photo(save(image, tmp_path / "a.jpg", quality=95))

    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 4


def test_d06_16_bit_grey_is_scaled_not_clipped(tmp_path: Path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)

    pixels = read_photo(save(Image.fromarray(values), tmp_path / "a.png"))

    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_d06_16_bit_colour_is_scaled_not_clipped(tmp_path: Path):
    values = np.array([[0, 257, 32896], [65535, 1000, 50000]], dtype=">u2")
    lines = zlib.compress(b"\0" + values.tobytes())
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", lines)
        + chunk(b"IEND", b"")
    )

    pixels = read_photo(path)[0].astype(int)

    assert np.abs(pixels - values.astype(float) / 257).max() <= 1


@pytest.mark.parametrize(
    ("width_px", "height_px"), [(12_000, 12_000), (20_000, 20_000), (MAX_SIDE_PX + 1, 10)]
)
def test_d07_huge_header_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width_px: int, height_px: int
):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width_px, height_px))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("was decoded"))

    assert "header" in refusal(path)


def test_d07_huge_jpeg_header_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image
):
    content = bytearray(save(photo, tmp_path / "small.jpg").read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_000)
    path = tmp_path / "bomb.jpg"
    path.write_bytes(content)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("was decoded"))

    assert "header" in refusal(path)


def test_d08_400_megapixels_are_refused(tmp_path: Path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(20_000, 20_000))

    assert "million pixels" in refusal(path)


def test_size_limit_is_what_is_documented(tmp_path: Path):
    just_too_large = tmp_path / "a.png"
    just_too_large.write_bytes(png_header(10_000, MAX_PIXELS // 10_000 + 1))

    assert "50 million" in refusal(just_too_large)


def test_s09_compressed_metadata_bomb_is_refused(tmp_path: Path, photo: Image.Image):
    content = save(photo, tmp_path / "plain.png").read_bytes()
    bomb = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(100_000_000)))
    path = tmp_path / "a.png"
    path.write_bytes(content[:33] + bomb + content[33:])

    assert "damaged" in refusal(path)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_d09_several_frames_are_refused(tmp_path: Path, photo: Image.Image, kind: str):
    other = photo.transpose(Image.Transpose.ROTATE_180)
    path = save(photo, tmp_path / "frames", format=kind, save_all=True, append_images=[other])

    assert refusal(path)


def test_d09_first_picture_of_a_camera_mpo_is_the_photo(tmp_path: Path, photo: Image.Image):
    preview = photo.resize((16, 12))
    path = save(photo, tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])

    assert read_photo(path).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_d10_exif_orientation_is_applied_once(
    tmp_path: Path, photo: Image.Image, orientation: int, kind: str
):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = save(photo, tmp_path / "turned", format=kind, exif=exif, quality=95)
    as_stored = read_photo(save(photo, tmp_path / "plain", format=kind, quality=95))
    across = as_stored[:, ::-1]
    upright = {
        1: as_stored,
        2: across,
        3: as_stored[::-1, ::-1],
        4: as_stored[::-1],
        5: np.rot90(across),
        6: np.rot90(as_stored, -1),
        7: np.rot90(across, -1),
        8: np.rot90(as_stored),
    }

    assert np.array_equal(read_photo(stored), upright[orientation])


@pytest.mark.parametrize("orientation", [0, 9])
def test_d10_senseless_orientation_is_ignored(tmp_path: Path, photo: Image.Image, orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation

    assert np.array_equal(read_photo(save(photo, tmp_path / "a.png", exif=exif)), np.asarray(photo))


def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path, photo: Image.Image):
    file = io.BytesIO()
    photo.save(file, "PNG")
    content = file.getvalue()
    path = tmp_path / "a.png"
    path.write_bytes(content[:33] + chunk(b"eXIf", b"nonsense that is no EXIF") + content[33:])

    assert np.array_equal(read_photo(path), np.asarray(photo))


def test_d12_box_outside_the_photo_is_refused():
    with pytest.raises(DataError, match="outside the photo of 100 x 80 px"):
        box_on_photo(np.array([120.0, 10, 140, 20]), 100, 80)


def test_d12_box_partly_outside_is_clipped():
    box, clipped = box_on_photo(np.array([-5.0, 10, 140, 20]), 100, 80)

    assert box.tolist() == [0, 10, 100, 20]
    assert clipped


def test_box_inside_is_untouched_and_nan_is_the_whole_photo():
    box, clipped = box_on_photo(np.array([0.0, 10.5, 100, 80]), 100, 80)
    whole, whole_clipped = box_on_photo(np.full(4, np.nan), 100, 80)

    assert box.tolist() == [0, 10.5, 100, 80]
    assert whole.tolist() == [0, 0, 100, 80]
    assert not clipped
    assert not whole_clipped


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 10, 10, 20], "no area"),
        ([10, 20, 30, 10], "no area"),
        ([30, 10, 10, 20], "no area"),
        ([10, 10, np.nan, 20], "not four numbers"),
        ([10, 10, np.inf, 20], "not four numbers"),
        ([-np.inf, 10, 20, 20], "not four numbers"),
        ([-30, -30, -10, -10], "outside"),
    ],
)
def test_d13_impossible_box_is_refused(box: list[float], reason: str):
    with pytest.raises(DataError, match=reason):
        box_on_photo(np.array(box, dtype=np.float64), 100, 80)


def test_a_photo_that_the_disk_does_not_give_says_why(tmp_path: Path, monkeypatch):
    (tmp_path / "x.jpg").write_bytes(b"x")

    def fail(*_arguments, **_options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(DataError, match="it cannot be read: Input/output error"):
        read_photo(tmp_path / "x.jpg")
