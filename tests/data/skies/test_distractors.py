import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgegal.data.skies.distractors import CONTROL, KINDS, PLATE, distractor_frames, draw_distractor
from edgegal.preprocess import Stretch

pytestmark = pytest.mark.host


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [32, 97])
def test_every_kind_draws_finite_light_of_the_size_asked_for(kind, size):
    light = draw_distractor(kind, size, np.random.default_rng(0))
    assert light.shape == (size, size, 3)
    assert light.dtype == np.float32
    assert np.isfinite(light).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_seen_above_the_noise_and_varies(kind):
    drawn = [draw_distractor(kind, 128, np.random.default_rng(seed)) for seed in range(12)]
    assert np.median([np.ptp(light.mean(axis=2)) for light in drawn]) > 3
    assert len({light.tobytes() for light in drawn}) == 12
    again = draw_distractor(kind, 128, np.random.default_rng(3))
    assert_array_equal(again, drawn[3])


def test_frames_are_views_and_a_longer_series_starts_with_the_shorter():
    short, long = (distractor_frames("spikes", n, 64, Stretch(), 5) for n in (2, 4))
    assert [f.dtype for f in long] == [np.uint8] * 4
    assert {f.shape for f in long} == {(64, 64, 3)}
    for a, b in zip(short, long, strict=False):
        assert_array_equal(a, b)
    assert not np.array_equal(long[0], distractor_frames(CONTROL, 1, 64, Stretch(), 5)[0])


def brightest(light):
    return np.unravel_index(light.mean(axis=2).argmax(), light.shape[:2])


def test_an_edge_star_is_brightest_near_an_edge():
    for seed in range(20):
        y, x = brightest(draw_distractor("edge star", 128, np.random.default_rng(seed)))
        assert min(x, y, 127 - x, 127 - y) < 20


def test_saturated_stars_have_a_flat_top():
    light = draw_distractor("saturated stars", 128, np.random.default_rng(1))
    assert (light.mean(axis=2) > 0.9 * light.mean(axis=2).max()).sum() > 12


def test_all_bright_stars_of_a_plate_are_burnt_out_alike():
    for seed in range(5):
        light = draw_distractor(PLATE, 128, np.random.default_rng(seed))
        assert (light[..., 0] == light[..., 1]).all()
        assert (light >= 0.999 * light.max()).mean(axis=2).sum() > 12


def test_donuts_are_darker_in_the_middle():
    hollow = 0
    for seed in range(20):
        light = draw_distractor("donuts", 256, np.random.default_rng(seed)).mean(axis=2)
        # A hole is dark and has light on all four sides within the largest donut.
        dark = light < 0.5 * light.max()
        lit = [np.roll(light, shift, axis) > 0.9 * light.max() for axis in (0, 1) for shift in (-7, 7)]
        hollow += bool((dark & np.logical_and.reduce(lit)).any())
    assert hollow


def test_red_stars_are_red_and_emission_is_coloured():
    red = draw_distractor("red stars", 128, np.random.default_rng(0)).sum(axis=(0, 1))
    assert red[0] > 1.5 * red[1] > 1.5 * red[2]
    for seed in range(5):
        nebula = draw_distractor("nebula", 128, np.random.default_rng(seed)).sum(axis=(0, 1))
        assert nebula.max() > 1.5 * nebula.min()


def test_what_cannot_be_drawn_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no distractor 'ufo': use one of stars, edge star"):
        draw_distractor("ufo", 64, rng)
    with pytest.raises(ValueError, match="32 pixels at least, not 31"):
        draw_distractor("spikes", 31, rng)
