"""Point-spread functions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("galsim", reason="stars are drawn with GalSim: the training environment")

import galsim

from edgegal.data.skies.optics import CHANNEL_NM, point_spread
from edgegal.data.skies.telescopes import telescope

pytestmark = pytest.mark.host

MONO = telescope("refractor-asi1600mm")
NEWTON = telescope("newton-200-asi294")


@pytest.mark.parametrize("name", ["refractor-asi1600mm", "seestar-s50", "c8-asi533"])
def test_the_core_is_what_galsim_draws_there(name: str) -> None:
    """GalSim itself puts the star at the place, on the pixels: no finer grid, no phases."""
    scope = telescope(name)
    seeing = scope.seeing_arcsec[0]
    spread = point_spread(scope, seeing)
    air = galsim.Kolmogorov(fwhm=seeing)
    aperture = galsim.Airy(lam=CHANNEL_NM[1], diam=scope.aperture_mm / 1000, obscuration=scope.obstruction)
    star = galsim.Convolve(air, aperture)
    # Phase 3 down and 1 right of four: the middles of those quarters of the pixel.
    dx, dy = (1 + 0.5) / 4 - 0.5, (3 + 0.5) / 4 - 0.5
    side = spread.core.shape[2]
    drawn = star.drawImage(nx=side, ny=side, scale=scope.pixel_scale, offset=(dx, dy), dtype=float).array
    np.testing.assert_allclose(spread.core[3, 1, ..., 1], 0.97 * drawn, atol=0.004 * drawn.max())


def test_the_width_measured_on_a_star_is_the_one_told() -> None:
    spread = point_spread(MONO, 4.2)
    star = spread.core[2, 2, ..., 1]
    row = star[len(star) // 2]
    fine = np.interp(np.arange(0, len(row) - 1, 0.001), np.arange(len(row)), row)
    width = (fine > fine.max() / 2).sum() * 0.001
    # Pixels widen it, by their own second moment.
    assert width == pytest.approx(math.sqrt(spread.fwhm_px**2 + 2.355**2 / 12), rel=0.04)


@pytest.mark.parametrize("name", ["seestar-s30", "newton-200-asi294"])
def test_all_the_light_arrives(name: str) -> None:
    spread = point_spread(telescope(name), telescope(name).seeing_arcsec[0])
    for phase in ((0, 0), (1, 0), (1, 1)):
        assert spread.wings[phase].sum(axis=(0, 1)) == pytest.approx([1, 1, 1], abs=0.02)
    assert spread.core[0, 0].sum() < spread.wings[0, 0].sum()


def test_a_place_and_its_mirror_image_look_mirrored() -> None:
    spread = point_spread(MONO, 2.2)
    np.testing.assert_allclose(spread.core[0, 1], spread.core[3, 2][::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(spread.kernel, spread.kernel[::-1, ::-1], atol=1e-6)


def test_spikes_stand_across_the_vanes_and_refractors_have_none() -> None:
    def around(scope_name: str) -> np.ndarray:
        scope = telescope(scope_name)
        light = point_spread(scope, 2.2).wings[0, 0, ..., 1]
        angles = np.radians(np.arange(360))
        # Mean over a range of distances in each direction, anticlockwise from the right.
        reach = np.arange(30, 60)[:, None]
        columns, rows = np.rint(128 + reach * np.cos(angles)), np.rint(128 - reach * np.sin(angles))
        return light[rows.astype(int), columns.astype(int)].mean(axis=0)

    ring = around("newton-200-asi294")
    assert set(np.argsort(ring)[-4:] // 90) == {0, 1, 2, 3}
    peaks = [int(np.argmax(ring[quarter * 90 : quarter * 90 + 90])) for quarter in range(4)]
    assert peaks == pytest.approx([NEWTON.vane_angle_deg] * 4, abs=2)
    assert ring.max() > 5 * np.median(ring)
    plain = around("refractor-asi1600mm")
    assert plain.max() < 1.5 * np.median(plain)


@given(st.floats(0, 60), st.floats(0, 60), st.floats(1, 1e7))
def test_a_star_lies_at_its_place_and_as_far_out_as_it_shows(x: float, y: float, light: float) -> None:
    spread = point_spread(MONO, 2.2)
    half = int(spread.reach(np.array([light]), 1.0)[0])
    patch, left, top = spread.at(x, y, half)
    assert patch.shape == (2 * half + 1, 2 * half + 1, 3)
    assert (left + half, top + half) == (math.floor(x), math.floor(y))
    rows, columns = np.indices(patch.shape[:2])
    weight = patch[..., 1] / patch[..., 1].sum()
    middle = ((columns + left + 0.5) * weight).sum(), ((rows + top + 0.5) * weight).sum()
    # Half a step of the phases, quarters or halves of a pixel; a patch cut off about its pixel pulls a little more.
    assert middle == pytest.approx((x, y), abs=0.3)
    whole = spread.wings[0, 0, ..., 1] * light
    whole[128 - half : 129 + half, 128 - half : 129 + half] = 0
    assert whole.max() <= 1.0 or half == 128


def test_more_light_reaches_farther() -> None:
    reach = point_spread(MONO, 2.2).reach(10.0 ** np.arange(1, 8), 1.0)
    assert (np.diff(reach) > 0).sum() >= 4
    assert (np.diff(reach) >= 0).all()
