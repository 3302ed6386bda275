from pathlib import Path

import numpy as np
import pytest

from edgegal.device.astrometry import SkyPlace
from edgegal.device.catalogue import Catalogue, read_catalogue
from edgegal.errors import InputError

# Rounded places and sizes, typed for these tests.
LINES = """\
Name;Type;RA;Dec;Const;MajAx;MinAx;Hubble;M;Common names
NGC5194;G;13:29:52.7;+47:11:43;CVn;11.2;6.9;Sbc;051;Whirlpool Galaxy
NGC5195;G;13:29:59.6;+47:15:58;CVn;5.8;4.6;SBa;;
NGC0224;G;00:42:44.4;+41:16:09;And;178;63;Sb;031;Andromeda Galaxy,Andromeda Nebula
NGC0253;G;00:47:33.1;-25:17:18;Scl;27;6;SABc;;Sculptor Galaxy
NGC5866;Dup;15:06:29;+55:45:48;Dra;;;;102;
NGC1976;HII;05:35:16;-05:23:27;Ori;90;60;;042;Orion Nebula
IC0001;**;00:08:27.1;+27:43:04;Peg;;;;;
NGC9999;G;;;;;;;;
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    file = tmp_path / "NGC.csv"
    file.write_text(LINES, encoding="utf-8")
    return read_catalogue(file)


def test_a_galaxy_is_named_by_its_place(catalogue: Catalogue) -> None:
    match = catalogue.at(SkyPlace(202.47, 47.20))
    assert match is not None
    assert (match.name, match.other_names, match.hubble) == ("NGC 5194", ("M 51", "Whirlpool Galaxy"), "Sbc")
    assert match.is_galaxy
    assert match.separation_arcmin == pytest.approx(0.3, abs=0.1)


def test_of_two_that_reach_the_place_the_nearer_is_taken(catalogue: Catalogue) -> None:
    match = catalogue.at(SkyPlace(202.495, 47.26))
    assert match is not None
    assert match.name == "NGC 5195"


def test_a_large_galaxy_reaches_far_and_a_small_object_an_arc_minute(catalogue: Catalogue) -> None:
    assert catalogue.at(SkyPlace(11.5, 41.0)) is not None
    pair = SkyPlace(2.113, 27.7178)
    assert catalogue.at(pair) is not None
    assert catalogue.at(SkyPlace(2.113 + 0.05, 27.7178)) is None


def test_southern_places_and_single_digits_are_read(catalogue: Catalogue) -> None:
    match = catalogue.at(SkyPlace(11.888, -25.288))
    assert match is not None
    assert match.name == "NGC 253"
    assert match.place.dec_deg == pytest.approx(-25.28833, abs=1e-4)
    orion = catalogue.at(SkyPlace(83.82, -5.39))
    assert orion is not None
    assert (orion.name, orion.is_galaxy) == ("NGC 1976", False)
    assert catalogue.at(SkyPlace(83.82, -5.39), galaxies_only=True) is None


def test_doubles_and_objects_without_a_place_are_left_out(catalogue: Catalogue) -> None:
    assert len(catalogue) == 6
    assert catalogue.at(SkyPlace(226.62, 55.76)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,ra\na,1\n", "no column Dec, Name, RA, Type"),
        (LINES.replace("13:29:52.7", "thirteen"), "line 2: NGC5194 has no readable place"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "other.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        read_catalogue(file)
    assert caught.value.mend
    with pytest.raises(InputError, match="no catalogue"):
        read_catalogue(tmp_path / "absent.csv")


@pytest.mark.realsky
def test_the_whole_opengc_names_well_known_galaxies(shared) -> None:  # type: ignore[no-untyped-def]
    catalogue = read_catalogue(shared("catalogs_astrometry_net/NGC.csv"))
    assert len(catalogue) > 12_000
    for ra, dec, name in (
        (202.4696, 47.1952, "NGC 5194"),
        (160.8796, 24.9225, "NGC 3344"),
        (10.6847, 41.2690, "NGC 224"),
    ):
        match = catalogue.at(SkyPlace(ra, dec), galaxies_only=True)
        assert match is not None
        assert match.name == name
    assert np.isfinite(catalogue.ra_deg).all()
