"""What a camera or a file delivers: pixels and what the header said about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError

__all__ = ["BayerPattern", "Frame", "Header", "View", "shifted_bayer"]

BayerPattern: TypeAlias = Literal["RGGB", "BGGR", "GRBG", "GBRG"]

Header: TypeAlias = Mapping[str, str | int | float | bool]
"""Facts about a frame by FITS keyword, whatever the source: ``GAIN``, ``CCD-TEMP`` (degrees Celsius), ``INSTRUME``."""

View: TypeAlias = NDArray[np.uint8]
"""Display-stretched picture, shape ``(height, width, 3)``, uint8, colour order RGB, row 0 at the top."""


@dataclass(frozen=True)
class Frame:
    """One exposure.

    Attributes
    ----------
    pixels
        ``(height, width)`` mono or Bayer, or ``(height, width, 3)`` RGB; any real dtype; row 0 at the top.
    source
        Where it came from, for people: a path, a device, a simulator's name.
    index
        Position in its stream, from 0.
    time
        Mid or start of exposure in UTC, timezone-aware; None when nobody said. A camera that says nothing gives the
        time of arrival.
    linear
        True when values are proportional to light (a sensor's), False when already stretched for display.
    bayer
        Colour filter pattern of the top-left 2x2 block of a two-dimensional frame, else None.
    exposure_s
        Exposure time in seconds, if known.
    pixel_scale
        Arc seconds per pixel, if known.
    target
        Name of the object pointed at, if known.
    header
        What else was said about the frame. A WCS among it holds for the pixels as they stand here: pixel ``(1, 1)`` is
        the centre of the top-left one.
    """

    pixels: NDArray[Any]
    source: str
    index: int = 0
    time: datetime | None = None
    linear: bool = True
    bayer: BayerPattern | None = None
    exposure_s: float | None = None
    pixel_scale: float | None = None
    target: str | None = None
    header: Header = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3) or 0 in shape:
            raise FrameError(f"{self.source}: a frame is (h, w) or (h, w, 3) pixels, not {shape}")
        if self.pixels.dtype.kind not in "uif":
            raise FrameError(f"{self.source}: pixels of type {self.pixels.dtype} are not numbers")
        if self.time is not None and self.time.tzinfo is None:
            raise FrameError(f"{self.source}: the time of a frame needs a time zone")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def is_mosaic(self) -> bool:
        """Whether it is to be demosaiced: colour frames of some cameras keep the pattern."""
        return self.bayer is not None and self.pixels.ndim == 2

    def without_pixels(self) -> "Frame":
        """What is known of the frame: its pixels are all 0 and take no memory."""
        return replace(self, pixels=np.broadcast_to(np.zeros((), self.pixels.dtype), self.pixels.shape))


def shifted_bayer(pattern: str, x: int, y: int) -> BayerPattern | None:
    """The pattern as seen from a pixel `x` to the right of and `y` below the first; None when it is no known one."""
    if x % 2:
        pattern = pattern[1:2] + pattern[0:1] + pattern[3:4] + pattern[2:3]
    if y % 2:
        pattern = pattern[2:] + pattern[:2]
    return next((known for known in get_args(BayerPattern) if known == pattern), None)
