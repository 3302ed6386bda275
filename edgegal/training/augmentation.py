"""Random variation of pictures: geometry in one warp, then what telescopes, cameras and surveys do to a picture."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from edgegal.frames import View
from edgegal.preprocess import resize

__all__ = ["CHALLENGE", "COURSE", "TELESCOPE", "THESIS", "Augmentation", "augmented"]

_BORDERS = {"reflect": cv2.BORDER_REFLECT, "nearest": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
_LEVELS = np.arange(256, dtype=np.float32)[:, None]
_LEAST_SIDE = 8
"""No resolution loss goes below this many pixels a side: nothing of a galaxy would be left."""


@dataclass(frozen=True)
class Augmentation:
    """How far each property of a picture varies; the defaults leave a picture as it is.

    Everything is drawn anew for each picture, uniformly unless said otherwise.

    Attributes
    ----------
    rotation
        Largest turn either way, in degrees; 180 for any.
    shift
        Largest shift either way along x and y, as a fraction of the result's side.
    zoom
        Least and greatest magnification, drawn uniformly in its logarithm.
    shear
        Largest shear either way, as the tangent of its angle: x moves by this times y.
    flip_horizontal, flip_vertical
        Whether half of the pictures are mirrored left-right and top-bottom. A flip changes the handedness of spirals:
        see `for_scheme`.
    fill
        What stands beyond the edge: the picture mirrored, its last pixels drawn out, or black.
    margin
        How much further than the result the given pictures reach, so that turning and shifting brings in real sky:
        the result spans ``1 / margin`` of them before zooming.
    contrast
        Largest relative change of contrast either way, about the mean of each channel.
    brightness
        Largest relative change of brightness either way.
    gamma
        Greatest exponent of the brightness curve; drawn between ``1 / gamma`` and ``gamma``, uniform in its logarithm.
    colour
        Largest relative change of each channel either way, drawn for each.
    saturation
        Least and greatest factor on the colours' distance from grey.
    grey
        Probability of a picture without colour.
    chance
        Probability of each of the five that follow, drawn for each.
    background
        Largest sky level added or taken away, of 255; a third of it more for each channel by itself.
    blur
        Greatest Gaussian blur, as sigma in pixels of the result; from a quarter of it.
    resolution
        Greatest factor of resolution lost: shrunk by it and enlarged again, uniform in its logarithm.
    noise
        Greatest standard deviation of the noise added, of 255; from a sixth of it.
    jpeg
        Least JPEG quality, up to 95; None for no compression.
    """

    rotation: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    fill: Literal["reflect", "nearest", "black"] = "reflect"
    margin: float = 1.0
    contrast: float = 0.0
    brightness: float = 0.0
    gamma: float = 1.0
    colour: float = 0.0
    saturation: tuple[float, float] = (1.0, 1.0)
    grey: float = 0.0
    chance: float = 0.4
    background: float = 0.0
    blur: float = 0.0
    resolution: float = 1.0
    noise: float = 0.0
    jpeg: int | None = None

    def for_scheme(self, mirror_safe: bool) -> "Augmentation":
        """This one, without flips where mirrored pictures change their label (`LabelScheme.mirror_safe`)."""
        return self if mirror_safe else replace(self, flip_horizontal=False, flip_vertical=False)


TELESCOPE = Augmentation(
    rotation=180,
    shift=(0.06, 0.06),
    zoom=(0.65, 1.2),
    flip_horizontal=True,
    margin=1.6,
    contrast=0.1,
    brightness=0.2,
    gamma=1.25,
    colour=0.1,
    saturation=(0.5, 1.3),
    grey=0.15,
    chance=0.25,
    background=10,
    blur=1.2,
    resolution=2.5,
    noise=6,
    jpeg=60,
)
"""Any camera, any survey: everything in which pictures of one galaxy differ between telescopes."""

COURSE = Augmentation(rotation=40, shift=(0.2, 0.1), zoom=(0.8, 1.2), shear=0.2, flip_horizontal=True, fill="nearest")
"""What over-sampled pictures of the course project went through."""

CHALLENGE = Augmentation(rotation=180, zoom=(0.75, 1.25), flip_horizontal=True, flip_vertical=True, contrast=0.5)
"""The augmentation layer of the Galaxy Zoo challenge study."""

THESIS = Augmentation(rotation=180, shift=(0.05, 0.05), zoom=(0.85, 1.3), flip_horizontal=True, flip_vertical=True)
"""Rotated, flipped, cropped and scaled, as the thesis trained; how far it does not say."""


def augmented(picture: View, size: int, augmentation: Augmentation, rng: np.random.Generator) -> View:
    """A varied copy of a picture.

    Parameters
    ----------
    picture
        ``(side, side, 3)`` uint8 RGB.
    size
        Side of the result in pixels.
    augmentation
        What varies and how far.
    rng
        Source of chance.

    Returns
    -------
    View
        ``(size, size, 3)`` uint8 RGB.
    """
    varied = _recoloured(_warped(picture, size, augmentation, rng), augmentation, rng)
    return _degraded(cv2.LUT(varied, _curves(varied, augmentation, rng)), augmentation, rng)


def _warped(picture: View, size: int, a: Augmentation, rng: np.random.Generator) -> View:
    """All geometry in one interpolation."""
    side = picture.shape[0]
    turn = math.radians(rng.uniform(-a.rotation, a.rotation))
    zoom = a.margin * _log_uniform(rng, *a.zoom)
    shear = rng.uniform(-a.shear, a.shear)
    right, down = (rng.uniform(-limit, limit) for limit in a.shift)
    mirror_x, mirror_y = (-1 if wanted and rng.random() < 0.5 else 1 for wanted in (a.flip_horizontal, a.flip_vertical))
    # Bilinear interpolation looks at two pixels a side: what shrinks by more is warped at twice the size and averaged.
    finer = 2 if side > 1.25 * zoom * size else 1
    target = finer * size
    # From the result back to the picture: mirror, shear, turn and scale around both centres.
    scale = side / (target * zoom)
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    xx, xy = cosine * mirror_x, (cosine * shear - sine) * mirror_y
    yx, yy = sine * mirror_x, (sine * shear + cosine) * mirror_y
    # Pixel centres lie at half-integers.
    x, y = (0.5 - target * (0.5 + shift) for shift in (right, down))
    offset = side / 2 - 0.5
    warped: View = cv2.warpAffine(
        picture,
        np.array([[xx, xy, offset + xx * x + xy * y], [yx, yy, offset + yx * x + yy * y]]),
        (target, target),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=_BORDERS[a.fill],
    )
    return resize(warped, size, size) if finer > 1 else warped


def _recoloured(picture: View, a: Augmentation, rng: np.random.Generator) -> View:
    """Saturation changed, or colour lost."""
    saturation = rng.uniform(*a.saturation)
    if rng.random() < a.grey:
        saturation = 0.0
    if saturation == 1.0:
        return picture
    mixed: View = cv2.transform(picture, saturation * np.eye(3) + (1 - saturation) / 3)
    return mixed


def _curves(picture: View, a: Augmentation, rng: np.random.Generator) -> View:
    """Table ``(256, 1, 3)`` uint8 of every change that maps levels to levels."""
    gamma = _log_uniform(rng, 1 / a.gamma, a.gamma)
    contrast = 1 + rng.uniform(-a.contrast, a.contrast)
    gains = (1 + rng.uniform(-a.brightness, a.brightness)) * (1 + rng.uniform(-a.colour, a.colour, 3))
    levels = 255 * (_LEVELS / 255) ** gamma if gamma != 1 else _LEVELS
    table = levels * gains
    if contrast != 1:
        means = gains * np.array(cv2.mean(picture)[:3])
        table = means + (table - means) * contrast
    if rng.random() < a.chance:
        table = table + rng.uniform(-a.background, a.background) + rng.uniform(-1, 1, 3) * (a.background / 3)
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)[:, None]


def _degraded(picture: View, a: Augmentation, rng: np.random.Generator) -> View:
    """What optics, pixels, read-out and archives take away, in the order in which they do."""
    size = picture.shape[0]
    blurred, coarsened, noisy, compressed = rng.random(4) < a.chance
    if a.blur and blurred:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(a.blur / 4, a.blur))
    if a.resolution > 1 and coarsened:
        coarse = max(_LEAST_SIDE, round(size / _log_uniform(rng, 1, a.resolution)))
        picture = resize(resize(picture, coarse, coarse), size, size)
    if a.noise and noisy:
        grains = rng.standard_normal(picture.shape, np.float32)
        picture = cv2.addWeighted(picture, 1.0, grains, rng.uniform(a.noise / 6, a.noise), 0.0, dtype=cv2.CV_8U)
    if a.jpeg is not None and compressed:
        quality = int(rng.integers(a.jpeg, 96))
        # The channel order matters to the encoder, which keeps brightness better than colour.
        code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = cv2.cvtColor(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    return picture


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return low if low == high else math.exp(rng.uniform(math.log(low), math.log(high)))
