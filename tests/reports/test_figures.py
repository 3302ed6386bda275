from collections.abc import Callable

import numpy as np
import pytest

from edgegal import metrics
from edgegal.reports import ClassificationResult, RegressionResult, measured
from edgegal.reports.figures import RATES, TITLES, roc_bands

Drawn = Callable[..., ClassificationResult]


@pytest.mark.host
def test_every_figure_is_that_of_scikit_learn(drawn: Drawn) -> None:
    from sklearn import metrics as sk

    result = drawn(n=200, classes=4)
    truth, probabilities, predicted = result.truth, result.probabilities, result.predicted
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_precision": sk.precision_score(truth, predicted, average="macro"),
        "macro_f1": sk.f1_score(truth, predicted, average="macro"),
        "weighted_f1": sk.f1_score(truth, predicted, average="weighted"),
        "macro_auc": sk.roc_auc_score(truth, probabilities, multi_class="ovr"),
        "log_loss": sk.log_loss(truth, probabilities),
        "precision": sk.precision_score(truth, predicted, average=None),
        "recall": sk.recall_score(truth, predicted, average=None),
        "f1": sk.f1_score(truth, predicted, average=None),
        "confusion_shares": sk.confusion_matrix(truth, predicted, normalize="true"),
        "auc": [sk.roc_auc_score(truth == c, probabilities[:, c]) for c in range(4)],
    }
    ours = measured(result, resamples=20)
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key].value, value, err_msg=key)
    assert set(ours) - {"bin_accuracy", "confusion_shares"} <= set(TITLES)


def test_intervals_hold_the_truth_about_as_often_as_they_say(drawn: Drawn) -> None:
    true = (lambda r: float(np.mean(r.predicted == r.truth)))(drawn(n=100_000, seed=99))
    held = 0
    for seed in range(60):
        interval = measured(drawn(n=150, seed=seed), seed, 200)["accuracy"].interval()
        held += interval.low <= true <= interval.high
    # 95 % of 60 is 57; fewer than 50 has a chance below one in 500 even at 90 %.
    assert held >= 50


def test_intervals_follow_the_seed_alone(drawn: Drawn) -> None:
    first, again, other = (measured(drawn(), seed, 50)["macro_f1"].interval() for seed in (1, 1, 2))
    assert first == again != other


def test_an_empty_class_and_one_never_named_have_no_figures_and_spoil_none(drawn: Drawn) -> None:
    result = drawn(classes=2)
    padded = np.pad(result.probabilities, ((0, 0), (0, 1)))
    bands = measured(drawn(labels=("a", "b", "c"), truth=result.truth, probabilities=padded), resamples=50)
    for key in ("precision", "recall", "f1", "auc"):
        assert np.isfinite(bands[key].value).tolist() == [True, True, False]
        assert np.isnan(bands[key].low[2])
    plain = measured(result, resamples=50)
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision"):
        assert bands[key].interval() == plain[key].interval()


def test_one_picture_has_figures_of_no_width(drawn: Drawn) -> None:
    bands = measured(drawn(n=1), resamples=20)
    accuracy = bands["accuracy"].interval()
    assert accuracy.low == accuracy.value == accuracy.high
    assert np.isnan(bands["macro_auc"].value)


def test_curves_lie_in_their_intervals_and_have_the_area(drawn: Drawn) -> None:
    result = drawn(n=2000, classes=2, sure=1.0)
    for c, band in enumerate(roc_bands(result, resamples=50)):
        assert (band.low <= band.value + 1e-12).all()
        assert (band.high >= band.value - 1e-12).all()
        area = ((band.value[1:] + band.value[:-1]) / 2 * np.diff(RATES)).sum()
        assert area == pytest.approx(metrics.roc_auc(result.truth == c, result.probabilities[:, c]), abs=0.01)


def test_a_regression_has_its_own_figures() -> None:
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(3), 80)
    predicted = truth + rng.normal(0, 0.1, truth.shape)
    result = RegressionResult(
        name="votes",
        ids=tuple(map(str, range(80))),
        seed=0,
        dataset="drawn",
        split="test",
        outputs=("a", "b", "c"),
        truth=truth,
        predicted=predicted,
    )
    bands = measured(result, resamples=50)
    assert bands["mse"].value == pytest.approx(metrics.mean_squared_error(truth, predicted))
    np.testing.assert_allclose(bands["r2"].value, metrics.r2_score(truth, predicted))
    assert bands["argmax_accuracy"].value == np.mean(truth.argmax(axis=1) == predicted.argmax(axis=1))
    assert set(bands) <= set(TITLES)
