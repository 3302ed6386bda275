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
    counts = metrics.confusion_matrix(truth, predicted, 5)
    for ours, theirs in [(metrics.precisions, sk.precision_score), (metrics.f1_scores, sk.f1_score)]:
        # Where there is nothing to divide by, scikit-learn puts 0 and we put NaN.
        per_class = theirs(truth, predicted, labels=range(5), average=None, zero_division=0)
        np.testing.assert_allclose(np.nan_to_num(ours(counts)), per_class)
        macro = theirs(truth, predicted, average="macro", zero_division=0)
        assert metrics.mean_over_seen(ours(counts), counts) == pytest.approx(macro)
    assert metrics.weighted_f1(counts) == pytest.approx(
        sk.f1_score(truth, predicted, average="weighted", zero_division=0)
    )


def test_weights_are_repeats() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (2, 50))
    weights = rng.integers(0, 3, (6, 50)).astype(float)
    together = metrics.weighted_confusion(truth, predicted, 4, weights)
    for row, counts in zip(weights, together, strict=True):
        drawn = np.repeat(np.arange(50), row.astype(int))
        np.testing.assert_array_equal(counts, metrics.confusion_matrix(truth[drawn], predicted[drawn], 4))
    each = [metrics.mean_over_seen(metrics.f1_scores(c), c) for c in together]
    np.testing.assert_allclose(metrics.mean_over_seen(metrics.f1_scores(together), together), each)


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
