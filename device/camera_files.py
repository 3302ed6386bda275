"""A simulated night as the files of a raw colour camera: FITS frames, the same frames as a SER video, and masters."""

import struct
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.device.masters import Master, write_master
from edgegal.frames import BayerPattern, Frame
from edgegal.sky import Night

__all__ = ["CameraFiles", "write_camera_files"]

_BAYER: BayerPattern = "RGGB"
_SER_RGGB = 8
# Of a small cooled sensor: what it reads without light, how that scatters, and how many pixels are hot.
_OFFSET, _OFFSET_NOISE = 200.0, 3.0
_HOT_SHARE, _HOT = 2e-4, 9000.0
# Light that reaches the corners.
_CORNER_LIGHT = 0.8
_YEAR_1 = datetime(1, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class CameraFiles:
    """Where they are.

    Attributes
    ----------
    fits
        Folder of the frames, 16-bit, undemosaiced.
    ser
        The same frames in one video.
    dark, flat
        Masters that fit them.
    """

    fits: Path
    ser: Path
    dark: Path
    flat: Path


def write_camera_files(folder: Path, night: Night) -> CameraFiles:
    """Write a night as a raw colour camera with an offset, hot pixels and vignetting would have taken it.

    Raises
    ------
    MissingPartError
        Astropy is not installed.
    """
    files = CameraFiles(folder / "fits", folder / "night.ser", folder / "dark.fits", folder / "flat.fits")
    rng = np.random.default_rng(night.seed)
    shape = (night.height, night.width)
    dark = _OFFSET + _OFFSET_NOISE * rng.standard_normal(shape, np.float32)
    dark[rng.random(shape) < _HOT_SHARE] += _HOT
    flat = _vignetting(shape)
    write_master(files.dark, Master("dark", dark, exposure_s=night.cadence_s, bayer=_BAYER))
    write_master(files.flat, Master("flat", flat * 30_000, bayer=_BAYER, subtracted=("dark",)))
    files.fits.mkdir(parents=True, exist_ok=True)
    times = []
    with files.ser.open("wb") as video:
        video.write(_ser_header(night))
        for frame in night:
            raw = np.clip(_mosaic(frame.pixels) * flat + dark, 0, 65535).astype(np.uint16)
            _write_fits(files.fits / f"light_{frame.index:05d}.fits", raw, frame)
            video.write(raw.astype("<u2").tobytes())
            assert frame.time is not None
            times.append(_ticks(frame.time))
        video.write(struct.pack(f"<{len(times)}q", *times))
    return files


def _vignetting(shape: tuple[int, int]) -> NDArray[np.float32]:
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (1 - (1 - _CORNER_LIGHT) * (x**2 + y**2) / 2).astype(np.float32)


def _mosaic(pixels: NDArray[Any]) -> NDArray[Any]:
    raw = pixels[..., 1].copy()
    raw[::2, ::2] = pixels[::2, ::2, 0]
    raw[1::2, 1::2] = pixels[1::2, 1::2, 2]
    return raw


def _write_fits(path: Path, raw: NDArray[np.uint16], frame: Frame) -> None:
    from astropy.io import fits

    unit = fits.PrimaryHDU(raw)
    assert frame.time is not None
    unit.header["DATE-OBS"] = frame.time.replace(tzinfo=None).isoformat(timespec="milliseconds")
    unit.header["EXPTIME"] = frame.exposure_s
    unit.header["OBJECT"] = frame.target
    unit.header["BAYERPAT"] = _BAYER
    unit.header["ROWORDER"] = "TOP-DOWN"
    unit.writeto(path)


def _ser_header(night: Night) -> bytes:
    texts = (b"", b"simulated camera", b"")
    numbers = (_SER_RGGB, 0, night.width, night.height, 16, night.frames)
    began = _ticks(next(iter(night)).time or _YEAR_1)
    return struct.pack("<14s7i40s40s40s2q", b"LUCAM-RECORDER", 0, *numbers, *texts, began, began)


def _ticks(time: datetime) -> int:
    """100 ns since the year 1."""
    return int((time - _YEAR_1).total_seconds()) * 10_000_000
