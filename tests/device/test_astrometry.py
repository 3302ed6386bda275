from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("astropy")
from astropy import units
from astropy.coordinates import FK5, SkyCoord
from astropy.wcs import WCS

from edgegal.device.astrometry import SkyMap, SkyPlace
from edgegal.device.registration import Motion

SIZE = (1304, 976)
# A solved frame as capture programs write it: a turned matrix whose reference is not in the middle.
SOLVED = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 202.4696,
    "CRVAL2": 47.1952,
    "CRPIX1": 410.25,
    "CRPIX2": 700.75,
    "CD1_1": -3.1e-4,
    "CD1_2": 2.2e-4,
    "CD2_1": 2.2e-4,
    "CD2_2": 3.1e-4,
    "RADECSYS": "FK5",
    "EQUINOX": 2000.0,
}
POINTS = np.array([[0.0, 0.0], [1304.0, 976.0], [652.0, 488.0], [409.75, 700.25]])


def solved(**changes: object) -> SkyMap:
    found = SkyMap.of(SOLVED | changes, SIZE)
    assert found is not None
    return found


def test_the_reference_pixel_looks_at_the_reference_place() -> None:
    # FITS counts 1 at the centre of the first pixel; here that centre is 0.5.
    place = solved().places(POINTS[3:])[0]
    assert (place.ra_deg, place.dec_deg) == pytest.approx((202.4696, 47.1952), abs=1e-7)


def test_places_are_a_tangent_projection_by_hand() -> None:
    """Against the equations of the gnomonic projection, written out."""
    x, y = 900.0, 120.0
    u, v = x + 0.5 - SOLVED["CRPIX1"], y + 0.5 - SOLVED["CRPIX2"]
    xi, eta = (np.radians(SOLVED[f"CD{i}_1"] * u + SOLVED[f"CD{i}_2"] * v) for i in (1, 2))
    ra0, dec0 = np.radians(SOLVED["CRVAL1"]), np.radians(SOLVED["CRVAL2"])
    bottom = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, bottom)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, bottom))
    (place,) = solved().places(np.array([[x, y]]))
    assert (place.ra_deg, place.dec_deg) == pytest.approx((np.degrees(ra), np.degrees(dec)), abs=1e-9)


def test_distortion_counts() -> None:
    sip = {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        **{"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 4e-5, "B_0_2": -3e-5},
    }
    straight, bent = solved(), solved(**sip)
    assert bent.solved
    (one,), (other,) = straight.places(POINTS[:1]), bent.places(POINTS[:1])
    shift = np.array([4e-5 * 410**2, -3e-5 * 700**2])
    (expected,) = straight.places(POINTS[:1] + shift)
    assert one.separation_deg(np.array(other.ra_deg), np.array(other.dec_deg)) * 3600 > 5
    assert (other.ra_deg, other.dec_deg) == pytest.approx((expected.ra_deg, expected.dec_deg), abs=2e-5)
    np.testing.assert_allclose(bent.pixels(bent.places(POINTS)), POINTS, atol=1e-3)


def test_coordinates_of_another_equinox_are_brought_to_icrs() -> None:
    now = SkyMap.of(SOLVED | {"EQUINOX": 2026.0}, SIZE)
    assert now is not None
    (place,) = now.places(POINTS[3:])
    true = SkyCoord(202.4696, 47.1952, unit="deg", frame=FK5(equinox="J2026")).icrs
    assert SkyCoord(place.ra_deg, place.dec_deg, unit="deg").separation(true) < 0.1 * units.arcsec
    np.testing.assert_allclose(now.pixels(now.places(POINTS)), POINTS, atol=1e-3)


@given(degrees=st.floats(-180, 180), dx=st.floats(-300, 300), dy=st.floats(-300, 300))
def test_the_stack_looks_where_the_frame_looks(degrees: float, dx: float, dy: float) -> None:
    a = np.radians(degrees)
    motion = Motion(np.array([[np.cos(a), -np.sin(a), dx], [np.sin(a), np.cos(a), dy]]))
    frame, stack = solved(), solved().seen_by(motion)
    for one, other in zip(stack.places(POINTS), frame.places(motion.apply(POINTS)), strict=True):
        assert (one.ra_deg, one.dec_deg) == pytest.approx((other.ra_deg, other.dec_deg), abs=1e-9)
    # The header of a stacked file says the same.
    world = WCS(stack.cards()).all_pix2world(POINTS + 0.5, 1)
    for (ra, dec), place in zip(world, stack.places(POINTS), strict=True):
        assert (ra, dec) == pytest.approx((place.ra_deg, place.dec_deg), abs=1e-8)
    np.testing.assert_allclose(stack.pixels(stack.places(POINTS)), POINTS, atol=1e-4)


def test_a_header_of_where_the_mount_points_is_no_solution() -> None:
    indi = {
        **{k: v for k, v in SOLVED.items() if not k.startswith("CD")},
        **{"CRPIX1": 652.0, "CRPIX2": 488.0, "CDELT1": 4.2e-4, "CDELT2": 4.2e-4, "CROTA1": 303.1, "CROTA2": 303.1},
    }
    pointed = SkyMap.of(indi, SIZE)
    assert pointed is not None
    assert not pointed.solved
    assert solved().solved
    assert solved(CRPIX1=652.5, CRPIX2=488.5, PLTSOLVD=True).solved


def test_a_header_without_a_wcs_gives_none() -> None:
    assert SkyMap.of({"OBJECT": "M51"}, SIZE) is None
    assert SkyMap.of(SOLVED | {"CTYPE1": "LINEAR"}, SIZE) is None


def test_the_scale_is_in_arc_seconds() -> None:
    assert solved().scale_arcsec() == pytest.approx(3600 * np.hypot(3.1e-4, 2.2e-4))


@given(st.floats(0, 359.99), st.floats(-89.9, 89.9), st.floats(0, 359.99), st.floats(-89.9, 89.9))
def test_separations_are_those_of_astropy(ra: float, dec: float, there_ra: float, there_dec: float) -> None:
    own = SkyPlace(ra, dec).separation_deg(np.array([there_ra]), np.array([there_dec]))[0]
    theirs = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(there_ra, there_dec, unit="deg")).deg
    assert own == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (SkyPlace(202.4696, 47.1952), "13h29m52.7s +47d11m43s"),
        (SkyPlace(0.0, -0.001), "00h00m00.0s -00d00m04s"),
        (SkyPlace(359.99999, 89.99999), "00h00m00.0s +90d00m00s"),
    ],
)
def test_a_place_in_words(place: SkyPlace, words: str) -> None:
    assert str(place) == words
    assert replace(place) == place
