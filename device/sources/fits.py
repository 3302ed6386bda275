"""FITS files as capture software writes them.

Astropy is imported when the first FITS file comes, so a device that never sees one does not pay for it.
"""

import re
import warnings
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError, MissingPartError
from edgegal.frames import BayerPattern, Frame

__all__ = ["SUFFIXES", "read_fits"]

SUFFIXES = (".fit", ".fits", ".fts", ".fit.gz", ".fits.gz", ".fts.gz")

# 206265 arc seconds in a radian, over the thousand micrometres in a millimetre.
_ARCSEC_PER_UM_PER_MM = 206.265
_NOBODY_SAID = ("", "unknown", "none")
_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(\.\d+)?)?Z?$")


def read_fits(path: Path, index: int = 0) -> Frame:
    """Read the first image of a FITS file.

    Pixels of any type, mono or colour cubes with the planes first (a fourth plane is transparency and dropped).

    *Rows.* ROWORDER says which comes first. Without it, a frame with a Bayer pattern is a sensor's read-out, which
    starts at the top, and anything else follows the FITS standard, which starts at the bottom.

    *Bayer pattern.* BAYERPAT, shifted by XBAYROFF and YBAYROFF, names the top-left block of the picture right way up.
    Colour cubes keep the keyword after demosaicing (Seestar), so it counts for two-dimensional data only.

    *Linear.* Unsigned bytes without a Bayer pattern are a picture made for the eye; everything else is linear.

    Raises
    ------
    FrameError
        The file is no FITS file, is cut short, or holds no picture or no finite pixel.
    MissingPartError
        Astropy is not installed.
    """
    header, data = _first_image(path)
    pixels = _right_way_up(_as_picture(data, path), header)
    bayer = _bayer(header) if pixels.ndim == 2 else None
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).any():
        raise FrameError(f"{path} has no finite pixel")
    return Frame(
        pixels,
        str(path),
        index,
        time=_time(header),
        linear=bayer is not None or pixels.dtype != np.uint8,
        bayer=bayer,
        exposure_s=_number(header, "EXPTIME", "EXPOSURE"),
        pixel_scale=_pixel_scale(header),
        target=_target(header),
    )


def _first_image(path: Path) -> tuple[Mapping[str, Any], NDArray[Any]]:
    """Header and data of the first extension that holds an image."""
    try:
        from astropy.io import fits
        from astropy.io.fits.verify import VerifyWarning
        from astropy.utils.exceptions import AstropyUserWarning
    except ImportError as error:
        raise MissingPartError(f"reading {path} needs astropy", "pip install 'edgegal[device]'") from error
    try:
        with warnings.catch_warnings():
            # Odd header cards are common and harmless; a file shorter than its header says is not.
            warnings.simplefilter("ignore", AstropyUserWarning)
            warnings.simplefilter("ignore", VerifyWarning)
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            with fits.open(path, memmap=False) as units:
                for unit in units:
                    if unit.is_image and unit.data is not None:
                        return dict(unit.header), np.asarray(unit.data)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, IndexError, AstropyUserWarning) as error:
        # The first sentence says what is wrong, those after it what a programmer might try.
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
        raise FrameError(f"{path} is not a whole FITS file: {reason}") from error
    raise FrameError(f"{path} holds no image")


def _as_picture(data: NDArray[Any], path: Path) -> NDArray[Any]:
    """``(h, w)`` or ``(h, w, 3)`` in the machine's own byte order."""
    if data.ndim == 3 and data.shape[0] == 1:
        data = data[0]
    if data.ndim == 3 and data.shape[0] in (3, 4):
        data = np.moveaxis(data[:3], 0, 2)
    elif data.ndim != 2:
        raise FrameError(f"{path} holds data of shape {data.shape}, which is no mono or colour picture")
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _right_way_up(pixels: NDArray[Any], header: Mapping[str, Any]) -> NDArray[Any]:
    order = _text(header, "ROWORDER").upper()
    bottom_up = order == "BOTTOM-UP" or (order != "TOP-DOWN" and _bayer(header) is None)
    return np.ascontiguousarray(pixels[::-1]) if bottom_up else pixels


def _bayer(header: Mapping[str, Any]) -> BayerPattern | None:
    pattern = _text(header, "BAYERPAT").upper()
    if int(_number(header, "XBAYROFF") or 0) % 2:
        pattern = pattern[1:2] + pattern[0:1] + pattern[3:4] + pattern[2:3]
    if int(_number(header, "YBAYROFF") or 0) % 2:
        pattern = pattern[2:] + pattern[:2]
    for known in get_args(BayerPattern):
        if pattern == known:
            return known
    return None


def _time(header: Mapping[str, Any]) -> datetime | None:
    """DATE-OBS, which is UTC by the standard; None when absent or in the two-digit-year form of the last century."""
    parts = _ISO_TIME.match(_text(header, "DATE-OBS"))
    if parts is None:
        return None
    date, clock, fraction = parts.groups()
    try:
        whole = datetime.fromisoformat(f"{date}T{clock or '00:00:00'}").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return whole + timedelta(seconds=float(fraction or 0))


def _pixel_scale(header: Mapping[str, Any]) -> float | None:
    # XPIXSZ is the size of a binned pixel already: binning does not enter again.
    size_um, focal_mm = _number(header, "XPIXSZ", "PIXSIZE1"), _number(header, "FOCALLEN")
    if not size_um or not focal_mm or size_um < 0 or focal_mm < 0:
        return None
    return _ARCSEC_PER_UM_PER_MM * size_um / focal_mm


def _target(header: Mapping[str, Any]) -> str | None:
    name = _text(header, "OBJECT")
    return None if name.lower() in _NOBODY_SAID else name


def _text(header: Mapping[str, Any], key: str) -> str:
    return str(header.get(key, "")).strip()


def _number(header: Mapping[str, Any], *keys: str) -> float | None:
    """The first of `keys` that holds a finite number."""
    for key in keys:
        try:
            value = float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(value):
            return value
    return None
