"""A simulated sky: galaxies of five kinds, stars, seeing and noise, drawn with NumPy and OpenCV alone.

Both the training fields and the device's simulated camera draw from here, so it stands in the core. Pixels are linear,
in electrons; boxes surround the pixels that rise a fixed factor above the sky noise, as a segmentation would find them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.frames import Frame

__all__ = [
    "KINDS",
    "GalaxyImage",
    "Night",
    "Scene",
    "box_above",
    "draw_galaxy",
    "draw_scene",
    "draw_stars",
    "galaxy_of_side",
]

KINDS = ("round", "in-between", "cigar", "edge-on", "spiral")
"""Kinds of galaxy that can be drawn: the names of the label scheme ``gz2-5class``."""

Array = NDArray[np.float32]

_BOX_SIGMA = 2.0
"""What galaxies are drawn and placed by: sigmas of one channel."""

_TRUE_SIGMA = 3 / 3**0.5
"""Where a box ends by the rule of all boxes, 3 sigma in the mean of three channels: in sigmas of one."""

_FIRST_LIGHT = datetime(2026, 3, 21, 21, 0, tzinfo=timezone.utc)


@dataclass(frozen=True)
class GalaxyImage:
    """A noiseless galaxy.

    Attributes
    ----------
    light
        ``(h, w, 3)`` float32 RGB, peak about 1, zero far out; h and w odd, centred.
    kind
        Index into `KINDS`.
    """

    light: Array
    kind: int


def _sersic(radius: Array, effective: float, index: float) -> Array:
    """Sersic profile, 1 at the centre; the constant b_n of Ciotti & Bertin 1999, eq. 18, to first order."""
    b = 2 * index - 1 / 3 + 0.009876 / index
    profile: Array = np.exp(-b * (np.maximum(radius, 0.3) / effective) ** (1 / index))
    return profile


def _elliptical_radius(half: int, axis_ratio: float, angle: float) -> tuple[Array, Array, Array]:
    """Elliptical radius and the coordinates along the major and the (deprojected) minor axis, on an odd square grid."""
    grid = np.arange(-half, half + 1, dtype=np.float32)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    major = x * np.cos(angle) + y * np.sin(angle)
    minor = (-x * np.sin(angle) + y * np.cos(angle)) / axis_ratio
    return np.hypot(major, minor).astype(np.float32), major.astype(np.float32), minor.astype(np.float32)


def _coloured(light: Array, tint: NDArray[np.floating]) -> Array:
    return (light[..., None] * tint.astype(np.float32)).astype(np.float32)


def draw_galaxy(kind: int, radius: float, rng: np.random.Generator) -> GalaxyImage:
    """Draw one galaxy with random shape, orientation and colour.

    Parameters
    ----------
    kind
        Index into `KINDS`.
    radius
        Half-light radius along the major axis, pixels.
    rng
        Source of chance.
    """
    half = max(4, round(radius * 5))
    angle = rng.uniform(0, np.pi)
    red = np.array([1.0, rng.uniform(0.72, 0.85), rng.uniform(0.45, 0.65)])
    blue = np.array([rng.uniform(0.65, 0.9), rng.uniform(0.75, 0.9), 1.0])
    name = KINDS[kind]
    if name in ("round", "in-between", "cigar"):
        low, high = {"round": (0.85, 1.0), "in-between": (0.5, 0.75), "cigar": (0.25, 0.38)}[name]
        r, _, _ = _elliptical_radius(half, rng.uniform(low, high), angle)
        return GalaxyImage(_coloured(_sersic(r, radius, rng.uniform(1.8, 4.0)), red), kind)
    if name == "edge-on":
        r, major, minor = _elliptical_radius(half, 1.0, angle)
        thickness = radius * rng.uniform(0.08, 0.16)
        disc = np.exp(-np.abs(major) / (radius * 0.7)) / np.cosh(np.clip(minor / thickness, -30, 30)) ** 2
        bulge = _sersic(r, radius * rng.uniform(0.1, 0.25), 1.5) * rng.uniform(0.2, 1.2)
        if rng.random() < 0.4:
            disc *= 1 - 0.6 * np.exp(-((minor / (thickness * 0.5)) ** 2))
        tint = red * rng.uniform(0.5, 1) + blue * 0.4
        light = _coloured(disc.astype(np.float32), tint / tint.max()) + _coloured(bulge, red)
        return GalaxyImage(light / light.max(), kind)
    return GalaxyImage(_draw_spiral(half, radius, angle, red, blue, rng), kind)


def _draw_spiral(
    half: int,
    radius: float,
    angle: float,
    red: NDArray[np.floating],
    blue: NDArray[np.floating],
    rng: np.random.Generator,
) -> Array:
    """Exponential disc with logarithmic arms, a bulge and, at times, a bar."""
    r, major, minor = _elliptical_radius(half, rng.uniform(0.55, 1.0), angle)
    theta = np.arctan2(minor, major)
    arms = int(rng.choice([2, 2, 2, 3, 4]))
    pitch = np.deg2rad(rng.uniform(12, 28)) * rng.choice([-1, 1])
    phase = arms * (theta - np.log(np.maximum(r, 0.5) / radius) / np.tan(pitch)) + rng.uniform(0, 2 * np.pi)
    sharpness = rng.uniform(2.0, 4.0)
    ridge = np.exp(sharpness * (np.cos(phase) - 1))
    fade_in = 1 - np.exp(-((r / (0.35 * radius)) ** 2))
    disc = np.exp(-r / (radius * 0.6))
    smooth = disc * rng.uniform(0.25, 0.5)
    armed = disc * ridge * fade_in * rng.uniform(1.2, 2.2)
    clumps = cv2.GaussianBlur(rng.random(r.shape, np.float32), (0, 0), max(0.6, radius * 0.08))
    armed *= np.clip(1 + 4 * (clumps - clumps.mean()) / (clumps.std() + 1e-6) * 0.25, 0.2, 3)
    bulge = _sersic(r, radius * rng.uniform(0.08, 0.2), rng.uniform(1, 2.5)) * rng.uniform(0.6, 1.6)
    light = _coloured(smooth.astype(np.float32), (red + blue) / 2)
    light += _coloured(armed.astype(np.float32), blue)
    light += _coloured(bulge, red)
    if rng.random() < 0.4:
        bar = np.exp(-((major / (0.45 * radius)) ** 4) - (minor / (0.12 * radius)) ** 2) * rng.uniform(0.3, 0.8)
        light += _coloured(bar.astype(np.float32), red)
    light /= light.max()
    return light


def draw_stars(
    shape: tuple[int, int], count: int, seeing: float, brightest: float, rng: np.random.Generator, spikes: bool = False
) -> Array:
    """Stars with a power-law of brightness and black-body-like colours.

    Parameters
    ----------
    shape
        Height and width in pixels.
    count
        Number of stars.
    seeing
        Full width at half maximum of the Moffat profile (beta 3), pixels.
    brightest
        Peak of the brightest star; counts rise tenfold per factor 10 in faintness, as in real fields.
    rng
        Source of chance.
    spikes
        Whether bright stars show the cross of a reflector's secondary mirror holder.
    """
    height, width = shape
    canvas = np.zeros((height, width, 3), np.float32)
    if count == 0:
        return canvas
    peaks = brightest * np.minimum(1.0, (rng.random(count) * count + 0.3) ** -1.0)
    core = seeing / (2 * np.sqrt(2 ** (1 / 3) - 1))
    for peak in peaks:
        warmth = rng.uniform(0, 1)
        tint = np.array([0.7 + 0.3 * warmth, 0.85, 1.0 - 0.4 * warmth], np.float32)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        # As wide as it stays visible: bright stars have broad wings.
        half = int(np.clip(core * np.sqrt((peak / 0.3) ** (1 / 3)) + 2, 4, 60))
        x0, y0 = int(x) - half, int(y) - half
        grid = np.arange(2 * half + 1, dtype=np.float32)
        r2 = (grid[None] + x0 + 0.5 - x) ** 2 + (grid[:, None] + y0 + 0.5 - y) ** 2
        profile = peak * (1 + r2 / core**2) ** -3.0
        if spikes:
            profile += _cross(grid, x - x0 - 0.5, y - y0 - 0.5, peak, core)
        _add(canvas, (profile[..., None] * tint).astype(np.float32), x0, y0)
    return canvas


def _cross(grid: Array, x: float, y: float, peak: float, core: float) -> NDArray[np.floating]:
    """Diffraction spikes along the axes: a tenth of the star's peak at its core, fading outward."""
    dx, dy = np.abs(grid - x)[None], np.abs(grid - y)[:, None]
    along = np.exp(-((dy / (0.4 * core)) ** 2)) / (1 + (dx / core) ** 1.5)
    across = np.exp(-((dx / (0.4 * core)) ** 2)) / (1 + (dy / core) ** 1.5)
    cross: NDArray[np.floating] = 0.1 * peak * (along + across)
    return cross


def _add(canvas: Array, patch: Array, left: int, top: int) -> None:
    """Add `patch` to `canvas` with its corner at `left`, `top`, cutting what falls outside."""
    height, width = canvas.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1] += patch[y0 - top : y1 - top, x0 - left : x1 - left]


def box_above(light: NDArray[np.floating], threshold: float) -> tuple[int, int, int, int] | None:
    """Box x0, y0, x1, y1 of the pixels of ``(h, w)`` above `threshold`; None when there are none."""
    ys, xs = np.nonzero(light > threshold)
    if not len(xs):
        return None
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@dataclass(frozen=True)
class Scene:
    """A noiseless field with its truth.

    Attributes
    ----------
    light
        ``(h, w, 3)`` float32 RGB electrons per second-like units; sky not included.
    boxes
        ``(n, 4)`` float32 x0, y0, x1, y1 of the galaxies that rise above the noise.
    kinds
        ``(n,)`` int32 indices into `KINDS`.
    sigma
        Sky noise the boxes were measured against, per pixel of one frame.
    patches
        Each galaxy's light alone, ``(h, w)``, and the x, y of its corner in the scene.
    """

    light: Array
    boxes: NDArray[np.float32]
    kinds: NDArray[np.int32]
    sigma: float
    patches: tuple[tuple[Array, int, int], ...]

    def boxes_in(self, sigma: float) -> NDArray[np.float32]:
        """Boxes of all galaxies by the rule of `edgegal.data.boxes`, in a picture whose channels have a noise `sigma`.

        A deeper picture shows a galaxy larger.
        """
        height, width = self.light.shape[:2]
        found = [_placed(patch, left, top, sigma) for patch, left, top in self.patches]
        limits = np.array([width, height, width, height], np.float32)
        return np.clip(np.array(found, np.float32).reshape(-1, 4), 0, limits)


def _placed(light: Array, left: int, top: int, sigma: float) -> tuple[int, int, int, int]:
    """Box of a galaxy in its scene: of what rises above the noise, or of its brightest pixel where nothing does."""
    x0, y0, x1, y1 = box_above(light, min(_TRUE_SIGMA * sigma, 0.99 * float(light.max()))) or (0, 0, 0, 0)
    return x0 + left, y0 + top, x1 + left, y1 + top


def draw_scene(
    height: int,
    width: int,
    rng: np.random.Generator,
    galaxies: int,
    stars: int,
    sigma: float = 1.0,
    seeing: float = 2.5,
    sizes: tuple[float, float] = (10.0, 90.0),
    spikes: bool = False,
) -> Scene:
    """Draw galaxies and stars.

    Parameters
    ----------
    height, width
        Pixels.
    rng
        Source of chance.
    galaxies, stars
        How many; a galaxy that would crowd another is left out.
    sigma
        Sky noise that boxes are measured against.
    seeing
        Full width at half maximum, pixels.
    sizes
        Range of the galaxies' boxes' longer side, pixels; drawn log-uniformly.
    spikes
        Whether bright stars show diffraction spikes.
    """
    light = draw_stars((height, width), stars, seeing, float(sigma * 10 ** rng.uniform(1.7, 4.0)), rng, spikes)
    boxes: list[tuple[int, int, int, int]] = []
    kinds: list[int] = []
    patches: list[tuple[Array, int, int]] = []
    for _ in range(galaxies):
        kind = int(rng.choice(len(KINDS)))
        side = float(np.exp(rng.uniform(np.log(sizes[0]), np.log(sizes[1]))))
        patch = galaxy_of_side(kind, side, seeing, sigma, rng)
        grey = patch.mean(axis=2)
        found = box_above(grey, _BOX_SIGMA * sigma)
        if found is None:
            continue
        size = patch.shape[0]
        left, top = (
            int(rng.integers(-size // 3, width - 2 * size // 3)),
            int(rng.integers(-size // 3, height - 2 * size // 3)),
        )
        box = (found[0] + left, found[1] + top, found[2] + left, found[3] + top)
        seen = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
        whole = (box[2] - box[0]) * (box[3] - box[1])
        visible = max(0, seen[2] - seen[0]) * max(0, seen[3] - seen[1])
        if visible < 0.6 * whole or any(_overlap(seen, other) > 0 for other in boxes):
            continue
        _add(light, patch, left, top)
        boxes.append(seen)
        kinds.append(kind)
        patches.append((grey, left, top))
    placed = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(light, placed, np.array(kinds, np.int32), sigma, tuple(patches))


def galaxy_of_side(kind: int, side: float, seeing: float, sigma: float, rng: np.random.Generator) -> Array:
    """A seeing-blurred galaxy, bright enough that its box above the noise is about `side` pixels long."""
    radius = max(1.2, side / rng.uniform(3.0, 5.0))
    blurred = cv2.GaussianBlur(draw_galaxy(kind, radius, rng).light, (0, 0), seeing / 2.355)
    grey = blurred.mean(axis=2)
    # The isophote that is `side` long, read from the galaxy itself.
    distance = np.hypot(*(np.indices(grey.shape) - grey.shape[0] // 2))
    level = float(grey[np.abs(distance - side / 2) <= 1].max())
    gain = np.clip(_BOX_SIGMA * sigma / max(level, 1e-6), 5 * sigma, 3000 * sigma)
    return (blurred * np.float32(gain)).astype(np.float32)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


@dataclass(frozen=True)
class Night:
    """A simulated sequence of exposures of one field, drifting as an unguided mount does.

    Iterating gives `Frame`s of linear uint16 RGB pixels; the same seed gives the same night.

    Attributes
    ----------
    seed
        Seed of the field and of the noise.
    width, height
        Frame size in pixels.
    frames
        Number of exposures.
    galaxies, stars
        How many of each are drawn.
    noise
        Sky noise of one exposure over that the field's boxes are defined with: above 1, faint galaxies need stacking.
    drift
        Pixels of drift per exposure, x and y.
    cadence_s
        Seconds from one exposure to the next.
    rotation
        Degrees by which the field turns about the middle of the frame per exposure, anticlockwise as seen, as it does
        on an altitude-azimuth mount.
    """

    seed: int = 0
    width: int = 960
    height: int = 640
    frames: int = 8
    galaxies: int = 14
    stars: int = 220
    noise: float = 1.0
    drift: tuple[float, float] = (1.7, -0.9)
    cadence_s: float = 10.0
    rotation: float = 0.0
    scene: Scene = field(init=False, repr=False, compare=False)
    margin: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        margin = int(np.ceil(self.frames * max(abs(d) for d in self.drift))) + 2
        if self.rotation:
            # The corners of the frame reach out to its circumcircle.
            margin += int(np.ceil((np.hypot(self.width, self.height) - min(self.width, self.height)) / 2))
        rng = np.random.default_rng(self.seed)
        scene = draw_scene(
            self.height + 2 * margin, self.width + 2 * margin, rng, self.galaxies, self.stars, sizes=(16, 150)
        )
        object.__setattr__(self, "margin", margin)
        object.__setattr__(self, "scene", scene)

    def shift(self, index: int) -> tuple[float, float]:
        """How far the field of frame `index` has moved from frame 0, pixels x and y."""
        return self.drift[0] * index, self.drift[1] * index

    def placement(self, index: int) -> NDArray[np.float64]:
        """``(2, 3)`` map from pixels of the scene to pixels of frame `index`: the drift, then the rotation."""
        dx, dy = self.shift(index)
        # OpenCV counts the centre of the first pixel as 0.
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        turn = cv2.getRotationMatrix2D(middle, self.rotation * index, 1.0)
        turn[:, 2] += turn[:, :2] @ (dx - self.margin, dy - self.margin)
        return turn

    def boxes(self, index: int, stacked: int = 1) -> NDArray[np.float32]:
        """``(n, 4)`` true boxes at the place of frame `index`, as a mean of `stacked` frames shows them.

        They may reach beyond the frame. Those of a turned field surround the turned boxes.
        """
        boxes = self.scene.boxes_in(self.noise * self.scene.sigma / np.sqrt(stacked))
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) - 0.5
        place = self.placement(index)
        moved = corners @ place[:, :2].T + place[:, 2] + 0.5
        return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).astype(np.float32)

    def frame(self, index: int) -> Frame:
        """Exposure `index`, from 0."""
        rng = np.random.default_rng((self.seed, index))
        place = self.placement(index).astype(np.float32)
        light = cv2.warpAffine(self.scene.light, place, (self.width, self.height), flags=cv2.INTER_LINEAR)
        # 20 units to one sigma of sky: enough levels that rounding to integers adds nothing.
        unit, pedestal, saturation = 20.0, 800.0, 65535.0
        spread = self.noise * np.sqrt(1 + np.maximum(light, 0) / 40)
        raw = pedestal + unit * (light + rng.standard_normal(light.shape, np.float32) * spread)
        return Frame(
            pixels=np.clip(raw, 0, saturation).astype(np.uint16),
            source=f"sim:seed={self.seed}",
            index=index,
            time=_FIRST_LIGHT + timedelta(seconds=self.cadence_s * index),
            exposure_s=self.cadence_s,
            target="simulated field",
        )

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(i) for i in range(self.frames))
