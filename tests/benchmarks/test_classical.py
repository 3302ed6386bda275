"""The classical baseline finds the galaxies it should, and the comparison counts as a hand would."""

import builtins
import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

sep = pytest.importorskip("sep")

from edgegal.benchmarks.classical import (  # noqa: E402
    FEATURES,
    FITTED,
    ClassicalDetector,
    extract_objects,
    fit_discriminant,
    side_by_side,
)
from edgegal.data.fields import Field, compose_fields  # noqa: E402
from edgegal.detections import Detections, iou_matrix  # noqa: E402
from edgegal.errors import MissingPartError  # noqa: E402
from edgegal.preprocess import Stretch, stretch_linear  # noqa: E402

pytestmark = pytest.mark.host

GALAXY = (90.0, 70.0, 9.0, 4.0)


def sky(*gaussians, size=192, stars=12, seed=1):
    """Stars of sigma 1.3 pixels and the Gaussians x, y, sigma x, sigma y of 60 sigmas' peak."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size)) + 0.5
    light = rng.standard_normal((size, size))
    for place, peak in zip(rng.uniform(5, size - 5, (stars, 2)), np.geomspace(20, 800, stars), strict=True):
        if all(np.hypot(place[0] - g[0], place[1] - g[1]) > 40 for g in gaussians):
            light += peak * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 1.3**2))
    for x0, y0, sx, sy in gaussians:
        light += 60 * np.exp(-((x - x0) ** 2) / (2 * sx**2) - (y - y0) ** 2 / (2 * sy**2))
    return stretch_linear(np.repeat(light[..., None], 3, axis=2).astype(np.float32), Stretch())


def found(boxes, scores=None, classes=None):
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array([0.5] * n if scores is None else scores, np.float32),
        np.array([0] * n if classes is None else classes, np.int32),
    )


def field(boxes, ignore=(), classes=None):
    return Field(
        np.zeros((50, 50, 3), np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(ignore, np.float32).reshape(-1, 4),
        np.zeros(len(boxes), np.int32) if classes is None else np.array(classes, np.int32),
    )


def test_a_galaxy_among_stars_is_found_and_no_star_is():
    galaxies = ClassicalDetector()(sky(GALAXY))
    assert len(galaxies) == 1
    x, y, sx, sy = GALAXY
    reach = np.sqrt(2 * np.log(60 / 3))
    isophote = np.array([[x - reach * sx, y - reach * sy, x + reach * sx, y + reach * sy]], np.float32)
    assert iou_matrix(galaxies.boxes, isophote)[0, 0] > 0.7
    assert len(ClassicalDetector()(sky())) == 0


def test_extraction_lists_the_stars_too():
    objects = extract_objects(sky(GALAXY, stars=12), Stretch())
    assert len(objects.boxes) == len(objects.features) >= 8
    assert np.isfinite(objects.features).all()


def test_scores_grow_with_extent_and_are_best_first():
    small, large = (40.0, 40.0, 3.0, 3.0), (130.0, 130.0, 10.0, 10.0)
    galaxies = ClassicalDetector(discriminant=dataclasses.replace(FITTED, threshold=0.0))(sky(small, large))
    assert (np.diff(galaxies.scores) <= 0).all()
    sides = galaxies.sizes.max(axis=1)
    assert sides[0] == sides.max()


def test_the_threshold_is_the_least_score():
    loose, strict = (
        ClassicalDetector(discriminant=dataclasses.replace(FITTED, threshold=t))(sky(GALAXY)) for t in (0.0, 0.6)
    )
    assert len(loose) > len(strict) == (loose.scores >= 0.6).sum()


def test_it_is_a_baseline_worth_beating():
    """On composed fields it was not fitted on: well above what calling everything large a galaxy reaches."""
    (row,) = side_by_side({"classical": ClassicalDetector()}, compose_fields(12, 77, 256, Stretch()))
    assert row.overlap.f1.value > 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (60, 40)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_of_one_colour_has_no_galaxies(size, level):
    assert len(ClassicalDetector()(np.full((*size, 3), level, np.uint8))) == 0


def test_any_memory_layout_gives_the_same():
    view = sky(GALAXY)
    wanted = ClassicalDetector()(view).boxes
    assert len(wanted)
    for same in (np.asfortranarray(view), view[:, ::-1][:, ::-1], view[..., ::-1], view.astype(">u2")):
        assert_array_equal(ClassicalDetector()(same).boxes, wanted)


def test_a_frame_bright_all_over_fits_seps_pixel_stack():
    before = sep.get_extract_pixstack()
    sep.set_extract_pixstack(1000)
    try:
        assert len(ClassicalDetector()(sky((96.0, 96.0, 30.0, 30.0)))) == 1
    finally:
        sep.set_extract_pixstack(before)


def test_what_is_too_crowded_to_deblend_is_still_extracted():
    before = sep.get_sub_object_limit()
    rng = np.random.default_rng(0)
    crowd = [(*rng.uniform(60, 130, 2), 2.0, 2.0) for _ in range(40)]
    sep.set_sub_object_limit(2)
    try:
        assert len(extract_objects(sky(*crowd), Stretch()).boxes)
    finally:
        sep.set_sub_object_limit(before)


def test_without_sep_the_error_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def no_sep(name, *args, **kwargs):
        if name == "sep":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_sep)
    with pytest.raises(MissingPartError, match="needs sep") as error:
        ClassicalDetector()(np.zeros((9, 9, 3), np.uint8))
    assert error.value.mend == "pip install sep"


def test_boxes_are_counted_by_overlap_and_by_place():
    one = field([(10, 10, 20, 20), (30, 30, 40, 40)], ignore=[(0, 40, 10, 50)])
    answers = found(
        [
            (10, 10, 20, 20),  # a hit
            (33, 33, 37, 37),  # at the place of the other, and too small
            (11, 10, 21, 20),  # the first again
            (2, 42, 8, 48),  # where nothing counts
            (0, 0, 5, 5),  # false
        ],
        [0.9, 0.8, 0.7, 0.6, 0.5],
    )
    (row,) = side_by_side({"it": lambda _: answers}, [one])
    assert (row.detector, row.fields, row.galaxies, len(row.seconds)) == ("it", 1, 2, 1)
    assert_allclose(
        [row.overlap.precision.value, row.overlap.recall.value, row.overlap.f1.value], [1 / 4, 1 / 2, 2 / 6]
    )
    assert (row.overlap.false.value, row.place.false.value) == (3, 2)
    assert_allclose([row.place.precision.value, row.place.recall.value, row.place.f1.value], [2 / 4, 2 / 2, 4 / 6])


def test_the_better_box_takes_the_galaxy_and_small_ones_are_near_within_three_pixels():
    (row,) = side_by_side(
        {"it": lambda _: found([(12, 10, 14, 12), (10, 10, 12, 12)], [0.4, 0.6])}, [field([(10, 10, 12, 12)])]
    )
    assert (row.place.precision.value, row.place.recall.value) == (0.5, 1.0)
    (far,) = side_by_side({"it": lambda _: found([(14, 10, 16, 12)])}, [field([(10, 10, 12, 12)])])
    assert far.place.recall.value == 0


def test_only_galaxies_are_compared():
    mixed = field([(10, 10, 20, 20), (30, 30, 40, 40)], classes=[0, 1])
    (row,) = side_by_side({"it": lambda _: found([(10, 10, 20, 20), (30, 30, 40, 40)], classes=[0, 1])}, [mixed])
    assert (row.galaxies, row.overlap.f1.value, row.place.f1.value) == (1, 1, 1)


def test_the_best_and_the_worst_detector_stand_side_by_side():
    fields = [field([(10, 10, 20, 20)]), field([]), field([(1, 1, 9, 9), (20, 20, 40, 40)])]
    answers = iter([fields[0].truth, *(f.truth for f in fields)])
    rows = side_by_side({"right": lambda _: next(answers), "silent": lambda _: Detections.empty()}, fields)
    assert [r.detector for r in rows] == ["right", "silent"]
    assert [r.overlap.f1.value for r in rows] == [1, 0]
    assert [r.place.recall.value for r in rows] == [1, 0]
    assert np.isnan(rows[1].overlap.precision.value), "a silent detector has no precision"
    assert rows[0].overlap.f1.low == rows[0].overlap.f1.high == 1


def test_intervals_cover_the_fields():
    fields = [field([(10, 10, 20, 20)]) for _ in range(20)]
    calls = iter([found([]), *(found([(10, 10, 20, 20)]) if i % 2 else found([]) for i in range(20))])
    (row,) = side_by_side({"half": lambda _: next(calls)}, fields)
    recall = row.overlap.recall
    assert recall.value == 0.5
    assert 0.25 <= recall.low < 0.5 < recall.high <= 0.75


def test_a_comparison_is_frozen():
    (row,) = side_by_side({"it": lambda _: Detections.empty()}, [field([])])
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.fields = 2


def test_a_fit_tells_galaxies_from_stars_and_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from edgegal.benchmarks.classical import _logistic_regression

    rng = np.random.default_rng(2)
    features = rng.normal([5, 0, -2], [1, 3, 0.2], (300, 3))
    truth = (features @ [1.0, -0.5, 2.0] + rng.logistic(0, 1, 300) > 1).astype(float)
    weights, bias = _logistic_regression(features, truth)
    scaler = StandardScaler().fit(features)
    theirs = LogisticRegression(C=1.0, tol=1e-10).fit(scaler.transform(features), truth)
    expected = theirs.coef_[0] / scaler.scale_
    assert_allclose(weights, expected, rtol=1e-4)
    assert_allclose(bias, theirs.intercept_[0] - expected @ scaler.mean_, rtol=1e-4)


def test_a_fit_on_fields_finds_their_galaxies():
    fields = compose_fields(40, 12, 256, Stretch())
    fitted = fit_discriminant(fields)
    assert len(fitted.weights) == len(FEATURES)
    assert 0 < fitted.threshold < 1
    (row,) = side_by_side({"fitted": ClassicalDetector(discriminant=fitted)}, fields)
    (untold,) = side_by_side(
        {"all": ClassicalDetector(discriminant=dataclasses.replace(fitted, threshold=0.0))}, fields
    )
    assert row.overlap.f1.value > untold.overlap.f1.value + 0.1
