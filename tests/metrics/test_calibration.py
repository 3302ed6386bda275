import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal import metrics


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.integers(0, 4, 500), rng.dirichlet(np.ones(4) * 0.5, 500)


@pytest.mark.host
@pytest.mark.parametrize(("binning", "strategy"), [("equal-width", "uniform"), ("equal-count", "quantile")])
def test_agrees_with_scikit_learns_reliability_curve(
    answers: tuple[np.ndarray, np.ndarray], binning: metrics.Binning, strategy: str
) -> None:
    from sklearn.calibration import calibration_curve

    truth, probabilities = answers
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == truth
    ours = metrics.reliability(truth, probabilities, bins=10, binning=binning)
    share, mean = calibration_curve(hit, confidence, n_bins=10, strategy=strategy)
    used = ours.counts > 0
    # Edges of equal counts lie on a picture here and between two there: a picture may change bins.
    close = {"atol": 1e-12} if binning == "equal-width" else {"atol": 0.03}
    np.testing.assert_allclose(ours.accuracy[used], share, **close)
    np.testing.assert_allclose(ours.confidence[used], mean, **close)
    error = np.sum(np.abs(share - mean) * ours.counts[used]) / 500
    assert metrics.expected_calibration_error(truth, probabilities, 10, binning) == pytest.approx(error, abs=0.01)


def test_bins_of_equal_count_hold_as_many(answers: tuple[np.ndarray, np.ndarray]) -> None:
    assert metrics.reliability(*answers, bins=10, binning="equal-count").counts.tolist() == [50] * 10


def test_confidences_that_repeat_share_a_bin_and_none_is_empty() -> None:
    probabilities = np.array([[0.9, 0.1]] * 8 + [[0.6, 0.4]] * 2)
    bins = metrics.reliability(np.zeros(10, int), probabilities, bins=5, binning="equal-count")
    assert bins.counts.tolist() == [2, 8]
    np.testing.assert_allclose(bins.confidence, [0.6, 0.9])


def test_calibration_error_of_a_network_always_sure_is_its_error_rate() -> None:
    truth, probabilities = np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 0, 1]]
    assert metrics.expected_calibration_error(truth, probabilities) == pytest.approx(0.25)
    assert metrics.expected_calibration_error(truth, probabilities, binning="equal-count") == pytest.approx(0.25)


def test_weights_are_repeats(answers: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = answers
    weights = np.random.default_rng(1).integers(0, 3, (4, 500)).astype(float)
    together = metrics.reliability(truth, probabilities, weights=weights).error
    for row, error in zip(weights, together, strict=True):
        drawn = np.repeat(np.arange(500), row.astype(int))
        assert error == pytest.approx(metrics.expected_calibration_error(truth[drawn], probabilities[drawn]))


@pytest.mark.host
@given(st.integers(0, 1000), st.integers(2, 6))
def test_proper_scores_agree_with_scikit_learn(seed: int, classes: int) -> None:
    from sklearn import metrics as sk

    rng = np.random.default_rng(seed)
    truth, probabilities = rng.integers(0, classes, 30), rng.dirichlet(np.ones(classes), 30)
    assert metrics.log_losses(truth, probabilities).mean() == pytest.approx(
        sk.log_loss(truth, probabilities, labels=range(classes)), rel=1e-5
    )
    if classes == 2:
        # Summed over both classes: twice the score of one.
        expected = 2 * sk.brier_score_loss(truth, probabilities[:, 1], pos_label=1)
        assert metrics.brier_scores(truth, probabilities).mean() == pytest.approx(expected)


def test_a_sure_mistake_costs_a_finite_loss() -> None:
    assert metrics.log_losses(np.array([1]), np.array([[1.0, 0.0]]))[0] == pytest.approx(-np.log(1e-7))
    assert metrics.brier_scores(np.array([1]), np.array([[1.0, 0.0]]))[0] == 2
