"""What the page shows, drawn and encoded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.device.registration import Motion
from edgegal.device.sinks import annotate
from edgegal.device.tracking import Sighting
from edgegal.frames import Frame, View
from edgegal.preprocess import Stretch, as_view, crop_square, debayer, measure_sky, stretch_linear

__all__ = ["as_jpeg", "carried", "crop_of", "drawn", "shown_view"]

# Larger views are shrunk to this longest side before anything is drawn: a phone shows no more, and waits for less.
_LONGEST_SIDE = 1920
_QUALITY = 85

_CROP_SIDE = 96
_LEAST_CROP_PX = 48
_CROP_MARGIN = 1.5

_RESIZABLE = (np.uint8, np.uint16, np.float32)


def shown_view(frame: Frame, stretch: Stretch) -> View:
    """A frame as the observer wants it stretched, shrunk where it is larger than a screen.

    Linear pixels are shrunk first, with the sky measured on all of them: the larger the frame, the more that saves.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB, the longest side at most 1920 pixels.

    Raises
    ------
    FrameError
        As `edgegal.preprocess.as_view`.
    """
    if not frame.linear:
        return _shrunk(as_view(frame, stretch))
    pixels = frame.pixels
    if frame.bayer is not None and pixels.ndim == 2:
        pixels = debayer(pixels, frame.bayer)
    sky = measure_sky(pixels)
    return stretch_linear(_shrunk(pixels), stretch, sky)


def drawn(view: View, seen: Sequence[Sighting], width: int) -> View:
    """A box and a class on each galaxy of a view, shrunk where it is larger than a screen.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB.
    seen
        With boxes in pixels of a picture `width` pixels wide, of which `view` may be a smaller copy.
    width
        Width that the boxes are measured in.
    """
    view = _shrunk(view)
    scale = view.shape[1] / width
    return annotate(view, [replace(s, box=_scaled(s.box, scale)) for s in seen])


def carried(sightings: Sequence[Sighting], motion: Motion) -> tuple[Sighting, ...]:
    """Sightings of a stack with their boxes where `motion` puts them: in a frame of it."""
    boxes = motion.boxes(np.array([s.box for s in sightings], np.float64).reshape(-1, 4)).tolist()
    return tuple(replace(s, box=(x0, y0, x1, y1)) for s, (x0, y0, x1, y1) in zip(sightings, boxes, strict=True))


def crop_of(view: View, box: tuple[float, float, float, float]) -> View:
    """The surroundings of a box, ``(96, 96, 3)`` uint8 RGB."""
    x0, y0, x1, y1 = box
    side = max(_LEAST_CROP_PX, _CROP_MARGIN * max(x1 - x0, y1 - y0))
    return crop_square(view, ((x0 + x1) / 2, (y0 + y1) / 2), side, _CROP_SIDE)


def as_jpeg(view: View) -> bytes:
    """A view as a JPEG file; shrunk where it is larger than a screen."""
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(_shrunk(view), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    jpeg: bytes = encoded.tobytes()
    return jpeg


def _shrunk(pixels: NDArray[Any]) -> NDArray[Any]:
    scale = _LONGEST_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    if pixels.dtype not in _RESIZABLE:
        pixels = pixels.astype(np.float32)
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _scaled(box: tuple[float, float, float, float], scale: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0 * scale, y0 * scale, x1 * scale, y1 * scale
