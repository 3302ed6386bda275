import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal import metrics
from edgegal.detections import Detections
from edgegal.metrics import PictureMatch


def match(scores: list[float], taken: list[int], truths: int) -> PictureMatch:
    """Detections, best first; what each took as in `PictureMatch.taken`."""
    return PictureMatch(np.array(scores, np.float32), np.array(taken).reshape(-1, 1), np.ones(truths, bool))


@st.composite
def matches(draw: st.DrawFn) -> list[PictureMatch]:
    drawn = []
    for _ in range(draw(st.integers(1, 5))):
        scores = sorted(draw(st.lists(st.integers(0, 20), max_size=8)), reverse=True)
        truths = draw(st.integers(0, 4))
        order = draw(st.permutations(range(truths)))
        taken = [draw(st.sampled_from([-1, -2, order[i] if i < truths else -1])) for i in range(len(scores))]
        drawn.append(match([s / 20 for s in scores], taken, truths))
    return drawn


def test_a_curve_worked_out_by_hand() -> None:
    set_ = [match([0.9, 0.6, 0.3], [0, -1, 1], 2), match([0.8, 0.7], [-2, 0], 2)]
    curve = metrics.confidence_curve(set_, np.array([0.2, 0.5, 0.75, 0.95]))
    np.testing.assert_array_equal(curve.hits, [3, 2, 1, 0])
    np.testing.assert_array_equal(curve.false, [1, 1, 0, 0])
    np.testing.assert_allclose(curve.precision, [3 / 4, 2 / 3, 1, np.nan])
    np.testing.assert_allclose(curve.recall, [3 / 4, 2 / 4, 1 / 4, 0])
    np.testing.assert_allclose(curve.f1, [6 / 8, 4 / 7, 2 / 5, 0])
    assert curve.best_threshold == 0.2


@given(matches(), st.floats(0.01, 0.99))
def test_a_point_is_what_the_detections_above_it_give(set_: list[PictureMatch], threshold: float) -> None:
    curve = metrics.confidence_curve(set_, np.array([threshold]))
    kept = [m.taken[m.scores >= np.float32(threshold), 0] for m in set_]
    assert curve.hits[0] == sum((k >= 0).sum() for k in kept)
    assert curve.false[0] == sum((k == -1).sum() for k in kept)


@given(matches())
def test_no_threshold_has_a_better_f1_than_the_best(set_: list[PictureMatch]) -> None:
    curve = metrics.confidence_curve(set_)
    f1 = np.nan_to_num(curve.f1)
    assert f1[curve.best] == f1.max()
    assert (f1[: curve.best] < f1.max()).all()
    assert curve.thresholds[curve.best] == curve.best_threshold


@given(matches(), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_weights_of_pictures_are_repeats_of_them(set_: list[PictureMatch], repeats: list[int]) -> None:
    counts = np.array([repeats[: len(set_)]], np.float64)
    weighted = metrics.confidence_curve(set_, counts=counts)
    drawn = [m for m, n in zip(set_, repeats, strict=False) for _ in range(n)]
    if drawn:
        plain = metrics.confidence_curve(drawn)
        for name in ("hits", "false", "precision", "recall", "f1"):
            np.testing.assert_array_equal(getattr(weighted, name)[0], getattr(plain, name))
        assert weighted.best_threshold[0] == plain.best_threshold


def test_a_threshold_keeps_what_the_detector_keeps() -> None:
    # In single precision .9 is less than in double: a score of .9 has to pass a threshold of .9 all the same.
    scores = np.round(np.arange(0.01, 1, 0.01), 2).astype(np.float32)[::-1]
    found = Detections(np.zeros((99, 4), np.float32), scores, np.zeros(99, np.int32))
    curve = metrics.confidence_curve([match(scores.tolist(), [-1] * 99, 1)])
    assert curve.false.tolist() == [len(found.above(t)) for t in metrics.THRESHOLDS.tolist()] == list(range(99, 0, -1))


@pytest.mark.host
def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_curve

    rng = np.random.default_rng(0)
    scores = np.sort(rng.integers(1, 100, 300))[::-1] / 100
    hit = rng.random(300) < scores
    # With as many true boxes as hits a detector is a classifier of its own detections.
    index = np.where(hit, np.cumsum(hit) - 1, -1)
    curve = metrics.confidence_curve([match(scores.tolist(), index.tolist(), int(hit.sum()))])
    precision, recall, at = precision_recall_curve(hit, scores.astype(np.float32))
    places = np.searchsorted(at, metrics.THRESHOLDS.astype(np.float32))
    known = np.isfinite(curve.precision)
    np.testing.assert_allclose(curve.precision[known], precision[places][known])
    np.testing.assert_allclose(curve.recall, recall[places])


def test_bands_hold_the_curve_and_count_false_detections_a_square_degree() -> None:
    rng = np.random.default_rng(1)
    set_ = []
    for _ in range(40):
        scores = np.sort(rng.random(6))[::-1]
        hit = rng.random(6) < scores
        set_.append(match(scores.tolist(), np.where(hit, np.cumsum(hit) - 1, -1).tolist(), int(hit.sum()) + 1))
    curve = metrics.confidence_curve(set_)
    areas = np.full(40, 0.25)
    bands = metrics.confidence_bands(set_, areas=areas, resamples=200)
    np.testing.assert_allclose(bands["false"].value, curve.false / 10)
    np.testing.assert_allclose(metrics.confidence_bands(set_, resamples=20)["false"].value, curve.false / 40)
    assert bands["best_threshold"].value == curve.best_threshold
    for name in ("precision", "recall", "f1"):
        band = bands[name]
        np.testing.assert_array_equal(band.value, getattr(curve, name))
        assert (band.low[30:60] < band.value[30:60]).all()
        assert (band.value[30:60] < band.high[30:60]).all()


def test_a_picture_of_the_moons_width_is_a_quarter_of_a_square_degree() -> None:
    assert metrics.square_degrees(900, 1800, 1.0) == pytest.approx(0.25 * 0.5)
    assert metrics.square_degrees(900, 900, 2.0) == pytest.approx(0.25)
