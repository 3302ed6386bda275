"""What else a telescope is pointed at: clusters, nebulae and trails, to tell a galaxy from."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.data.skies.galaxies import Stamp
from edgegal.labels import SCHEMES

__all__ = [
    "CELESTIAL",
    "PointGroup",
    "Trail",
    "black_body",
    "draw_cluster",
    "draw_nebula",
    "draw_planetary_nebula",
    "draw_trail",
]

CELESTIAL = SCHEMES["celestial"].labels
"""Labels of what can stand in a simulated sky; the position is the class index."""

Array = NDArray[np.float32]
Chance = np.random.Generator

_SIDE = 256
_WAVELENGTHS_UM = np.array([0.62, 0.54, 0.46])
_WHITE_K = 6500.0


@dataclass(frozen=True, eq=False)
class PointGroup:
    """Stars that belong together.

    Attributes
    ----------
    places
        ``(n, 2)`` float32 offsets from the middle, right and down, in half-light radii of the group.
    light
        ``(n, 3)`` float32 RGB; the green sums to 1.
    """

    places: Array
    light: Array


@dataclass(frozen=True, eq=False)
class Trail:
    """A star or satellite that moved while the shutter was open.

    Attributes
    ----------
    path
        ``(n, 2)`` float32 points from the middle of the trail, right and down, in units of half its length.
    light
        ``(3,)`` float32 RGB of the whole, green 1.
    """

    path: Array
    light: Array


def black_body(kelvin: NDArray[np.float64]) -> Array:
    """``(n, 3)`` RGB of black bodies, green 1, white at 6500 K."""

    def planck(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return _WAVELENGTHS_UM**-5 / np.expm1(14388 / (_WAVELENGTHS_UM * t[:, None]))

    colour = planck(np.asarray(kelvin, float)) / planck(np.array([_WHITE_K]))
    return (colour / colour[:, 1:2]).astype(np.float32)


def draw_cluster(globular: bool, rng: Chance) -> PointGroup:
    """An open cluster of tens of young stars, or a globular one of thousands of old stars.

    Globular clusters follow Plummer's profile out to four half-light radii, open ones a Gaussian out to two: single
    stars beyond are nobody's outline of a cluster.
    """
    count = int(rng.integers(1500, 3500)) if globular else int(rng.integers(25, 180))
    share = rng.random(count)
    if globular:
        radius = 0.77 / np.sqrt(np.clip(0.93 * share, 1e-4, 1) ** (-2 / 3) - 1)
        height = rng.uniform(-1, 1, count)
        radius = radius * np.sqrt(1 - height**2)
    else:
        radius = np.sqrt(-np.log(1 - 0.99 * share)) * rng.uniform(0.6, 1.2)
    angle = rng.uniform(0, 2 * np.pi, count)
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    flux = (1 - 0.9999 * rng.random(count)) ** (-1 / (1.1 if globular else 0.8))
    flux = np.minimum(flux, flux.sum() * (0.004 if globular else 0.15))
    kelvin = rng.uniform(3900, 6500, count) if globular else np.exp(rng.normal(np.log(9000), 0.3, count))
    light = black_body(kelvin) * flux[:, None].astype(np.float32)
    return PointGroup(places.astype(np.float32), (light / light[:, 1].sum()).astype(np.float32))


def draw_nebula(rng: Chance) -> Stamp:
    """A cloud: red emission, or blue reflection of a star's light, mottled and at times drawn into filaments."""
    texture = np.zeros((_SIDE, _SIDE), np.float32)
    for octave in range(6):
        cells = 3 * 2**octave
        noise = rng.standard_normal((cells, cells), np.float32)
        texture += cv2.resize(noise, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) * np.float32(0.58**octave)
    texture /= texture.std()
    glow = np.exp(np.float32(rng.uniform(0.4, 1.0)) * texture)
    if rng.random() < 0.4:
        # Folds of a noise field are thin bright lines, as shock fronts seen edge-on are.
        glow = 0.3 * glow + 2 * np.exp(-((texture / np.float32(0.2)) ** 2))
    y, x = (np.indices((_SIDE, _SIDE), np.float32) + 0.5) / (_SIDE / 2) - 1
    centre = rng.uniform(-0.15, 0.15, 2)
    distance = np.hypot(x - centre[0], (y - centre[1]) / rng.uniform(0.6, 1.0))
    edge = 0.55 + 0.12 * cv2.GaussianBlur(texture, (0, 0), 6)
    body = 1 / (1 + np.exp(np.clip((distance - edge) / 0.06, -30, 30)))
    # Nothing reaches the edge of the stamp.
    body *= np.clip((0.98 - np.hypot(x, y)) / 0.15, 0, 1)
    emission = rng.random() < 0.75
    tint = (rng.uniform(2.2, 4.0), 1.0, rng.uniform(1.0, 1.5)) if emission else (0.75, 1.0, rng.uniform(1.3, 1.7))
    return Stamp.of((glow * body)[..., None] * np.array(tint, np.float32))


def draw_planetary_nebula(rng: Chance) -> Stamp:
    """A shell around a hot star: teal inside, red at the rim, round, elongated or with two lobes."""
    y, x = (np.indices((_SIDE, _SIDE), np.float32) + 0.5) / (_SIDE / 2) - 1
    angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
    along, across = x * math.cos(angle) + y * math.sin(angle), (y * math.cos(angle) - x * math.sin(angle)) / ratio
    radius = np.hypot(along, across)
    if rng.random() < 0.3:
        radius = np.hypot(along, across * (1 + rng.uniform(0.5, 1.5) * np.exp(-((along / 0.25) ** 2))))
    outer = 0.5
    inner = outer * rng.uniform(0.35, 0.85)

    def ball(size: float) -> NDArray[np.floating]:
        """Path of the line of sight through a ball."""
        return np.sqrt(np.clip(size**2 - radius**2, 0, None))

    lumps = np.exp(0.25 * cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE), np.float32), (0, 0), 7) * 12)
    shell = (ball(outer) - rng.uniform(0.6, 1.0) * ball(inner)) * lumps
    teal = np.array([0.25, 1.0, 0.95], np.float32)
    red = np.array([2.5, 0.35, 0.5], np.float32)
    rim = np.clip((radius - inner) / max(outer - inner, 1e-3), 0, 1) * rng.uniform(0.1, 0.9)
    light = shell[..., None] * ((1 - rim[..., None]) * teal + rim[..., None] * red)
    halo = np.exp(-((radius / 0.42) ** 4))[..., None] * red * rng.uniform(0, 0.02)
    light = cv2.GaussianBlur((light + halo).astype(np.float32), (0, 0), 2.0)
    light[_SIDE // 2, _SIDE // 2] += light[..., 1].sum() * rng.uniform(0, 0.01) * np.array([0.8, 1, 1.2], np.float32)
    return Stamp.of(light)


def draw_trail(rng: Chance) -> Trail:
    """A straight or slightly bent line."""
    angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.03)
    t = np.linspace(-1, 1, 65)
    path = np.stack([t, bend * (t**2 - 1 / 3)], axis=1)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return Trail((path @ turn).astype(np.float32), black_body(np.array([rng.uniform(3800, 9000)]))[0])
