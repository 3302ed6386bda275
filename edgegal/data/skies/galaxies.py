"""Galaxies as stamps of light: drawn with GalSim, or taken from survey cutouts; resized by whoever puts them in a sky.

A drawn galaxy is a bulge and a disc with what the kind asks for: bar, arms with knots, dust lane, tidal tails. Bulges
are Sersic profiles, discs are exponential with a thickness and an inclination (`galsim.InclinedExponential`), so light
and shape are those of the models that real galaxies are fitted with. Colours are relative to green.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import cv2
import galsim
import numpy as np
from numpy.typing import NDArray

from edgegal.data.fields import IsolatedGalaxy
from edgegal.labels import SCHEMES, UNLABELLED

__all__ = ["GALAXY_KINDS", "Stamp", "galaxy_stamps", "stamp_from_cutout"]

GALAXY_KINDS = (*SCHEMES["galaxy6"].labels, "irregular")
"""Kinds that can be drawn: the labels of scheme ``galaxy6`` in their order, and what has no place among them."""

Array = NDArray[np.float32]
Chance = np.random.Generator

_SIDE = 256
# Half-light radii that leave room for what shows: an exponential disc ends, a de Vaucouleurs bulge does not.
_DISC_PX = 26.0
_BULGE_PX = 19.0
_MERGER_PX = 15.0
# Light fades to nothing over the outermost part of a stamp, so that no square edge shows however deep the picture.
_FADE_FROM = 0.72
# Thickest and thinnest discs, scale height over scale length.
_THICKNESS = (0.06, 0.14)


@dataclass(frozen=True, eq=False)
class Stamp:
    """The light of one object on a dark sky, sharper than any telescope here will show it.

    Attributes
    ----------
    light
        ``(h, w, 3)`` float32 RGB, linear, not negative; the green channel sums to 1, the others give the colour.
    kind
        Index into `GALAXY_KINDS`; -1 when nobody said.
    half_light_px
        Radius of the circle about the middle of the light that holds half of the green, in pixels of `light`.
    """

    light: Array
    kind: int
    half_light_px: float

    @classmethod
    def of(cls, light: Array, kind: int = UNLABELLED) -> "Stamp":
        """Stamp of any light with a positive green sum; the light is normalised, the radius measured."""
        total = float(light[..., 1].sum(dtype=np.float64))
        if not total > 0:
            raise ValueError("a stamp needs light")
        unit = (light / np.float32(total)).astype(np.float32)
        return cls(unit, kind, _half_light(unit[..., 1]))


def _half_light(green: Array) -> float:
    y, x = np.indices(green.shape, np.float32)
    centre_x, centre_y = float((green * x).sum()), float((green * y).sum())
    radius = np.hypot(x - centre_x, y - centre_y).ravel()
    order = np.argsort(radius)
    growth = np.cumsum(green.ravel()[order], dtype=np.float64)
    return float(max(0.5, radius[order][np.searchsorted(growth, 0.5 * growth[-1])]))


def galaxy_stamps(count: int, seed: int) -> list[Stamp]:
    """Draw `count` galaxies, all kinds in turn.

    A longer list of the same seed begins with the shorter one.

    Parameters
    ----------
    count
        How many.
    seed
        Of shapes, orientations and colours.
    """
    stamps = []
    for index in range(count):
        kind = index % len(GALAXY_KINDS)
        light = _DRAWERS[GALAXY_KINDS[kind]](np.random.default_rng((seed, index)))
        stamps.append(Stamp.of(np.maximum(light, 0) * _fade()[..., None], kind))
    return stamps


def stamp_from_cutout(galaxy: IsolatedGalaxy, kind: int = UNLABELLED, softening: float = 0.1) -> Stamp | None:
    """A real galaxy's light, brought back from the display stretch to roughly linear.

    Survey pictures are stretched by an inverse hyperbolic sine of the intensity that keeps colours (Lupton et al. 2004,
    PASP 116, 133). Its inverse is applied to the mean of the channels, white taken as 1.

    Parameters
    ----------
    galaxy
        Light above the sky, as `edgegal.data.fields.isolate` cuts it out.
    kind
        Index into `GALAXY_KINDS`, when known.
    softening
        Intensity, white being 1, below which the stretch is taken as linear.

    Returns
    -------
    Stamp or None
        None when the cutout holds no green light.
    """
    shown = galaxy.light.astype(np.float32) / 255
    grey = shown.mean(axis=2)
    linear = np.float32(softening) * np.sinh(grey * np.float32(math.asinh(1 / softening)))
    light = shown * (linear / np.maximum(grey, np.float32(1e-6)))[..., None]
    return Stamp.of(light, kind) if light[..., 1].sum() > 0 else None


@lru_cache(maxsize=1)
def _fade() -> Array:
    y, x = np.indices((_SIDE, _SIDE), np.float32)
    middle = (_SIDE - 1) / 2
    radius = np.hypot(x - middle, y - middle) / middle
    ramp = np.clip((1 - radius) / (1 - _FADE_FROM), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def _old(rng: Chance) -> Array:
    """Colour of old stars: bulges and ellipticals."""
    return np.array([rng.uniform(1.15, 1.45), 1.0, rng.uniform(0.55, 0.75)], np.float32)


def _young(rng: Chance) -> Array:
    """Colour of young stars: arms and irregulars."""
    return np.array([rng.uniform(0.78, 0.98), 1.0, rng.uniform(0.95, 1.35)], np.float32)


def _image(profile: "galsim.GSObject", method: str = "auto") -> Array:
    # A sharp kernel and a small fold suffice: the light is blurred by seeing before anybody sees it.
    image = profile.drawImage(nx=_SIDE, ny=_SIDE, scale=1.0, method=method, dtype=np.float32)
    return np.maximum(image.array, 0)


def _bulge(radius: float, index: float, axis_ratio: float, angle: float) -> Array:
    """Sersic profile of unit light; drawn point by point, which for these is exact but for the central pixel."""
    profile = galsim.Sersic(n=round(index, 1), half_light_radius=radius)
    return _unit(_image(profile.shear(q=axis_ratio, beta=angle * galsim.radians), "sb"))


def _disc(radius: float, inclination: float, angle: float, thickness: float) -> Array:
    """Exponential disc of unit light, major axis at `angle` from the x axis."""
    profile = galsim.InclinedExponential(
        inclination * galsim.radians, half_light_radius=radius, scale_h_over_r=thickness, gsparams=_PARAMS
    )
    return _unit(_image(profile.rotate(angle * galsim.radians)))


_PARAMS = galsim.GSParams(folding_threshold=1e-2, maxk_threshold=1e-2, kvalue_accuracy=1e-3, maximum_fft_size=8192)


def _unit(light: Array) -> Array:
    return light / np.float32(light.sum(dtype=np.float64))


def _in_plane(inclination: float, angle: float, centre: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, Array]:
    """Coordinates in the plane of a disc, pixels along its major axis and across, deprojected."""
    y, x = np.indices((_SIDE, _SIDE), np.float32) - (_SIDE - 1) / 2
    x, y = x - np.float32(centre[0]), y - np.float32(centre[1])
    along = x * math.cos(angle) + y * math.sin(angle)
    across = (y * math.cos(angle) - x * math.sin(angle)) / max(math.cos(inclination), 0.15)
    return along.astype(np.float32), across.astype(np.float32)


def _texture(rng: Chance, grain: float) -> Array:
    """Lumpy factor of mean about 1, never negative: star clouds of `grain` pixels."""
    noise = cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE), np.float32), (0, 0), grain)
    return np.exp(np.float32(0.45) * noise / noise.std())


def _knots(rng: Chance, weight: Array, count: int) -> Array:
    """Star-forming knots of unit light in all, placed by chance where `weight` is."""
    chance = weight.ravel().astype(np.float64)
    places = rng.choice(chance.size, count, p=chance / chance.sum())
    light = np.zeros(chance.size, np.float32)
    np.add.at(light, places, rng.pareto(1.5, count).clip(0, 20).astype(np.float32) + np.float32(0.2))
    sharp = light.reshape(weight.shape)
    return _unit(cv2.GaussianBlur(sharp, (0, 0), 1.1) + cv2.GaussianBlur(sharp, (0, 0), 2.4))


def _draw_smooth(low: float, high: float) -> Callable[[Chance], Array]:
    def draw(rng: Chance) -> Array:
        ratio = rng.uniform(low, high)
        # A shear keeps the area: the major axis shall not outgrow the stamp.
        radius = _BULGE_PX * math.sqrt(ratio)
        light = _bulge(radius, rng.uniform(1.5, 4.2), ratio, rng.uniform(0, np.pi)) * _fade()
        return light[..., None] * _old(rng)

    return draw


def _draw_spiral(rng: Chance, inclination: float | None = None) -> Array:
    """Disc with logarithmic arms and knots, a bulge and, in four of ten, a bar that the arms start from."""
    tilt = math.acos(rng.uniform(0.45, 1.0)) if inclination is None else inclination
    angle = rng.uniform(0, np.pi)
    old, young = _old(rng), _young(rng)
    smooth = _disc(_DISC_PX, tilt, angle, rng.uniform(*_THICKNESS))
    along, across = _in_plane(tilt, angle)
    radius = np.hypot(along, across)
    barred = rng.random() < 0.4
    inner = _DISC_PX * (rng.uniform(0.35, 0.6) if barred else rng.uniform(0.15, 0.35))
    ridge = _arm_ridge(along, across, radius, inner, rng)
    arms = _unit(smooth * ridge * _texture(rng, 2.0))
    knots = _knots(rng, arms * (radius > inner), int(rng.integers(25, 160)))
    bulge_share = float(np.exp(rng.uniform(np.log(0.03), np.log(0.4))))
    arm_share, knot_share = rng.uniform(0.35, 0.65), rng.uniform(0.04, 0.15)
    light = (1 - arm_share) * smooth[..., None] * (0.6 * old + 0.4 * young)
    light += (arm_share - knot_share) * arms[..., None] * (0.2 * old + 0.8 * young)
    # Gas glows red at H alpha around the hottest stars.
    light += knot_share * knots[..., None] * (young + np.array([rng.uniform(0, 0.5), 0, 0], np.float32))
    bulge = _bulge(_DISC_PX * rng.uniform(0.1, 0.22), rng.uniform(1.0, 3.0), max(0.6, math.cos(tilt)), angle)
    light = light * (1 - bulge_share) + bulge_share * bulge[..., None] * old
    if barred:
        bar = np.exp(-(np.abs(along / inner) ** 3) - (across / (0.28 * inner)) ** 2).astype(np.float32)
        light += rng.uniform(0.06, 0.2) * _unit(bar)[..., None] * old
    return light


def _arm_ridge(along: Array, across: Array, radius: Array, inner: float, rng: Chance) -> Array:
    """Factor that is high on logarithmic arms outside `inner`; flocculent discs have many short ones."""
    theta = np.arctan2(across, along)
    pitch = math.radians(rng.uniform(10, 30)) * rng.choice([-1, 1])
    winding = np.log(np.maximum(radius, 0.5) / np.float32(inner)) / math.tan(pitch)
    number = int(rng.choice([2, 2, 2, 2, 3, 4, 5]))
    # Arms wander: a smooth noise in their phase.
    wander = cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE), np.float32), (0, 0), 16)
    phase = number * (theta - winding) + np.float32(rng.uniform(0.2, 0.8)) * wander / wander.std()
    ridge = np.exp(np.float32(rng.uniform(1.5, 4.5)) * (np.cos(phase) - 1))
    begun = 1 / (1 + np.exp(-(radius - np.float32(inner)) / np.float32(0.15 * inner)))
    return (0.04 + ridge * begun).astype(np.float32)


def _draw_edge_on(rng: Chance) -> Array:
    """A disc seen within a few degrees of its plane, often with a dust lane across the bulge."""
    tilt, angle = math.radians(rng.uniform(84, 90)), rng.uniform(0, np.pi)
    thickness = rng.uniform(*_THICKNESS)
    old, young = _old(rng), _young(rng)
    disc = _disc(_DISC_PX, tilt, angle, thickness) * np.sqrt(_texture(rng, 1.5))
    share = float(np.exp(rng.uniform(np.log(0.02), np.log(0.45))))
    bulge = _bulge(_DISC_PX * rng.uniform(0.15, 0.35), rng.uniform(1.0, 2.5), rng.uniform(0.6, 0.95), angle)
    light = (1 - share) * disc[..., None] * (0.5 * old + 0.5 * young) + share * bulge[..., None] * old
    if rng.random() < 0.6:
        y, x = np.indices((_SIDE, _SIDE), np.float32) - (_SIDE - 1) / 2
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle) - np.float32(rng.uniform(-0.8, 0.8))
        scale = _DISC_PX / 1.68
        depth = rng.uniform(0.8, 2.5) * np.exp(-((across / (0.09 * scale)) ** 2) - (along / (2.2 * scale)) ** 2)
        depth = depth * _texture(rng, 2.0)
        # Dust reddens what it dims (Cardelli et al. 1989: more in blue, less in red).
        light *= np.exp(-depth[..., None] * np.array([0.8, 1.0, 1.3], np.float32))
    return light


def _draw_irregular(rng: Chance) -> Array:
    """A lopsided blue disc of lumps and knots, with an off-centre bar at times."""
    angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.4, 0.9)
    young = _young(rng)
    body = _bulge(_DISC_PX, rng.uniform(0.7, 1.2), ratio, angle)
    y, x = np.indices((_SIDE, _SIDE), np.float32) - (_SIDE - 1) / 2
    lean = rng.uniform(-0.5, 0.5, 2)
    body *= np.clip(1 + (lean[0] * x + lean[1] * y) / np.float32(1.5 * _DISC_PX), 0.15, 2.5).astype(np.float32)
    body = _unit(body * _texture(rng, 4.0) * _texture(rng, 9.0))
    knots = _knots(rng, body, int(rng.integers(8, 60)))
    share = rng.uniform(0.08, 0.3)
    light = (1 - share) * body[..., None] * (0.75 * young + 0.25 * _old(rng)) + share * knots[..., None] * young
    if rng.random() < 0.4:
        along, across = _in_plane(0.0, angle, (float(rng.uniform(-6, 6)), float(rng.uniform(-6, 6))))
        bar = np.exp(-(np.abs(along / (0.6 * _DISC_PX)) ** 3) - (across / (0.2 * _DISC_PX)) ** 2).astype(np.float32)
        light += rng.uniform(0.05, 0.2) * _unit(bar)[..., None] * (0.5 * young + 0.5)
    return light


def _draw_merger(rng: Chance) -> Array:
    """Two galaxies in contact, with tidal tails and a bridge, and the disturbed light between them."""
    apart, direction = _MERGER_PX * rng.uniform(0.9, 2.6), rng.uniform(0, 2 * np.pi)
    share = rng.uniform(0.5, 0.85)
    step = np.array([math.cos(direction), math.sin(direction)]) * apart
    centres = (-step * (1 - share), step * share)
    light = np.zeros((_SIDE, _SIDE, 3), np.float32)
    for centre, flux in zip(centres, (share, 1 - share), strict=True):
        member = _draw_irregular(rng) if rng.random() < 0.2 else _draw_spiral(rng)
        if rng.random() < 0.3:
            member = _draw_smooth(0.5, 1.0)(rng)
        light += _shrunk(member / member[..., 1].sum(), 0.55 * math.sqrt(flux / share), centre) * np.float32(flux)
    tails = np.zeros((_SIDE, _SIDE), np.float32)
    for centre, way in zip(centres, (math.pi, 0.0), strict=True):
        if rng.random() < 0.85:
            _add_tail(tails, centre, direction + way + rng.normal(0, 0.5), rng)
    bridge = np.linspace(centres[0], centres[1], 40) + rng.normal(0, 2.0, (40, 2))
    _splat(tails, bridge, np.full(40, 0.4 * float(max(tails.max(), 1.0)), np.float32))
    blurred = cv2.GaussianBlur(tails, (0, 0), 2.2) + cv2.GaussianBlur(tails, (0, 0), 5.0)
    debris = _unit(blurred * _texture(rng, 3.0))
    tint = 0.6 * _young(rng) + 0.4 * _old(rng)
    return light + np.float32(rng.uniform(0.12, 0.4)) * debris[..., None] * tint


def _shrunk(light: Array, factor: float, centre: NDArray[np.float64]) -> Array:
    """`light` of unit green made smaller about the middle and moved there; the flux stays."""
    middle = (_SIDE - 1) / 2
    matrix = np.array(
        [[factor, 0, middle * (1 - factor) + centre[0]], [0, factor, middle * (1 - factor) + centre[1]]], np.float32
    )
    moved = cv2.warpAffine(cv2.GaussianBlur(light, (0, 0), 0.5 / factor), matrix, (_SIDE, _SIDE))
    return (moved / np.float32(moved[..., 1].sum(dtype=np.float64))).astype(np.float32)


def _add_tail(canvas: Array, centre: NDArray[np.float64], start: float, rng: Chance) -> None:
    """A tail that leaves a galaxy and bends away, fading outward."""
    t = np.linspace(0, 1, 90)
    reach = _MERGER_PX * (0.9 + rng.uniform(1.2, 3.4) * t)
    bend = start + rng.choice([-1, 1]) * rng.uniform(0.6, 2.2) * t
    spread = 0.5 + 3.5 * t[:, None]
    places = centre + reach[:, None] * np.stack([np.cos(bend), np.sin(bend)], axis=1)
    places = places + spread * rng.normal(0, 0.5, (len(t), 2))
    _splat(canvas, places, (np.exp(-rng.uniform(0.8, 2.2) * t) * rng.uniform(0.5, 1.5)).astype(np.float32))


def _splat(canvas: Array, places: NDArray[np.float64], light: Array) -> None:
    cell = np.rint(places + (_SIDE - 1) / 2).astype(int)
    inside = ((cell >= 0) & (cell < _SIDE)).all(axis=1)
    np.add.at(canvas, (cell[inside, 1], cell[inside, 0]), light[inside])


_DRAWERS: Mapping[str, Callable[[Chance], Array]] = MappingProxyType(
    {
        "round": _draw_smooth(0.85, 1.0),
        "in-between": _draw_smooth(0.45, 0.75),
        "cigar": _draw_smooth(0.22, 0.36),
        "edge-on": _draw_edge_on,
        "spiral": _draw_spiral,
        "merger": _draw_merger,
        "irregular": _draw_irregular,
    }
)
