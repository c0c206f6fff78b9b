"""Photo files to pixels, behind one function; and boxes onto photos.

Every photo is untrusted input. What cannot be read fully and unambiguously is refused with a
reason; nothing is repaired, skipped or guessed.
"""

import math
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from trainables.errors import DataError

#: Decoders that may see a file; without the list Pillow would start Ghostscript for an EPS.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
#: More pixels than any camera in use, far less than a decompression bomb.
MAX_PIXELS = 50_000_000
MAX_SIDE_PX = 20_000
#: Of a JPEG that is decoded at once; of a longer one Pillow reads as much as it needs.
JPEG_BYTES_A_PIXEL, JPEG_METADATA_BYTES = 4, 1_000_000
#: What shows through transparent pixels.
BACKGROUND_RGB = (255, 255, 255)

#: EXIF orientation -> what makes the photo upright (EXIF 2.32, tag 0x0112); 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Read a photo as 8-bit RGB, upright.

    The EXIF orientation is applied, so boxes refer to the upright photo. Grey becomes three equal
    channels (A23); transparency shows `BACKGROUND_RGB`; 16-bit grey is divided by 257, of 16-bit
    colour Pillow keeps the high byte (at most one level lower). Of a camera's multi-picture JPEG
    (MPO) the first picture is the photo, the others are its previews.

    Args:
        path: a JPEG, PNG, BMP or WebP file; its name does not matter.

    Returns:
        (H, W, 3) uint8, writable.

    Raises:
        DataError: with the reason alone (no path) when the file is missing, empty, cut off, of
            another kind, animated, or larger than `MAX_PIXELS` or `MAX_SIDE_PX`; size is judged
            from the header, before anything is decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _decode(path)
        except (DataError, MemoryError):
            raise
        except Exception as fault:  # decoders raise anything at all on damaged bytes
            raise DataError(_reason(fault, path)) from fault


def _decode(path: Path) -> NDArray[np.uint8]:
    if path.is_dir():
        raise DataError("it is a folder, not a photo")
    if not path.is_file():
        raise DataError("the file is missing")
    with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        _check_header(image)
        upright = _turn_upright(image)
        is_plain = upright is image and (image.format, image.mode) == ("JPEG", "RGB")
        pixels_HWC = _sound_jpeg(file, *image.size) if is_plain else None
        return np.array(_to_rgb(upright)) if pixels_HWC is None else pixels_HWC


def _sound_jpeg(file: BinaryIO, width_px: int, height_px: int) -> NDArray[np.uint8] | None:
    """The pixels of an RGB JPEG that libjpeg-turbo has nothing to say about, else None.

    They are Pillow's, in half its time: it copies them three times.
    """
    file.seek(0)
    encoded = file.read(JPEG_BYTES_A_PIXEL * width_px * height_px + JPEG_METADATA_BYTES)
    try:
        pixels_HWC = simplejpeg.decode_jpeg(encoded, "RGB", strict=True)
    except ValueError:
        return None
    return pixels_HWC if pixels_HWC.shape == (height_px, width_px, 3) else None


def _check_header(image: Image.Image) -> None:
    width_px, height_px = image.size
    if width_px * height_px > MAX_PIXELS or max(image.size) > MAX_SIDE_PX:
        raise DataError(
            f"its header says {width_px} x {height_px} px; at most {MAX_PIXELS / 1e6:g} million "
            f"pixels and {MAX_SIDE_PX} px a side are accepted"
        )
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise DataError("it is animated; save the one frame that is the photo")


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, TypeError, KeyError, EOFError):
        return image  # damaged metadata beside good pixels: viewers show it as it is
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        grey_HW = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(np.rint(grey_HW).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        photo = image.convert("RGBA")
        background = Image.new("RGBA", photo.size, BACKGROUND_RGB)
        return Image.alpha_composite(background, photo).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # it would copy


def _reason(fault: Exception, path: Path) -> str:
    """Say in plain words why a file could not be read."""
    if isinstance(fault, UnidentifiedImageError):
        if path.stat().st_size == 0:
            return "the file is empty (0 bytes)"
        return "it is not a JPEG, PNG, BMP or WebP photo"
    if isinstance(fault, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"its header says more than {MAX_PIXELS / 1e6:g} million pixels"
    if isinstance(fault, OSError) and fault.errno is not None:
        return f"it cannot be read: {fault.strerror}"
    return f"it is damaged or cut off ({fault})"


def box_on_photo(
    box_4: NDArray[np.float64], width_px: int, height_px: int
) -> tuple[NDArray[np.float64], bool]:
    """Clip a box to its photo (A20).

    Args:
        box_4: x1, y1, x2, y2 in pixels of the upright photo, 0-based, half-open; four NaN stand
            for the whole photo.
        width_px: of the photo.
        height_px: of the photo.

    Returns:
        The box inside the photo, and whether that cut something off.

    Raises:
        DataError: with the reason alone when the box is not finite, has no area, or lies outside.
    """
    if np.isnan(box_4).all():
        return np.array([0.0, 0.0, width_px, height_px]), False
    text = "(" + ", ".join(f"{edge:g}" for edge in box_4) + ")"
    x1, y1, x2, y2 = (float(edge) for edge in box_4)
    if not all(math.isfinite(edge) for edge in (x1, y1, x2, y2)):
        raise DataError(f"its box {text} is not four numbers")
    if x2 <= x1 or y2 <= y1:
        raise DataError(f"its box {text} has no area; x1 < x2 and y1 < y2 are needed")
    inside_4 = np.clip(box_4, 0, [width_px, height_px, width_px, height_px])
    if inside_4[2] <= inside_4[0] or inside_4[3] <= inside_4[1]:
        raise DataError(f"its box {text} lies outside the photo of {width_px} x {height_px} px")
    return inside_4, bool((inside_4 != box_4).any())
