"""FITS headers as capture programs write them, for frames that no camera took.

Each program has its own keywords, and none has all. What is common to all here: pixel size and focal length, so a
scale can be told, and a world coordinate system as after a plate solution. A HISTORY card says what the frame is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeAlias

from edgegal import __version__
from edgegal.data.skies.scenes import Pose
from edgegal.data.skies.telescopes import Telescope

__all__ = ["Cards", "Shot", "header_cards"]

Cards: TypeAlias = list[tuple[str, str | int | float, str]]
"""Keyword, value, comment."""


@dataclass(frozen=True)
class Shot:
    """What a header tells about one exposure.

    Attributes
    ----------
    telescope
        With what.
    time
        Start, UTC.
    ra, dec
        Of the place that the mount points at, degrees, J2000.
    target
        Name of the object.
    pose
        Where the middle of the field, at `ra` and `dec`, lies among the pixels.
    """

    telescope: Telescope
    time: datetime
    ra: float
    dec: float
    target: str
    pose: Pose


def header_cards(shot: Shot) -> Cards:
    """All cards of a header but those of the data themselves, in the order of the program that would write them.

    The rows of the data start at the top.
    """
    cards = _WRITERS[shot.telescope.software](shot) + _world_coordinates(shot)
    if shot.telescope.bayer is None and not any(keyword == "ROWORDER" for keyword, _, _ in cards):
        # Without a filter pattern nothing else would tell which row is the top one.
        cards.append(("ROWORDER", "TOP-DOWN", ""))
    return [*cards, ("HISTORY", f"simulated by edgegal {__version__}; no telescope took this frame", "")]


def _seestar(shot: Shot) -> Cards:
    scope = shot.telescope
    return [
        ("CREATOR", f"ZWO {scope.camera}", "Capture software"),
        ("XORGSUBF", 0, "Subframe X position in binned pixels"),
        ("YORGSUBF", 0, "Subframe Y position in binned pixels"),
        ("FOCALLEN", scope.focal_length_mm, "Focal length of telescope in mm"),
        *_binning(),
        *_pixel(scope),
        ("IMAGETYP", "Light", "Type of exposure"),
        ("STACKCNT", 1, "Stack frames"),
        ("TOTALEXP", scope.exposure_s, "Total exposure seconds"),
        *_exposure(scope),
        ("CCD-TEMP", 12.5, "sensor temperature in C"),
        *_place(shot),
        ("DATE-OBS", _clock(shot.time, 6), "Image created time"),
        ("FILTER", "IRCUT", "Filter used when taking image"),
        ("INSTRUME", scope.camera, "Camera model"),
        *_bayer(scope, padded=True),
        ("GAIN", 80, "Gain Value"),
        ("TELESCOP", scope.camera, "Telescope name"),
        ("OBJECT", shot.target, "Target name"),
    ]


def _dwarf(shot: Shot) -> Cards:
    # Sparse: neither binning nor kind of frame.
    scope = shot.telescope
    return [
        ("TELESCOP", "DWARF 3", ""),
        ("INSTRUME", "DWARF 3", ""),
        ("CAMERA", scope.camera, ""),
        ("FILTER", "ASTRO", ""),
        ("OBJECT", shot.target, ""),
        ("DATE-OBS", _clock(shot.time, 3), ""),
        ("EXPTIME", scope.exposure_s, ""),
        ("GAIN", 60, ""),
        *_pixel(scope),
        ("FOCALLEN", scope.focal_length_mm, ""),
        *_place(shot),
        *_bayer(scope),
    ]


def _asiair(shot: Shot) -> Cards:
    scope = shot.telescope
    return [
        ("CREATOR", "ZWO ASIAIR Plus", "Capture software"),
        ("OFFSET", 70, "camera offset"),
        *_binning(),
        *_pixel(scope),
        ("FOCALLEN", scope.focal_length_mm, "Focal length of telescope in mm"),
        ("IMAGETYP", "Light", "Type of exposure"),
        *_exposure(scope),
        ("CCD-TEMP", -10.0, "sensor temperature in C"),
        *_place(shot),
        ("DATE-OBS", _clock(shot.time, 6), "Image created time"),
        ("INSTRUME", scope.camera, "Camera model"),
        *_bayer(scope),
        ("GAIN", 100, "Gain Value"),
        # The mount's name stands where the telescope's should.
        ("TELESCOP", "ZWO AM5", "Telescope name"),
        ("OBJECT", shot.target, "Target name"),
    ]


def _nina(shot: Shot) -> Cards:
    scope = shot.telescope
    middle = shot.time + timedelta(seconds=scope.exposure_s / 2)
    offsets: Cards = [("XBAYROFF", 0, "Bayer pattern X axis offset"), ("YBAYROFF", 0, "Bayer pattern Y axis offset")]
    return [
        ("IMAGETYP", "LIGHT", "Type of exposure"),
        *_exposure(scope),
        ("DATE-OBS", _clock(shot.time, 3), "Time of observation (UTC)"),
        ("DATE-AVG", _clock(middle, 3), "Averaged midpoint time (UTC)"),
        *_binning(),
        ("GAIN", 120, "Sensor gain"),
        ("OFFSET", 30, "Sensor gain offset"),
        ("EGAIN", scope.gain_e_adu / scope.unit, "[e-/ADU] Electrons per A/D unit"),
        *_pixel(scope),
        ("INSTRUME", scope.camera, "Imaging instrument name"),
        ("SET-TEMP", -10.0, "[degC] CCD temperature setpoint"),
        ("CCD-TEMP", -10.0, "[degC] CCD temperature"),
        *_bayer(scope),
        *(offsets if scope.bayer else ()),
        ("TELESCOP", scope.name, "Name of telescope"),
        ("FOCALLEN", scope.focal_length_mm, "[mm] Focal length"),
        ("FOCRATIO", round(scope.focal_length_mm / scope.aperture_mm, 2), "Focal ratio"),
        *_place(shot),
        ("OBJECT", shot.target, "Name of the object of interest"),
        *_sexagesimal(shot),
        ("ROWORDER", "TOP-DOWN", "FITS Image Orientation"),
        ("EQUINOX", 2000.0, "Equinox of celestial coordinate system"),
        ("SWCREATE", "N.I.N.A. 3.1", "Software that created this file"),
    ]


def _indi(shot: Shot) -> Cards:
    scope = shot.telescope
    offsets: Cards = [("XBAYROFF", 0, "X offset of Bayer array"), ("YBAYROFF", 0, "Y offset of Bayer array")]
    return [
        ("ROWORDER", "TOP-DOWN", "Row Order"),
        ("INSTRUME", scope.camera, "CCD Name"),
        ("TELESCOP", scope.name, "Telescope name"),
        ("OBJECT", shot.target, "Object name"),
        ("EXPTIME", scope.exposure_s, "Total Exposure Time (s)"),
        ("PIXSIZE1", scope.pixel_um, "Pixel Size 1 (microns)"),
        ("PIXSIZE2", scope.pixel_um, "Pixel Size 2 (microns)"),
        *_binning(),
        *_pixel(scope),
        ("FRAME", "Light", "Frame Type"),
        ("IMAGETYP", "Light Frame", "Frame Type"),
        *(offsets if scope.bayer else ()),
        *_bayer(scope),
        ("FOCALLEN", scope.focal_length_mm, "Focal Length (mm)"),
        ("APTDIA", scope.aperture_mm, "Telescope diameter (mm)"),
        ("SCALE", scope.pixel_scale, "arcsecs per pixel"),
        *_sexagesimal(shot),
        *_place(shot),
        ("EQUINOX", 2000, "Equinox"),
        ("DATE-OBS", _clock(shot.time, 3), "UTC start date of observation"),
    ]


_WRITERS: Mapping[str, Callable[[Shot], Cards]] = MappingProxyType(
    {"seestar": _seestar, "dwarf": _dwarf, "asiair": _asiair, "nina": _nina, "indi": _indi}
)


def _binning() -> Cards:
    return [("XBINNING", 1, "Camera X Bin"), ("YBINNING", 1, "Camera Y Bin")]


def _pixel(scope: Telescope) -> Cards:
    return [("XPIXSZ", scope.pixel_um, "pixel size in microns"), ("YPIXSZ", scope.pixel_um, "pixel size in microns")]


def _exposure(scope: Telescope) -> Cards:
    seconds = scope.exposure_s
    return [("EXPOSURE", seconds, "Exposure time in seconds"), ("EXPTIME", seconds, "Exposure time in seconds")]


def _bayer(scope: Telescope, padded: bool = False) -> Cards:
    if scope.bayer is None:
        return []
    return [("BAYERPAT", f"{scope.bayer:<8}" if padded else scope.bayer, "Bayer pattern")]


def _place(shot: Shot) -> Cards:
    return [("RA", shot.ra, "[deg] Right ascension"), ("DEC", shot.dec, "[deg] Declination")]


def _sexagesimal(shot: Shot) -> Cards:
    ra, dec = _parts(shot.ra / 15, 2), _parts(abs(shot.dec), 1)
    return [
        ("OBJCTRA", ra, "[H M S] RA of the object"),
        ("OBJCTDEC", f"{'-' if shot.dec < 0 else '+'}{dec}", "[D M S]"),
    ]


def _parts(value: float, digits: int) -> str:
    total = round(value * 3600, digits)
    whole, seconds = divmod(total, 60)
    return f"{int(whole) // 60:02d} {int(whole) % 60:02d} {seconds:0{3 + digits}.{digits}f}"


def _clock(time: datetime, digits: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[: 20 + digits]


def _world_coordinates(shot: Shot) -> Cards:
    """Gnomonic, with the field's middle where the pose puts it; FITS counts from 1 at the middle of a pixel."""
    pose, step = shot.pose, shot.pose.pixel_scale / 3600
    cos, sin = step * math.cos(pose.turn), step * math.sin(pose.turn)
    system = "RADECSYS" if shot.telescope.software == "indi" else "RADESYS"
    return [
        ("CTYPE1", "RA---TAN", ""),
        ("CTYPE2", "DEC--TAN", ""),
        ("CRVAL1", shot.ra, ""),
        ("CRVAL2", shot.dec, ""),
        ("CRPIX1", pose.width / 2 + pose.dx + 0.5, ""),
        ("CRPIX2", pose.height / 2 + pose.dy + 0.5, ""),
        ("CD1_1", -cos, ""),
        ("CD1_2", -sin, ""),
        ("CD2_1", sin, ""),
        ("CD2_2", -cos, ""),
        (system, "FK5", ""),
    ]
