"""What is in frames and is no galaxy: drawn as negatives to train on, and to count false alarms on.

Each kind is one picture of linear light in units of the sky noise, sky and noise not included, so it can be added to
any scene before the stretch. None of them contains a galaxy. The same generator state gives the same picture.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.frames import View
from edgegal.preprocess import Stretch, stretch_linear
from edgegal.sky import draw_stars

__all__ = ["CONTROL", "KINDS", "PLATE", "distractor_frame", "distractor_frames", "draw_distractor"]

Array = NDArray[np.float32]

CONTROL = "stars"
"""The kind with nothing special in it: faint round stars, which frames of most other kinds have too."""

PLATE = "photographic plate"
"""The kind that is how a whole picture was taken, and nothing that stands in one: all its stars are burnt out."""

_WHOLE_FIELD = frozenset({CONTROL, PLATE, "donuts", "star trails"})
"""Kinds that are every star of their frame: focus and tracking spare none."""

_FIELD_STARS = 25
_FIELD_BRIGHTEST = 150.0
_RED = np.array([1.0, 0.5, 0.25], np.float32)
_H_ALPHA = np.array([1.0, 0.25, 0.35], np.float32)


def draw_distractor(kind: str, size: int, rng: np.random.Generator) -> Array:
    """Draw one distractor.

    Parameters
    ----------
    kind
        One of `KINDS`.
    size
        Side of the square picture in pixels, at least 32.
    rng
        Source of chance.

    Returns
    -------
    array
        ``(size, size, 3)`` float32 RGB, linear, in sky sigmas above the sky.

    Raises
    ------
    ValueError
        When there is no such kind or the picture is too small for one.
    """
    if kind not in _DRAWERS:
        raise ValueError(f"no distractor {kind!r}: use one of {', '.join(KINDS)}")
    if size < 32:
        raise ValueError(f"a distractor needs 32 pixels at least, not {size}")
    canvas = np.zeros((size, size, 3), np.float32)
    _DRAWERS[kind](canvas, rng)
    return canvas


def distractor_frames(kind: str, count: int, size: int, stretch: Stretch, seed: int) -> list[View]:
    """`count` stretched frames of a distractor among faint stars, with noise; the same arguments give the same frames.

    Parameters
    ----------
    kind
        One of `KINDS`.
    count, size
        Number of frames and their side in pixels.
    stretch
        The stretch of the detector they are for.
    seed
        Of the draws; every kind and frame has a stream of its own, so a longer series starts with the shorter one.
    """
    return [
        distractor_frame(kind, size, stretch, np.random.default_rng((seed, KINDS.index(kind), i))) for i in range(count)
    ]


def distractor_frame(kind: str, size: int, stretch: Stretch, rng: np.random.Generator) -> View:
    """One stretched frame of a distractor among faint stars, with noise; arguments as for `draw_distractor`."""
    light = draw_distractor(kind, size, rng)
    if kind not in _WHOLE_FIELD:
        _draw_stars(light, rng)
    # Shot noise as a camera of moderate gain has it: the noise of the sky, and more where there is light.
    light += rng.standard_normal(light.shape, np.float32) * np.sqrt(1 + np.maximum(light, 0) / 40)
    return stretch_linear(light, stretch)


def _place(canvas: Array, x: float, y: float, reach: float) -> tuple[Array, Array, Array]:
    """The part of `canvas` within `reach` of x, y (a view to add to), and its pixels' dx and dy, to be broadcast."""
    size = canvas.shape[0]
    left, right = np.clip([x - reach, x + reach + 1], 0, size).astype(int)
    top, bottom = np.clip([y - reach, y + reach + 1], 0, size).astype(int)
    dx = np.arange(left, right, dtype=np.float32)[None] + np.float32(0.5 - x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - y)
    return canvas[top:bottom, left:right], dx, dy


def _add_star(
    canvas: Array, x: float, y: float, peak: float, seeing: float, tint: Array, beta: float = 3.0, well: float = np.inf
) -> None:
    """Add a Moffat profile of full width `seeing` at half maximum, cut off at `well`, as far out as it shows."""
    core = seeing / (2 * np.sqrt(2 ** (1 / beta) - 1))
    part, dx, dy = _place(canvas, x, y, core * max((peak / 0.2) ** (0.5 / beta), 2.0))
    profile = peak * (1 + (dx**2 + dy**2) / core**2) ** np.float32(-beta)
    # Every channel has the same well: a saturated core is white, its rim coloured.
    part += np.minimum(profile[..., None] * tint, well)


def _tint(rng: np.random.Generator) -> Array:
    """A star's colour, from blue to orange."""
    warmth = rng.uniform(0, 1)
    return np.array([0.7 + 0.3 * warmth, 0.85, 1.0 - 0.4 * warmth], np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _inside(canvas: Array, rng: np.random.Generator, margin: float = 0.0) -> tuple[float, float]:
    x, y = rng.uniform(margin, canvas.shape[0] - margin, 2)
    return float(x), float(y)


def _add_bright_star(canvas: Array, x: float, y: float, rng: np.random.Generator, halo: bool) -> None:
    """A star far above the well, its aureole, and at times the ghost of a filter's reflection around it."""
    well = _log_uniform(rng, 300, 3000)
    peak = well * _log_uniform(rng, 3, 300)
    tint, seeing = _tint(rng), rng.uniform(2.0, 5.0)
    _add_star(canvas, x, y, peak, seeing, tint, beta=rng.uniform(2.2, 3.5), well=well)
    if halo:
        _add_star(canvas, x, y, _log_uniform(rng, 5, 60), seeing * rng.uniform(5, 12), tint, beta=rng.uniform(1.3, 2.0))
    if halo and rng.random() < 0.5:
        radius = rng.uniform(0.06, 0.2) * canvas.shape[0]
        ghost = (x + rng.normal(0, 0.1 * radius), y + rng.normal(0, 0.1 * radius))
        _add_ring(canvas, *ghost, radius, rng.choice([0.0, 0.4]), _log_uniform(rng, 1, 10), 1.5, tint)


def _add_ring(
    canvas: Array, x: float, y: float, radius: float, hole: float, level: float, blur: float, tint: Array
) -> None:
    """An evenly lit disc with a concentric hole, `hole` its radius over the disc's; edges soft over `blur` pixels."""
    part, dx, dy = _place(canvas, x, y, radius + 3 * blur)
    r = np.hypot(dx, dy)
    profile = 1 / (1 + np.exp(np.clip((r - radius) / (blur / 2), -30, 30)))
    if hole:
        profile -= 1 / (1 + np.exp(np.clip((r - hole * radius) / (blur / 2), -30, 30)))
    part += (level * profile[..., None] * tint).astype(np.float32)


def _draw_stars(canvas: Array, rng: np.random.Generator) -> None:
    canvas += draw_stars(canvas.shape[:2], _FIELD_STARS, rng.uniform(1.8, 4.5), _FIELD_BRIGHTEST, rng)


def _draw_edge_star(canvas: Array, rng: np.random.Generator) -> None:
    """A bright star with its centre within a few pixels of an edge or a corner, outside as often as inside."""
    size = canvas.shape[0]
    near = [float(rng.choice([0, size]) + rng.normal(0, 4)) for _ in range(2)]
    if rng.random() < 0.7:
        near[int(rng.integers(2))] = float(rng.uniform(0, size))
    _add_bright_star(canvas, near[0], near[1], rng, halo=rng.random() < 0.5)


def _draw_saturated_stars(canvas: Array, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        _add_bright_star(canvas, *_inside(canvas, rng), rng, halo=True)


def _draw_spikes(canvas: Array, rng: np.random.Generator) -> None:
    """Stars with 4 or 6 diffraction spikes at one angle: those of the vanes that hold the secondary mirror."""
    vanes, turn = int(rng.choice([4, 6])), rng.uniform(0, np.pi)
    well, seeing = _log_uniform(rng, 300, 3000), rng.uniform(2.0, 4.5)
    share, fade = _log_uniform(rng, 0.01, 0.1), rng.uniform(1.2, 2.0)
    for _ in range(int(rng.integers(1, 5))):
        x, y = _inside(canvas, rng)
        peak, tint = well * _log_uniform(rng, 0.3, 100), _tint(rng)
        _add_star(canvas, x, y, peak, seeing, tint, well=well)
        part, dx, dy = _place(canvas, x, y, canvas.shape[0])
        spikes = np.zeros(part.shape[:2], np.float32)
        for angle in turn + np.pi * np.arange(vanes // 2) / (vanes // 2):
            along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            spikes += np.exp(-((across / (0.4 * seeing)) ** 2)) / (1 + (np.abs(along) / seeing) ** fade)
        part += np.minimum(share * peak * spikes[..., None] * tint, well)


def _draw_trails(canvas: Array, rng: np.random.Generator) -> None:
    """Satellites: steady, tumbling, or caught where the exposure ended, which looks like a galaxy seen edge-on."""
    size = canvas.shape[0]
    for _ in range(int(rng.integers(1, 3))):
        angle, width = rng.uniform(0, np.pi), rng.uniform(0.7, 2.0)
        x, y = _inside(canvas, rng)
        dx, dy = (np.arange(size, dtype=np.float32) + 0.5 - v for v in (x, y))
        along = dx[None] * np.cos(angle) + dy[:, None] * np.sin(angle)
        across = dy[:, None] * np.cos(angle) - dx[None] * np.sin(angle)
        light = _log_uniform(rng, 8, 300) * np.exp(-((across / width) ** 2) / 2)
        if rng.random() < 0.4:
            light *= 0.55 + 0.45 * np.sin(along / rng.uniform(3, 30) + rng.uniform(0, 2 * np.pi))
        if rng.random() < 0.4:
            light *= 1 / (1 + np.exp(np.clip(along / width, -30, 30)))
        if rng.random() < 0.2:
            light *= along > -_log_uniform(rng, 20, size)
        canvas += (light[..., None] * np.array([1.0, 0.95, 0.85])).astype(np.float32)


def _draw_hot_pixels(canvas: Array, rng: np.random.Generator) -> None:
    """Single pixels, the coloured crosses demosaicing makes of them, and at times a warm column."""
    size = canvas.shape[0]
    mosaic = rng.random() < 0.5
    cross = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)[..., None] / 4
    for _ in range(int(rng.integers(10, 120))):
        y, x = rng.integers(1, size - 1, 2)
        light = np.zeros(3, np.float32)
        light[rng.integers(3) if mosaic else slice(None)] = _log_uniform(rng, 10, 2000)
        if mosaic:
            canvas[y - 1 : y + 2, x - 1 : x + 2] += cross * light
        else:
            canvas[y, x] += light
    if rng.random() < 0.3:
        canvas[int(rng.integers(size)) :, int(rng.integers(size))] += np.float32(_log_uniform(rng, 2, 30))


def _draw_gradient(canvas: Array, rng: np.random.Generator) -> None:
    """A slope of town or moon light, vignetting, and at times the glow of an amplifier in a corner."""
    size = canvas.shape[0]
    y, x = np.indices((size, size), np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = _log_uniform(rng, 2, 40) * (x * np.cos(angle) + y * np.sin(angle))
    light -= _log_uniform(rng, 1, 30) * (x**2 + y**2)
    if rng.random() < 0.4:
        corner = rng.choice([-0.5, 0.5], 2)
        light += _log_uniform(rng, 5, 100) * np.exp(-np.hypot(x - corner[0], y - corner[1]) / rng.uniform(0.05, 0.2))
    canvas += (light[..., None] * np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.6, 1)])).astype(np.float32)


def _draw_red_stars(canvas: Array, rng: np.random.Generator) -> None:
    """Cool stars, whose soft discs of less than 14 pixels pass for small ellipticals."""
    seeing = rng.uniform(2.0, 5.0)
    for _ in range(int(rng.integers(4, 25))):
        tint = _RED + rng.uniform(-0.1, 0.1, 3).astype(np.float32)
        _add_star(canvas, *_inside(canvas, rng), _log_uniform(rng, 8, 150), seeing, tint, beta=rng.uniform(2.5, 4.0))


def _draw_double_stars(canvas: Array, rng: np.random.Generator) -> None:
    """Pairs and triples within two seeing discs: elongated, with one peak or two."""
    seeing = rng.uniform(2.0, 5.0)
    for _ in range(int(rng.integers(3, 12))):
        x, y = _inside(canvas, rng)
        peak, tint = _log_uniform(rng, 15, 1500), _tint(rng)
        _add_star(canvas, x, y, peak, seeing, tint)
        for _ in range(1 + int(rng.random() < 0.25)):
            apart, angle = seeing * rng.uniform(0.6, 2.0), rng.uniform(0, 2 * np.pi)
            companion = (x + apart * np.cos(angle), y + apart * np.sin(angle))
            _add_star(canvas, *companion, peak * rng.uniform(0.25, 1), seeing, _tint(rng))


def _draw_nebula(canvas: Array, rng: np.random.Generator) -> None:
    """Emission: turbulent red glow over much of the frame, at times drawn out into filaments."""
    size = canvas.shape[0]
    texture = np.zeros((size, size), np.float32)
    for octave in range(5):
        cells = 3 * 2**octave
        noise = rng.standard_normal((cells, cells), np.float32)
        texture += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(0.6**octave)
    texture /= texture.std()
    if rng.random() < 0.4:
        # Folds of a noise field are thin bright lines, as shock fronts seen edge-on are.
        glow = np.exp(-((texture / np.float32(0.25)) ** 2))
    else:
        glow = np.clip(texture * np.float32(0.5) + rng.uniform(0, 0.6), 0, None)
    x, y = _inside(canvas, rng)
    reach = rng.uniform(0.3, 0.9) * size
    dx, dy = (np.arange(size, dtype=np.float32) + 0.5 - v for v in (x, y))
    envelope = np.exp(-(dx[None] ** 2 + dy[:, None] ** 2) / (2 * reach**2))
    tint = _H_ALPHA if rng.random() < 0.7 else np.array([0.45, 0.75, 1.0], np.float32)
    canvas += (_log_uniform(rng, 2, 40) * (glow * envelope)[..., None] * tint).astype(np.float32)


def _draw_donuts(canvas: Array, rng: np.random.Generator) -> None:
    """Stars out of focus: discs with the shadow of the secondary mirror, all of one size."""
    radius, hole = _log_uniform(rng, 3, 20), rng.uniform(0.25, 0.5) * (rng.random() < 0.8)
    count = int(rng.integers(2, 15))
    for level in _log_uniform(rng, 20, 400) * np.minimum(1.0, (rng.random(count) * count + 0.3) ** -1.0):
        _add_ring(canvas, *_inside(canvas, rng), radius, hole, level, rng.uniform(0.8, 1.6), _tint(rng))


def _draw_star_trails(canvas: Array, rng: np.random.Generator) -> None:
    """Stars drawn out by a mount that did not follow: thin as edge-on galaxies, but all alike."""
    seeing, angle = rng.uniform(1.8, 3.5), rng.uniform(0, np.pi)
    length = _log_uniform(rng, 2, 10) * seeing
    points = np.linspace(-length / 2, length / 2, max(2, round(2 * length / seeing)))
    count = int(rng.integers(5, 40))
    for peak in _log_uniform(rng, 50, 800) * np.minimum(1.0, (rng.random(count) * count + 0.3) ** -1.0):
        x, y = _inside(canvas, rng)
        tint = _tint(rng)
        for step in points:
            spread = peak * 2 / len(points)
            _add_star(canvas, x + step * np.cos(angle), y + step * np.sin(angle), spread, seeing, tint)


def _draw_plate(canvas: Array, rng: np.random.Generator) -> None:
    """Stars of a digitised plate: discs as wide as they are bright, in wide halos, the brightest with four spikes.

    They stand in groups as often as alone, so that their halos touch.
    """
    size = canvas.shape[0]
    seeing, beta = rng.uniform(2.5, 5.0), rng.uniform(1.4, 2.5)
    well = _log_uniform(rng, 15, 200)
    tint = np.ones(3, np.float32)
    centre, spread = _inside(canvas, rng), rng.uniform(0.1, 0.3) * size
    grouped = rng.random() < 0.5
    count = int(rng.integers(10, 120))
    for share in np.minimum(1.0, (rng.random(count) * count + 0.3) ** -1.0):
        x, y = rng.normal(centre, spread) if grouped else _inside(canvas, rng)
        peak = well * 30 * float(share)
        _add_star(canvas, x, y, peak, seeing, tint, beta=beta, well=well)
        if peak < 5 * well:
            continue
        _add_star(canvas, x, y, 0.01 * peak, seeing * rng.uniform(4, 10), tint, beta=1.5, well=well)
        part, dx, dy = _place(canvas, x, y, 8 * seeing)
        spikes = np.exp(-((dx / seeing) ** 2)) / (1 + (dy / seeing) ** 2)
        spikes = spikes + np.exp(-((dy / seeing) ** 2)) / (1 + (dx / seeing) ** 2)
        part += np.minimum(0.05 * peak * spikes[..., None] * tint, well)
    # The emulsion takes no more, however many halos meet.
    np.minimum(canvas, well, out=canvas)


_DRAWERS: Mapping[str, Callable[[Array, np.random.Generator], None]] = MappingProxyType(
    {
        CONTROL: _draw_stars,
        "edge star": _draw_edge_star,
        "saturated stars": _draw_saturated_stars,
        "spikes": _draw_spikes,
        "satellite trails": _draw_trails,
        "hot pixels": _draw_hot_pixels,
        "sky gradient": _draw_gradient,
        "red stars": _draw_red_stars,
        "double stars": _draw_double_stars,
        "nebula": _draw_nebula,
        "donuts": _draw_donuts,
        "star trails": _draw_star_trails,
        PLATE: _draw_plate,
    }
)

KINDS: tuple[str, ...] = tuple(_DRAWERS)
"""Names of what can be drawn, `CONTROL` first."""
