"""The one road from sensor pixels to what a network sees.

Training, calibration, benchmarks and the device all call these functions, and a bundle's manifest carries the
`Stretch` and `Preprocess` values they take, so a model cannot meet a picture prepared in another way.

Linear pixels are stretched with the colour-preserving inverse hyperbolic sine of Lupton et al. 2004 (PASP 116, 133),
in units of the sky noise above the sky level, so exposure, gain and bit depth drop out. Pixels already stretched for
display (8-bit pictures) pass unchanged.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError
from edgegal.frames import BayerPattern, Frame, View

__all__ = [
    "Preprocess",
    "Sky",
    "Stretch",
    "as_view",
    "crop_square",
    "debayer",
    "measure_sky",
    "network_input",
    "resize",
    "stretch_linear",
]

_SKY_SAMPLES = 200_000
_MAD_TO_SIGMA = 1.4826

# OpenCV names a pattern by the second row, from its second column.
_BAYER_TO_RGB: dict[BayerPattern, int] = {
    "RGGB": cv2.COLOR_BayerBG2RGB,
    "BGGR": cv2.COLOR_BayerRG2RGB,
    "GRBG": cv2.COLOR_BayerGB2RGB,
    "GBRG": cv2.COLOR_BayerGR2RGB,
}


@dataclass(frozen=True)
class Stretch:
    """Display stretch of linear pixels, in units of the sky noise sigma.

    Attributes
    ----------
    black_sigma
        Black lies this many sigma below the sky level.
    soft_sigma
        Below this the stretch is nearly linear, above nearly logarithmic.
    white_sigma
        White lies this many sigma above black.
    """

    black_sigma: float = 1.0
    soft_sigma: float = 8.0
    white_sigma: float = 300.0


@dataclass(frozen=True)
class Preprocess:
    """What a network's input is made of.

    The input is float32 ``(1, height, width, 3)``, colour order RGB, values 0-255: scaling to the network's own range
    happens inside the graph.

    Attributes
    ----------
    height, width
        Input size in pixels.
    stretch
        Stretch that made linear frames into the views the network was trained on.
    crop_scale
        Classifiers only: side of the square crop over the longer side of the detection box.
    """

    height: int
    width: int
    stretch: Stretch = Stretch()
    crop_scale: float = 1.0


@dataclass(frozen=True)
class Sky:
    """Sky level per channel and one noise sigma, in the frame's own units."""

    level: tuple[float, ...]
    sigma: float


def measure_sky(pixels: NDArray[Any]) -> Sky:
    """Median and scaled median absolute deviation over a regular sample of finite pixels.

    Parameters
    ----------
    pixels
        ``(h, w)`` or ``(h, w, 3)``, any real dtype; NaN and infinities are left out.

    Raises
    ------
    FrameError
        When no pixel is finite.
    """
    flat = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
    # An odd step does not fall in with even widths or with a Bayer pattern.
    step = max(1, flat.shape[0] // _SKY_SAMPLES) | 1
    sample = flat[::step].astype(np.float32)
    sample = sample[np.isfinite(sample).all(axis=1)]
    if not len(sample):
        raise FrameError("the frame has no finite pixel")
    level = np.median(sample, axis=0)
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(sample - level)))
    if sigma == 0:
        # More than half the pixels are equal (few grey levels, a blank frame): take the spread, else one unit.
        sigma = float(np.std(sample)) or 1.0
    return Sky(tuple(float(v) for v in level), sigma)


def stretch_linear(pixels: NDArray[Any], stretch: Stretch, sky: Sky | None = None) -> View:
    """Stretch linear pixels for display.

    Parameters
    ----------
    pixels
        ``(h, w)`` or ``(h, w, 3)`` RGB, any real dtype; non-finite pixels become black.
    stretch
        The curve.
    sky
        Level and noise; measured on `pixels` when None.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB.
    """
    sky = sky or measure_sky(pixels)
    with np.errstate(invalid="ignore"):
        above = (pixels.astype(np.float32) - np.array(sky.level, np.float32)) / np.float32(sky.sigma)
        above += np.float32(stretch.black_sigma)
    if not np.isfinite(above).all():
        above = np.nan_to_num(above, copy=False, nan=0.0, posinf=stretch.white_sigma, neginf=0.0)
    gain = np.float32(255 / np.arcsinh(stretch.white_sigma / stretch.soft_sigma))
    soft = np.float32(stretch.soft_sigma)
    if above.ndim == 2:
        grey = np.clip(np.arcsinh(above / soft) * gain, 0, 255).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    intensity = above.mean(axis=2)
    np.maximum(intensity, np.float32(1e-3), out=intensity)
    above *= (np.arcsinh(intensity / soft) * gain / intensity)[..., None]
    return np.clip(above, 0, 255, out=above).astype(np.uint8)


def debayer(pixels: NDArray[Any], pattern: BayerPattern) -> NDArray[Any]:
    """Bilinear demosaicing of ``(h, w)`` raw pixels to ``(h, w, 3)`` RGB; keeps uint8 and uint16, else float32."""
    if pixels.dtype in (np.uint8, np.uint16):
        return cv2.cvtColor(pixels, _BAYER_TO_RGB[pattern])
    # OpenCV demosaics integers only: carry other types through the full 16-bit range.
    finite = np.nan_to_num(pixels.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    unit = (high - low) / 65535 or 1.0
    raw = ((finite - low) / unit).astype(np.uint16)
    rgb: NDArray[Any] = cv2.cvtColor(raw, _BAYER_TO_RGB[pattern]).astype(np.float32) * unit + low
    return rgb


def as_view(frame: Frame, stretch: Stretch) -> View:
    """The display picture of a frame: demosaiced, stretched when linear, RGB uint8.

    Raises
    ------
    FrameError
        When the frame has no finite pixel, or claims to be display-ready without being 8-bit.
    """
    pixels = frame.pixels
    if frame.bayer is not None and pixels.ndim == 2:
        pixels = debayer(pixels, frame.bayer)
    if frame.linear:
        try:
            return stretch_linear(pixels, stretch)
        except FrameError as error:
            raise FrameError(f"{frame.source}: {error.message}") from None
    if pixels.dtype != np.uint8:
        raise FrameError(f"{frame.source}: display pixels are uint8, not {pixels.dtype}")
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    return pixels


def resize(picture: View, height: int, width: int) -> View:
    """Resize ``(h, w, 3)`` or ``(h, w)``: area averaging when shrinking, bilinear when growing."""
    shrinking = height <= picture.shape[0] and width <= picture.shape[1]
    mode = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=mode)  # type: ignore[return-value]


def crop_square(view: View, centre: tuple[float, float], side: float, size: int) -> View:
    """A square cut around `centre`, resized to `size` pixels.

    Where the square leaves the view it is filled with the view's median colour, which is sky.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB.
    centre
        x, y in pixels, continuous coordinates: 0, 0 is the outer corner of the top-left pixel.
    side
        Side of the square in pixels of `view`, at least 1.
    size
        Side of the result.
    """
    side_px = max(1, round(side))
    left, top = round(centre[0] - side_px / 2), round(centre[1] - side_px / 2)
    right, bottom = left + side_px, top + side_px
    height, width = view.shape[:2]
    inside = view[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inside.shape[:2] != (side_px, side_px):
        sky = np.median(view[:: max(1, height // 64), :: max(1, width // 64)].reshape(-1, 3), axis=0)
        canvas = np.empty((side_px, side_px, 3), np.uint8)
        canvas[:] = sky.astype(np.uint8)
        y, x = max(-top, 0), max(-left, 0)
        canvas[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        inside = canvas
    return resize(inside, size, size)


def network_input(pictures: View) -> NDArray[np.float32]:
    """Network input of pictures already at input size: ``(h, w, 3)`` or ``(n, h, w, 3)`` uint8 to float32, batched."""
    batch = pictures if pictures.ndim == 4 else pictures[None]
    return np.ascontiguousarray(batch, dtype=np.float32)
