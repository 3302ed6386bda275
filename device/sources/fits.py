"""FITS files as capture software writes them.

Astropy is imported when the first FITS file comes, so a device that never sees one does not pay for it.
"""

import io
import re
import warnings
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError, MissingPartError
from edgegal.frames import BayerPattern, Frame, Header, shifted_bayer

__all__ = ["SUFFIXES", "decode_fits", "fits_time", "read_fits"]

SUFFIXES = tuple(kind + packed for packed in ("", ".gz", ".fz") for kind in (".fit", ".fits", ".fts"))

# 206265 arc seconds in a radian, over the thousand micrometres in a millimetre.
_ARCSEC_PER_UM_PER_MM = 206.265
_MEND = "copy or save it again, or leave it out"
_NOBODY_SAID = ("", "unknown", "none")
# How the pixels are stored, which is no fact about the picture.
_STORAGE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|TFIELDS|T(TYPE|FORM)\d+|Z\w+|BZERO|BSCALE|BLANK"
    r"|CHECKSUM|DATASUM|ROWORDER|[XY]BAYROFF|BAYERPAT"
)
_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(\.\d+)?)?Z?$")


def read_fits(path: Path, index: int = 0) -> Frame:
    """Read the first image of a FITS file, plain, gzipped or tile-compressed (``.fz``).

    Pixels of any type, mono or colour cubes with the planes first (a fourth plane is transparency and dropped).

    *Rows.* ROWORDER says which comes first. Without it, a frame with a Bayer pattern is a sensor's read-out, which
    starts at the top, and anything else follows the FITS standard, which starts at the bottom.

    *Bayer pattern.* BAYERPAT, shifted by XBAYROFF and YBAYROFF, names the top-left block of the picture right way up.
    Colour cubes keep the keyword after demosaicing (Seestar), so it counts for two-dimensional data only.

    *Linear.* Unsigned bytes without a Bayer pattern are a picture made for the eye; everything else is linear.

    *Header.* All facts but those about storage. Where the rows were turned over, so was the WCS.

    Raises
    ------
    FrameError
        The file is no FITS file, is cut short, or holds no picture or no finite pixel.
    MissingPartError
        Astropy is not installed.
    """
    try:
        with path.open("rb") as file:
            return _frame(file, str(path), index)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FrameError(f"{path} cannot be read: {error.strerror or error}", _MEND) from error


def decode_fits(data: bytes, name: str, index: int = 0) -> Frame:
    """Read a FITS file that came over a network, as `read_fits` reads one on disk.

    Parameters
    ----------
    data
        The whole file.
    name
        Where it came from, for people.
    index
        Position in its stream.
    """
    return _frame(io.BytesIO(data), name, index)


def _frame(file: BinaryIO, name: str, index: int) -> Frame:
    header, data = _first_image(file, name)
    picture = _as_picture(data, name)
    bottom_up = _is_bottom_up(header)
    bayer = _bayer(header) if picture.ndim == 2 else None
    if picture.dtype.kind == "f" and not np.isfinite(picture).any():
        raise FrameError(f"{name} has no finite pixel", _MEND)
    return Frame(
        np.ascontiguousarray(picture[::-1]) if bottom_up else picture,
        name,
        index,
        time=fits_time(_text(header, "DATE-OBS")),
        linear=bayer is not None or picture.dtype != np.uint8,
        bayer=bayer,
        exposure_s=_number(header, "EXPTIME", "EXPOSURE"),
        pixel_scale=_pixel_scale(header),
        target=_target(header),
        header=_facts(_turned_over(header, len(picture)) if bottom_up else header),
    )


def _first_image(file: BinaryIO, name: str) -> tuple[Mapping[str, Any], NDArray[Any]]:
    """Header and data of the first extension that holds an image."""
    try:
        from astropy.io import fits
        from astropy.io.fits.verify import VerifyError, VerifyWarning
        from astropy.utils.exceptions import AstropyUserWarning
    except ImportError as error:
        raise MissingPartError(f"reading {name} needs astropy", "pip install 'edgegal[device]'") from error
    try:
        with warnings.catch_warnings():
            # Odd header cards are common and harmless; a file shorter than its header says is not.
            warnings.simplefilter("ignore", AstropyUserWarning)
            warnings.simplefilter("ignore", VerifyWarning)
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            with fits.open(file, memmap=False) as units:
                for unit in units:
                    if unit.is_image and unit.data is not None:
                        return _cards(units[0].header) | _cards(unit.header), np.asarray(unit.data)
    except _UNREADABLE as error:
        raise _not_whole(name, error) from error
    except (AstropyUserWarning, VerifyError) as error:
        raise _not_whole(name, error) from error
    raise FrameError(f"{name} holds no image", _MEND)


# What astropy and zlib raise on damaged files.
_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, IndexError, AttributeError)


def _not_whole(name: str, error: Exception) -> FrameError:
    # The first sentence says what is wrong, those after it what a programmer might try.
    reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
    return FrameError(f"{name} is not a whole FITS file: {reason}", _MEND)


def _cards(header: Any) -> dict[str, Any]:
    """Values by keyword, without those that cannot be parsed."""
    values: dict[str, Any] = {}
    for card in header.cards:
        try:
            values[card.keyword] = card.value
        except _UNREADABLE:
            continue
    return values


def _as_picture(data: NDArray[Any], name: str) -> NDArray[Any]:
    """``(h, w)`` or ``(h, w, 3)`` in the machine's own byte order."""
    if data.ndim == 3 and data.shape[0] == 1:
        data = data[0]
    if data.ndim == 3 and data.shape[0] in (3, 4):
        data = np.moveaxis(data[:3], 0, 2)
    elif data.ndim != 2:
        raise FrameError(f"{name} holds data of shape {data.shape}, which is no mono or colour picture", _MEND)
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _is_bottom_up(header: Mapping[str, Any]) -> bool:
    order = _text(header, "ROWORDER").upper()
    return order == "BOTTOM-UP" or (order != "TOP-DOWN" and _bayer(header) is None)


def _facts(header: Mapping[str, Any]) -> Header:
    """The plain values under keywords that say something about the picture."""
    return {
        key: value.strip() if isinstance(value, str) else value
        for key, value in header.items()
        if key and not _STORAGE.fullmatch(key) and key not in ("COMMENT", "HISTORY")
        if isinstance(value, str | int | float | bool)
    }


def _turned_over(header: Mapping[str, Any], height: int) -> Mapping[str, Any]:
    """The header with a WCS that holds for the rows in reverse: the second pixel axis changes its sign.

    Keywords of Calabretta & Greisen 2002, and the SIP polynomials, whose odd powers of that axis change theirs.
    """
    centre = _number(header, "CRPIX2")
    if centre is None:
        return header
    turned = dict(header) | {"CRPIX2": height + 1 - centre}
    if any(re.fullmatch(r"CD[12]_[12]", key) for key in header):
        negated = {"CD1_2", "CD2_2"}
    elif any(re.fullmatch(r"PC[12]_[12]", key) for key in header):
        turned.setdefault("PC2_2", 1.0)
        negated = {"PC1_2", "PC2_2"}
    else:
        turned.setdefault("CDELT2", 1.0)
        negated = {"CDELT2"}
    for key in header:
        term = re.fullmatch(r"([AB])P?_\d_(\d)", key)
        if term and int(term[2]) % 2 != (term[1] == "B"):
            negated.add(key)
    for key in negated:
        value = _number(turned, key)
        if value is not None:
            turned[key] = -value
    return turned


def _bayer(header: Mapping[str, Any]) -> BayerPattern | None:
    x, y = (int(_number(header, key) or 0) for key in ("XBAYROFF", "YBAYROFF"))
    return shifted_bayer(_text(header, "BAYERPAT").upper(), x, y)


def fits_time(text: str) -> datetime | None:
    """A time as FITS writes it, UTC by the standard; None when absent or of the last century's two-digit years."""
    parts = _ISO_TIME.match(text)
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
