"""Composed fields for the detector: real and simulated galaxies on simulated star fields, with exact boxes.

A field is made in two steps, as a picture is on the device: a simulated linear scene goes through the one stretch,
then real galaxies, cut from display pictures along their segmentation, are added in the display domain.

All boxes follow one rule, that of `edgegal.data.boxes`: they surround the light that rises three sigma of the
picture's own noise, in the mean of the channels, and what has too few pixels there is no object.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import (
    BOX_SIGMA,
    LEAST_VISIBLE,
    SMALLEST_AREA_PX,
    SMALLEST_SIDE_PX,
    Segmentation,
    grey_noise,
    light_extent,
    segment_cutout,
)
from edgegal.data.skies.distractors import CONTROL, KINDS, PLATE, distractor_frame, draw_distractor
from edgegal.detections import Detections, iou_matrix
from edgegal.frames import View
from edgegal.preprocess import Stretch, resize, stretch_linear
from edgegal.sky import draw_scene

__all__ = [
    "DISTRACTORS",
    "Field",
    "IsolatedGalaxy",
    "bare_field",
    "compose_field",
    "compose_fields",
    "faint_field",
    "isolate",
    "paired_field",
]

_LARGEST_SHARE = 0.85
"""Longer side of the largest galaxy over the side of the field."""

DISTRACTORS = tuple(kind for kind in KINDS if kind not in (CONTROL, PLATE))
"""What may stand in composed fields and is no galaxy."""

_DISTRACTED = 0.2
"""Probability of something that is no galaxy, and of one more beside it."""

_CLOSEST = 0.4
"""Overlap of the boxes of two close galaxies at most."""

_SHARED_LIGHT = 0.6
"""Of the blurred light of two close galaxies, at most so much is around both besides."""

_CHANNELS_SIGMA = 3**-0.5
"""Noise of the mean of three channels, each with a noise of 1."""


@dataclass(frozen=True)
class IsolatedGalaxy:
    """One real galaxy without its sky and neighbours.

    Attributes
    ----------
    light
        ``(h, w, 3)`` uint8 RGB above the sky, black outside the galaxy, cut to its surroundings.
    box
        x0, y0, x1, y1 of the segmented galaxy in `light`.
    """

    light: View
    box: tuple[float, float, float, float]

    @property
    def side(self) -> float:
        """Longer side of the box, pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


@dataclass(frozen=True)
class Field:
    """A picture with its truth.

    Attributes
    ----------
    picture
        ``(h, w, 3)`` uint8 RGB.
    boxes
        ``(n, 4)`` float32 x0, y0, x1, y1 of the galaxies.
    ignore
        ``(m, 4)`` float32 boxes that count neither way: too small, cut by the border, or unlabelled companions.
    classes
        ``(n,)`` int32 indices into the labels of whoever made the field; all 0 unless given.
    magnitudes
        ``(n,)`` float64 apparent magnitudes, NaN where unknown; None when nobody knows any.
    pixel_scale
        Arc seconds per pixel, if known.
    """

    picture: View
    boxes: NDArray[np.float32]
    ignore: NDArray[np.float32]
    classes: NDArray[np.int32] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    magnitudes: NDArray[np.float64] | None = None
    pixel_scale: float | None = None

    def __post_init__(self) -> None:
        if not len(self.classes):
            object.__setattr__(self, "classes", np.zeros(len(self.boxes), np.int32))
        if len(self.classes) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes need as many classes, not {len(self.classes)}")

    @property
    def truth(self) -> Detections:
        """Boxes and classes as detections of score 1."""
        return Detections(self.boxes, np.ones(len(self.boxes), np.float32), self.classes)


def isolate(picture: View, found: Segmentation | None = None) -> IsolatedGalaxy | None:
    """The galaxy at the centre of a cutout, by its segmentation; None when nothing lies there.

    Parameters
    ----------
    picture
        ``(h, w, 3)`` uint8 RGB.
    found
        From `segment_cutout`, where it is known already.
    """
    found = found or segment_cutout(picture)
    if found.central is None:
        return None
    box, segments, mark = found.boxes[found.central], found.segments, found.central + 1
    others = (segments != 0) & (segments != mark)
    own = (segments == mark).astype(np.uint8)
    reach = max(5, round(0.25 * float((box[2:] - box[:2]).max())) | 1)
    halo = cv2.dilate(own, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))).astype(np.float32)
    halo[others] = 0
    mask = cv2.GaussianBlur(halo, (0, 0), reach / 6)
    above = picture.astype(np.float32) - np.median(picture.reshape(-1, 3), axis=0)
    light = np.clip(above * mask[..., None], 0, 255).astype(np.uint8)
    return IsolatedGalaxy(light, (float(box[0]), float(box[1]), float(box[2]), float(box[3])))


def _overlaps(box: NDArray[np.floating], others: Sequence[NDArray[np.floating]]) -> bool:
    return any(min(box[2], o[2]) > max(box[0], o[0]) and min(box[3], o[3]) > max(box[1], o[1]) for o in others)


def _turned(galaxy: IsolatedGalaxy, side: float, rng: np.random.Generator) -> View:
    """The galaxy's light scaled to `side`, turned by any angle and mirrored by chance."""
    factor = side / galaxy.side
    height, width = galaxy.light.shape[:2]
    light = resize(galaxy.light, max(1, round(height * factor)), max(1, round(width * factor)))
    if rng.random() < 0.5:
        light = light[:, ::-1]
    height, width = light.shape[:2]
    reach = int(np.hypot(height, width)) + 2
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rng.uniform(0, 360), 1.0)
    turn[:, 2] += (reach - width) / 2, (reach - height) / 2
    turned: View = cv2.warpAffine(light, turn, (reach, reach), flags=cv2.INTER_LINEAR)
    return turned


def _background(
    size: int,
    stretch: Stretch,
    rng: np.random.Generator,
    galaxies: int,
    seeing: float,
    sizes: tuple[float, float],
    distractors: Sequence[str],
) -> tuple[View, list[tuple[NDArray[np.float32], bool]]]:
    """A stretched simulated scene with noise and defects; box of each galaxy, and whether it is to be found."""
    crowded = rng.random() < 0.15
    stars = int(rng.integers(0, 400 if crowded else 90))
    scene = draw_scene(
        size,
        size,
        rng,
        galaxies,
        stars,
        seeing=seeing,
        sizes=sizes,
        spikes=bool(rng.random() < 0.3),
    )
    light = scene.light
    while rng.random() < _DISTRACTED:
        light = light + draw_distractor(distractors[int(rng.integers(len(distractors)))], size, rng)
    noise = rng.standard_normal((size, size, 3), np.float32)
    grain = rng.uniform(0, 1.4)
    if grain > 0.4:
        # Resampled and stacked frames have correlated noise.
        noise = cv2.GaussianBlur(noise, (0, 0), grain)
        noise /= noise.std()
    slope = rng.uniform(-1.5, 1.5, 2) * (rng.random() < 0.3)
    y, x = np.indices((size, size), np.float32) / size - 0.5
    light = light + noise + (slope[0] * x + slope[1] * y)[..., None].astype(np.float32)
    return stretch_linear(light, stretch), [_drawn(*patch, size) for patch in scene.patches]


def _drawn(
    light: NDArray[np.float32], left: int, top: int, size: int, sigma: float = _CHANNELS_SIGMA
) -> tuple[NDArray[np.float32], bool]:
    """Box of a simulated galaxy within the field, and whether it is there to be found at a noise of `sigma`."""
    found = light_extent(light, BOX_SIGMA * sigma)
    if found is None:
        return np.zeros(4, np.float32), False
    box, area = found
    moved = box + np.array([left, top] * 2, np.float32)
    seen = np.clip(moved, 0, size)
    return seen, area >= SMALLEST_AREA_PX and _share(seen, moved) >= LEAST_VISIBLE


def _share(seen: NDArray[np.float32], whole: NDArray[np.float32]) -> float:
    """How much of a box is left."""
    return float((seen[2:] - seen[:2]).prod() / (whole[2:] - whole[:2]).prod())


def compose_field(
    size: int,
    stretch: Stretch,
    real: Sequence[IsolatedGalaxy],
    rng: np.random.Generator,
    distractors: Sequence[str] = DISTRACTORS,
) -> Field:
    """Compose one field.

    Parameters
    ----------
    size
        Side in pixels.
    stretch
        The stretch the detector will be deployed with.
    real
        Real galaxies to draw from; simulated ones only when empty.
    rng
        Source of chance.
    distractors
        What else may stand in it, of `edgegal.data.skies.distractors.KINDS`.
    """
    kind = rng.random()
    crowded = kind > 0.85
    wanted = 0 if kind < 0.1 else int(rng.integers(8, 26) if crowded else rng.integers(1, 8))
    largest = size * (0.25 if crowded else _LARGEST_SHARE)
    n_real = int(rng.binomial(wanted, 0.6)) if real else 0
    seeing = float(np.exp(rng.uniform(np.log(1.2), np.log(6.0))))
    # Below this a blurred galaxy cannot be told from a star by anybody.
    smallest = max(7.0, 2.5 * seeing)
    sizes = smallest, max(smallest, largest)
    picture, found = _background(size, stretch, rng, wanted - n_real, seeing, sizes, distractors)
    canvas = picture.astype(np.float32)
    threshold = BOX_SIGMA * grey_noise(canvas.mean(axis=2))
    boxes = [box for box, clear in found if clear]
    unclear = [box for box, clear in found if not clear and (box[2:] > box[:2]).all()]
    for _ in range(n_real):
        side = float(np.exp(rng.uniform(*np.log(sizes))))
        shown = _shown(real, side, threshold, rng)
        if shown is None:
            continue
        reach = shown.box[2:] - shown.box[:2]
        left, top = (rng.uniform(-0.3 * reach, size - 0.7 * reach) - shown.box[:2]).round().astype(int)
        moved = shown.box + np.array([left, top, left, top], np.float32)
        seen = np.clip(moved, 0, size)
        share = _share(seen, moved)
        if share < 0.3 or _overlaps(seen, [*boxes, *unclear]):
            continue
        _add(canvas, shown.light, left, top)
        (boxes if share >= LEAST_VISIBLE and shown.area >= SMALLEST_AREA_PX else unclear).append(seen)
    picture = _displayed(np.clip(canvas, 0, 255), rng)
    return _field(picture, boxes, unclear)


def _field(picture: View, boxes: Sequence[NDArray[np.float32]], unclear: Sequence[NDArray[np.float32]]) -> Field:
    every = np.array(boxes, np.float32).reshape(-1, 4)
    small = (every[:, 2:] - every[:, :2]).max(axis=1, initial=0) < SMALLEST_SIDE_PX
    ignored = np.concatenate([every[small], np.array(unclear, np.float32).reshape(-1, 4)])
    return Field(picture, every[~small], ignored)


@dataclass(frozen=True)
class _Shown:
    """A real galaxy as a picture shows it: its light, turned and scaled, and the box and area of what rises above."""

    light: NDArray[np.float32]
    box: NDArray[np.float32]
    area: int


def _shown(real: Sequence[IsolatedGalaxy], side: float, threshold: float, rng: np.random.Generator) -> _Shown | None:
    """One of the galaxies at a size; None when none of it rises above `threshold`."""
    # From the faintest a camera shows to the burnt-out cores of a hard stretch, and of any colour balance.
    gain = np.exp(rng.uniform(np.log(0.5), np.log(2.8))) * rng.uniform(0.75, 1.25, 3)
    light = _turned(real[int(rng.integers(len(real)))], side, rng) * gain.astype(np.float32)
    extent = light_extent(light.mean(axis=2), threshold)
    return None if extent is None else _Shown(light, *extent)


def _add(canvas: NDArray[np.float32], light: NDArray[np.float32], left: int, top: int) -> None:
    """Add light with its corner at `left`, `top`, cutting what falls outside."""
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + light.shape[1], canvas.shape[1]), min(top + light.shape[0], canvas.shape[0])
    canvas[y0:y1, x0:x1] += light[y0 - top : y1 - top, x0 - left : x1 - left]


def paired_field(
    size: int,
    stretch: Stretch,
    real: Sequence[IsolatedGalaxy],
    rng: np.random.Generator,
    distractors: Sequence[str] = DISTRACTORS,
) -> Field:
    """A field of close pairs of real galaxies, each with its own box; arguments as for `compose_field`.

    In composed fields no two boxes overlap. Here the halos of two galaxies run into each other, and their boxes overlap
    by up to two fifths; in the middle of its box each is at least twice as bright as the other. Around both there may
    be light that is neither's, as of tides: boxes do not follow it.
    """
    seeing = float(np.exp(rng.uniform(np.log(1.2), np.log(4.0))))
    canvas = _background(size, stretch, rng, 0, seeing, (1.0, 1.0), distractors)[0].astype(np.float32)
    threshold = BOX_SIGMA * grey_noise(canvas.mean(axis=2))
    largest = 0.6 * size
    boxes: list[NDArray[np.float32]] = []
    for _ in range(int(rng.integers(1, 5))):
        side = float(np.exp(rng.uniform(np.log(min(24, largest)), np.log(largest))))
        smaller = max(14.0, side * rng.uniform(0.25, 1))
        large, small = _shown(real, side, threshold, rng), _shown(real, smaller, threshold, rng)
        if large is None or small is None or min(large.area, small.area) < SMALLEST_AREA_PX:
            continue
        if max(large.box[2:] - large.box[:2]) > size:
            # A diagonal galaxy was turned along an edge.
            continue
        pair = _beside(large, small, size, rng)
        inside = all((one.box >= 0).all() and (one.box <= size).all() for one in pair)
        if not inside or any(_overlaps(one.box, boxes) for one in pair):
            continue
        alone = [one.alone(size) for one in pair]
        if _told_apart(pair, alone):
            light = alone[0] + alone[1]
            tides = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.1, 0.3) * side)
            canvas += light + np.float32(rng.uniform(0, _SHARED_LIGHT)) * tides
            boxes += [one.box for one in pair]
    return _field(_displayed(np.clip(canvas, 0, 255), rng), boxes, [])


@dataclass(frozen=True)
class _Placed:
    """Light with its corner in the field, and its box there."""

    light: NDArray[np.float32]
    left: int
    top: int
    box: NDArray[np.float32]

    def alone(self, size: int) -> NDArray[np.float32]:
        """Its light ``(size, size, 3)`` in a field without any other."""
        canvas = np.zeros((size, size, 3), np.float32)
        _add(canvas, self.light, self.left, self.top)
        return canvas


def _beside(large: _Shown, small: _Shown, size: int, rng: np.random.Generator) -> tuple[_Placed, _Placed]:
    """The one somewhere in the field, the other halo to halo with it."""
    angle = rng.uniform(0, 2 * np.pi)
    reach = large.box[2:] - large.box[:2]
    apart = (reach + small.box[2:] - small.box[:2]) / 2 * rng.uniform(0.5, 1.05)
    first = rng.uniform(0.5 * reach, size - 0.5 * reach)
    return _centred(large, first), _centred(small, first + apart * np.array([np.cos(angle), np.sin(angle)]))


def _centred(shown: _Shown, centre: NDArray[np.floating]) -> _Placed:
    left, top = (centre - (shown.box[:2] + shown.box[2:]) / 2).round().astype(int).tolist()
    return _Placed(shown.light, left, top, shown.box + np.array([left, top] * 2, np.float32))


def _told_apart(pair: tuple[_Placed, _Placed], alone: Sequence[NDArray[np.float32]]) -> bool:
    """Whether each is plain to see beside the other: boxes not too much the same, and in the middle of each its own
    light, of `alone`, twice the other's."""
    one, other = pair
    if float(iou_matrix(one.box[None], other.box[None])[0, 0]) > _CLOSEST:
        return False
    first, second = (light.mean(axis=2) for light in alone)
    (x, y), (other_x, other_y) = (((p.box[:2] + p.box[2:]) / 2).astype(int) for p in pair)
    return bool(first[y, x] >= 2 * second[y, x] and second[other_y, other_x] >= 2 * first[other_y, other_x])


def faint_field(size: int, stretch: Stretch, rng: np.random.Generator) -> Field:
    """A field of small simulated galaxies among sharp stars, in raw noise; arguments as for `compose_field`.

    A single exposure of a monochrome camera, or a survey's: noise of neighbouring pixels has nothing in common, stars
    are two pixels wide, and of a galaxy little more than its core is plain to see.
    """
    seeing, largest = rng.uniform(1.5, 3.0), max(12.0, min(48.0, 0.75 * size))
    stars = int(np.exp(rng.uniform(np.log(10), np.log(400))))
    scene = draw_scene(size, size, rng, int(rng.integers(2, 20)), stars, seeing=seeing, sizes=(12.0, largest))
    mono = rng.random() < 0.6
    noise = rng.standard_normal((size, size, 1 if mono else 3), np.float32)
    light = scene.light.mean(axis=2, keepdims=True).repeat(3, axis=2) if mono else scene.light
    sigma = 1.0 if mono else _CHANNELS_SIGMA
    found = [_drawn(*patch, size, sigma) for patch in scene.patches]
    clear = [box for box, plain in found if plain]
    unclear = [box for box, plain in found if not plain and (box[2:] > box[:2]).all()]
    picture = stretch_linear(light + noise, stretch).astype(np.float32)
    return _field(_displayed(picture, rng), clear, unclear)


def bare_field(size: int, stretch: Stretch, rng: np.random.Generator, distractors: Sequence[str]) -> Field:
    """A field without galaxies, full of one kind of what is none; arguments as for `compose_field`."""
    kind = distractors[int(rng.integers(len(distractors)))]
    picture = distractor_frame(kind, size, stretch, rng).astype(np.float32)
    none = np.zeros((0, 4), np.float32)
    return Field(_displayed(picture, rng), none, none)


def _displayed(canvas: NDArray[np.float32], rng: np.random.Generator) -> View:
    """Variation between display pictures: brightness, gamma, colour balance, mono, compression."""
    if rng.random() < 0.5:
        canvas = 255 * (canvas / 255) ** np.float32(rng.uniform(0.75, 1.3))
    canvas = canvas * rng.uniform(0.85, 1.15, 3).astype(np.float32) + np.float32(rng.uniform(0, 12))
    if rng.random() < 0.3:
        canvas = np.repeat(canvas.mean(axis=2, keepdims=True), 3, axis=2)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 96))])
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None
        picture = decoded.astype(np.uint8, copy=False)
    return picture


def compose_fields(
    count: int, seed: int, size: int, stretch: Stretch, real: Sequence[IsolatedGalaxy] = ()
) -> list[Field]:
    """`count` fields; the same arguments give the same fields."""
    return [compose_field(size, stretch, real, np.random.default_rng((seed, index))) for index in range(count)]
