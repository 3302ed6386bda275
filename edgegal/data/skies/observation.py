"""A simulated night at a telescope: exposures of one field, as the camera delivers them, and the truth about each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import LEAST_VISIBLE
from edgegal.data.skies.camera import developed, expose, grey_sigma, sky_electrons
from edgegal.data.skies.celestial import CELESTIAL
from edgegal.data.skies.exposure import FLOOR_SIGMA, Box, is_unclear, light_and_box
from edgegal.data.skies.galaxies import Stamp, galaxy_stamps
from edgegal.data.skies.optics import point_spread
from edgegal.data.skies.scenes import (
    Pose,
    SkyObject,
    Stars,
    add_light,
    draw_galaxy,
    draw_other,
    draw_stars,
    faintest_star,
    star_light,
)
from edgegal.data.skies.telescopes import Telescope
from edgegal.errors import InputError
from edgegal.frames import Frame

__all__ = ["Observation", "Truth", "asked_labels", "draw_observation", "on_the_sky"]

_FIRST_LIGHT = datetime(2026, 3, 21, 21, 0, tzinfo=timezone.utc)
_DOWNLOAD_S = 2.0
_MOST_STARS = 200_000
_STAMPS = 60
_SATELLITE_SHARE = 0.05
# Guiding dithers by a few pixels; mounts that do not guide drift as well.
_DITHER_PX = 1.5
_DRIFT_PX = 0.6
# Earth turns 15 degrees an hour; where and how fast the field follows depends on the place in the sky.
_FASTEST_TURN = math.radians(15) / 3600


@dataclass(frozen=True)
class Truth:
    """What one frame shows of one object.

    Attributes
    ----------
    label
        One of `edgegal.data.skies.celestial.CELESTIAL`.
    kind
        What sort of it, empty when there are none.
    magnitude
        Of the whole object.
    radius_arcsec
        Half-light radius; half the length of a trail.
    x, y
        Middle in pixels, 0, 0 the outer corner of the top-left one.
    ra, dec
        The same in degrees, J2000.
    box
        x0, y0, x1, y1 by the rule of `edgegal.data.skies.exposure`, cut to the frame; None when it does not show.
    unclear
        Whether it counts neither way: too few pixels show, a star outshines it, or the border cuts off most of it.
    """

    label: str
    kind: str
    magnitude: float
    radius_arcsec: float
    x: float
    y: float
    ra: float
    dec: float
    box: Box | None
    unclear: bool = False


@dataclass(frozen=True, eq=False)
class Observation:
    """A field on the sky and a telescope that follows it.

    Attributes
    ----------
    telescope
        Which.
    seed
        Of dither, noise and satellites.
    labels
        What the truth tells of.
    stars, objects
        What is there.
    seeing_arcsec, sky_mag
        The night.
    ra, dec
        Middle of the field, degrees, J2000.
    drift
        Pixels per frame, right and down.
    turn_per_s
        Rotation of the field, radians per second; 0 on an equatorial mount.
    target
        Name of the field.
    """

    telescope: Telescope
    seed: int
    labels: tuple[str, ...]
    stars: Stars
    objects: tuple[SkyObject, ...]
    seeing_arcsec: float
    sky_mag: float
    ra: float
    dec: float
    drift: tuple[float, float]
    turn_per_s: float
    target: str = "Simulated field"

    def begun(self, index: int) -> datetime:
        """When exposure `index` began, UTC."""
        return _FIRST_LIGHT + timedelta(seconds=index * (self.telescope.exposure_s + _DOWNLOAD_S))

    def pose(self, index: int) -> Pose:
        """Where the pixels of exposure `index` lie."""
        dither = np.random.default_rng((self.seed, index, 1)).normal(0, _DITHER_PX, 2) if index else np.zeros(2)
        seconds = (self.begun(index) - _FIRST_LIGHT).total_seconds()
        return Pose(
            self.telescope.width,
            self.telescope.height,
            self.telescope.pixel_scale,
            self.drift[0] * index + float(dither[0]),
            self.drift[1] * index + float(dither[1]),
            self.turn_per_s * seconds,
        )

    def sigma(self, stacked: int = 1) -> float:
        """Sky noise of the mean of the channels, electrons of one exposure."""
        return grey_sigma(self.telescope, self.sky_mag, self.telescope.exposure_s, stacked)

    def exposure(self, index: int, stacked: int = 1) -> tuple[Frame, tuple[Truth, ...]]:
        """Draw exposure `index`.

        Parameters
        ----------
        index
            From 0.
        stacked
            Mean of so many exposures at the place of the first, registered: RGB, or mono, with a noise that is lower
            by the root of their number.

        Returns
        -------
        frame
            Linear uint16, Bayer or mono, as in a file of the camera; stacks in 1/65536 of the converter's range.
        truth
            Every object of `labels` with its middle or a part of its box in the frame.
        """
        rng = np.random.default_rng((self.seed, index, 0))
        seconds, pose = self.telescope.exposure_s, self.pose(index)
        spread, sigma = point_spread(self.telescope, self.seeing_arcsec), self.sigma(stacked)
        light = star_light(self.stars, self.telescope, pose, spread, seconds, FLOOR_SIGMA * sigma)
        truth = []
        for thing in (*self.objects, *_satellites(pose, rng)):
            patch, left, top, box = light_and_box(thing, self.telescope, pose, spread, seconds, sigma, stacked)
            unclear = box is not None and is_unclear(light, patch, box, self.telescope, sigma, stacked)
            add_light(light, patch, left, top)
            known = self._truth(thing, pose, box, unclear)
            if known is not None:
                truth.append(known)
        light += sky_electrons(self.telescope, self.sky_mag, seconds).astype(np.float32)
        pixels: NDArray[np.uint16] = expose(light, self.telescope, seconds, rng, stacked, sensor=self._sensor())
        if stacked > 1:
            pixels = np.rint(developed(pixels, self.telescope, stacked)).clip(0, 65535).astype(np.uint16)
        frame = Frame(
            pixels,
            f"simulated:{self.telescope.name}",
            index,
            time=self.begun(index),
            bayer=self.telescope.bayer if stacked == 1 else None,
            exposure_s=seconds * stacked,
            pixel_scale=self.telescope.pixel_scale,
            target=self.target,
        )
        return frame, tuple(truth)

    def frames(self, count: int) -> Iterator[tuple[Frame, tuple[Truth, ...]]]:
        """The first `count` exposures."""
        return (self.exposure(index) for index in range(count))

    def _sensor(self) -> np.random.Generator:
        # The same bad pixels in every exposure, as darks and dithering are made for.
        return np.random.default_rng((self.seed, 3))

    def _truth(self, thing: SkyObject, pose: Pose, box: Box | None, unclear: bool) -> Truth | None:
        if thing.label not in self.labels:
            return None
        place = np.array([[thing.x, thing.y]])
        x, y = pose.pixels(place)[0].tolist()
        if box is not None:
            x0, y0, x1, y1 = np.clip(box, 0, [pose.width, pose.height] * 2).tolist()
            whole, seen = (box[2] - box[0]) * (box[3] - box[1]), max(0.0, x1 - x0) * max(0.0, y1 - y0)
            unclear = unclear or seen < LEAST_VISIBLE * whole
            box = (x0, y0, x1, y1) if seen else None
        if box is None and not (0 <= x < pose.width and 0 <= y < pose.height):
            return None
        ra, dec = on_the_sky(place, self.ra, self.dec)[0].tolist()
        return Truth(thing.label, thing.kind, thing.magnitude, thing.radius_arcsec, x, y, ra, dec, box, unclear)


def draw_observation(
    telescope: Telescope,
    seed: int,
    labels: Sequence[str] = ("galaxy",),
    galaxies: int = 20,
    magnitudes: tuple[float, float] = (9.0, 16.0),
    stamps: Sequence[Stamp] | None = None,
) -> Observation:
    """A field by chance, in conditions by chance.

    Parameters
    ----------
    telescope
        With what.
    seed
        Of everything; the same arguments give the same observation.
    labels
        What there is, of `edgegal.data.skies.celestial.CELESTIAL`; of others than galaxies one or two each. Satellites
        cross one exposure in twenty whatever is asked for.
    galaxies
        How many, brightest and faintest `magnitudes` apart as galaxies are counted: few bright ones.
    magnitudes
        Brightest and faintest.
    stamps
        Galaxies to draw from; a set of all kinds when None.
    """
    rng = np.random.default_rng((seed, 2))
    seeing = float(rng.uniform(*telescope.seeing_arcsec))
    sky_mag = float(rng.uniform(*telescope.sky_mag_arcsec2))
    # What drift may bring in lies within a tenth more than the sensor.
    pose = Pose(round(1.1 * telescope.width), round(1.1 * telescope.height), telescope.pixel_scale)
    spread = point_spread(telescope, seeing)
    sigma = grey_sigma(telescope, sky_mag, telescope.exposure_s, 1)
    faintest = faintest_star(telescope, spread, telescope.exposure_s, sigma)
    stars = draw_stars(pose, 10 ** rng.uniform(2.3, 3.3), faintest, _MOST_STARS, rng)
    known = galaxy_stamps(_STAMPS, seed) if stamps is None else stamps
    frame = Pose(telescope.width, telescope.height, telescope.pixel_scale)
    objects = [draw_galaxy(known, magnitudes, frame, rng) for _ in range(galaxies if "galaxy" in labels else 0)]
    shorter = min(telescope.width, telescope.height) * telescope.pixel_scale
    for label in CELESTIAL[1:]:
        for _ in range(int(rng.integers(1, 3)) if label in labels and label != "star trail" else 0):
            radius = shorter * math.exp(rng.uniform(math.log(0.008), math.log(0.1)))
            objects.append(draw_other(label, radius, frame, rng))
    drift = rng.normal(0, _DRIFT_PX, 2)
    turn = float(rng.uniform(-_FASTEST_TURN, _FASTEST_TURN)) if telescope.alt_az else 0.0
    return Observation(
        telescope,
        seed,
        tuple(labels),
        stars,
        tuple(objects),
        seeing,
        sky_mag,
        float(rng.uniform(0, 360)),
        float(rng.uniform(-30, 70)),
        (float(drift[0]), float(drift[1])),
        turn,
    )


def asked_labels(objects: str) -> tuple[str, ...]:
    """Labels of ``galaxies`` or of ``celestial``, which is all there are.

    Raises
    ------
    InputError
        `objects` is neither.
    """
    known = {"galaxies": CELESTIAL[:1], "celestial": CELESTIAL}
    if objects not in known:
        raise InputError(f"objects {objects!r} cannot be drawn", f"use one of {', '.join(known)}")
    return known[objects]


def _satellites(pose: Pose, rng: np.random.Generator) -> list[SkyObject]:
    if rng.random() >= _SATELLITE_SHARE:
        return []
    length = math.hypot(pose.width, pose.height) * pose.pixel_scale * math.exp(rng.uniform(math.log(0.1), 0))
    return [draw_other("star trail", length / 2, pose, rng)]


def on_the_sky(places: NDArray[np.floating], ra: float, dec: float) -> NDArray[np.float64]:
    """``(n, 2)`` right ascension and declination, degrees, of places in arc seconds right and down of a middle.

    The picture is a gnomonic projection with north up and east left (Calabretta & Greisen 2002, A&A 395, 1077).
    """
    xi, eta = -np.radians(places[:, 0] / 3600), -np.radians(places[:, 1] / 3600)
    ra0, dec0 = math.radians(ra), math.radians(dec)
    below = math.cos(dec0) - eta * math.sin(dec0)
    east = np.arctan2(xi, below)
    north = np.arctan2(np.cos(east) * (math.sin(dec0) + eta * math.cos(dec0)), below)
    return np.stack([np.degrees(ra0 + east) % 360, np.degrees(north)], axis=1)
