"""The camera of a telescope: from electrons behind ideal filters to the numbers of a file, and the noise in them.

A picture goes the device's road: demosaiced, stacked after registration, stretched. What that road does to noise and
sharpness is worked out from the demosaicing itself, so the noise a box is measured against is that of the view.
"""

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.data.skies.telescopes import Telescope
from edgegal.frames import BayerPattern
from edgegal.preprocess import debayer

__all__ = ["developed", "expose", "grey_of", "grey_sigma", "sky_electrons"]

Array = NDArray[np.float32]
Chance = np.random.Generator

# Light of towns is warm, and so is airglow.
_SKY_TINT = np.array([1.1, 1.0, 0.85])
# A shift by a fraction of a pixel, bilinear, averaged over all fractions: what registering a stack does.
_REGISTERED = np.array([1, 4, 1], np.float32) / 6
# Mean of bilinear demosaicing over the four places of a block: red or blue, and green.
_RED_BLUE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16
_GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 8
# Charged particles at sea level, per square centimetre and second.
_COSMIC_PER_CM2_S = 0.02


def sky_electrons(telescope: Telescope, sky_mag: float, seconds: float) -> NDArray[np.float64]:
    """``(3,)`` RGB electrons of the sky in a pixel behind each filter (or, mono, their mean thrice)."""
    per_pixel = telescope.electrons_per_s(sky_mag) * seconds * telescope.pixel_scale**2
    tinted = per_pixel * _SKY_TINT * np.array(telescope.response)
    return tinted if telescope.bayer else np.full(3, tinted.mean())


def grey_sigma(telescope: Telescope, sky_mag: float, seconds: float, stacked: int) -> float:
    """Sky noise of the mean of the channels as the view has it before the stretch, electrons of one exposure."""
    sky = sky_electrons(telescope, sky_mag, seconds)
    rounding = (telescope.gain_e_adu**2) / 12
    variance = sky + telescope.dark_e_s * seconds + telescope.read_noise_e**2 + rounding
    return math.sqrt(float((_noise_gains(telescope.bayer, stacked > 1) * variance).sum()) / stacked)


@lru_cache(maxsize=16)
def _noise_gains(pattern: BayerPattern | None, registered: bool) -> NDArray[np.float64]:
    """``(3,)`` variance of the grey of a picture for unit variance in its red, green and blue pixels.

    Demosaicing is linear: an impulse in one pixel shows what that pixel's noise does, and a block has four.
    """
    if pattern is None:
        energy = float((_REGISTERED**2).sum()) ** 2 if registered else 1.0
        return np.array([0.0, energy, 0.0])
    gains = np.zeros(3)
    height = 4096
    for place, colour in enumerate(pattern):
        raw = np.zeros((16, 16), np.uint16)
        raw[8 + place // 2, 8 + place % 2] = height
        grey = debayer(raw, pattern).astype(np.float32).mean(axis=2) / height
        if registered:
            grey = cv2.sepFilter2D(grey, -1, _REGISTERED, _REGISTERED)
        gains["RGB".index(colour)] += float((grey.astype(np.float64) ** 2).sum()) / 4
    return gains


def grey_of(light: Array, telescope: Telescope, stacked: int) -> Array:
    """``(h, w)`` mean of the channels of noiseless ``(h, w, 3)`` electrons, as sharp as the view shows them."""
    if telescope.bayer is None:
        grey = light.mean(axis=2)
    else:
        red_blue = cv2.filter2D(light[..., 0] + light[..., 2], -1, _RED_BLUE, borderType=cv2.BORDER_CONSTANT)
        green = cv2.filter2D(np.ascontiguousarray(light[..., 1]), -1, _GREEN, borderType=cv2.BORDER_CONSTANT)
        grey = (red_blue + green) / 3
    if stacked > 1:
        grey = cv2.sepFilter2D(grey, -1, _REGISTERED, _REGISTERED, borderType=cv2.BORDER_CONSTANT)
    return grey.astype(np.float32)


def expose(
    light: Array,
    telescope: Telescope,
    seconds: float,
    rng: Chance,
    stacked: int = 1,
    corner: tuple[int, int] = (0, 0),
    sensor: Chance | None = None,
) -> NDArray[np.uint16]:
    """What the camera's files hold: filters, vignetting, Poisson and read noise, defects, saturation, conversion.

    Parameters
    ----------
    light
        ``(h, w, 3)`` float32 electrons behind ideal filters in one exposure, sky included.
    telescope
        Camera and vignetting.
    seconds
        Exposure, for dark current and cosmic rays.
    rng
        Source of chance.
    stacked
        Exposures in a stack of which this is the mean. A mean has more grey levels than a file of one exposure:
        it is given in 1/65536 of the converter's range.
    corner
        Column and row of the picture on the sensor, even.
    sensor
        Source of the hot and dead pixels: the same state for all exposures of one sensor. `rng` when None.

    Returns
    -------
    array
        ``(h, w)`` uint16, Bayer or mono.
    """
    mean = _behind_filters(light, telescope.bayer)
    mean = mean * _vignetting(telescope, mean.shape, corner) + np.float32(telescope.dark_e_s * seconds)
    electrons = rng.poisson(np.maximum(mean, 0) * stacked).astype(np.float32) / np.float32(stacked)
    _add_bad_pixels(electrons, telescope, sensor or rng, stacked)
    _add_cosmic_rays(electrons, telescope, seconds, rng, stacked)
    electrons += rng.standard_normal(mean.shape, np.float32) * np.float32(telescope.read_noise_e / math.sqrt(stacked))
    # A full well holds no more; CMOS pixels do not spill into their neighbours.
    np.minimum(electrons, np.float32(telescope.full_well_e), out=electrons)
    units = electrons / np.float32(telescope.gain_e_adu) + np.float32(telescope.offset_adu)
    top = 2**telescope.bits - 1
    if stacked > 1:
        return np.rint(np.clip(units, 0, top) * 2.0 ** (16 - telescope.bits)).astype(np.uint16)
    return (np.clip(np.rint(units), 0, top) * telescope.unit).astype(np.uint16)


def developed(raw: NDArray[np.uint16], telescope: Telescope, stacked: int) -> NDArray[np.uint16] | Array:
    """What the device stretches: the demosaiced picture, or mono as it is; a stack as soft as registering makes it."""
    picture = debayer(raw, telescope.bayer) if telescope.bayer else raw
    if stacked == 1:
        return picture
    return cv2.sepFilter2D(picture.astype(np.float32), -1, _REGISTERED, _REGISTERED)


def _behind_filters(light: Array, pattern: BayerPattern | None) -> Array:
    if pattern is None:
        return light.mean(axis=2)
    mosaic = np.empty(light.shape[:2], np.float32)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        mosaic[rows, columns] = light[rows, columns, "RGB".index(colour)]
    return mosaic


def _vignetting(telescope: Telescope, shape: tuple[int, ...], corner: tuple[int, int]) -> Array:
    """Share of the light that reaches each pixel: falls with the square of the distance from the middle."""
    half = math.hypot(telescope.width, telescope.height) / 2
    x = (np.arange(shape[1], dtype=np.float32) + np.float32(corner[0] + 0.5 - telescope.width / 2)) / np.float32(half)
    y = (np.arange(shape[0], dtype=np.float32) + np.float32(corner[1] + 0.5 - telescope.height / 2)) / np.float32(half)
    return np.clip(1 - np.float32(telescope.vignetting) * (x[None] ** 2 + y[:, None] ** 2), 0, 1).astype(np.float32)


def _add_bad_pixels(electrons: Array, telescope: Telescope, rng: Chance, stacked: int) -> None:
    """Hot and dead pixels, of which dithered stacks keep a trace."""
    size = electrons.size
    flat = electrons.reshape(-1)
    hot = rng.integers(0, size, rng.poisson(telescope.hot_per_megapixel * size / 1e6))
    flat[hot] += (10 ** rng.uniform(1.3, math.log10(telescope.full_well_e), len(hot)) / stacked).astype(np.float32)
    dead = rng.integers(0, size, rng.poisson(0.1 * telescope.hot_per_megapixel * size / 1e6))
    flat[dead] *= np.float32(0 if stacked == 1 else 1 - 1 / stacked)


def _add_cosmic_rays(electrons: Array, telescope: Telescope, seconds: float, rng: Chance, stacked: int) -> None:
    area = electrons.size * (telescope.pixel_um * 1e-4) ** 2
    for _ in range(int(rng.poisson(_COSMIC_PER_CM2_S * area * seconds * stacked))):
        x, y = rng.uniform(0, 1, 2) * electrons.shape[::-1]
        length, angle = rng.exponential(4), rng.uniform(0, 2 * np.pi)
        t = np.linspace(0, length, int(length) + 1)
        columns = np.clip(x + t * math.cos(angle), 0, electrons.shape[1] - 1).astype(int)
        rows = np.clip(y + t * math.sin(angle), 0, electrons.shape[0] - 1).astype(int)
        electrons[rows, columns] += np.float32(rng.uniform(150, 1500) / stacked)
