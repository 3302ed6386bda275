"""The same galaxy in two sets: by name, by position, by picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.data import DATASETS, PictureSet, leaks, open_dataset
from edgegal.data.leakage import Match, same_galaxies
from edgegal.data.picture_match import matched_pictures
from edgegal.data.positions import matched_positions, objects_by_position
from edgegal.data.stores import ArrayStore
from edgegal.labels import SCHEMES

pytestmark = pytest.mark.host

places = st.lists(st.tuples(st.floats(0, 360), st.floats(-90, 90)), max_size=8)


@given(places, places, st.floats(0.1, 7200))
@settings(max_examples=40)
def test_positions_match_as_astropy_matches_them(first, second, radius):  # type: ignore[no-untyped-def]
    from astropy.coordinates import SkyCoord

    one, other = (np.array(p, np.float64).reshape(-1, 2) for p in (first, second))
    found = {(int(i), int(j)) for i, j in matched_positions(one, other, radius)}
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            apart = SkyCoord(*a, unit="deg").separation(SkyCoord(*b, unit="deg")).arcsec
            if abs(apart - radius) > 1e-3:
                assert ((i, j) in found) == (apart < radius)


def test_unknown_positions_match_nothing() -> None:
    nowhere = np.array([[np.nan, np.nan], [10.0, 0.0]])
    assert matched_positions(nowhere, nowhere).tolist() == [[1, 1]]
    assert objects_by_position(("a", "b"), nowhere) == ("a", "b")


def test_places_around_the_meridian_and_in_a_chain_are_one_object() -> None:
    positions = np.array([[359.9999, 0], [0.0003, 0], [0.0009, 0], [0.1, 0], [10, 89.9999], [190, 89.9999]], np.float64)
    assert objects_by_position(tuple("abcdef"), positions) == ("a", "a", "a", "d", "e", "e")


def galaxy(seed: int, scale: float, side: int = 128) -> np.ndarray:  # type: ignore[type-arg]
    """A core with arms, neighbours and noise; all but the noise the same for one seed, `scale` times as large."""
    rng = np.random.default_rng(seed)
    y, x = (np.indices((side, side)) - side / 2 + 0.5) / scale
    light = 180 * np.exp(-np.hypot(x, y * rng.uniform(1, 2)) / 9)
    for _ in range(12):
        cx, cy = rng.normal(0, 22, 2)
        light += rng.uniform(30, 120) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(1.5, 4) ** 2))
    light += np.random.default_rng((seed, round(100 * scale))).normal(12, 3, light.shape)
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def rows(name: str, pictures: list[np.ndarray], split: str = "train") -> PictureSet:  # type: ignore[type-arg]
    n = len(pictures)
    ids = tuple(f"{name}{i}" for i in range(n))
    store = ArrayStore(Path(name), np.stack(pictures))
    files = tuple(map(str, range(n)))
    return PictureSet(name, SCHEMES["h4"], ids, np.zeros(n, np.int32), np.full(n, split), ("",) * n, files, store)


def test_pictures_match_across_scale_and_noise() -> None:
    first = rows("a", [galaxy(seed, 1.0) for seed in range(8)])
    second = rows("b", [galaxy(seed, scale) for seed, scale in ((5, 0.8), (20, 1.0), (2, 1.25), (21, 0.9), (7, 1.0))])
    assert matched_pictures(first, second).tolist() == [[2, 2], [5, 0], [7, 4]]


def test_smooth_galaxies_and_blank_pictures_are_not_taken_for_one_another() -> None:
    y, x = np.indices((128, 128)) - 63.5
    smooth = [
        cv2.merge([np.clip(200 * np.exp(-np.hypot(x, q * y) / r), 0, 255).astype(np.uint8)] * 3)
        for q, r in ((1.0, 6.0), (1.5, 9.0), (2.2, 5.0))
    ]
    blank = [np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 90, np.uint8)]
    assert (
        matched_pictures(rows("a", [smooth[0], blank[0]]), rows("b", [smooth[1], smooth[2], blank[1]])).tolist() == []
    )


def test_each_way_of_matching_is_named_and_leaks_follow() -> None:
    from dataclasses import replace

    first = rows("a", [galaxy(seed, 1.0) for seed in (1, 2, 3)])
    second = rows("b", [galaxy(seed, 1.0) for seed in (2, 9, 3)], "test")
    first = replace(first, positions=np.array([[10, 0], [20, 0], [30, 0]], np.float64), duplicates=("", "b0", ""))
    second = replace(second, positions=np.array([[20, 0.0001], [10.0002, 0], [99, 0]], np.float64))
    assert same_galaxies(first, second) == (Match("a1", "b0", "named"), Match("a0", "b1", "position"))
    assert same_galaxies(first, second, by_picture=True)[2:] == (Match("a2", "b2", "picture"),)
    assert [leak.how for leak in leaks([first], [second])] == ["named", "position"]
    assert leaks([second], [first]) == ()


@pytest.mark.realsky
@pytest.mark.skipif(not all(s.present for s in DATASETS.values() if s.shared), reason="shared sets absent")
def test_known_duplicates_of_the_shared_sets_are_found_by_picture() -> None:
    """All 63 and no false one among a tenth of the others."""
    gz1, gz2 = open_dataset("gz1_6class"), open_dataset("gz2_kaggle_5class")
    known = {i: d for i, d in zip(gz1.ids, gz1.duplicates, strict=True) if d}
    first = gz1.select(np.array([bool(d) or row % 10 == 0 for row, d in enumerate(gz1.duplicates)]))
    others = set(known.values())
    second = gz2.select(np.array([i in others or row % 10 == 0 for row, i in enumerate(gz2.ids)]))
    found = {(first.ids[i], second.ids[j]) for i, j in matched_pictures(first, second)}
    assert found == set(known.items())
