"""A simulated sky: stars and objects with magnitudes, places and colours, and their light in a telescope's pixels.

Places are arc seconds from the middle of the field, to the right and down of a picture that is not turned; a `Pose`
says where a telescope's pixels lie on them. Light is in electrons behind each colour filter, sky and noise left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.data.skies.celestial import (
    CELESTIAL,
    PointGroup,
    Trail,
    black_body,
    draw_cluster,
    draw_nebula,
    draw_planetary_nebula,
    draw_trail,
)
from edgegal.data.skies.galaxies import GALAXY_KINDS, Stamp
from edgegal.data.skies.optics import PointSpread
from edgegal.data.skies.telescopes import Telescope

__all__ = [
    "Pose",
    "SkyObject",
    "Stars",
    "add_light",
    "draw_galaxy",
    "draw_galaxy_of_radius",
    "draw_other",
    "draw_stars",
    "faintest_star",
    "object_light",
    "star_light",
]

Array = NDArray[np.float32]
Chance = np.random.Generator

# Mean surface brightness within the half-light radius, magnitudes per square arc second: what apparent magnitude
# and size of nearby galaxies obey, whatever their distance. M 51 (8.4, 150 arc seconds) lies at 21.3. Assumed by kind.
_MEAN_SURFACE = {
    "round": 20.6,
    "in-between": 20.8,
    "cigar": 20.9,
    "edge-on": 21.0,
    "spiral": 21.5,
    "merger": 21.2,
    "irregular": 22.4,
}
_SURFACE_SCATTER = 0.7
# Galaxy counts of a uniform, Euclidean neighbourhood: ten to the 0.6 per magnitude.
_GALAXY_SLOPE = 0.6
# Star counts flatten from ten to the 0.4 toward fainter stars; the mean slope about magnitude 15.
_STAR_SLOPE = 0.34
_STARS_AT_15 = 15.0
_BRIGHTEST_STAR = 4.0
# Stars that show no farther out than this are drawn many at a time.
_BATCH_HALF = 3
_BATCH = 4096


@dataclass(frozen=True)
class Pose:
    """Where pixels lie on the sky.

    Attributes
    ----------
    width, height
        Pixels.
    pixel_scale
        Arc seconds per pixel.
    dx, dy
        Where the middle of the field lies, pixels from the middle of the picture, right and down.
    turn
        Rotation of the field, radians, clockwise in the picture.
    """

    width: int
    height: int
    pixel_scale: float
    dx: float = 0.0
    dy: float = 0.0
    turn: float = 0.0

    @property
    def reach_arcsec(self) -> float:
        """Distance from the middle of the field to the farthest corner."""
        half = math.hypot(self.width / 2 + abs(self.dx), self.height / 2 + abs(self.dy))
        return half * self.pixel_scale

    def pixels(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """``(n, 2)`` x, y in continuous pixel coordinates of places in arc seconds."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        right, down = places[:, 0] / self.pixel_scale, places[:, 1] / self.pixel_scale
        x = right * cos - down * sin + self.width / 2 + self.dx
        y = right * sin + down * cos + self.height / 2 + self.dy
        return np.stack([x, y], axis=1)


@dataclass(frozen=True, eq=False)
class Stars:
    """A star field.

    Attributes
    ----------
    places
        ``(n, 2)`` float64 arc seconds right and down of the middle of the field.
    magnitudes
        ``(n,)`` float64.
    colours
        ``(n, 3)`` float32 RGB, green 1.
    """

    places: NDArray[np.float64]
    magnitudes: NDArray[np.float64]
    colours: Array


@dataclass(frozen=True, eq=False)
class SkyObject:
    """An object that is no single star.

    Attributes
    ----------
    label
        One of `edgegal.data.skies.celestial.CELESTIAL`.
    kind
        What sort of that; a galaxy's is one of `edgegal.data.skies.galaxies.GALAXY_KINDS` or empty.
    magnitude
        Of the whole.
    radius_arcsec
        Half-light radius; half the length of a trail.
    x, y
        Place, arc seconds right and down of the middle of the field.
    angle
        By how much the drawing is turned, radians, clockwise.
    mirrored
        Whether the drawing is mirrored before.
    light
        The drawing.
    """

    label: str
    kind: str
    magnitude: float
    radius_arcsec: float
    x: float
    y: float
    angle: float
    mirrored: bool
    light: Stamp | PointGroup | Trail


def faintest_star(telescope: Telescope, spread: PointSpread, seconds: float, sigma: float) -> float:
    """Magnitude of a star whose brightest pixel stands one `sigma` (electrons) above the sky."""
    peak = float(spread.core[2, 2, ..., 1].max()) * telescope.electrons_per_s(0.0) * seconds
    return 2.5 * math.log10(peak / sigma)


def draw_stars(pose: Pose, per_degree: float, faintest: float, most: int, rng: Chance) -> Stars:
    """Stars by chance over a field and its surroundings.

    Parameters
    ----------
    pose
        The field; stars lie as far out as its corners.
    per_degree
        Stars brighter than magnitude 15 in a square degree: some 200 at the galactic poles, 3000 in the Milky Way
        (Allen's Astrophysical Quantities, 4th edition, 19.3).
    faintest
        Magnitude where the counts end.
    most
        At most so many; the faintest are left out.
    rng
        Source of chance.
    """
    reach = pose.reach_arcsec
    expected = per_degree * (2 * reach / 3600) ** 2 * 10 ** (_STAR_SLOPE * (faintest - _STARS_AT_15))
    count = int(min(rng.poisson(min(expected, 1e7)), 1e6))
    share = np.sort(rng.random(count))[:most]
    magnitudes = np.maximum(faintest + np.log10(np.maximum(share, 1e-12)) / _STAR_SLOPE, _BRIGHTEST_STAR)
    kelvin = np.exp(rng.normal(np.log(5300), 0.24, len(share))).clip(2900, 20000)
    return Stars(rng.uniform(-reach, reach, (len(share), 2)), magnitudes, black_body(kelvin))


def draw_galaxy(stamps: Sequence[Stamp], magnitudes: tuple[float, float], pose: Pose, rng: Chance) -> SkyObject:
    """A galaxy somewhere in the field: magnitude by galaxy counts, size by the surface brightness of its kind."""
    stamp = stamps[int(rng.integers(len(stamps)))]
    low, high = (10 ** (_GALAXY_SLOPE * (m - magnitudes[1])) for m in magnitudes)
    magnitude = magnitudes[1] + math.log10(rng.uniform(low, high)) / _GALAXY_SLOPE
    surface = _surface(stamp, rng)
    radius = 10 ** ((surface - magnitude - _inside_half_light(0)) / 5)
    return _placed("galaxy", _kind(stamp), magnitude, radius, stamp, pose, rng)


def draw_galaxy_of_radius(stamp: Stamp, radius_arcsec: float, pose: Pose, rng: Chance) -> SkyObject:
    """A galaxy of a given half-light radius; the magnitude follows from the surface brightness of its kind."""
    magnitude = _surface(stamp, rng) - _inside_half_light(radius_arcsec)
    return _placed("galaxy", _kind(stamp), magnitude, radius_arcsec, stamp, pose, rng)


def _surface(stamp: Stamp, rng: Chance) -> float:
    mean = _MEAN_SURFACE.get(_kind(stamp), _MEAN_SURFACE["spiral"])
    return float(rng.normal(mean, _SURFACE_SCATTER))


def _inside_half_light(radius_arcsec: float) -> float:
    """Surface brightness less magnitude: half the light over the circle; of one arc second when the radius is 0."""
    return 2.5 * math.log10(2 * math.pi * (radius_arcsec or 1.0) ** 2)


def _kind(stamp: Stamp) -> str:
    return GALAXY_KINDS[stamp.kind] if stamp.kind >= 0 else ""


def draw_other(label: str, radius_arcsec: float, pose: Pose, rng: Chance) -> SkyObject:
    """An object of `CELESTIAL` other than a galaxy; surface brightness as of the well-known ones, with scatter."""
    light: Stamp | PointGroup | Trail
    if label == "star cluster":
        globular = bool(rng.random() < 0.5)
        kind, surface = ("globular", 19.5) if globular else ("open", 20.5)
        light = draw_cluster(globular, rng)
    elif label == "nebula":
        kind, light, surface = "", draw_nebula(rng), 21.3
    elif label == "planetary nebula":
        # They grow fainter as they expand: M 57 (8.8, 30 arc seconds), M 27 (7.4, 150).
        kind, light, surface = "", draw_planetary_nebula(rng), 18.2 + 3 * math.log10(max(radius_arcsec, 5) / 30)
    elif label == "star trail":
        kind, light, surface = "", draw_trail(rng), 23.0
    else:
        raise ValueError(f"no object {label!r}: use one of {', '.join(CELESTIAL[1:])}")
    magnitude = float(rng.normal(surface, 0.9)) - _inside_half_light(radius_arcsec)
    return _placed(label, kind, magnitude, radius_arcsec, light, pose, rng)


def _placed(
    label: str,
    kind: str,
    magnitude: float,
    radius: float,
    light: Stamp | PointGroup | Trail,
    pose: Pose,
    rng: Chance,
) -> SkyObject:
    half = np.array([pose.width, pose.height]) / 2 * pose.pixel_scale
    x, y = rng.uniform(-1.04, 1.04, 2) * half
    turned, mirrored = rng.uniform(0, 2 * np.pi), bool(rng.random() < 0.5)
    return SkyObject(label, kind, float(magnitude), float(radius), float(x), float(y), float(turned), mirrored, light)


def star_light(
    stars: Stars, telescope: Telescope, pose: Pose, spread: PointSpread, seconds: float, floor: float
) -> Array:
    """``(height, width, 3)`` float32 electrons of the stars, each as far out as it rises above `floor` electrons."""
    canvas = np.zeros((pose.height, pose.width, 3), np.float32)
    light = 10 ** (-0.4 * stars.magnitudes) * (telescope.electrons_per_s(0.0) * seconds)
    _add_points(canvas, pose.pixels(stars.places), light[:, None] * stars.colours, telescope, spread, floor)
    return canvas


def _add_points(
    canvas: Array,
    pixels: NDArray[np.float64],
    electrons: NDArray[np.floating],
    telescope: Telescope,
    spread: PointSpread,
    floor: float,
) -> None:
    """Add point sources at ``(n, 2)`` `pixels` with ``(n, 3)`` `electrons` of a camera without colour preference."""
    height, width = canvas.shape[:2]
    tinted = (electrons * np.array(telescope.response)).astype(np.float32)
    halves = spread.reach(tinted.max(axis=1, initial=0), floor)
    near = ((pixels > -halves[:, None]) & (pixels < np.array([width, height]) + halves[:, None])).all(axis=1)
    small = near & (halves <= _BATCH_HALF)
    for first in range(0, int(small.sum()), _BATCH):
        batch = np.flatnonzero(small)[first : first + _BATCH]
        _add_small(canvas, pixels[batch], tinted[batch], spread.core)
    for index in np.flatnonzero(near & ~small):
        x, y = pixels[index].tolist()
        patch, left, top = spread.at(x, y, int(halves[index]))
        add_light(canvas, patch, left, top, tinted[index])


def _add_small(canvas: Array, pixels: NDArray[np.float64], light: Array, core: Array) -> None:
    """Add faint stars, all to the same distance, at once."""
    cell = np.floor(pixels).astype(int)
    column_phase, row_phase = ((pixels - cell) * core.shape[0]).astype(int).T
    middle = core.shape[2] // 2
    cut = slice(middle - _BATCH_HALF, middle + _BATCH_HALF + 1)
    patches = core[:, :, cut, cut][row_phase, column_phase] * light[:, None, None]
    offsets = np.arange(-_BATCH_HALF, _BATCH_HALF + 1)
    columns, rows = np.broadcast_arrays(
        cell[:, 0, None, None] + offsets[None, None, :], cell[:, 1, None, None] + offsets[None, :, None]
    )
    height, width = canvas.shape[:2]
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = (rows[inside] * width + columns[inside])[:, None] * 3 + np.arange(3)
    np.add.at(canvas.reshape(-1), places.ravel(), patches[inside].ravel())


def add_light(canvas: Array, patch: Array, left: int, top: int, factor: Array | float = 1.0) -> None:
    """Add `patch` times `factor` to `canvas` in place, its corner at `left`, `top`; what falls outside is cut."""
    height, width = canvas.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1] += patch[y0 - top : y1 - top, x0 - left : x1 - left] * factor


def object_light(
    thing: SkyObject, telescope: Telescope, pose: Pose, spread: PointSpread, seconds: float, floor: float
) -> tuple[Array, int, int]:
    """The light of one object.

    Parameters
    ----------
    thing
        What.
    telescope, spread
        Through what, and how it blurs.
    pose
        Where; at the place of the object, not cut to the picture, but for what lies more than its half beyond.
    seconds
        How long.
    floor
        Electrons that a pixel may lack.

    Returns
    -------
    light
        ``(h, w, 3)`` float32 electrons.
    left, top
        Column and row of its corner in the picture.
    """
    (x, y) = pose.pixels(np.array([[thing.x, thing.y]]))[0].tolist()
    radius = thing.radius_arcsec / pose.pixel_scale
    electrons = telescope.electrons_per_s(thing.magnitude) * seconds
    turn = thing.angle + pose.turn
    if isinstance(thing.light, Stamp):
        patch, left, top = _stamp_light(thing.light, thing.mirrored, x, y, radius, turn, pose, spread)
        return patch * (np.array(telescope.response) * electrons).astype(np.float32), left, top
    places, light = _points_of(thing.light, radius, spread)
    cos, sin = math.cos(turn), math.sin(turn)
    flip = -1 if thing.mirrored else 1
    right, down = places[:, 0] * radius * flip, places[:, 1] * radius
    pixels = np.stack([right * cos - down * sin + x, right * sin + down * cos + y], axis=1)
    margin = spread.core.shape[2]
    low = np.floor(np.maximum(pixels.min(axis=0), [-pose.width / 2, -pose.height / 2])).astype(int) - margin
    high = np.ceil(np.minimum(pixels.max(axis=0), [1.5 * pose.width, 1.5 * pose.height])).astype(int) + margin
    size = np.maximum(high - low, 1)
    canvas = np.zeros((int(size[1]), int(size[0]), 3), np.float32)
    # What single stars of a group may lack adds up.
    _add_points(canvas, pixels - low, light * electrons, telescope, spread, floor / 10)
    return canvas, int(low[0]), int(low[1])


def _points_of(light: PointGroup | Trail, radius: float, spread: PointSpread) -> tuple[Array, NDArray[np.floating]]:
    if isinstance(light, PointGroup):
        return light.places, light.light
    # Points closer than a third of the blur make a smooth line.
    count = int(np.clip(2 * radius / max(spread.fwhm_px / 3, 0.4), 8, 4000))
    t = np.linspace(0, 1, count)
    known = np.linspace(0, 1, len(light.path))
    path = np.stack([np.interp(t, known, light.path[:, axis]) for axis in (0, 1)], axis=1)
    return path.astype(np.float32), np.broadcast_to(light.light / count, (count, 3))


def _stamp_light(
    stamp: Stamp, mirrored: bool, x: float, y: float, radius: float, turn: float, pose: Pose, spread: PointSpread
) -> tuple[Array, int, int]:
    """A stamp of half-light radius `radius` about x, y, blurred; its green sums to 1 where all of it is drawn."""
    scale, source = radius / stamp.half_light_px, stamp.light
    if scale < 1:
        size = [max(1, round(side * scale)) for side in source.shape[1::-1]]
        source = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    height, width = source.shape[:2]
    grow = scale * stamp.light.shape[1] / width
    reach, margin = 0.5 * max(width, height) * grow, spread.core.shape[2] // 2
    left = math.floor(max(x - reach, -pose.width / 2)) - margin
    top = math.floor(max(y - reach, -pose.height / 2)) - margin
    right = math.ceil(min(x + reach, 1.5 * pose.width)) + margin
    bottom = math.ceil(min(y + reach, 1.5 * pose.height)) + margin
    cos, sin = math.cos(turn) * grow, math.sin(turn) * grow
    flip = -1 if mirrored else 1
    turned = np.array([[cos * flip, -sin], [sin * flip, cos]])
    # OpenCV counts from the middle of the first pixel.
    shift = np.array([x - left - 0.5, y - top - 0.5]) - turned @ np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.hstack([turned, shift[:, None]]).astype(np.float32)
    warped = cv2.warpAffine(source, matrix, (max(right - left, 1), max(bottom - top, 1)))
    # The warp keeps the surface brightness: what was in one pixel now fills `grow` squared.
    total = float(source[..., 1].sum(dtype=np.float64)) * grow**2
    return _blurred(warped, radius, spread) / np.float32(total), left, top


def _blurred(light: Array, radius: float, spread: PointSpread) -> Array:
    """`light` through the telescope; a galaxy much larger than the blur cannot tell it from a Gaussian."""
    if radius > 4 * spread.fwhm_px:
        return cv2.GaussianBlur(light, (0, 0), max(spread.fwhm_px / 2.355, 0.3))
    return cv2.filter2D(light, -1, spread.kernel, borderType=cv2.BORDER_CONSTANT)
