"""Fields of whole cutouts."""

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("sep", reason="boxes of cutouts need sep: the training environment")

from edgegal.data import mixture
from edgegal.data.boxes import segment_cutout
from edgegal.data.cutout_fields import BoxedCutout, boxed_cutout, cutout_field
from edgegal.data.fields import Field, faint_field, isolate
from edgegal.data.mixture import Ingredients, halved, mixed_fields
from edgegal.data.skies.distractors import PLATE
from edgegal.detections import iou_matrix
from edgegal.preprocess import Stretch

pytestmark = pytest.mark.host


def cutout(side: int = 128, sigma: float = 9.0, companion: bool = True) -> np.ndarray:
    y, x = np.indices((side, side)) - side / 2 + 0.5
    light = 200 * np.exp(-(x**2 + (1.7 * y) ** 2) / (2 * sigma**2))
    if companion:
        light += 200 * np.exp(-((x + 40) ** 2 + (y - 38) ** 2) / 8)
    noise = np.random.default_rng(0).normal(8, 2, (side, side, 3))
    return np.clip(light[..., None] + noise, 0, 255).astype(np.uint8)


def test_a_cutout_keeps_its_galaxy_apart_from_what_else_it_shows() -> None:
    found = boxed_cutout(cutout())
    assert found is not None
    assert found.galaxy[0] < 64 < found.galaxy[2]
    assert len(found.companions) == 1
    assert iou_matrix(found.galaxy[None], found.companions)[0, 0] == 0
    assert boxed_cutout(np.full((128, 128, 3), 9, np.uint8)) is None


def test_boxes_lie_on_the_light_wherever_the_cutout_comes_to_lie() -> None:
    boxed = boxed_cutout(cutout(companion=False))
    assert boxed is not None
    wanted = 0
    for seed in range(60):
        scene = cutout_field(256, [boxed], np.random.default_rng(seed))
        assert scene.picture.shape == (256, 256, 3)
        for box in scene.boxes:
            x0, y0, x1, y1 = (int(v) for v in np.rint(box))
            inside = scene.picture[y0:y1, x0:x1].mean(axis=2)
            # The brightest pixel of the galaxy is well inside, and its rim is dark.
            assert inside.max() > 120
            wanted += 1
        light = scene.picture.mean(axis=2)
        for box in np.concatenate([scene.boxes, scene.ignore]):
            x0, y0, x1, y1 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
            light[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = 0
        assert light.max() < 60
    assert wanted > 60


def test_the_box_of_a_cutout_at_its_own_scale_is_that_of_its_segmentation() -> None:
    picture = cutout(side=160)
    boxed = boxed_cutout(picture)
    assert boxed is not None
    scene = next(
        s
        for seed in range(200)
        for s in [cutout_field(160, [boxed], np.random.default_rng(seed))]
        if np.array_equal(s.picture, picture)
    )
    found = segment_cutout(scene.picture)
    np.testing.assert_array_equal(scene.boxes[0], found.boxes[found.central])


def test_what_the_border_cuts_counts_neither_way() -> None:
    """A galaxy in the corner of its cutout, of which mosaics often show little."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[40:64, 40:64] = 250
    corner = BoxedCutout(picture, np.array([40, 40, 64, 64], np.float32), np.zeros((0, 4), np.float32))
    ignored = 0
    for seed in range(80):
        scene = cutout_field(96, [corner], np.random.default_rng(seed))
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        assert (sides.max(axis=1, initial=12) >= 12).all()
        ignored += len(scene.ignore)
        for box in np.concatenate([scene.boxes, scene.ignore]):
            x0, y0, x1, y1 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
            assert scene.picture[y0:y1, x0:x1].max() > 60
    assert ignored > 10


def test_halving_a_field_halves_its_boxes_and_drops_the_smallest() -> None:
    fields = mixed_fields(30, 3, 128, Stretch(), Ingredients())
    for scene in fields:
        half = halved(scene)
        assert half.picture.shape == (64, 64, 3)
        assert len(half.boxes) + len(half.ignore) == len(scene.boxes) + len(scene.ignore)
        assert ((half.boxes[:, 2:] - half.boxes[:, :2]).max(axis=1, initial=0) >= 12).all()
    assert sum(len(f.boxes) for f in fields) > 30


def test_a_mixture_repeats_and_shows_cutouts_and_composed_fields() -> None:
    boxed = boxed_cutout(cutout())
    assert boxed is not None
    pool = Ingredients([boxed])
    first, again = (mixed_fields(30, 7, 128, Stretch(), pool, processes) for processes in (1, 2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    empty = [len(f.boxes) == 0 for f in first]
    assert 0 < sum(empty) < 15


def test_hard_fields_are_only_among_those_that_ask_for_them() -> None:
    plain, mixed = (mixed_fields(60, 11, 64, Stretch(), Ingredients(hard=hard)) for hard in (False, True))
    empty = [sum(not len(f.boxes) + len(f.ignore) for f in fields) for fields in (plain, mixed)]
    assert empty[1] > empty[0]
    assert any(not np.array_equal(a.picture, b.picture) for a, b in zip(plain, mixed, strict=True))


def test_plates_and_faint_galaxies_are_among_the_hard_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def bare(size: int, stretch: Stretch, rng: np.random.Generator, kinds: Sequence[str]) -> Field:
        shown.append("plate" if kinds == (PLATE,) else "other")
        assert "nebula" not in kinds
        return faint_field(size, stretch, rng)

    def faint(size: int, stretch: Stretch, rng: np.random.Generator) -> Field:
        shown.append("faint")
        return faint_field(size, stretch, rng)

    monkeypatch.setattr(mixture, "bare_field", bare)
    monkeypatch.setattr(mixture, "faint_field", faint)
    # Nebulae are asked for, so none may stand unboxed in a field of nothing.
    mixed_fields(80, 11, 64, Stretch(), Ingredients(labels=("galaxy", "nebula"), hard=True))
    assert {"plate", "other", "faint"} == set(shown)
    assert shown.count("plate") < shown.count("other")


def test_pairs_are_shown_where_there_are_galaxies_to_pair() -> None:
    galaxy = isolate(cutout(companion=False))
    assert galaxy is not None

    def touching(hard: bool) -> int:
        fields = mixed_fields(80, 11, 128, Stretch(), Ingredients(isolated=[galaxy], hard=hard))
        overlaps = [iou_matrix(f.boxes, f.boxes) - np.eye(len(f.boxes)) for f in fields]
        return sum(int((overlap > 0.02).any()) for overlap in overlaps)

    assert touching(hard=False) == 0
    assert touching(hard=True) > 0
