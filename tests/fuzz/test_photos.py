"""Photos of strangers: pixels, or a DataError; a header's size is believed before anything else."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from tests.fuzz.changed import files, fuzz, told
from trainables import decode
from trainables.decode import MAX_PIXELS, read_photo
from trainables.errors import DataError


def photo(kind: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return photo("JPEG", exif=exif)


def frames(kind: str) -> bytes:
    buffer = io.BytesIO()
    first, second = (Image.new("RGB", (5, 4), colour) for colour in ("red", "blue"))
    first.save(buffer, kind, save_all=True, append_images=[second])
    return buffer.getvalue()


def grey_16_bit() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(60, dtype=np.uint16).reshape(6, 10) * 999).save(buffer, "PNG")
    return buffer.getvalue()


VALID = (
    grey_16_bit(), frames("PNG"), frames("WEBP"), frames("MPO"), frames("GIF"),
    photo("JPEG"), photo("JPEG", "L", progressive=True), photo("JPEG", "CMYK"), turned(),
    photo("PNG"), photo("PNG", "P"), photo("PNG", "LA"), photo("BMP"), photo("WEBP"),
    photo("GIF", "P"), photo("TIFF"),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("photos") / "photo"


@fuzz()
@given(content=files(*VALID))
def test_a_photo_is_read_or_refused(place, content):
    place.write_bytes(content)
    try:
        pixels_HWC = read_photo(place)
    except DataError as error:
        told(error)
        return
    assert pixels_HWC.dtype == np.uint8
    assert pixels_HWC.shape[2] == 3
    assert pixels_HWC.shape[0] * pixels_HWC.shape[1] <= MAX_PIXELS


#: Kinds that libjpeg-turbo decodes at once where nothing is wrong with them.
PLAIN = tuple(
    photo("JPEG", **options)
    for options in (
        {}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 20},
        {"restart_marker_blocks": 1}, {"keep_rgb": True}, {"optimize": True},
    )
)  # fmt: skip


def read(place: Path) -> tuple[str, bytes]:
    """The pixels, or why not."""
    try:
        pixels_HWC = read_photo(place)
    except DataError as error:
        return str(error), b""
    return str(pixels_HWC.shape), pixels_HWC.tobytes()


@fuzz()
@given(content=files(*PLAIN))
def test_a_jpeg_decoded_at_once_is_what_pillow_makes_of_it(place, content):
    place.write_bytes(content)

    at_once = read(place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_sound_jpeg", lambda *_: None)
        assert at_once == read(place)
