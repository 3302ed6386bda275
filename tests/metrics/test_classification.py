import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import metrics

LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@pytest.mark.host
@settings(max_examples=60, deadline=None)
@given(LABELS)
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn import metrics as sk

    truth, predicted = np.array(pairs).T
    assert metrics.accuracy(truth, predicted) == pytest.approx(sk.accuracy_score(truth, predicted))
    assert metrics.macro_f1(truth, predicted, 5) == pytest.approx(
        sk.f1_score(truth, predicted, average="macro", zero_division=0)
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(truth, predicted, 5), sk.confusion_matrix(truth, predicted, labels=range(5))
    )
    expected = sk.recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert metrics.balanced_accuracy(truth, predicted, 5) == pytest.approx(expected)


@pytest.mark.host
def test_calibration_error_agrees_with_scikit_learns_reliability_curve() -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(4) * 0.5, 500)
    truth = rng.integers(0, 4, 500)
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == truth
    share, mean_confidence = calibration_curve(hit, confidence, n_bins=10)
    counts = np.histogram(confidence, np.linspace(0, 1, 11))[0]
    expected = np.sum(np.abs(share - mean_confidence) * counts[counts > 0]) / 500
    assert metrics.expected_calibration_error(truth, probabilities, bins=10) == pytest.approx(expected)


def test_calibration_error_of_a_network_always_sure_is_its_error_rate() -> None:
    probabilities = np.eye(3)[[0, 0, 0, 1]]
    assert metrics.expected_calibration_error(np.array([0, 0, 1, 1]), probabilities) == pytest.approx(0.25)


def test_recall_of_a_class_without_pictures_is_nan_and_leaves_the_balance_alone() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    recalls = metrics.recalls(metrics.confusion_matrix(truth, predicted, 3))
    np.testing.assert_array_equal(recalls, [1, 0.5, np.nan])
    assert metrics.balanced_accuracy(truth, predicted, 3) == 0.75


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [([0, 3], [0, 1]), ([0, -1], [0, 1]), ([], []), ([0, 1], [0])],
    ids=["too high", "unlabelled", "empty", "unequal"],
)
def test_labels_that_do_not_fit_are_refused(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"class indices|must be equal"):
        metrics.confusion_matrix(np.array(truth, int), np.array(predicted, int), 3)
