"""Draws cars for the synthetic set: numpy only, many photos at a time, each on its own numbers.

Lengths are in units of 1/96 of a photo's side, so that they read as pixels of a 96 px photo.
B: photos drawn together; Y, X: rows and columns; K: things painted. Pixels are made of sums,
products and roots only, so that a photo does not depend on its place in the batch.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.fingerprint import seed_of
from trainables.spec import SyntheticSpec

#: Raise by one whenever the same spec would be drawn as other pixels than before.
DRAWING_VERSION = 1
#: Numbers in [0, 1) that a photo is made of.
N_DRAWS = 64

SIDE = 96.0
CELLS = 4
GLYPH = 18.0
MAX_ROTATION_RAD = 0.25
SCALES = (0.85, 1.15)
SUPERSAMPLING = 3

#: float32 throughout; numpy's annotations cannot tell.
Floats = NDArray[np.floating]
Draws = Iterator[NDArray[np.float64]]


class Scene(NamedTuple):
    """Where things are in B photos, (B, 1, 1) float32 each; `cos`, `sin` are divided by scale."""

    cos: Floats
    sin: Floats
    x: Floats
    y: Floats
    length: Floats
    plate_u: Floats
    plate_v: Floats
    horizon: Floats
    slope: Floats


def draw_cars(
    spec: SyntheticSpec,
    labels_B: NDArray[np.int64],
    patterns_BC: NDArray[np.bool_],
    uniforms: Sequence[NDArray[np.float64]],
) -> NDArray[np.uint8]:
    """Draw B photos.

    Args:
        spec: size, seed of the textures, strength of the coarse cue.
        labels_B: classes, for the coarse cue.
        patterns_BC: the 16 cells of each plate, row by row; True is ink.
        uniforms: for each photo (N_DRAWS,) numbers in [0, 1): all that is chance in it.

    Returns:
        (B, Y, X, 3) uint8 RGB.
    """
    draws = iter(np.stack(uniforms, axis=1))
    scene = _scene(spec, labels_B, draws)
    colours = _colours(spec, labels_B, draws)
    masks = _background(spec, scene, draws) | _car(spec, scene)
    masks["ink"] = _ink(spec, scene, patterns_BC)
    return _develop(spec, _compose(masks, colours), draws)


def _between(draws: Draws, low: float, high: float) -> Floats:
    """The next number of each photo, (B,), spread over a range."""
    return (low + (high - low) * next(draws)).astype(np.float32)


def _hinted(spec: SyntheticSpec, hint_B: NDArray[np.int64], draws: Draws) -> Floats:
    """A number in [0, 1] that is `coarse_cue` of the way from chance to the class's hint."""
    mixed = spec.coarse_cue * hint_B + (1 - spec.coarse_cue) * next(draws)
    return mixed.astype(np.float32)


def _scene(spec: SyntheticSpec, labels_B: NDArray[np.int64], draws: Draws) -> Scene:
    angle, scale = _between(draws, -MAX_ROTATION_RAD, MAX_ROTATION_RAD), _between(draws, *SCALES)
    parts = Scene(
        cos=np.cos(angle) / scale,
        sin=np.sin(angle) / scale,
        x=_between(draws, -4, 4),
        y=_between(draws, -2, 8),
        length=56 + 16 * _hinted(spec, labels_B % 2, draws),
        plate_u=_between(draws, -7, 7),
        plate_v=_between(draws, -5, -3),
        horizon=_between(draws, -20, 12),
        slope=_between(draws, -0.1, 0.1),
    )
    return Scene(*(part[:, None, None] for part in parts))


def _colours(spec: SyntheticSpec, labels_B: NDArray[np.int64], draws: Draws) -> dict[str, Floats]:
    """Of each thing, (B, 3) RGB in 0-255."""

    def paint(
        saturation: tuple[float, float],
        value: tuple[float, float],
        hue: tuple[float, float] = (0, 1),
    ) -> Floats:
        return _rgb(_between(draws, *hue), _between(draws, *saturation), _between(draws, *value))

    body_hue = 0.6 * _hinted(spec, labels_B // 2 % 2, draws)
    body = _rgb(body_hue, _between(draws, 0.5, 0.9), _between(draws, 0.55, 0.95))
    return {
        "sky": paint((0.0, 0.5), (0.65, 1.0), (0.5, 0.68)),
        "ground": paint((0.0, 0.5), (0.3, 0.65), (0.05, 0.4)),
        "blotches": paint((0.0, 0.25), (0.2, 0.95)),
        "shadow": paint((0.0, 0.1), (0.05, 0.15)),
        "cabin": 0.85 * body,
        "window": paint((0.1, 0.4), (0.15, 0.5), (0.5, 0.7)),
        "body": body,
        "tyre": paint((0.0, 0.2), (0.05, 0.2)),
        "hub": paint((0.0, 0.1), (0.6, 0.9)),
        "lamp": paint((0.1, 0.5), (0.95, 1.0), (0.1, 0.17)),
        "plate": paint((0.0, 0.15), (0.95, 1.0)),
        "ink": paint((0.2, 0.9), (0.02, 0.15)),
    }


def _rgb(hue_B: Floats, saturation_B: Floats, value_B: Floats) -> Floats:
    k_B3 = (np.array([5, 3, 1], np.float32) + 6 * hue_B[:, None]) % 6
    ramp_B3 = np.clip(np.minimum(k_B3, 4 - k_B3), 0, 1)
    return 255 * value_B[:, None] * (1 - saturation_B[:, None] * ramp_B3)


def _pixel_axes(spec: SyntheticSpec) -> tuple[Floats, Floats]:
    """Centres x (1, 1, X) and y (1, Y, 1) of the pixels, from the photo's centre."""
    centres = (np.arange(spec.image_px) + 0.5) * (SIDE / spec.image_px) - SIDE / 2
    axis = centres.astype(np.float32)
    return axis[None, None, :], axis[None, :, None]


def _to_car(scene: Scene, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Photo coordinates to the car's: u along it to the front, v down, (0, 0) amid the door."""
    x, y = x - scene.x, y - scene.y
    return x * scene.cos + y * scene.sin, y * scene.cos - x * scene.sin


def _inside(spec: SyntheticSpec, distance: Floats) -> Floats:
    """How much of each pixel lies inside a shape, of the signed distance to its edge."""
    covered = distance * np.float32(-spec.image_px / SIDE)
    covered += np.float32(0.5)
    return np.clip(covered, 0, 1, out=covered)


def _background(spec: SyntheticSpec, scene: Scene, draws: Draws) -> dict[str, Floats]:
    x, y = _pixel_axes(spec)
    ground = _inside(spec, scene.horizon + scene.slope * x - y)
    amount = _between(draws, 0.2, 0.8)[:, None, None]
    blotches = _cut_outs(_clouds(spec.image_px, spec.seed), spec, draws) * amount
    return {"sky": np.ones_like(ground), "ground": ground, "blotches": blotches}


def _car(spec: SyntheticSpec, scene: Scene) -> dict[str, Floats]:
    """Masks (B, Y, X) of the car's parts, back to front."""
    u, v = _to_car(scene, *_pixel_axes(spec))
    half, away_u, away_v = scene.length / 2, np.abs(u), np.abs(v)
    roof = np.abs(u + 3) - 0.55 * v - (0.28 * scene.length + 11)
    cabin = np.maximum(np.maximum(roof, -27 - v), v + 10)
    corner_u, corner_v = np.maximum(away_u - half + 6, 0), np.maximum(away_v - 8, 0)
    wheel = np.sqrt((away_u - 0.3 * scene.length) ** 2 + (v - 14) ** 2)
    plate = np.maximum(np.abs(u - scene.plate_u), np.abs(v - scene.plate_v))
    shadow = np.clip(1.2 - (u / half) ** 2 - ((v - 21) / 5) ** 2, 0, 0.8)
    distances = {
        "cabin": cabin,
        "window": np.maximum(cabin + 3, 1.5 - np.abs(u + 3)),
        "body": np.sqrt(corner_u**2 + corner_v**2) - 6,
        "tyre": wheel - 8,
        "hub": wheel - 4,
        "lamp": np.maximum(np.abs(u - half + 3) - 2, np.abs(v + 6) - 3),
        "plate": plate - (GLYPH / 2 + 2),
    }
    masks = {name: _inside(spec, distance) for name, distance in distances.items()}
    return {"shadow": shadow} | masks


def _ink(spec: SyntheticSpec, scene: Scene, patterns_BC: NDArray[np.bool_]) -> Floats:
    """How much of each pixel is ink, (B, Y, X): supersampled in a window around each plate."""
    reach = GLYPH * SCALES[1] * (np.cos(MAX_ROTATION_RAD) + np.sin(MAX_ROTATION_RAD))
    n_px = min(spec.image_px, int(np.ceil(reach * spec.image_px / SIDE)) + 2)
    left_B, top_B = (_window_starts(spec, centre, n_px) for centre in _plate_centres(scene))
    fine = (np.arange(n_px * SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    x, y = (
        ((start[:, None] + fine) * (SIDE / spec.image_px) - SIDE / 2).astype(np.float32)
        for start in (left_B, top_B)
    )
    inked = _inked(scene, patterns_BC, x[:, None, :], y[:, :, None])
    coarse = inked.reshape(len(inked), n_px, SUPERSAMPLING, n_px, SUPERSAMPLING)
    ink = np.zeros((len(inked), spec.image_px, spec.image_px), np.float32)
    for plane, left, top, window in zip(ink, left_B, top_B, coarse, strict=True):
        plane[top : top + n_px, left : left + n_px] = window.mean((1, 3), dtype=np.float32)
    return ink


def _plate_centres(scene: Scene) -> tuple[Floats, Floats]:
    """Photo coordinates (B,) of the plates' centres: `_to_car` backwards."""
    squared_scale = 1 / (scene.cos**2 + scene.sin**2)
    x = scene.x + (scene.plate_u * scene.cos - scene.plate_v * scene.sin) * squared_scale
    y = scene.y + (scene.plate_u * scene.sin + scene.plate_v * scene.cos) * squared_scale
    return x[:, 0, 0], y[:, 0, 0]


def _window_starts(spec: SyntheticSpec, centre_B: Floats, n_px: int) -> NDArray[np.int64]:
    starts = np.round((centre_B / SIDE + 0.5) * spec.image_px - n_px / 2).astype(np.int64)
    return np.clip(starts, 0, spec.image_px - n_px)


def _inked(scene: Scene, patterns_BC: NDArray[np.bool_], x: Floats, y: Floats) -> NDArray[np.bool_]:
    u, v = _to_car(scene, x, y)
    column = (u - scene.plate_u) * np.float32(CELLS / GLYPH) + CELLS / 2
    row = (v - scene.plate_v) * np.float32(CELLS / GLYPH) + CELLS / 2
    on_glyph = (column >= 0) & (column < CELLS) & (row >= 0) & (row < CELLS)
    cells = np.where(on_glyph, row.astype(np.int64) * CELLS + column.astype(np.int64), 0)
    photos = np.arange(len(patterns_BC))[:, None, None]
    return patterns_BC[photos, cells] & on_glyph


def _compose(masks: dict[str, Floats], colours: dict[str, Floats]) -> Floats:
    """Paint things over each other, back to front: (B, 3, Y, X) in 0-255."""
    planes = list(masks.values())
    n_photos, height, width = planes[0].shape
    shares = np.empty((n_photos, len(planes), height, width), np.float32)
    unpainted = np.ones_like(planes[0])
    for k in reversed(range(len(planes))):
        np.multiply(planes[k], unpainted, out=shares[:, k])
        unpainted -= shares[:, k]
    colours_B3K = np.stack([colours[name] for name in masks], axis=2)
    return (colours_B3K @ shares.reshape(n_photos, len(planes), -1)).reshape(-1, 3, height, width)


def _develop(spec: SyntheticSpec, photos_B3YX: Floats, draws: Draws) -> NDArray[np.uint8]:
    """Add light from one side and grain; round to (B, Y, X, 3) uint8."""
    x, y = _pixel_axes(spec)
    gain = _between(draws, 0.75, 1.05)[:, None, None]
    across, down = (_between(draws, -4e-3, 4e-3)[:, None, None] for _ in range(2))
    photos_B3YX *= (gain * (1 + across * x + down * y))[:, None]
    strength = _between(draws, 2, 10)[:, None, None]
    grain = _grain(spec.image_px, spec.seed)
    for colour in range(3):
        photos_B3YX[:, colour] += _cut_outs(grain, spec, draws) * strength
    photos_B3YX += np.float32(0.5)
    np.clip(photos_B3YX, 0, 255, out=photos_B3YX)
    return np.ascontiguousarray(photos_B3YX.astype(np.uint8).transpose(0, 2, 3, 1))


def _cut_outs(texture: Floats, spec: SyntheticSpec, draws: Draws) -> Floats:
    """A random part of a texture for each photo, (B, Y, X)."""
    n_px = spec.image_px
    corners = ((next(draws) * n_px).astype(np.int64) for _ in range(2))
    return np.stack([texture[y : y + n_px, x : x + n_px] for y, x in zip(*corners, strict=True)])


@lru_cache(maxsize=2)
def _grain(image_px: int, seed: int) -> Floats:
    """White noise of standard deviation 1, twice as wide and high as a photo."""
    generator = np.random.default_rng(seed_of("grain", seed))
    return generator.standard_normal((2 * image_px, 2 * image_px), np.float32)


@lru_cache(maxsize=2)
def _clouds(image_px: int, seed: int) -> Floats:
    """Smooth blotches in [0, 1] of several sizes, twice as wide and high as a photo."""
    generator = np.random.default_rng(seed_of("clouds", seed))
    position = (np.arange(2 * image_px) + 0.5) / (2 * image_px)
    total = np.zeros((2 * image_px, 2 * image_px))
    for n_blotches, weight in ((8, 0.5), (20, 0.3), (48, 0.2)):
        knots = np.arange(n_blotches + 1) / n_blotches
        hat = np.maximum(1 - np.abs(position[:, None] - knots) * n_blotches, 0)
        total += weight * (hat @ generator.random((n_blotches + 1, n_blotches + 1)) @ hat.T)
    return total.astype(np.float32)
