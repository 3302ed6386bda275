"""Calibration of light frames: what the camera adds is subtracted, what the optics take away divided back in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.device.masters import Kind, Master, offset, read_master
from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["Calibration", "normalised_flat", "read_calibration"]

Array = NDArray[np.float32]

# A pixel that saw less than this share of the typical light is dead, not shaded.
_LEAST_FLAT = 0.05


@dataclass
class Calibration:
    """Masters to apply to raw frames before anything else.

    Attributes
    ----------
    dark
        Master dark, without a bias for frames of its own exposure time.
    flat
        Normalised flat ``(h, w)`` or ``(h, w, 3)`` float32, around 1; divided by. Pixels that are NaN in it become NaN.
    bias
        Master bias; with it the dark is scaled to the exposure time of each frame.
    """

    dark: Master | None = None
    flat: Array | None = None
    bias: Master | None = None
    # What was subtracted last, and the exposure time it was for.
    _last: tuple[float | None, Array | None] | None = field(default=None, init=False, repr=False)

    def __call__(self, frame: Frame) -> Frame:
        """The calibrated frame, float32, not demosaiced.

        Raises
        ------
        FrameError
            The frame is display-ready, which cannot be calibrated, or not of the masters' size; the next may fit.
        InputError
            The masters do not fit each other.
        """
        if not frame.linear:
            raise FrameError(
                f"{frame.source} is a display picture: bias, dark and flat apply to linear frames",
                "give raw frames, or leave the masters out",
            )
        pixels = frame.pixels.astype(np.float32)
        added = self._offset(frame.exposure_s)
        if added is not None:
            pixels -= _fitting(added, "dark" if self.dark else "bias", frame)
        if self.flat is not None:
            pixels /= _fitting(self.flat, "flat", frame)
        return replace(frame, pixels=pixels)

    def _offset(self, exposure_s: float | None) -> Array | None:
        if self._last is None or self._last[0] != exposure_s:
            self._last = exposure_s, offset(self.bias, self.dark, exposure_s)
        return self._last[1]


def _fitting(master: Array, kind: str, frame: Frame) -> Array:
    if master.shape != frame.pixels.shape:
        raise FrameError(
            f"the {kind} has shape {master.shape} and {frame.source} {frame.pixels.shape}",
            f"take the {kind} with the same camera, binning and cut",
        )
    return master


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


def read_calibration(
    dark: Path | None, flat: Path | None, bias: Path | None = None, progress: Callable[[str], None] | None = None
) -> Calibration | None:
    """Calibration from masters, or folders of exposures; None when none is given.

    A flat is taken as it is: `edgegal calibrate flat` makes one without bias and dark.

    Parameters
    ----------
    dark, flat, bias
        Files of masters, or folders of exposures.
    progress
        Told in words after each exposure of a folder, which is read twice: a large one takes seconds.

    Raises
    ------
    InputError, FrameError
        As `edgegal.device.masters.read_master`, or the masters do not fit each other.
    """
    if dark is None and flat is None and bias is None:
        return None
    told = progress or (lambda _: None)

    def read(kind: Kind, path: Path) -> Master:
        return read_master(kind, path, lambda count: told(f"making the master {kind}: {count} exposures read"))

    calibration = Calibration(
        read("dark", dark) if dark else None,
        normalised_flat(read("flat", flat).pixels) if flat else None,
        read("bias", bias) if bias else None,
    )
    # Masters that do not fit each other are said before the first frame.
    offset(calibration.bias, calibration.dark, None)
    return calibration
