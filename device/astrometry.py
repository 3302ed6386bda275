"""Where on the sky a pixel looks, from the WCS in a header.

World coordinate systems by astropy: every projection, SIP distortion, the CD matrix with its reference pixel anywhere,
and coordinates of another equinox, which are brought to ICRS.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.device.registration import Motion
from edgegal.errors import MissingPartError

__all__ = ["SkyMap", "SkyPlace"]

# A header made from where the mount points puts its reference there, in the middle of the frame.
_MIDDLE_PX = 1.0


@dataclass(frozen=True)
class SkyPlace:
    """A place on the sky.

    Attributes
    ----------
    ra_deg, dec_deg
        Right ascension 0-360 and declination -90 to 90 in degrees, ICRS.
    """

    ra_deg: float
    dec_deg: float

    def __str__(self) -> str:
        tenths = round(self.ra_deg / 15 * 36_000) % (24 * 36_000)
        seconds = round(abs(self.dec_deg) * 3600)
        hours = f"{tenths // 36_000:02d}h{tenths // 600 % 60:02d}m{tenths % 600 / 10:04.1f}s"
        degrees = f"{seconds // 3600:02d}d{seconds // 60 % 60:02d}m{seconds % 60:02d}s"
        return f"{hours} {'-' if self.dec_deg < 0 else '+'}{degrees}"

    def separation_deg(self, ra_deg: NDArray[np.floating], dec_deg: NDArray[np.floating]) -> NDArray[np.float64]:
        """Angles to places ``(n,)`` in degrees, by the haversine, which is exact for small ones."""
        ra, dec = np.radians(self.ra_deg), np.radians(self.dec_deg)
        there_ra, there_dec = np.radians(ra_deg), np.radians(dec_deg)
        part = np.sin((there_dec - dec) / 2) ** 2
        part = part + np.cos(dec) * np.cos(there_dec) * np.sin((there_ra - ra) / 2) ** 2
        angle: NDArray[np.float64] = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(part, 1))))
        return angle


@dataclass(frozen=True)
class SkyMap:
    """From the pixels of a picture to the sky.

    Attributes
    ----------
    header
        The WCS by FITS keyword, for a picture whose pixel 1, 1 is the centre of the top-left one.
    motion
        Where the picture's places lie in the frame that the header is of.
    solved
        Whether stars were matched with a catalogue; false where the header only says where the mount meant to point.
    """

    header: Mapping[str, Any]
    motion: Motion = field(default_factory=Motion.none)
    solved: bool = True

    @classmethod
    def of(cls, header: Mapping[str, Any], size: tuple[int, int]) -> "SkyMap | None":
        """The map of a frame of `size` (width and height) with `header`; None where that holds no WCS."""
        if not {"CTYPE1", "CRVAL1", "CRPIX1"} <= header.keys() or "RA" not in str(header["CTYPE1"]):
            return None
        return cls(header, solved=_is_solved(header, size))

    def seen_by(self, motion: Motion) -> "SkyMap":
        """The map of another picture, such as the stack, whose places `motion` takes to this one's frame."""
        return SkyMap(self.header, motion.then(self.motion), self.solved)

    def places(self, points: NDArray[np.floating]) -> tuple[SkyPlace, ...]:
        """Where the points ``(n, 2)`` x, y of the picture lie on the sky.

        Points are in continuous coordinates: 0, 0 is the outer corner of the top-left pixel.

        Raises
        ------
        MissingPartError
            Astropy is not installed.
        """
        if not len(points):
            return ()
        wcs = _wcs(self.header)
        moved = self.motion.apply(np.asarray(points, np.float64))
        # FITS counts from the centre of the first pixel, which is 1.
        world = wcs.all_pix2world(moved + 0.5, 1)
        ra, dec = _to_icrs(wcs, world[:, 0], world[:, 1])
        return tuple(SkyPlace(float(r) % 360, float(d)) for r, d in zip(ra, dec, strict=True))

    def pixels(self, places: tuple[SkyPlace, ...]) -> NDArray[np.float64]:
        """``(n, 2)`` points of the picture where places of the sky lie; NaN for those behind the observer."""
        if not places:
            return np.zeros((0, 2))
        wcs = _wcs(self.header)
        world = np.array([_from_icrs(wcs, p.ra_deg, p.dec_deg) for p in places])
        pixels = wcs.all_world2pix(world, 1, quiet=True) - 0.5
        return self.motion.inverse().apply(pixels)

    def scale_arcsec(self) -> float:
        """Arc seconds per pixel of the picture, at the reference pixel."""
        from astropy.wcs.utils import proj_plane_pixel_scales

        return float(np.mean(proj_plane_pixel_scales(_wcs(self.header).celestial))) * 3600 * self.motion.scale

    def cards(self) -> dict[str, Any]:
        """WCS header of the picture itself, a tangent projection without distortion: for stacked FITS files."""
        wcs = _wcs(self.header)
        crpix = self.motion.inverse().apply(np.asarray(wcs.wcs.crpix)[None] - 0.5)[0] + 0.5
        matrix = wcs.pixel_scale_matrix @ self.motion.matrix[:, :2]
        ra, dec = _to_icrs(wcs, *np.atleast_2d(wcs.wcs.crval).T)
        names = [str(name).removesuffix("-SIP") for name in wcs.wcs.ctype]
        return {
            "CTYPE1": names[0],
            "CTYPE2": names[1],
            "CRPIX1": float(crpix[0]),
            "CRPIX2": float(crpix[1]),
            "CRVAL1": float(ra[0]),
            "CRVAL2": float(dec[0]),
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            **{f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in (0, 1) for j in (0, 1)},
            "RADESYS": "ICRS",
            "PLTSOLVD": self.solved,
        }


def _is_solved(header: Mapping[str, Any], size: tuple[int, int]) -> bool:
    if header.get("PLTSOLVD") in (True, "T") or "A_ORDER" in header:
        return True
    try:
        away = max(abs(float(header[f"CRPIX{i + 1}"]) - (size[i] + 1) / 2) for i in (0, 1))
    except (KeyError, TypeError, ValueError):
        return False
    return "CD1_1" in header and away > _MIDDLE_PX


def _wcs(header: Mapping[str, Any]) -> Any:
    try:
        from astropy.io import fits
        from astropy.wcs import WCS
    except ImportError as error:
        raise MissingPartError("positions on the sky need astropy", "pip install 'edgegal[device]'") from error
    kept = fits.Header()
    with warnings.catch_warnings():
        # Old and odd keywords are common; what they mean is clear.
        warnings.simplefilter("ignore")
        for key, value in header.items():
            if key not in ("COMMENT", "HISTORY", "", "NAXIS", "NAXIS3"):
                kept["RADESYS" if key == "RADECSYS" else key] = value
        kept["WCSAXES"] = 2
        return WCS(kept, naxis=2)


def _to_icrs(wcs: Any, ra: Any, dec: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not _needs_precession(wcs):
        return np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    turned = SkyCoord(ra, dec, unit="deg", frame=wcs_to_celestial_frame(wcs)).icrs
    return np.asarray(turned.ra.deg), np.asarray(turned.dec.deg)


def _from_icrs(wcs: Any, ra: float, dec: float) -> tuple[float, float]:
    if not _needs_precession(wcs):
        return ra, dec
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    turned = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(wcs_to_celestial_frame(wcs))
    return float(turned.ra.deg), float(turned.dec.deg)


def _needs_precession(wcs: Any) -> bool:
    """Whether the equinox is another than 2000: FK5 of 2000 and ICRS differ by less than any solution's error."""
    return bool(np.isfinite(wcs.wcs.equinox) and wcs.wcs.equinox != 2000.0)
