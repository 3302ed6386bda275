"""The camera: noise as predicted, light where the filters let it, numbers as in a file."""

import math

import numpy as np
import pytest

from edgegal.data.skies.camera import developed, expose, grey_of, grey_sigma, sky_electrons
from edgegal.data.skies.telescopes import Telescope, telescope

pytestmark = pytest.mark.host

SEESTAR = telescope("seestar-s50")
MONO = telescope("refractor-asi1600mm")
NEWTON = telescope("newton-200-asi294")


def clean(scope: Telescope, **changes: object) -> Telescope:
    """Without defects and vignetting."""
    return scope.model_copy(update={"hot_per_megapixel": 0, "vignetting": 0, **changes})


def blank(scope: Telescope, sky_mag: float, side: int = 200) -> np.ndarray:
    sky = sky_electrons(scope, sky_mag, scope.exposure_s).astype(np.float32)
    return np.broadcast_to(sky, (side, side, 3)).copy()


@pytest.mark.parametrize("stacked", [1, 25])
@pytest.mark.parametrize("scope", [SEESTAR, NEWTON, MONO], ids=lambda t: t.name)
@pytest.mark.parametrize("sky_mag", [18.6, 21.0])
def test_the_noise_of_a_view_is_the_predicted(scope: Telescope, stacked: int, sky_mag: float) -> None:
    scope = clean(scope)
    seconds = scope.exposure_s
    rng = np.random.default_rng(3)
    raw = expose(blank(scope, sky_mag), scope, seconds, rng, stacked)
    picture = developed(raw, scope, stacked).astype(np.float64)
    grey = picture.mean(axis=2) if picture.ndim == 3 else picture
    unit = 2.0 ** (16 - scope.bits) if stacked > 1 else scope.unit
    measured = grey[8:-8, 8:-8].std() / unit * scope.gain_e_adu
    assert measured == pytest.approx(grey_sigma(scope, sky_mag, seconds, stacked), rel=0.03)


def test_mono_noise_is_poisson_and_read_noise() -> None:
    """The equation of the handbooks, without the road of the colours."""
    sky = sky_electrons(MONO, 20, MONO.exposure_s)[1]
    variance = sky + MONO.dark_e_s * MONO.exposure_s + MONO.read_noise_e**2 + MONO.gain_e_adu**2 / 12
    assert grey_sigma(MONO, 20, MONO.exposure_s, 1) == pytest.approx(math.sqrt(variance))


def test_the_level_is_offset_sky_and_dark() -> None:
    scope = clean(MONO)
    raw = expose(blank(scope, 20), scope, scope.exposure_s, np.random.default_rng(0))
    electrons = sky_electrons(scope, 20, scope.exposure_s)[1] + scope.dark_e_s * scope.exposure_s
    assert raw.mean() / scope.unit == pytest.approx(scope.offset_adu + electrons / scope.gain_e_adu, rel=0.005)


def test_files_hold_whole_units_and_saturate_at_the_well_or_the_converter() -> None:
    light = np.full((32, 32, 3), 1e7, np.float32)
    for scope in (clean(SEESTAR), clean(NEWTON)):
        raw = expose(light, scope, 1, np.random.default_rng(0))
        full = min(round(scope.full_well_e / scope.gain_e_adu + scope.offset_adu), 2**scope.bits - 1)
        assert (raw == full * scope.unit).all()
    raw = expose(blank(SEESTAR, 20), SEESTAR, 10, np.random.default_rng(0))
    assert (raw % 16 == 0).all()
    assert len(np.unique(raw)) > 5


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("colour", [0, 1, 2])
def test_each_pixel_sees_its_colour_and_the_view_shows_it(pattern: str, colour: int) -> None:
    scope = clean(SEESTAR, bayer=pattern)
    light = np.zeros((40, 40, 3), np.float32)
    light[..., colour] = 2000
    raw = expose(light, scope, 0.01, np.random.default_rng(0))
    lit = raw > scope.unit * (scope.offset_adu + 200)
    assert (lit[:2, :2].ravel() == np.array([c == "RGB"[colour] for c in pattern])).all()
    assert lit.mean() == (0.5 if colour == 1 else 0.25)
    assert int(developed(raw, scope, 1)[10:-10, 10:-10].mean(axis=(0, 1)).argmax()) == colour


def test_corners_are_darker_by_the_vignetting() -> None:
    scope = clean(NEWTON, vignetting=0.25, width=400, height=300)
    light = np.full((300, 400, 3), 5000, np.float32)
    raw = expose(light, scope, 0.01, np.random.default_rng(0)).astype(float) / scope.unit - scope.offset_adu
    corner, middle = raw[:4, :4].mean(), raw[140:160, 190:210].mean()
    assert corner / middle == pytest.approx(0.75, abs=0.02)
    window = expose(light[:40, :40], scope, 0.01, np.random.default_rng(0), corner=(360, 260))
    assert (window[-4:, -4:].astype(float) / scope.unit - scope.offset_adu).mean() == pytest.approx(corner, rel=0.03)


def test_hot_pixels_are_as_many_as_told_and_stand_out() -> None:
    scope = clean(MONO, hot_per_megapixel=3000)
    raw = expose(blank(scope, 21.5, 400), scope, 1, np.random.default_rng(1)).astype(float)
    sigma = 1.48 * np.median(np.abs(raw - np.median(raw)))
    hot = (raw > np.median(raw) + 8 * sigma).sum()
    # Of 480 expected every hundredth lies on another, and the weakest in the noise.
    assert 350 < hot < 560


def test_bad_pixels_stay_where_they_are_on_a_sensor() -> None:
    scope = clean(MONO, hot_per_megapixel=3000)
    first, second = (
        expose(blank(scope, 21.5, 200), scope, 1, np.random.default_rng(i), sensor=np.random.default_rng(9))
        for i in range(2)
    )
    hot = [raw > np.median(raw) + 30 * 1.48 * np.median(np.abs(raw - np.median(raw))) for raw in (first, second)]
    assert hot[0].sum() > 20
    assert (hot[0] & hot[1]).sum() > 0.95 * hot[0].sum()
    elsewhere = expose(blank(scope, 21.5, 200), scope, 1, np.random.default_rng(0), sensor=np.random.default_rng(8))
    assert (hot[0] & (elsewhere > elsewhere[hot[0]].max())).sum() == 0


def test_grey_is_as_soft_as_a_view() -> None:
    """A point goes the real road, at the four places of a block; the mean of the four is what is predicted."""
    scope = clean(SEESTAR)
    seen = np.zeros((20, 20))
    for place in range(4):
        light = np.zeros((20, 20, 3), np.float32)
        light[8 + place // 2, 8 + place % 2] = 40000
        view = expose(light, clean(scope, read_noise_e=0, full_well_e=1e6, bits=16, offset_adu=0, gain_e_adu=1), 0, RNG)
        moved = developed(view, scope, 1).astype(np.float64).mean(axis=2)
        seen += np.roll(moved, (-(place // 2), -(place % 2)), (0, 1)) / 4
    point = np.zeros((20, 20, 3), np.float32)
    point[8, 8] = 40000
    np.testing.assert_allclose(grey_of(point, scope, 1), seen, atol=80)


RNG = np.random.default_rng(5)
