"""Telescope profiles: what of a telescope and its camera decides how a galaxy looks in their pictures.

A profile is a TOML file. The package brings some; a path to another file serves as well, and so does a name when the
folder that EDGEGAL_TELESCOPES names holds ``NAME.toml``.
"""

import difflib
import math
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgegal.errors import InputError
from edgegal.frames import BayerPattern

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = ["FOLDER_VARIABLE", "Telescope", "bundled_telescopes", "read_telescope", "telescope", "telescope_names"]

FOLDER_VARIABLE = "EDGEGAL_TELESCOPES"
"""Environment variable that names a folder of further profiles."""

_ARCSEC_PER_UM_PER_MM = 206.265
# Photons of a star of magnitude 0 in V above the atmosphere, per second, square centimetre and nanometre (Bessell et
# al. 1998, A&A 333, 231, with the effective wavelength 545 nm).
_ZERO_PHOTONS = 1.0e4

Range = tuple[float, float]


class Telescope(BaseModel):
    """A telescope with its camera, at the gain and exposure it is used with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, title="Name to ask for it by")
    aperture_mm: float = Field(gt=0, le=2000, title="Diameter of the entrance pupil")
    focal_length_mm: float = Field(gt=0, le=20000, title="Focal length, with reducer")
    obstruction: float = Field(default=0, ge=0, lt=0.7, title="Diameter of the secondary mirror over the aperture")
    vanes: int = Field(default=0, ge=0, le=6, title="Vanes that hold the secondary mirror; each makes two spikes")
    vane_angle_deg: float = Field(default=0, title="Position of the first vane, anticlockwise from the right")
    vane_mm: float = Field(default=1, gt=0, title="Thickness of a vane")
    pixel_um: float = Field(gt=0, le=50, title="Side of a pixel")
    width: int = Field(ge=32, le=20000, title="Pixels in a row")
    height: int = Field(ge=32, le=20000, title="Rows")
    bayer: BayerPattern | None = Field(default=None, title="Colour filters of the top-left block; none is mono")
    exposure_s: float = Field(gt=0, title="Length of one exposure")
    stacked: int = Field(default=1, ge=1, title="Frames in a usual stack")
    alt_az: bool = Field(default=False, title="Whether the field rotates while the mount follows")
    software: Literal["seestar", "dwarf", "asiair", "nina", "indi"] = Field(
        default="indi", title="What writes the headers"
    )
    camera: str = Field(title="What that software calls the camera")
    read_noise_e: float = Field(ge=0, title="Electrons")
    dark_e_s: float = Field(default=0, ge=0, title="Electrons per second and pixel")
    gain_e_adu: float = Field(gt=0, title="Electrons per unit of the converter")
    offset_adu: int = Field(default=0, ge=0, title="Converter units without light")
    bits: int = Field(ge=8, le=16, title="Of the converter")
    left_shifted: bool = Field(default=False, title="Whether files hold the converter's units as the upper of 16 bits")
    full_well_e: float = Field(gt=0, title="Electrons at which a pixel saturates")
    hot_per_megapixel: float = Field(default=0, ge=0, title="Hot pixels in a million")
    throughput: float = Field(gt=0, le=1, title="Electrons per photon at the entrance, in the green or the mono band")
    bandwidth_nm: float = Field(gt=0, le=1000, title="Width of the green band, or of the mono band")
    response: tuple[float, float, float] = Field(
        default=(1, 1, 1), title="Electrons in red, green and blue pixels for a white star, green being 1"
    )
    seeing_arcsec: Range = Field(title="Full width at half maximum by air and guiding, best and worst")
    sky_mag_arcsec2: Range = Field(title="Brightness of the sky, brightest and darkest")
    vignetting: float = Field(default=0, ge=0, lt=1, title="Share of light lost in the corners")

    @model_validator(mode="after")
    def _ordered(self) -> "Telescope":
        for field in ("seeing_arcsec", "sky_mag_arcsec2"):
            low, high = getattr(self, field)
            if not 0 < low <= high:
                raise ValueError(f"{field} must go from a lower to a higher positive number, not {low} to {high}")
        if min(self.response) <= 0:
            raise ValueError("response must be positive")
        if self.offset_adu >= 2**self.bits - 1:
            raise ValueError(f"offset_adu {self.offset_adu} leaves nothing of {self.bits} bits")
        return self

    @property
    def pixel_scale(self) -> float:
        """Arc seconds per pixel."""
        return _ARCSEC_PER_UM_PER_MM * self.pixel_um / self.focal_length_mm

    @property
    def area_cm2(self) -> float:
        """Light-gathering area."""
        return math.pi / 4 * (self.aperture_mm / 10) ** 2 * (1 - self.obstruction**2)

    @property
    def unit(self) -> int:
        """What one unit of the converter counts in a file."""
        return 1 << (16 - self.bits) if self.left_shifted else 1

    def electrons_per_s(self, magnitude: float) -> float:
        """Electrons per second, all pixels taken as green ones (or mono), of a star above the atmosphere."""
        return self.throughput * self.bandwidth_nm * self.area_cm2 * _ZERO_PHOTONS * 10 ** (-0.4 * magnitude)


def _bundled() -> dict[str, Path]:
    folder = Path(str(files("edgegal.data.skies").joinpath("profiles")))
    return {path.stem: path for path in folder.glob("*.toml")}


def _own() -> dict[str, Path]:
    folder = os.environ.get(FOLDER_VARIABLE)
    return {path.stem: path for path in Path(folder).glob("*.toml")} if folder else {}


def telescope_names() -> list[str]:
    """Names of all profiles, those of `FOLDER_VARIABLE` included, sorted."""
    return sorted({*_bundled(), *_own()})


def bundled_telescopes() -> list[Telescope]:
    """The profiles that the package brings, by name, whatever `FOLDER_VARIABLE` names."""
    return [read_telescope(path) for _, path in sorted(_bundled().items())]


def telescope(name: str) -> Telescope:
    """The profile of a name, or in a file when `name` ends in ``.toml``.

    Raises
    ------
    InputError
        There is no such profile, or its file is not valid.
    """
    if name.endswith(".toml"):
        return read_telescope(Path(name))
    known = {**_bundled(), **_own()}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"there is no telescope {name!r}", f"{hint}use one of {', '.join(sorted(known))}, or a .toml file"
        )
    return read_telescope(known[name])


def read_telescope(path: Path) -> Telescope:
    """Read a profile.

    Raises
    ------
    InputError
        The file is absent, is no TOML, or a field in it is missing, unknown or out of range.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Telescope.model_validate(values)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "name a profile or a readable .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}", "compare it with a profile that comes with edgegal") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {f'{field}: ' if field else ''}{what}", "mend that field") from None
