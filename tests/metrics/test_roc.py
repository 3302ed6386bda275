import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import metrics

# Few distinct scores: most pictures are tied with others.
TIED = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 4)), min_size=2, max_size=60)


@pytest.mark.host
@settings(max_examples=80)
@given(TIED)
def test_agrees_with_scikit_learn_ties_and_weights_included(rows: list[tuple[bool, int, int]]) -> None:
    from sklearn import metrics as sk

    positive, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    scores = scores / 5
    for w in (None, weights.astype(float)):
        shares = np.ones(len(rows)) if w is None else w
        ours = metrics.roc_auc(positive, scores, w)
        if not shares[positive].sum() or not shares[~positive].sum():
            assert np.isnan(ours)
            continue
        assert ours == pytest.approx(sk.roc_auc_score(positive, scores, sample_weight=w))
        curve = metrics.roc_curve(positive, scores, w)
        fpr, tpr, at = sk.roc_curve(positive, scores, sample_weight=w, drop_intermediate=False)
        np.testing.assert_allclose(curve.false_positive, fpr, atol=1e-12)
        np.testing.assert_allclose(curve.true_positive, tpr, atol=1e-12)
        np.testing.assert_array_equal(curve.scores, at)


@pytest.mark.host
def test_the_mean_over_classes_is_scikit_learns_one_versus_rest() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(0, 4, 300), rng.dirichlet(np.ones(4), 300)
    ours = np.mean([metrics.roc_auc(truth == c, probabilities[:, c]) for c in range(4)])
    assert ours == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"))


@given(TIED)
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[bool, int, int]]) -> None:
    positive, scores = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    above = scores[positive][:, None] - scores[~positive]
    if above.size:
        expected = np.mean((above > 0) + 0.5 * (above == 0))
        assert metrics.roc_auc(positive, scores) == pytest.approx(expected)


def test_leading_axes_of_weights_give_a_curve_each() -> None:
    rng = np.random.default_rng(1)
    positive, scores = rng.random(40) < 0.4, rng.integers(0, 9, 40).astype(float)
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    together = metrics.roc_auc(positive, scores, weights)
    assert together.shape == (5,)
    for row, area in zip(weights, together, strict=True):
        drawn = np.repeat(np.arange(40), row.astype(int))
        assert area == pytest.approx(metrics.roc_auc(positive[drawn], scores[drawn]))


def test_heights_of_a_step_are_those_of_its_top() -> None:
    curve = metrics.roc_curve(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    np.testing.assert_allclose(metrics.true_positive_rates(curve, np.array([0, 0.25, 0.5, 1])), [0.5, 0.5, 1, 1])


def test_a_class_without_pictures_has_no_curve() -> None:
    scores = np.array([0.2, 0.4])
    curve = metrics.roc_curve(np.array([False, False]), scores)
    assert np.isnan(metrics.area(curve))
    assert np.isnan(metrics.true_positive_rates(curve, np.array([0.5]))).all()


@pytest.mark.parametrize(
    ("positive", "scores"), [([], []), ([True], [0.1, 0.2]), ([True, False], [np.nan, 1])], ids=str
)
def test_what_has_no_order_is_refused(positive: list[bool], scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must be equal|not numbers"):
        metrics.roc_curve(np.array(positive, bool), np.array(scores, float))
