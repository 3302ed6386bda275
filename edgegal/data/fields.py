"""Composed fields for the detector: real and simulated galaxies on simulated star fields, with exact boxes.

A field is made in two steps, as a picture is on the device: a simulated linear scene goes through the one stretch,
then real galaxies, cut from display pictures along their segmentation, are added in the display domain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import segment_cutout
from edgegal.frames import View
from edgegal.preprocess import Stretch, resize, stretch_linear
from edgegal.sky import draw_scene

__all__ = ["Field", "IsolatedGalaxy", "compose_field", "compose_fields", "isolate"]

_SMALLEST_PX = 10.0
"""Galaxies with a shorter longer side are neither wanted nor punished."""

_LARGEST_SHARE = 0.85
"""Longer side of the largest galaxy over the side of the field."""


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
    """

    picture: View
    boxes: NDArray[np.float32]
    ignore: NDArray[np.float32]


def isolate(picture: View) -> IsolatedGalaxy | None:
    """The galaxy at the centre of a cutout, by the segmentation of `segment_cutout`; None when nothing lies there."""
    found = segment_cutout(picture)
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


def _turned(galaxy: IsolatedGalaxy, side: float, rng: np.random.Generator) -> tuple[View, NDArray[np.float32]]:
    """The galaxy scaled to `side`, rotated by quarter turns and mirrored by chance, with its box."""
    factor = side / galaxy.side
    height, width = galaxy.light.shape[:2]
    light = resize(galaxy.light, max(1, round(height * factor)), max(1, round(width * factor)))
    flag = np.zeros(light.shape[:2], np.uint8)
    x0, y0, x1, y1 = (round(v * factor) for v in galaxy.box)
    flag[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = 1
    turns = int(rng.integers(4))
    light, flag = np.rot90(light, turns), np.rot90(flag, turns)
    if rng.random() < 0.5:
        light, flag = light[:, ::-1], flag[:, ::-1]
    ys, xs = np.nonzero(flag)
    return light, np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


def _background(
    size: int, stretch: Stretch, rng: np.random.Generator, galaxies: int, seeing: float, sizes: tuple[float, float]
) -> tuple[View, NDArray[np.float32]]:
    """A stretched simulated scene with noise, gradient and defects, and the boxes of its galaxies."""
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
    noise = rng.standard_normal((size, size, 3), np.float32)
    grain = rng.uniform(0, 1.4)
    if grain > 0.4:
        # Resampled and stacked frames have correlated noise.
        noise = cv2.GaussianBlur(noise, (0, 0), grain)
        noise /= noise.std()
    slope = rng.uniform(-1.5, 1.5, 2) * (rng.random() < 0.3)
    y, x = np.indices((size, size), np.float32) / size - 0.5
    light = light + noise + (slope[0] * x + slope[1] * y)[..., None].astype(np.float32)
    if rng.random() < 0.08:
        _trail(light, rng)
    if rng.random() < 0.2:
        hot = rng.integers(0, size, (int(rng.integers(1, 25)), 2))
        light[hot[:, 0], hot[:, 1], rng.integers(0, 3)] += rng.uniform(20, 400)
    return stretch_linear(light, stretch), scene.boxes


def _trail(light: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Draw a satellite trail across the scene, in place."""
    size = light.shape[0]
    canvas = np.zeros(light.shape[:2], np.float32)
    ends = rng.uniform(-0.2, 1.2, (2, 2)) * size
    cv2.line(canvas, ends[0].astype(int).tolist(), ends[1].astype(int).tolist(), 1.0, 1, cv2.LINE_AA)
    light += (cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.8, 2)) * rng.uniform(10, 200))[..., None]


def compose_field(size: int, stretch: Stretch, real: Sequence[IsolatedGalaxy], rng: np.random.Generator) -> Field:
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
    """
    kind = rng.random()
    crowded = kind > 0.85
    wanted = 0 if kind < 0.1 else int(rng.integers(8, 26) if crowded else rng.integers(1, 8))
    largest = size * (0.25 if crowded else _LARGEST_SHARE)
    n_real = int(rng.binomial(wanted, 0.6)) if real else 0
    seeing = float(np.exp(rng.uniform(np.log(1.2), np.log(6.0))))
    # Below this a blurred galaxy cannot be told from a star by anybody.
    smallest = max(7.0, 2.5 * seeing)
    picture, found = _background(size, stretch, rng, wanted - n_real, seeing, (smallest, largest))
    canvas = picture.astype(np.float32)
    boxes = list(found)
    for _ in range(n_real):
        side = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
        light, box = _turned(real[int(rng.integers(len(real)))], side, rng)
        reach = box[2:] - box[:2]
        corner = rng.uniform(-0.3 * reach, size - 0.7 * reach).round()
        left, top = (corner - box[:2]).astype(int)
        moved = box + np.array([left, top, left, top], np.float32)
        seen = np.clip(moved, 0, size)
        share = (seen[2:] - seen[:2]).prod() / (moved[2:] - moved[:2]).prod()
        if share < 0.5 or _overlaps(seen, boxes):
            continue
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + light.shape[1], size), min(top + light.shape[0], size)
        patch = light[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
        # From the faintest a camera shows to the burnt-out cores of a hard stretch, and of any colour balance.
        gain = np.exp(rng.uniform(np.log(0.5), np.log(2.8))) * rng.uniform(0.75, 1.25, 3)
        canvas[y0:y1, x0:x1] += patch * gain.astype(np.float32)
        boxes.append(seen)
    picture = _displayed(np.clip(canvas, 0, 255), rng)
    every = np.array(boxes, np.float32).reshape(-1, 4)
    wide = (every[:, 2:] - every[:, :2]).max(axis=1, initial=0) if len(every) else np.zeros(0)
    small = wide < _SMALLEST_PX
    return Field(picture, every[~small], every[small])


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
