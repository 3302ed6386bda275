"""The point-spread function of a telescope under the air: what every star looks like, from core to spikes.

Kolmogorov seeing and the Airy pattern of the (obstructed) aperture come from GalSim; the aureole that dust and air put
around bright stars and the diffraction spikes of the vanes are added. All are integrated over square pixels.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
from numpy.typing import NDArray

from edgegal.data.skies.telescopes import Telescope

__all__ = ["CHANNEL_NM", "PointSpread", "point_spread"]

CHANNEL_NM = (620.0, 540.0, 460.0)
"""Wavelengths that stand for red, green and blue."""

Array = NDArray[np.float32]

_ARCSEC = 206264.8
# Sub-pixel positions per axis that a star is drawn at: more than anybody can tell for its core, and for its wings.
_CORE_PHASES, _WING_PHASES = 4, 2
_WING_PX = 128
_FADE_FROM = 0.6
# King 1971 (PASP 83, 199): far from the core light falls as the square of the distance; here as the cube, which ends.
_AUREOLE_SHARE, _AUREOLE_BETA, _AUREOLE_WIDTH = 0.03, 1.5, 4.0
_PARAMS = galsim.GSParams(folding_threshold=5e-3, maxk_threshold=5e-3, kvalue_accuracy=1e-4, maximum_fft_size=16384)


@dataclass(frozen=True, eq=False)
class PointSpread:
    """A star of unit light at sub-pixel positions.

    Attributes
    ----------
    fwhm_px
        Full width at half maximum of the green core before the pixel takes its share, pixels.
    core
        ``(4, 4, k, k, 3)`` float32 RGB: the star in the middle pixel, by quarters of a pixel down and to the right.
    wings
        ``(2, 2, 257, 257, 3)`` float32 RGB, the same by halves of a pixel.
    kernel
        ``(k, k)`` float32: the green core about the middle of its pixel, of sum 1, to blur pictures with.
    """

    fwhm_px: float
    core: Array
    wings: Array
    kernel: Array
    _brightest_outside: NDArray[np.float64]

    def reach(self, light: NDArray[np.floating], floor: float) -> NDArray[np.int64]:
        """Pixels from its own to which a star of each `light` rises above `floor`, at least 2."""
        share = floor / np.maximum(np.asarray(light, np.float64), 1e-12)
        found = np.searchsorted(-self._brightest_outside, -share)
        return np.clip(found, 2, _WING_PX)

    def at(self, x: float, y: float, half: int) -> tuple[Array, int, int]:
        """A star of unit light out to `half` pixels from its own, and the column and row of the patch's corner.

        Parameters
        ----------
        x, y
            Where, continuous pixel coordinates.
        half
            At most 128.
        """
        column, row = math.floor(x), math.floor(y)
        middle = self.core.shape[2] // 2
        core = self.core[int((y - row) * _CORE_PHASES), int((x - column) * _CORE_PHASES)]
        if half <= middle:
            cut = slice(middle - half, middle + half + 1)
            return core[cut, cut], column - half, row - half
        cut = slice(_WING_PX - half, _WING_PX + half + 1)
        patch = self.wings[int((y - row) * _WING_PHASES), int((x - column) * _WING_PHASES)][cut, cut].copy()
        # The place is told from the core.
        inner = slice(half - middle, half + middle + 1)
        patch[inner, inner] = core
        return patch, column - half, row - half


@lru_cache(maxsize=64)
def point_spread(telescope: Telescope, seeing_arcsec: float) -> PointSpread:
    """The point-spread function of a telescope; kept, since it takes a second.

    Parameters
    ----------
    telescope
        Aperture, obstruction, vanes and pixel.
    seeing_arcsec
        Full width at half maximum of what air and guiding do, at `CHANNEL_NM` of green.
    """
    fwhm = _profile(telescope, seeing_arcsec, CHANNEL_NM[1]).calculateFWHM() / telescope.pixel_scale
    core = _phases(telescope, seeing_arcsec, int(np.clip(math.ceil(2.5 * fwhm), 6, 24)), _CORE_PHASES)
    wings = _phases(telescope, seeing_arcsec, _WING_PX, _WING_PHASES) * _fade(_WING_PX)[..., None]
    # An even number of steps has none in the middle: the four about it together.
    kernel = core[1:3, 1:3, ..., 1].mean(axis=(0, 1))
    return PointSpread(float(fwhm), core, wings, kernel / kernel.sum(), _outside(wings[0, 0].max(axis=2)))


def _fade(half: int) -> Array:
    """1, and smoothly 0 toward the edge: however bright a star, no square shows around it."""
    y, x = np.indices((2 * half + 1, 2 * half + 1)) - half
    ramp = np.clip((1 - np.hypot(x, y) / half) / (1 - _FADE_FROM), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def _outside(light: Array) -> NDArray[np.float64]:
    """The brightest pixel beyond each distance (of the larger coordinate) from the middle."""
    middle = light.shape[0] // 2
    y, x = np.abs(np.indices(light.shape) - middle)
    ring = np.zeros(middle + 1)
    np.maximum.at(ring, np.maximum(x, y).ravel(), light.ravel().astype(np.float64))
    beyond = np.maximum.accumulate(ring[::-1])[::-1]
    return np.append(beyond[1:], 0)


def _profile(telescope: Telescope, seeing: float, wavelength: float) -> "galsim.GSObject":
    # Kolmogorov: seeing narrows with the fifth root of the wavelength.
    air = galsim.Kolmogorov(fwhm=seeing * (wavelength / CHANNEL_NM[1]) ** -0.2, gsparams=_PARAMS)
    aperture = galsim.Airy(
        lam=wavelength, diam=telescope.aperture_mm / 1000, obscuration=telescope.obstruction, gsparams=_PARAMS
    )
    return galsim.Convolve(air, aperture, gsparams=_PARAMS, real_space=False)


def _phases(telescope: Telescope, seeing: float, half: int, steps: int) -> Array:
    """``(steps, steps, 2 half + 1, 2 half + 1, 3)``: every `steps`-th pixel of a picture drawn that much finer."""
    # A mono camera sees all wavelengths at once: the middle one stands for them.
    lights = CHANNEL_NM if telescope.bayer else (CHANNEL_NM[1],)
    side = steps * (2 * half + 1)
    fine = np.stack([_drawn(telescope, seeing, nm, side, steps) for nm in lights], axis=2)
    fine = np.broadcast_to(fine, (side, side, 3))
    split = fine.reshape(2 * half + 1, steps, 2 * half + 1, steps, 3).transpose(1, 3, 0, 2, 4)
    # A star further right leaves less to its left: the order of the fine pixels is the reverse of the star's.
    return np.ascontiguousarray(split[::-1, ::-1], np.float32)


def _drawn(telescope: Telescope, seeing: float, wavelength: float, side: int, steps: int) -> NDArray[np.float64]:
    """Light in a pixel about each point of a grid `steps` times finer than the pixels."""
    step = telescope.pixel_scale / steps
    pixel = galsim.Pixel(telescope.pixel_scale)
    core = galsim.Convolve(_profile(telescope, seeing, wavelength), pixel, gsparams=_PARAMS, real_space=False)
    image = core.drawImage(nx=side, ny=side, scale=step, method="no_pixel", dtype=float).array
    # The aureole is so wide that a pixel's middle stands for the pixel.
    aureole = galsim.Moffat(beta=_AUREOLE_BETA, fwhm=_AUREOLE_WIDTH * seeing, trunc=60 * seeing)
    halo = aureole.drawImage(nx=side, ny=side, scale=step, method="sb", dtype=float).array * step**2
    light = ((1 - _AUREOLE_SHARE) * np.maximum(image, 0) + _AUREOLE_SHARE * halo) * steps**2
    if not telescope.vanes:
        return light
    spikes, share = _spikes(telescope, seeing, wavelength, side, step)
    return light * (1 - share) + spikes


def _spikes(
    telescope: Telescope, seeing: float, wavelength: float, side: int, step: float
) -> tuple[NDArray[np.float64], float]:
    """Diffraction by the vanes: light per pixel, and its share of the whole.

    A vane of width w and length l scatters as much light as it takes away (Babinet), over sinc^2(w u / wavelength)
    along the spike, at a right angle to the vane, and over wavelength / l across, which seeing widens.
    """
    radius = telescope.aperture_mm / 2
    length = radius * (1 - telescope.obstruction)
    share = telescope.vane_mm * length / (math.pi * radius**2 * (1 - telescope.obstruction**2))
    reach = wavelength * 1e-6 / telescope.vane_mm * _ARCSEC
    sigma = math.hypot(seeing, wavelength * 1e-6 / length * _ARCSEC, telescope.pixel_scale / 2) / 2.355
    y, x = (np.indices((side, side)) - (side - 1) / 2) * step
    light = np.zeros((side, side))
    for vane in range(telescope.vanes):
        angle = math.radians(telescope.vane_angle_deg) + 2 * math.pi * vane / telescope.vanes + math.pi / 2
        # Rows go down, angles anticlockwise.
        along, across = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
        profile = np.sinc(along / reach) ** 2 / reach
        light += share * profile * np.exp(-((across / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    return light * telescope.pixel_scale**2, share * telescope.vanes
