"""Training fields as telescopes show them."""

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("galsim", reason="skies are drawn with GalSim: the training environment")
pytest.importorskip("sep", reason="photometry is checked with sep: the training environment")

import sep

from edgegal.data.boxes import BOX_SIGMA
from edgegal.data.skies.camera import expose, grey_of, grey_sigma, sky_electrons
from edgegal.data.skies.celestial import CELESTIAL, black_body
from edgegal.data.skies.exposure import compose_exposure_field, light_and_box
from edgegal.data.skies.galaxies import GALAXY_KINDS, galaxy_stamps
from edgegal.data.skies.optics import point_spread
from edgegal.data.skies.scenes import Pose, SkyObject, Stars, draw_galaxy, draw_other, object_light, star_light
from edgegal.data.skies.telescopes import telescope
from edgegal.preprocess import Stretch

pytestmark = pytest.mark.host

STAMPS = galaxy_stamps(14, 2)
SEESTAR = telescope("seestar-s50")
MONO = telescope("refractor-asi1600mm").model_copy(update={"hot_per_megapixel": 0, "vignetting": 0})
SEEING, SKY_MAG, SECONDS = 3.2, 20.0, 60.0
SPREAD = point_spread(MONO, SEEING)
SIGMA = grey_sigma(MONO, SKY_MAG, SECONDS, 1)


def picture(light: np.ndarray, seed: int = 0) -> np.ndarray:
    """Electrons above the sky of one mono exposure."""
    sky = sky_electrons(MONO, SKY_MAG, SECONDS).astype(np.float32)
    raw = expose(light + sky, MONO, SECONDS, np.random.default_rng(seed)).astype(np.float64)
    level = MONO.offset_adu + (sky[0] + MONO.dark_e_s * SECONDS) / MONO.gain_e_adu
    return (raw / MONO.unit - level) * MONO.gain_e_adu


def galaxy(kind: str, magnitude: float, radius: float, angle: float = 0.3) -> SkyObject:
    stamp = next(s for s in STAMPS if GALAXY_KINDS[s.kind] == kind)
    return SkyObject("galaxy", kind, magnitude, radius, 2.0, -3.0, angle, False, stamp)


def test_photometry_gives_the_magnitudes_back() -> None:
    """Aperture photometry by sep on the noisy picture, all stars at once."""
    magnitudes = np.array([13.0, 13.5, 14.0, 15.0, 16.0, 17.0] * 3)
    places = np.array([[(i % 6 - 2.5) * 50, (i // 6 - 1) * 50] for i in range(18)]) * MONO.pixel_scale
    places += np.random.default_rng(1).uniform(-0.5, 0.5, places.shape)
    stars = Stars(places, magnitudes, black_body(np.full(18, 6500.0)))
    pose = Pose(340, 180, MONO.pixel_scale)
    seen = picture(star_light(stars, MONO, pose, SPREAD, SECONDS, 0.1 * SIGMA))
    x, y = (pose.pixels(places) - 0.5).T
    radius = 12
    flux, _, _ = sep.sum_circle(seen, x, y, radius, err=SIGMA, gain=1.0)
    expected = np.array([MONO.electrons_per_s(m) for m in magnitudes]) * SECONDS * np.mean(MONO.response)
    rows, columns = np.indices(SPREAD.wings.shape[2:4]) - 128
    inside = SPREAD.wings[0, 0, ..., 1][np.hypot(rows, columns) <= radius].sum()
    noise = np.sqrt(expected + math.pi * radius**2 * SIGMA**2)
    pull = (flux - inside * expected) / np.hypot(noise, 0.01 * expected)
    assert np.abs(pull).max() < 4
    assert 0.4 < pull.std() < 1.6
    bright = magnitudes < 15
    assert np.median(flux[bright] / expected[bright]) == pytest.approx(inside, rel=0.02)


def test_the_limiting_magnitude_is_that_of_the_noise() -> None:
    """A star of the magnitude where the equation gives 5 sigma is 5 sigma of what apertures scatter."""
    radius = 3.0
    area = math.pi * radius**2
    inside = float(sep.sum_circle(SPREAD.wings[0, 0, ..., 1].astype(np.float64), [127.75], [127.75], radius)[0][0])
    noise = math.sqrt(area) * SIGMA
    needed = (25 + math.sqrt(625 + 100 * noise**2)) / 2
    limit = 2.5 * math.log10(MONO.electrons_per_s(0) * np.mean(MONO.response) * SECONDS * inside / needed)
    grid = np.stack(np.meshgrid(np.arange(-9, 10), np.arange(-9, 10)), axis=-1).reshape(-1, 2) * 20.0
    pose = Pose(400, 400, MONO.pixel_scale)
    stars = Stars(grid * MONO.pixel_scale, np.full(len(grid), limit), np.ones((len(grid), 3), np.float32))
    seen = picture(star_light(stars, MONO, pose, SPREAD, SECONDS, 0.02 * SIGMA))
    x, y = (pose.pixels(stars.places) - 0.5).T
    flux, _, _ = sep.sum_circle(seen, x, y, radius)
    assert flux.mean() / flux.std() == pytest.approx(5, rel=0.12)
    assert 17 < limit < 20


@pytest.mark.parametrize("radius", [4.0, 12.0, 45.0])
def test_a_galaxy_has_the_light_of_its_magnitude_at_its_place(radius: float) -> None:
    thing = galaxy("in-between", 12.0, radius)
    pose = Pose(500, 400, SEESTAR.pixel_scale, dx=3.4, dy=-8.2)
    spread = point_spread(SEESTAR, 3.0)
    light, left, top = object_light(thing, SEESTAR, pose, spread, 10.0, 0.01)
    assert light[..., 1].sum() == pytest.approx(SEESTAR.electrons_per_s(12.0) * 10, rel=0.02)
    rows, columns = np.indices(light.shape[:2]) + 0.5
    weight = light[..., 1] / light[..., 1].sum()
    middle = ((columns + left) * weight).sum(), ((rows + top) * weight).sum()
    assert middle == pytest.approx(tuple(pose.pixels(np.array([[2.0, -3.0]]))[0]), abs=0.1)


def test_the_half_light_radius_is_the_one_asked_for() -> None:
    thing = galaxy("round", 12.0, 40.0)
    light, left, top = object_light(thing, SEESTAR, Pose(500, 500, SEESTAR.pixel_scale), POINT, 10.0, 0.01)
    x, y = Pose(500, 500, SEESTAR.pixel_scale).pixels(np.array([[2.0, -3.0]]))[0] - (left + 0.5, top + 0.5)
    green = light[..., 1].astype(np.float64)
    radius, _ = sep.flux_radius(green, [x], [y], [150.0], 0.5, normflux=[green.sum()])
    assert float(radius[0]) * SEESTAR.pixel_scale == pytest.approx(40.0, rel=0.04)


POINT = point_spread(SEESTAR, SEESTAR.seeing_arcsec[0])


def test_angles_turn_with_the_field() -> None:
    thing = galaxy("edge-on", 11.0, 30.0)
    there = object_light(thing, MONO, Pose(200, 200, 1.0, turn=0.7), SPREAD, 10.0, 0.01)[0]
    turned = dataclasses.replace(thing, angle=thing.angle + 0.7)
    here = object_light(turned, MONO, Pose(200, 200, 1.0), SPREAD, 10.0, 0.01)[0]
    assert np.corrcoef(there[: min(len(there), len(here)), :100, 1].ravel(), here[:, :100, 1].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("magnitude", [11.0, 12.5, 14.0])
@pytest.mark.parametrize("stacked", [1, 40])
@pytest.mark.parametrize("kind", ["in-between", "edge-on", "irregular"])
def test_a_box_is_the_largest_object_that_sep_finds_in_the_noiseless_view(
    magnitude: float, stacked: int, kind: str
) -> None:
    thing, pose = galaxy(kind, magnitude, 25.0), Pose(256, 256, SEESTAR.pixel_scale)
    sigma = grey_sigma(SEESTAR, 20.5, 10.0, stacked)
    light, left, top, box = light_and_box(thing, SEESTAR, pose, POINT, 10.0, sigma, stacked)
    grey = grey_of(light, SEESTAR, stacked).astype(np.float64)
    found = sep.extract(grey, BOX_SIGMA * sigma, minarea=1, filter_kernel=None, deblend_cont=1.0)
    if box is None:
        assert not len(found)
        return
    largest = int(found["npix"].argmax())
    edges = [found[key][largest] for key in ("xmin", "ymin", "xmax", "ymax")]
    assert box == (edges[0] + left, edges[1] + top, edges[2] + 1 + left, edges[3] + 1 + top)


def test_a_deeper_stack_shows_more_of_a_galaxy_and_a_faint_one_has_no_box() -> None:
    pose = Pose(256, 256, SEESTAR.pixel_scale)

    def side(magnitude: float, stacked: int) -> float:
        sigma = grey_sigma(SEESTAR, 20.5, 10.0, stacked)
        box = light_and_box(galaxy("spiral", magnitude, 40.0), SEESTAR, pose, POINT, 10.0, sigma, stacked)[3]
        return 0.0 if box is None else max(box[2] - box[0], box[3] - box[1])

    assert side(16, 1) == 0
    assert 0 < side(10, 1) < side(10, 10) < side(10, 100)
    assert side(11, 100) < side(10, 100) < side(9, 100)


def test_sizes_and_magnitudes_go_together_as_of_real_galaxies() -> None:
    rng, pose = np.random.default_rng(0), Pose(1000, 1000, 2.4)
    drawn = [draw_galaxy(STAMPS, (9.0, 16.0), pose, rng) for _ in range(600)]
    magnitudes = np.array([g.magnitude for g in drawn])
    assert 9 <= magnitudes.min() < magnitudes.max() <= 16
    # Ten to the 0.6 per magnitude: three of four lie in the faintest one.
    assert (magnitudes > 15).mean() == pytest.approx(0.75, abs=0.06)
    slope = np.polyfit(magnitudes, np.log10([g.radius_arcsec for g in drawn]), 1)[0]
    assert slope == pytest.approx(-0.2, abs=0.03)


TELESCOPES = [telescope(name) for name in ("seestar-s50", "newton-200-asi294", "refractor-asi1600mm")]


def test_fields_repeat_and_their_truth_is_sound() -> None:
    fields = [
        compose_exposure_field(TELESCOPES, 160, np.random.default_rng((1, i)), STAMPS, Stretch()) for i in range(24)
    ]
    again = compose_exposure_field(TELESCOPES, 160, np.random.default_rng((1, 7)), STAMPS, Stretch())
    np.testing.assert_array_equal(again.picture, fields[7].picture)
    np.testing.assert_array_equal(again.boxes, fields[7].boxes)
    brighter = []
    for field in fields:
        assert field.picture.shape == (160, 160, 3)
        assert field.picture.dtype == np.uint8
        assert field.pixel_scale in [t.pixel_scale for t in TELESCOPES]
        assert field.magnitudes is not None
        assert len(field.magnitudes) == len(field.boxes) == len(field.classes)
        assert np.isfinite(field.magnitudes).all()
        assert field.classes.max(initial=0) == 0
        for boxes in (field.boxes, field.ignore):
            assert boxes.min(initial=0) >= 0
            assert boxes.max(initial=0) <= 160
            assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert ((field.boxes[:, 2:] - field.boxes[:, :2]).max(axis=1, initial=12) >= 12).all()
        grey = field.picture.mean(axis=2)
        for x0, y0, x1, y1 in field.boxes.astype(int):
            brighter.append(grey[y0:y1, x0:x1].mean() > np.median(grey))
    assert len(brighter) > 30
    assert np.mean(brighter) > 0.97
    assert any(len(f.boxes) == 0 for f in fields)
    assert any(len(f.ignore) for f in fields)


def test_other_objects_get_boxes_when_asked_for() -> None:
    fields = [
        compose_exposure_field(SEESTAR, 96, np.random.default_rng((3, i)), STAMPS, Stretch(), CELESTIAL)
        for i in range(60)
    ]
    assert {int(c) for f in fields for c in f.classes} == set(range(len(CELESTIAL)))


@pytest.mark.parametrize("label", CELESTIAL[1:])
def test_every_other_object_can_be_drawn_and_shows(label: str) -> None:
    pose = Pose(256, 256, SEESTAR.pixel_scale)
    thing = draw_other(label, 60.0, pose, np.random.default_rng(4))
    bright = dataclasses.replace(thing, x=0.0, y=0.0, magnitude=8.0)
    light, left, top, box = light_and_box(bright, SEESTAR, pose, POINT, 10.0, 2.0)
    assert light[..., 1].sum() == pytest.approx(SEESTAR.electrons_per_s(8.0) * 10, rel=0.1)
    assert box is not None
    assert box[0] < 128 < box[2]
    assert left <= box[0]
    assert top <= box[1]


def test_what_cannot_be_composed_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no label 'comet'"):
        compose_exposure_field(SEESTAR, 64, rng, STAMPS, Stretch(), ("comet",))
    with pytest.raises(ValueError, match="no object 'galaxy'"):
        draw_other("galaxy", 5.0, Pose(64, 64, 1.0), rng)
    for size in (16, 1081):
        with pytest.raises(ValueError, match="does not fit seestar-s50"):
            compose_exposure_field(SEESTAR, size, rng, STAMPS, Stretch())
