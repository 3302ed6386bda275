"""Composed fields."""

import numpy as np
import pytest

pytest.importorskip("sep", reason="boxes of cutouts need sep: the training environment")

from edgegal.data.fields import (
    IsolatedGalaxy,
    bare_field,
    compose_field,
    compose_fields,
    faint_field,
    isolate,
    paired_field,
)
from edgegal.data.skies.distractors import distractor_frame
from edgegal.detections import iou_matrix
from edgegal.preprocess import Stretch
from edgegal.sky import Night

pytestmark = pytest.mark.host


def _blob(side: int = 96, sigma: float = 9.0) -> np.ndarray:
    y, x = np.indices((side, side)) - side / 2 + 0.5
    light = 200 * np.exp(-(x**2 + (1.7 * y) ** 2) / (2 * sigma**2))
    noise = np.random.default_rng(0).normal(8, 2, (side, side, 3))
    return np.clip(light[..., None] + noise, 0, 255).astype(np.uint8)


def test_isolate_takes_the_galaxy_and_leaves_the_neighbour() -> None:
    picture = _blob()
    picture[8:14, 8:14] = 220
    galaxy = isolate(picture)
    assert galaxy is not None
    x0, y0, x1, y1 = galaxy.box
    assert x0 < 48 < x1
    assert y0 < 48 < y1
    assert galaxy.side == max(x1 - x0, y1 - y0)
    assert galaxy.light[8:14, 8:14].max() == 0
    assert galaxy.light[46:50, 46:50].min() > 150


def test_isolate_finds_nothing_in_plain_sky() -> None:
    sky = np.random.default_rng(0).normal(8, 2, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    assert isolate(sky) is None


def test_fields_repeat_and_their_boxes_fit() -> None:
    galaxy = isolate(_blob())
    assert galaxy is not None
    first = compose_fields(12, 5, 128, Stretch(), [galaxy])
    again = compose_fields(12, 5, 128, Stretch(), [galaxy])
    for field, twin in zip(first, again, strict=True):
        np.testing.assert_array_equal(field.picture, twin.picture)
        assert field.picture.shape == (128, 128, 3)
        assert field.picture.dtype == np.uint8
        assert (field.boxes[:, 2:] > field.boxes[:, :2]).all()
        assert field.boxes.min(initial=0) >= 0
        assert field.boxes.max(initial=0) <= 128
        sides = (field.boxes[:, 2:] - field.boxes[:, :2]).max(axis=1, initial=0)
        assert (sides >= 12).all()
    assert sum(len(f.boxes) for f in first) > 12
    assert any(len(f.boxes) == 0 for f in compose_fields(40, 1, 64, Stretch()))


def test_a_pasted_galaxy_lies_in_its_box() -> None:
    """A pure red galaxy on the mostly grey simulated sky: its light may not lie beside its box."""
    light = np.zeros((40, 40, 3), np.uint8)
    light[10:30, 16:24] = (250, 0, 0)
    galaxy = IsolatedGalaxy(light, (16.0, 10.0, 24.0, 30.0))
    boxed = beside = 0
    for seed in range(30):
        field = compose_field(256, Stretch(), [galaxy], np.random.default_rng(seed))
        rgb = field.picture.astype(int)
        red = rgb[..., 0] - rgb[..., 1:].max(axis=2) > 100
        known = np.zeros_like(red)
        for x0, y0, x1, y1 in np.concatenate([field.boxes, field.ignore]).astype(int):
            # Resizing smears a pixel or two beyond the box.
            known[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = True
        boxed += int((red & known).sum())
        beside += int((red & ~known).sum())
    assert boxed > 2000
    assert beside < 0.02 * boxed


def test_a_bare_field_shows_one_of_the_distractors_and_asks_for_nothing() -> None:
    """Its star trails are those of a frame of star trails, but for how the picture is displayed."""
    fields = [bare_field(96, Stretch(), np.random.default_rng(seed), ["star trails"]) for seed in range(8)]
    for seed, field in enumerate(fields):
        assert len(field.boxes) == len(field.ignore) == 0
        assert field.picture.dtype == np.uint8
        rng = np.random.default_rng(seed)
        rng.integers(1)
        shown = distractor_frame("star trails", 96, Stretch(), rng).mean(axis=2)
        assert np.corrcoef(shown.ravel(), field.picture.mean(axis=2).ravel())[0, 1] > 0.9
    several = [bare_field(96, Stretch(), np.random.default_rng(seed), ["nebula", "donuts"]) for seed in range(8)]
    assert len({field.picture.tobytes() for field in several}) == 8


def test_galaxies_of_a_pair_lie_close_and_each_in_a_box_of_its_own() -> None:
    """In the middle of each box there is light, and no two boxes overlap by more than two fifths."""
    light = np.zeros((60, 60, 3), np.uint8)
    y, x = np.indices((60, 60)) - 29.5
    light[..., 0] = 200 * np.exp(-(x**2 + y**2) / 200)
    galaxy = IsolatedGalaxy(light, (10.0, 10.0, 50.0, 50.0))
    touching = 0
    for seed in range(20):
        field = paired_field(256, Stretch(), [galaxy], np.random.default_rng(seed))
        assert len(field.boxes) + len(field.ignore) in (0, 2, 4, 6, 8)
        boxes = np.concatenate([field.boxes, field.ignore])
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= 256
        overlap = iou_matrix(boxes, boxes) - np.eye(len(boxes))
        assert overlap.max(initial=0) <= 0.4
        touching += int((overlap > 0).sum())
        rgb = field.picture.astype(int)
        for x0, y0, x1, y1 in field.boxes:
            middle = rgb[int(y0 + y1) // 2, int(x0 + x1) // 2]
            assert middle.max() > np.median(rgb) + 20
    assert touching > 10


def test_light_that_two_galaxies_share_moves_no_box(monkeypatch: pytest.MonkeyPatch) -> None:
    light = np.zeros((60, 60, 3), np.uint8)
    y, x = np.indices((60, 60)) - 29.5
    light[:] = (200 * np.exp(-(x**2 + y**2) / 200))[..., None]
    galaxy = IsolatedGalaxy(light, (10.0, 10.0, 50.0, 50.0))
    brighter = 0
    for seed in range(8):
        shared = paired_field(256, Stretch(), [galaxy], np.random.default_rng(seed))
        with monkeypatch.context() as without:
            without.setattr("edgegal.data.fields._SHARED_LIGHT", 0.0)
            apart = paired_field(256, Stretch(), [galaxy], np.random.default_rng(seed))
        np.testing.assert_array_equal(shared.boxes, apart.boxes)
        brighter += int((shared.picture.astype(int) - apart.picture > 3).sum() > 500)
    assert brighter >= 4


def test_a_long_galaxy_that_does_not_fit_is_left_out_and_small_fields_are_drawn() -> None:
    """Turned along an edge, a galaxy cut from a diagonal is longer than the longer side of its box."""
    light = np.zeros((64, 64, 3), np.uint8)
    light[np.abs(np.subtract.outer(np.arange(64), np.arange(64))) < 3] = 250
    bar = IsolatedGalaxy(light, (0.0, 0.0, 64.0, 64.0))
    for size in (32, 64):
        for seed in range(60):
            for field in (
                paired_field(size, Stretch(), [bar], np.random.default_rng(seed)),
                faint_field(size, Stretch(), np.random.default_rng(seed)),
            ):
                assert field.picture.shape == (size, size, 3)
                assert field.boxes.max(initial=0) <= size


def test_without_light_there_is_no_pair() -> None:
    dark = IsolatedGalaxy(np.zeros((40, 40, 3), np.uint8), (10.0, 10.0, 30.0, 30.0))
    for seed in range(5):
        field = paired_field(128, Stretch(), [dark], np.random.default_rng(seed))
        assert len(field.boxes) == len(field.ignore) == 0


def test_faint_fields_repeat_and_have_small_galaxies_in_raw_noise() -> None:
    fields = [faint_field(256, Stretch(), np.random.default_rng(seed)) for seed in range(12)]
    again = faint_field(256, Stretch(), np.random.default_rng(3))
    np.testing.assert_array_equal(again.picture, fields[3].picture)
    sides = np.concatenate([(f.boxes[:, 2:] - f.boxes[:, :2]).max(axis=1, initial=0) for f in fields])
    assert len(sides) > 24
    assert sides.min() >= 12
    assert np.median(sides) < 40
    # A camera without colour has the same noise in every channel, which a display turned to grey would have halved.
    grey = [np.corrcoef(*f.picture.reshape(-1, 3)[:, :2].T.astype(float))[0, 1] > 0.99 for f in fields]
    assert 3 <= sum(grey) < 12


def test_a_night_and_a_field_share_their_sky() -> None:
    """Fields stretch as the device does: sky of a simulated frame and of simulated fields have one grey level."""
    from edgegal.preprocess import as_view

    frame = as_view(Night(seed=2, width=256, height=256, frames=1).frame(0), Stretch())
    fields = compose_fields(20, 3, 256, Stretch())
    assert abs(np.median(frame) - np.median([np.median(f.picture) for f in fields])) <= 12
