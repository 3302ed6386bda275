"""Dark and flat frames: what the camera adds, and what the optics take away."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegal.device.sources import open_source
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame

__all__ = ["Calibration", "combine", "normalised_flat", "read_calibration", "read_master"]

Method = Literal["mean", "median"]

# A pixel that saw less than this share of the typical light is dead, not shaded.
_LEAST_FLAT = 0.05


@dataclass(frozen=True)
class Calibration:
    """Masters to apply to raw frames before anything else.

    Attributes
    ----------
    dark
        Master dark ``(h, w)`` or ``(h, w, 3)`` float32, of the exposure time of the frames; subtracted.
    flat
        Normalised flat of the same shape, around 1; divided by. Pixels that are NaN in it become NaN.
    """

    dark: NDArray[np.float32] | None = None
    flat: NDArray[np.float32] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """The calibrated frame, float32, not demosaiced.

        Raises
        ------
        FrameError
            The frame is display-ready, which cannot be calibrated, or not of the masters' size; the next may fit.
        """
        if not frame.linear:
            raise FrameError(f"{frame.source} is a display picture: dark and flat apply to linear frames")
        pixels = frame.pixels.astype(np.float32)
        if self.dark is not None:
            pixels -= _fitting(self.dark, "dark", frame)
        if self.flat is not None:
            pixels /= _fitting(self.flat, "flat", frame)
        return replace(frame, pixels=pixels)


def _fitting(master: NDArray[np.float32], kind: str, frame: Frame) -> NDArray[np.float32]:
    if master.shape != frame.pixels.shape:
        raise FrameError(
            f"the {kind} has shape {master.shape} and {frame.source} {frame.pixels.shape}",
            f"take the {kind} with the same camera, binning and cut",
        )
    return master


def combine(pictures: Iterable[NDArray[Any]], method: Method = "median") -> NDArray[np.float32]:
    """Combine pictures of one shape into a master, float32.

    The median throws out cosmic-ray hits but holds all pictures in memory; the mean holds one.

    Raises
    ------
    InputError
        There is no picture, or one has another shape.
    """
    kept: list[NDArray[Any]] = []
    total: NDArray[np.float64] | None = None
    count = 0
    for picture in pictures:
        known = kept[0].shape if kept else None if total is None else total.shape
        if known is not None and picture.shape != known:
            raise InputError(f"calibration frames of shapes {known} and {picture.shape} do not combine")
        count += 1
        if method == "median":
            kept.append(picture)
        else:
            total = picture.astype(np.float64) + (0 if total is None else total)
    if not count:
        raise InputError("no calibration frame to combine")
    if total is not None:
        return (total / count).astype(np.float32)
    # Row by row: the median's own working copy stays small.
    rows = [np.median(np.stack([k[y] for k in kept]), axis=0) for y in range(len(kept[0]))]
    return np.stack(rows).astype(np.float32)


def normalised_flat(master: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide a flat by its typical value, each of the four Bayer phases or three colours by its own.

    So the colour of the flat's light does not tint the frames. Dead pixels become NaN.
    """
    flat = np.empty_like(master)
    for phase in ((y, x) for y in (0, 1) for x in (0, 1)):
        cell = np.s_[phase[0] :: 2, phase[1] :: 2]
        level = np.median(master[cell].reshape(-1, *master.shape[2:]), axis=0)
        flat[cell] = np.divide(
            master[cell], level, out=np.zeros_like(master[cell]), where=np.broadcast_to(level > 0, master[cell].shape)
        )
    flat[flat < _LEAST_FLAT] = np.nan
    return flat


def read_master(path: Path, method: Method = "median") -> NDArray[np.float32]:
    """Master of the linear frames in a folder, or of one file.

    Raises
    ------
    InputError
        Nothing is there, the frames differ in size, or they are display pictures.
    FrameError
        A calibration frame cannot be read: unlike a light frame it is not skipped, for it goes into every result.
    """

    def pictures() -> Iterable[NDArray[Any]]:
        with open_source(str(path)) as source:
            for frame in source:
                if not frame.linear:
                    raise FrameError(f"{frame.source} is a display picture, not a calibration frame")
                yield frame.pixels

    return combine(pictures(), method)


def read_calibration(dark: Path | None, flat: Path | None) -> Calibration | None:
    """Calibration from folders or files of darks and flats; None when neither is given. Errors as `read_master`.

    Flats are taken as they are: their own bias, small beside their light, is not subtracted.
    """
    if dark is None and flat is None:
        return None
    return Calibration(
        read_master(dark) if dark else None,
        normalised_flat(read_master(flat)) if flat else None,
    )
