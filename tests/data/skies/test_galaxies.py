"""Galaxies as stamps."""

import cv2
import numpy as np
import pytest

pytest.importorskip("galsim", reason="galaxies are drawn with GalSim: the training environment")
pytest.importorskip("sep", reason="photometry is checked with sep: the training environment")

import galsim
import sep

from edgegal.data.fields import IsolatedGalaxy
from edgegal.data.skies.galaxies import GALAXY_KINDS, Stamp, galaxy_stamps, stamp_from_cutout
from edgegal.labels import SCHEMES

pytestmark = pytest.mark.host

STAMPS = galaxy_stamps(5 * len(GALAXY_KINDS), 11)


def axis_ratio(stamp: Stamp) -> float:
    """Minor over major axis by the moments of the bright part, where all of the shape is."""
    green = np.where(stamp.light[..., 1] > 0.02 * stamp.light[..., 1].max(), stamp.light[..., 1], 0)
    y, x = np.indices(green.shape) - np.array(green.shape)[:, None, None] / 2 + 0.5
    second = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=green.ravel())
    low, high = np.linalg.eigvalsh(second)
    return float(np.sqrt(low / high))


def test_kinds_begin_with_the_labels_a_classifier_knows() -> None:
    labels = SCHEMES["galaxy6"].labels
    assert GALAXY_KINDS[: len(labels)] == labels
    assert [s.kind for s in STAMPS[:8]] == [*range(7), 0]


@pytest.mark.parametrize("stamp", STAMPS, ids=lambda s: GALAXY_KINDS[s.kind])
def test_a_stamp_is_unit_green_light_that_ends_before_its_edge(stamp: Stamp) -> None:
    assert stamp.light.dtype == np.float32
    assert stamp.light.min() >= 0
    assert stamp.light[..., 1].sum() == pytest.approx(1, rel=1e-3)
    border = np.concatenate([stamp.light[0], stamp.light[-1], stamp.light[:, 0], stamp.light[:, -1]])
    assert border.max() < 1e-7


@pytest.mark.parametrize("stamp", STAMPS[::3], ids=lambda s: GALAXY_KINDS[s.kind])
def test_the_half_light_radius_is_that_of_sep(stamp: Stamp) -> None:
    green = stamp.light[..., 1].astype(np.float64)
    y, x = np.indices(green.shape)
    centre = (green * x).sum() / green.sum(), (green * y).sum() / green.sum()
    radius, flag = sep.flux_radius(green, [centre[0]], [centre[1]], [120.0], 0.5, normflux=[1.0], subpix=5)
    assert not flag.any()
    assert stamp.half_light_px == pytest.approx(float(radius[0]), rel=0.04)


def test_shapes_are_those_of_their_kinds() -> None:
    ratios = {
        kind: [axis_ratio(s) for s in STAMPS if GALAXY_KINDS[s.kind] == kind]
        for kind in ("round", "in-between", "cigar", "edge-on")
    }
    assert min(ratios["round"]) > 0.82
    assert 0.4 < min(ratios["in-between"]) < max(ratios["in-between"]) < 0.8
    assert max(ratios["cigar"]) < 0.42
    assert max(ratios["edge-on"]) < 0.35


def test_bulges_are_redder_than_arms() -> None:
    for stamp in (s for s in STAMPS if GALAXY_KINDS[s.kind] == "spiral"):
        middle = stamp.light[120:136, 120:136].sum(axis=(0, 1))
        whole = stamp.light.sum(axis=(0, 1))
        assert middle[0] / middle[2] > whole[0] / whole[2]


def test_a_longer_list_begins_with_the_shorter() -> None:
    for first, again in zip(galaxy_stamps(4, 11), STAMPS[:4], strict=True):
        np.testing.assert_array_equal(first.light, again.light)
    assert not np.array_equal(galaxy_stamps(1, 12)[0].light, STAMPS[0].light)


def test_a_cutout_gets_its_linear_light_back() -> None:
    profile = galsim.Sersic(n=1.5, half_light_radius=9).shear(q=0.7, beta=0.4 * galsim.radians)
    linear = profile.drawImage(nx=128, ny=128, scale=1, dtype=float).array
    linear = (linear / linear.max())[..., None] * np.array([1.0, 0.8, 0.5])
    # The survey's own stretch: of the mean intensity, colours kept.
    grey = linear.mean(axis=2, keepdims=True)
    shown = linear / grey * np.arcsinh(grey / 0.1) / np.arcsinh(10)
    picture = np.clip(np.rint(shown * 255), 0, 255).astype(np.uint8)
    stamp = stamp_from_cutout(IsolatedGalaxy(picture, (40.0, 40.0, 88.0, 88.0)), kind=1, softening=0.1)
    assert stamp is not None
    assert stamp.kind == 1
    known = Stamp.of(linear.astype(np.float32))
    assert stamp.half_light_px == pytest.approx(known.half_light_px, rel=0.05)
    # White of the picture is the brightest channel: the very middle is cut off there.
    np.testing.assert_allclose(
        cv2.blur(stamp.light, (5, 5))[58:70, 58:70], cv2.blur(known.light, (5, 5))[58:70, 58:70], rtol=0.15
    )
    colour = stamp.light.sum(axis=(0, 1))
    np.testing.assert_allclose(colour / colour[1], [1.25, 1.0, 0.625], rtol=0.05)


def test_a_black_cutout_is_no_stamp() -> None:
    assert stamp_from_cutout(IsolatedGalaxy(np.zeros((32, 32, 3), np.uint8), (8.0, 8.0, 24.0, 24.0))) is None
    with pytest.raises(ValueError, match="needs light"):
        Stamp.of(np.zeros((8, 8, 3), np.float32))


def peaks(stamp: Stamp) -> int:
    """Maxima of the light as seeing shows it, of a fifth of the highest at least."""
    seen = cv2.GaussianBlur(stamp.light[..., 1], (0, 0), 3.5)
    highest = cv2.dilate(seen, np.ones((15, 15), np.uint8))
    tops = ((seen == highest) & (seen > 0.2 * seen.max())).astype(np.uint8)
    # Of a symmetric galaxy the middle pixels are alike.
    return cv2.connectedComponents(tops)[0] - 1


def lumpiness(stamp: Stamp) -> float:
    """Light that is nowhere in a smooth one: what a blur takes away, outside the core, over the light there."""
    green = cv2.GaussianBlur(stamp.light[..., 1], (0, 0), 1.5)
    y, x = np.indices(green.shape) - np.array(green.shape)[:, None, None] / 2 + 0.5
    radius = np.hypot(x, y) / stamp.half_light_px
    ring = (radius > 0.7) & (radius < 1.5)
    return float(np.abs(green - cv2.GaussianBlur(green, (0, 0), 4))[ring].sum() / green[ring].sum())


def test_mergers_have_two_nuclei_and_spirals_have_arms() -> None:
    by_kind = {kind: [s for s in STAMPS if GALAXY_KINDS[s.kind] == kind] for kind in GALAXY_KINDS}
    assert max(map(peaks, by_kind["round"] + by_kind["in-between"] + by_kind["cigar"])) == 1
    assert np.mean([peaks(s) > 1 for s in by_kind["merger"]]) >= 0.8
    assert np.median([lumpiness(s) for s in by_kind["spiral"]]) > 2 * max(map(lumpiness, by_kind["round"]))
