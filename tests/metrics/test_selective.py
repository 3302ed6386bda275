import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgegal.metrics import answered, risk_coverage


def test_a_curve_worked_out_by_hand() -> None:
    # Confidences .9 right, .8 wrong, .7 right, .6 right.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], np.float32)
    curve = risk_coverage(np.array([0, 1, 1, 0]), probabilities)
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.8, 0.7, 0.6], rtol=1e-6)
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 1 / 4])
    assert curve.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_confidence_that_says_nothing_has_the_error_rate_as_its_area() -> None:
    probabilities = np.tile([0.75, 0.25], (8, 1))
    curve = risk_coverage(np.array([0, 0, 0, 0, 0, 0, 1, 1]), probabilities)
    assert curve.thresholds.tolist() == [0.75]
    assert curve.area == 0.25


rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.sampled_from([0.1, 0.2, 0.5, 0.9]))


@given(rows, st.integers(0, 2**32 - 1))
def test_every_point_is_what_its_threshold_gives_whatever_the_order(raw: np.ndarray, seed: int) -> None:
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, len(raw))
    curve = risk_coverage(truth, probabilities)
    assert (np.diff(curve.thresholds) < 0).all()
    assert (np.diff(curve.coverage) > 0).all()
    assert curve.coverage[-1] == 1
    for threshold, coverage, risk in zip(curve.thresholds, curve.coverage, curve.risk, strict=True):
        given_answer = answered(probabilities, threshold)
        assert given_answer.mean() == pytest.approx(coverage)
        wrong = probabilities.argmax(axis=1) != truth
        assert wrong[given_answer].mean() == pytest.approx(risk)
    shuffled = rng.permutation(len(raw))
    assert risk_coverage(truth[shuffled], probabilities[shuffled]).area == pytest.approx(curve.area)


@pytest.mark.parametrize("n", [0, 3])
def test_arrays_that_do_not_fit_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="as long, not empty"):
        risk_coverage(np.zeros(n, int), np.zeros((0, 2)))
