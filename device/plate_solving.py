"""Plate solving by ASTAP where it is installed: which stars a frame shows, and so where it looks."""

import logging
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgegal.device.astrometry import SkyMap, SkyPlace
from edgegal.errors import FrameError, MissingPartError
from edgegal.frames import Frame

__all__ = ["AstapSolver", "read_astap_ini"]

_log = logging.getLogger(__name__)

_PROGRAMS = ("astap", "astap_cli")
# What ASTAP writes of a solution that a header takes over.
_KEYWORDS = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "CROTA1", "CROTA2")
_KEYWORDS_CD = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
_WHOLE_SKY_DEG = 180.0


@dataclass(frozen=True)
class AstapSolver:
    """Solves frames with an installed ASTAP.

    Attributes
    ----------
    program
        The executable.
    timeout_s
        Seconds after which it is given up.
    radius_deg
        How far around the expected place it searches.
    """

    program: Path
    timeout_s: float = 30.0
    radius_deg: float = 10.0

    @classmethod
    def installed(cls, timeout_s: float = 30.0, radius_deg: float = 10.0) -> "AstapSolver":
        """The solver on this computer.

        Raises
        ------
        MissingPartError
            There is none.
        """
        for name in _PROGRAMS:
            if found := shutil.which(name):
                return cls(Path(found), timeout_s, radius_deg)
        raise MissingPartError("ASTAP is not installed", "apt install astap-cli, and a star database of ASTAP")

    def __call__(self, frame: Frame, near: SkyPlace | None = None) -> SkyMap:
        """Solve a frame.

        Parameters
        ----------
        frame
            Raw, calibrated or stacked; its pixel scale, where known, saves ASTAP from trying.
        near
            About where it looks; the whole sky is searched when None.

        Raises
        ------
        FrameError
            No solution was found, in time or at all.
        MissingPartError
            Astropy is not installed.
        """
        with tempfile.TemporaryDirectory(prefix="edgegal-solve-") as folder:
            picture = Path(folder) / "frame.fits"
            _write(picture, frame)
            arguments = self._arguments(frame, near)
            try:
                done = subprocess.run(
                    [str(self.program), "-f", str(picture), *arguments],
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=self.timeout_s,
                    check=False,
                    stdin=subprocess.DEVNULL,
                )
            except subprocess.TimeoutExpired:
                raise FrameError(f"{frame.source}: ASTAP found no solution in {self.timeout_s:g} s") from None
            except OSError as error:
                raise MissingPartError(
                    f"{self.program} does not start: {error.strerror or error}", "install ASTAP for this processor"
                ) from None
            result = picture.with_suffix(".ini")
            if not result.exists():
                said = (done.stdout or done.stderr).strip().splitlines()
                raise FrameError(f"{frame.source}: ASTAP gave no result{': ' + said[-1] if said else ''}")
            try:
                return read_astap_ini(result.read_text(encoding="utf-8", errors="replace"))
            except FrameError as error:
                raise FrameError(f"{frame.source}: {error.message}", error.mend) from None

    def _arguments(self, frame: Frame, near: SkyPlace | None) -> list[str]:
        height_deg = frame.pixel_scale * frame.pixels.shape[0] / 3600 if frame.pixel_scale else 0
        # A field of view of 0 has ASTAP find it out.
        arguments = ["-fov", f"{height_deg:.4f}"]
        if near is None:
            return [*arguments, "-r", f"{_WHOLE_SKY_DEG:g}"]
        # South pole distance: negative numbers on a command line are options.
        place = ["-ra", f"{near.ra_deg / 15:.6f}", "-spd", f"{near.dec_deg + 90:.6f}"]
        return [*arguments, *place, "-r", f"{self.radius_deg:g}"]


def read_astap_ini(text: str) -> SkyMap:
    """The solution in the ``.ini`` file that ASTAP writes beside a picture.

    Raises
    ------
    FrameError
        It holds none; the message says what ASTAP said.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    values = {key.strip(): value.strip() for key, value in values.items()}
    if values.get("PLTSOLVD") != "T":
        reason = values.get("ERROR") or values.get("WARNING") or "no match with its stars"
        raise FrameError(f"ASTAP found no solution: {reason}")
    header: dict[str, str | float | bool] = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "PLTSOLVD": True}
    # The matrix says all that scale and rotation say: both together are one too many.
    matrix = _KEYWORDS_CD if set(_KEYWORDS_CD) <= values.keys() else _KEYWORDS[4:]
    try:
        header.update({key: float(values[key]) for key in (*_KEYWORDS[:4], *matrix)})
    except (KeyError, ValueError) as error:
        raise FrameError(f"the result of ASTAP is incomplete: {error}") from None
    return SkyMap(header)


def _write(path: Path, frame: Frame) -> None:
    """The luminance as FITS, first row first, so that ASTAP's pixels are the frame's."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise MissingPartError("plate solving needs astropy", "pip install 'edgegal[device]'") from error
    pixels = frame.pixels.astype(np.float32)
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    low, high = float(np.nanmin(grey)), float(np.nanmax(grey))
    whole = np.nan_to_num((grey - low) * (65535 / max(high - low, 1e-6)), nan=0.0)
    fits.PrimaryHDU(whole.astype(np.uint16)).writeto(path)
