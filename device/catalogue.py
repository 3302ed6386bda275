"""Names of deep-sky objects by their place on the sky, from a catalogue file in the format of OpenNGC (``NGC.csv``)."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.device.astrometry import SkyPlace
from edgegal.errors import InputError

__all__ = ["Catalogue", "CatalogueMatch", "read_catalogue"]

# Positions of large galaxies are quoted to some arc seconds, boxes are centred to some pixels.
_LEAST_REACH_ARCMIN = 1.0
# Objects that are none, and names given twice.
_NO_OBJECT = frozenset({"NonEx", "Dup"})
_GALAXIES = frozenset({"G", "GPair", "GTrpl", "GGroup", "GCluster"})


@dataclass(frozen=True)
class CatalogueMatch:
    """An object of the catalogue.

    Attributes
    ----------
    name
        Such as ``NGC 5194``.
    other_names
        Messier number and common names, such as ``M 51`` and ``Whirlpool Galaxy``.
    kind
        Type code of the catalogue, such as ``G`` for a galaxy.
    hubble
        Morphological type, such as ``Sbc``; empty where it is unknown.
    place
        Where it is.
    separation_arcmin
        How far from the place asked for.
    """

    name: str
    other_names: tuple[str, ...]
    kind: str
    hubble: str
    place: SkyPlace
    separation_arcmin: float

    @property
    def is_galaxy(self) -> bool:
        """Whether it is a galaxy, or several."""
        return self.kind in _GALAXIES


@dataclass(frozen=True)
class _Entry:
    name: str
    other_names: tuple[str, ...]
    kind: str
    hubble: str


@dataclass(frozen=True)
class Catalogue:
    """Objects by place.

    Attributes
    ----------
    entries
        What is known of each.
    ra_deg, dec_deg
        ``(n,)`` float64, degrees, ICRS.
    radius_arcmin
        ``(n,)`` float64, half the major axis; 0 where it is unknown.
    """

    entries: tuple[_Entry, ...]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    radius_arcmin: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.entries)

    def at(self, place: SkyPlace, galaxies_only: bool = False) -> CatalogueMatch | None:
        """The object nearest to a place, of those whose extent, or one arc minute, reaches it; None without one.

        Parameters
        ----------
        place
            Where to look.
        galaxies_only
            Leave clusters, nebulae and stars out.
        """
        separation = place.separation_deg(self.ra_deg, self.dec_deg) * 60
        reached = separation <= np.maximum(self.radius_arcmin, _LEAST_REACH_ARCMIN)
        candidates = np.flatnonzero(reached)
        if galaxies_only:
            candidates = np.array([i for i in candidates if self.entries[i].kind in _GALAXIES], np.intp)
        if not len(candidates):
            return None
        i = int(candidates[separation[candidates].argmin()])
        entry = self.entries[i]
        there = SkyPlace(float(self.ra_deg[i]), float(self.dec_deg[i]))
        return CatalogueMatch(entry.name, entry.other_names, entry.kind, entry.hubble, there, float(separation[i]))


def read_catalogue(path: Path) -> Catalogue:
    """Read a catalogue in the format of OpenNGC: columns by name, separated by semicolons.

    Needed are Name, Type, RA (hours, ``00:11:00.88``) and Dec (degrees, ``-12:49:22.3``); MajAx (arc minutes), Hubble,
    M and Common names are used where they are there. Rows without a place are left out.

    Raises
    ------
    InputError
        The file is missing or no such catalogue.
    """
    entries, places, radii = [], [], []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=";")
            missing = {"Name", "Type", "RA", "Dec"} - set(rows.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path} is no OpenNGC catalogue: no column {', '.join(sorted(missing))}",
                    "give NGC.csv of OpenNGC, separated by semicolons",
                )
            for row in rows:
                if not row["RA"] or not row["Dec"] or row["Type"] in _NO_OBJECT:
                    continue
                try:
                    places.append((15 * _sexagesimal(row["RA"]), _sexagesimal(row["Dec"])))
                    radii.append(float(row.get("MajAx") or 0) / 2)
                except ValueError:
                    raise InputError(
                        f"{path}, line {rows.line_num}: {row['Name']} has no readable place", "mend or remove the line"
                    ) from None
                entries.append(_entry(row))
    except FileNotFoundError:
        raise InputError(f"no catalogue {path}", "give NGC.csv of OpenNGC") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file in UTF-8: {error.reason}", "give NGC.csv of OpenNGC") from None
    ra, dec = np.array(places, np.float64).reshape(-1, 2).T
    return Catalogue(tuple(entries), ra, dec, np.array(radii, np.float64))


def _entry(row: dict[str, str]) -> _Entry:
    messier = row.get("M") or ""
    others = [f"M {int(messier)}"] if messier.isdecimal() else []
    others += [name.strip() for name in (row.get("Common names") or "").split(",") if name.strip()]
    return _Entry(_spelled(row["Name"]), tuple(others), row["Type"], row.get("Hubble") or "")


def _spelled(name: str) -> str:
    """``NGC5194`` as people write it, ``NGC 5194``."""
    letters = name[:3] if name[:3] == "NGC" else name[:2] if name[:2] == "IC" else ""
    number = name[len(letters) :].lstrip("0")
    return f"{letters} {number}" if letters and number else name


def _sexagesimal(text: str) -> float:
    """``-12:49:22.3`` in units of its first part."""
    sign = -1.0 if text.strip().startswith("-") else 1.0
    first, minutes, seconds = (float(part) for part in text.strip().lstrip("+-").split(":"))
    return sign * (first + minutes / 60 + seconds / 3600)
