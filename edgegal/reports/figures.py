"""The figures of a result, each with the interval that resampling its pictures gives."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.metrics import Band
from edgegal.reports.results import ClassificationResult, RegressionResult, Result

__all__ = [
    "RATES",
    "RELIABILITY_BINS",
    "RESAMPLES",
    "TITLES",
    "columns_of",
    "measured",
    "per_picture",
    "roc_bands",
    "statistic",
    "title_of",
]

RESAMPLES = 1000

RELIABILITY_BINS = 15

RATES = np.linspace(0, 1, 101)
"""False-positive rates at which curves are given."""

TITLES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_auc": "macro ROC AUC",
    "calibration_error": "ECE",
    "adaptive_calibration_error": "adaptive ECE",
    "log_loss": "log loss",
    "brier": "Brier score",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "auc": "ROC AUC",
    "mse": "MSE",
    "mean_r2": "mean R²",
    "r2": "R²",
    "argmax_accuracy": "arg-max accuracy",
    "argmax_f1": "arg-max F1",
}
"""Figures and what they are called. ``precision``, ``recall``, ``f1``, ``auc`` and ``r2`` are one a class or output."""

Statistic = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]


def title_of(key: str) -> str:
    """What a figure is called; ``f1:spiral`` is F1 of spiral."""
    name, _, column = key.partition(":")
    return f"{TITLES[name]} {column}" if column else TITLES[name]


def columns_of(result: Result) -> tuple[str, ...]:
    """Names of the classes or outputs."""
    return result.labels if isinstance(result, ClassificationResult) else result.outputs


def statistic(result: Result) -> Statistic:
    """All figures as a function of how often each picture counts, ``(b, n)`` to ``(b,)`` or ``(b, columns)`` each."""
    if isinstance(result, ClassificationResult):
        return _classification(result)
    return _regression(result)


def _mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, known.sum(axis=-1), out=np.full(total.shape, np.nan), where=known.any(axis=-1))


def _shares_of_rows(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each count over the pictures of its true class; NaN where there are none."""
    support = confusion.sum(axis=-1, keepdims=True)
    return np.divide(confusion, support, out=np.full(confusion.shape, np.nan), where=support > 0)


def _classification(result: ClassificationResult) -> Statistic:
    truth, probabilities, predicted = result.truth, result.probabilities, result.predicted
    classes, n = len(result.labels), len(result)
    log_losses, brier = metrics.log_losses(truth, probabilities), metrics.brier_scores(truth, probabilities)

    def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        confusion = metrics.weighted_confusion(truth, predicted, classes, counts)
        precision, recall, f1 = metrics.precisions(confusion), metrics.recalls(confusion), metrics.f1_scores(confusion)
        auc = np.stack([metrics.roc_auc(truth == c, probabilities[:, c], counts) for c in range(classes)], axis=-1)
        bins = metrics.reliability(truth, probabilities, RELIABILITY_BINS, weights=counts)
        adaptive = metrics.reliability(truth, probabilities, RELIABILITY_BINS, "equal-count", counts)
        return {
            "accuracy": np.trace(confusion, axis1=-2, axis2=-1) / n,
            "balanced_accuracy": _mean_known(recall),
            "macro_precision": metrics.mean_over_seen(precision, confusion),
            "macro_f1": metrics.mean_over_seen(f1, confusion),
            "weighted_f1": metrics.weighted_f1(confusion),
            "macro_auc": _mean_known(auc),
            "calibration_error": bins.error,
            "adaptive_calibration_error": adaptive.error,
            "log_loss": counts @ log_losses / n,
            "brier": counts @ brier / n,
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "auc": auc,
            "bin_accuracy": bins.accuracy,
            "confusion_shares": _shares_of_rows(confusion),
        }

    return figures


def _regression(result: RegressionResult) -> Statistic:
    truth, predicted, n = result.truth, result.predicted, len(result)
    errors = metrics.squared_errors(truth, predicted)
    true_class, named_class = truth.argmax(axis=1), predicted.argmax(axis=1)

    def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        confusion = metrics.weighted_confusion(true_class, named_class, len(result.outputs), counts)
        r2 = metrics.r2_score(truth, predicted, counts)
        return {
            "mse": counts @ errors / n,
            "mean_r2": _mean_known(r2),
            "argmax_accuracy": np.trace(confusion, axis1=-2, axis2=-1) / n,
            "argmax_f1": metrics.weighted_f1(confusion),
            "r2": r2,
        }

    return figures


def measured(result: Result, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Band]:
    """Every figure of a result with its 95 % bootstrap interval over pictures.

    Parameters
    ----------
    result
        Answers and truth.
    seed
        Of the draws.
    resamples
        Number of resamples, drawn from all pictures alike and not class by class.

    Returns
    -------
    dict
        By the names in `TITLES`, arrays with one value a class or output where the figure is one of each;
        ``bin_accuracy`` of each reliability bin; and ``confusion_shares``, of all answers in each true class. NaN where
        there is no figure: recall of a class without pictures, precision of one never named.
    """
    return metrics.bootstrap_bands(len(result), statistic(result), seed, resamples)


def roc_bands(result: ClassificationResult, seed: int = 0, resamples: int = RESAMPLES) -> list[Band]:
    """One-versus-rest curve of each class: true-positive rates at `RATES`, with their intervals."""

    def heights(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        curves = (
            metrics.roc_curve(result.truth == c, result.probabilities[:, c], counts) for c in range(len(result.labels))
        )
        return {str(c): metrics.true_positive_rates(curve, RATES) for c, curve in enumerate(curves)}

    return list(metrics.bootstrap_bands(len(result), heights, seed, resamples).values())


def per_picture(result: Result) -> NDArray[np.float64]:
    """What paired tests compare, ``(n,)``: 1 for a right class, 0 for a wrong one; squared errors of a regression."""
    if isinstance(result, ClassificationResult):
        return (result.predicted == result.truth).astype(np.float64)
    return metrics.squared_errors(result.truth, result.predicted)
