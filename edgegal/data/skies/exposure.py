"""Exposures of simulated skies: training fields as a telescope's stacks show them, with boxes by one rule.

The box of an object is the extent of its own noiseless light, blurred as the view is, above 3 sigma of the sky noise
in the mean of the channels, its largest connected part: the rule by which `edgegal.data.boxes` boxes galaxies in survey
cutouts. A cluster is no connected object; its box holds all its stars that stand out.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import BOX_SIGMA, LEAST_VISIBLE, SMALLEST_AREA_PX, SMALLEST_SIDE_PX, light_extent
from edgegal.data.fields import Field
from edgegal.data.skies.camera import developed, expose, grey_of, grey_sigma, sky_electrons
from edgegal.data.skies.celestial import CELESTIAL, black_body
from edgegal.data.skies.galaxies import Stamp
from edgegal.data.skies.optics import PointSpread, point_spread
from edgegal.data.skies.scenes import (
    Pose,
    SkyObject,
    Stars,
    add_light,
    draw_galaxy_of_radius,
    draw_other,
    draw_stars,
    faintest_star,
    object_light,
    star_light,
)
from edgegal.data.skies.telescopes import Telescope
from edgegal.preprocess import Stretch, stretch_linear
from edgegal.sky import box_above

__all__ = ["FLOOR_SIGMA", "Box", "compose_exposure_field", "is_unclear", "light_and_box"]

FLOOR_SIGMA = 0.1
"""Light that may be missing in a pixel, in sigma of the sky: not seen in any stretch."""

Box = tuple[float, float, float, float]
Array = NDArray[np.float32]
Chance = np.random.Generator

_SMALLEST_WINDOW_PX = 32
_MOST_STARS = 2000
# Few values of seeing: a point-spread function takes longer than a field.
_SEEINGS = 3


def light_and_box(
    thing: SkyObject,
    telescope: Telescope,
    pose: Pose,
    spread: PointSpread,
    seconds: float,
    sigma: float,
    stacked: int = 1,
) -> tuple[Array, int, int, Box | None]:
    """Light of an object in one exposure, where its corner lies, and its box.

    Parameters
    ----------
    thing, telescope, pose, spread, seconds
        As for `edgegal.data.skies.scenes.object_light`.
    sigma
        Sky noise, from `edgegal.data.skies.camera.grey_sigma` of `stacked` exposures.
    stacked
        Exposures in the picture.

    Returns
    -------
    light, left, top
        ``(h, w, 3)`` float32 electrons, and its corner.
    box
        x0, y0, x1, y1, perhaps beyond the picture; None when the object nowhere rises above the noise.
    """
    light, left, top = object_light(thing, telescope, pose, spread, seconds, FLOOR_SIGMA * sigma)
    grey, threshold = grey_of(light, telescope, stacked), BOX_SIGMA * sigma
    if thing.label == "star cluster":
        found = box_above(grey, threshold)
    else:
        extent = light_extent(grey, threshold)
        found = None if extent is None else tuple(extent[0].astype(int).tolist())
    if found is None:
        return light, left, top, None
    x0, y0, x1, y1 = found
    return light, left, top, (x0 + left, y0 + top, x1 + left, y1 + top)


def compose_exposure_field(
    telescopes: Telescope | Sequence[Telescope],
    size: int,
    rng: Chance,
    stamps: Sequence[Stamp],
    stretch: Stretch,
    labels: Sequence[str] = ("galaxy",),
) -> Field:
    """A window of one exposure, or of a stack of up to a usual number of them, as the device shows it.

    One field in ten holds no galaxy, one in seven is crowded, one in four has a bright star. Apparent sizes are
    log-uniform from the blur to most of the window, and magnitudes follow from the surface brightness of the kind.

    Parameters
    ----------
    telescopes
        One, or those to draw from.
    size
        Side in pixels, at least 32 and at most the shorter side of the sensor.
    rng
        Source of chance.
    stamps
        Galaxies to draw from.
    stretch
        The stretch of the detector.
    labels
        What gets boxes, by class index, of `edgegal.data.skies.celestial.CELESTIAL`. All others stand in the sky too.

    Returns
    -------
    Field
        In `ignore` are objects that are too small or too much cut by the border, by the limits of
        `edgegal.data.boxes`, that stars in their box outshine, or of which too few pixels rise above the noise.
        Magnitudes are those of galaxies and of everything else alike.
    """
    unknown = [label for label in labels if label not in CELESTIAL]
    if unknown:
        raise ValueError(f"no label {unknown[0]!r}: use some of {', '.join(CELESTIAL)}")
    known = [telescopes] if isinstance(telescopes, Telescope) else list(telescopes)
    telescope = known[int(rng.integers(len(known)))]
    if not _SMALLEST_WINDOW_PX <= size <= min(telescope.width, telescope.height):
        raise ValueError(f"a window of {size} pixels does not fit {telescope.name}")
    seconds = telescope.exposure_s
    stacked = max(1, round(math.exp(rng.uniform(0, math.log(telescope.stacked)))))
    sky_mag = float(rng.uniform(*telescope.sky_mag_arcsec2))
    seeing = float(rng.choice(np.linspace(*telescope.seeing_arcsec, _SEEINGS)))
    spread = point_spread(telescope, seeing)
    sigma = grey_sigma(telescope, sky_mag, seconds, stacked)
    pose = Pose(size, size, telescope.pixel_scale)
    stars = _field_stars(telescope, pose, spread, seconds, sigma, rng)
    light = star_light(stars, telescope, pose, spread, seconds, FLOOR_SIGMA * sigma)
    placed = _place_objects(light, _wanted(stamps, pose, spread, rng), telescope, pose, spread, seconds, sigma, stacked)
    light += _sky(telescope, sky_mag, seconds, size, rng)
    corner = tuple(2 * int(rng.integers(0, (side - size) // 2 + 1)) for side in (telescope.width, telescope.height))
    raw = expose(light, telescope, seconds, rng, stacked, (corner[0], corner[1]))
    view = stretch_linear(developed(raw, telescope, stacked), stretch)
    return _field(view, placed, labels, telescope.pixel_scale)


def _field_stars(
    telescope: Telescope, pose: Pose, spread: PointSpread, seconds: float, sigma: float, rng: Chance
) -> Stars:
    """Stars of a field anywhere on the sky, one time in four with a bright one in the window."""
    dense = 10 ** rng.uniform(2.2, 3.6) * (rng.uniform(2, 5) if rng.random() < 0.12 else 1)
    stars = draw_stars(pose, dense, faintest_star(telescope, spread, seconds, sigma), _MOST_STARS, rng)
    if rng.random() >= 0.25:
        return stars
    electrons = sigma * 10 ** rng.uniform(4.0, 5.6)
    magnitude = 2.5 * math.log10(telescope.electrons_per_s(0.0) * seconds / electrons)
    half = pose.width / 2 * pose.pixel_scale
    return Stars(
        np.vstack([stars.places, rng.uniform(-half, half, (1, 2))]),
        np.append(stars.magnitudes, magnitude),
        np.vstack([stars.colours, black_body(np.exp(rng.normal(np.log(5300), 0.3, 1)))]),
    )


def _wanted(stamps: Sequence[Stamp], pose: Pose, spread: PointSpread, rng: Chance) -> list[SkyObject]:
    """What stands in one field: other objects, then galaxies, large ones first."""
    chance = rng.random()
    crowded = chance > 0.85
    count = 0 if chance < 0.1 else int(rng.integers(8, 24) if crowded else rng.integers(1, 8))
    smallest, largest = max(1.2, 0.7 * spread.fwhm_px), pose.width * (0.06 if crowded else 0.2)
    radii = np.exp(rng.uniform(math.log(smallest), math.log(max(largest, smallest * 1.01)), count)) * pose.pixel_scale
    things = []
    for label, share, low, high in _OTHERS:
        if rng.random() < share:
            radius = pose.width * pose.pixel_scale * math.exp(rng.uniform(math.log(low), math.log(high)))
            things.append(draw_other(label, radius, pose, rng))
    for radius in np.sort(radii)[::-1].tolist():
        things.append(draw_galaxy_of_radius(stamps[int(rng.integers(len(stamps)))], radius, pose, rng))
    return things


# How often they stand in a training field, and their radii in sides of the field.
_OTHERS = (
    ("star cluster", 0.1, 0.03, 0.4),
    ("nebula", 0.07, 0.06, 0.3),
    ("planetary nebula", 0.07, 0.01, 0.1),
    ("star trail", 0.08, 0.05, 0.8),
)


def _place_objects(
    light: Array,
    things: Sequence[SkyObject],
    telescope: Telescope,
    pose: Pose,
    spread: PointSpread,
    seconds: float,
    sigma: float,
    stacked: int,
) -> list[tuple[SkyObject, Box, bool]]:
    """Add objects to `light` in place; those that show, with their boxes and whether they are too unclear to be found.

    One that would overlap another is left out: two boxes over one another leave open which light belongs to which,
    and that is for `merger` to say.
    """
    placed: list[tuple[SkyObject, Box, bool]] = []
    for thing in things:
        patch, left, top, box = light_and_box(thing, telescope, pose, spread, seconds, sigma, stacked)
        if box is not None:
            if thing.label != "star trail" and any(_touch(box, other) for _, other, _ in placed):
                continue
            placed.append((thing, box, is_unclear(light, patch, box, telescope, sigma, stacked)))
        add_light(light, patch, left, top)
    return placed


def is_unclear(light: Array, own: Array, box: Box, telescope: Telescope, sigma: float, stacked: int) -> bool:
    """Whether an object cannot be told for what it is: too few of its pixels show, or what stands there outshines it.

    Parameters
    ----------
    light
        ``(height, width, 3)`` float32 electrons of everything else that is there, sky not included.
    own
        ``(h, w, 3)`` of the object alone.
    box, telescope, sigma, stacked
        As for `light_and_box`.
    """
    return _outshone(light, own, box) or _speck(own, box, telescope, sigma, stacked)


def _outshone(light: Array, own: Array, box: Box) -> bool:
    """Whether more light than the object's own stands in its box: nobody could tell what the box is of."""
    x0, y0, x1, y1 = (max(0, round(v)) for v in box)
    return float(light[y0:y1, x0:x1].sum()) > float(own.sum())


def _touch(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _speck(own: Array, box: Box, telescope: Telescope, sigma: float, stacked: int) -> bool:
    """Whether too few of an object's pixels rise above the noise for it to be told from noise."""
    if (box[2] - box[0]) * (box[3] - box[1]) > SMALLEST_AREA_PX**2:
        return False
    extent = light_extent(grey_of(own, telescope, stacked), BOX_SIGMA * sigma)
    return extent is None or extent[1] < SMALLEST_AREA_PX


def _sky(telescope: Telescope, sky_mag: float, seconds: float, size: int, rng: Chance) -> Array:
    """Electrons of the sky, in a third of the fields brighter on one side."""
    level = sky_electrons(telescope, sky_mag, seconds).astype(np.float32)
    if rng.random() < 0.67:
        return level
    slope = rng.uniform(-0.04, 0.04, 2)
    y, x = np.indices((size, size), np.float32) / size - 0.5
    return (1 + slope[0] * x + slope[1] * y).astype(np.float32)[..., None] * level


def _field(
    view: NDArray[np.uint8], placed: Sequence[tuple[SkyObject, Box, bool]], labels: Sequence[str], pixel_scale: float
) -> Field:
    size = view.shape[0]
    boxes, classes, magnitudes, ignore = [], [], [], []
    for thing, box, unclear in placed:
        if thing.label not in labels:
            continue
        seen = np.clip(np.array(box, np.float32), 0, size)
        width, height = float(seen[2] - seen[0]), float(seen[3] - seen[1])
        if width <= 0 or height <= 0:
            continue
        visible = width * height / ((box[2] - box[0]) * (box[3] - box[1]))
        if unclear or max(width, height) < SMALLEST_SIDE_PX or visible < LEAST_VISIBLE:
            ignore.append(seen)
            continue
        boxes.append(seen)
        classes.append(labels.index(thing.label))
        magnitudes.append(thing.magnitude)
    return Field(
        view,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(ignore, np.float32).reshape(-1, 4),
        np.array(classes, np.int32),
        np.array(magnitudes, np.float64),
        pixel_scale,
    )
