"""Blended pairs of galaxies."""

import cv2
import numpy as np
import pytest

from edgegal.data.pairs import blended_pairs

pytestmark = pytest.mark.host

SIDE = 64


def blobs(colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Round galaxies of these colours on a dark sky, each in the middle."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    light = np.exp(-(x**2 + y**2) / 2 / 5**2)[..., None]
    return np.stack([np.clip(8 + light * np.array(colour), 0, 255).astype(np.uint8) for colour in colours])


def test_both_galaxies_are_there_apart_and_the_middle_lies_between() -> None:
    """Red and green in turn: the centre of light of each colour is somewhere else, and the picture's middle between."""
    for picture in blended_pairs(blobs([(220, 0, 0), (0, 220, 0)]), 8, 0):
        moments = [cv2.moments(np.clip(picture[..., c].astype(np.float32) - 10, 0, None)) for c in (0, 1)]
        red, green = (np.array([m["m10"], m["m01"]]) / m["m00"] - (SIDE - 1) / 2 for m in moments)
        apart = red - green
        assert 0.1 * SIDE < np.hypot(*apart) < 0.4 * SIDE
        # The middle lies on the line between them.
        share = -green @ apart / (apart @ apart)
        assert 0.2 < share < 0.8
        assert np.hypot(*(green + share * apart)) < 1.5


def test_the_sky_stays_and_no_edge_of_a_cutout_crosses_the_pair() -> None:
    """Cutouts that are bright to the brim leave no straight edges: light ends in a round, soft border."""
    bright = np.full((2, SIDE, SIDE, 3), 30, np.uint8)
    bright[:, 8:-8, 8:-8] = 200
    for picture in blended_pairs(bright, 6, 3):
        steps = np.abs(np.diff(picture[..., 0].astype(int), axis=0)).max()
        assert steps < 140
        assert picture[0, 0, 0] == np.median(bright[0, :: SIDE // 16, :: SIDE // 16, 0])


def test_the_seed_says_what_is_drawn() -> None:
    pictures = blobs([(200, 180, 160), (90, 120, 200), (30, 200, 40)])
    np.testing.assert_array_equal(blended_pairs(pictures, 3, 7), blended_pairs(pictures, 3, 7))
    assert not np.array_equal(blended_pairs(pictures, 3, 7), blended_pairs(pictures, 3, 8))
