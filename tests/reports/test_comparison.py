from collections.abc import Callable

import numpy as np
import pytest

from edgegal.reports import ClassificationResult, Run, RunComparison
from edgegal.reports.comparison import compare_runs

Drawn = Callable[..., ClassificationResult]


def test_means_deviations_and_published_figures_stand_in_the_rows(drawn: Drawn) -> None:
    results = tuple(drawn(seed=s) for s in range(3))
    accuracies = [np.mean(r.predicted == r.truth) for r in results]
    (row,) = compare_runs(RunComparison("t", (Run("a", results, {"accuracy": 0.8}),), ("accuracy",)), resamples=100)
    interval = row.figures["accuracy"]
    assert interval.value == pytest.approx(np.mean(accuracies))
    assert interval.low < interval.value < interval.high
    assert row.deviations is not None
    assert row.deviations["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (row.results, row.pictures, row.published) == (3, 60, {"accuracy": 0.8})
    assert row.differences is None
    assert row.p is None


def test_the_same_answers_differ_by_nothing_whatever_is_drawn(drawn: Drawn) -> None:
    runs = (Run("a", (drawn(),)), Run("b", (drawn(),)))
    a, b = compare_runs(RunComparison("t", runs, reference="a"), resamples=50)
    assert a.differences is None
    assert b.differences is not None
    assert all((d.value, d.low, d.high) == (0, 0, 0) for d in b.differences.values())
    assert b.p == 1


def test_a_better_run_is_told_from_chance(drawn: Drawn) -> None:
    runs = (Run("a", (drawn(n=300, sure=1.0),)), Run("b", (drawn(n=300, seed=5, sure=4.0),)))
    _, b = compare_runs(RunComparison("t", runs, ("accuracy", "f1:class 1"), reference="a"), resamples=200)
    assert b.differences is not None
    assert all(d.low > 0 for d in b.differences.values())
    assert b.p is not None
    assert b.p < 0.001


def test_folds_on_other_pictures_each_are_compared_picture_by_picture(drawn: Drawn) -> None:
    def folds(seed: int, sure: float) -> tuple[ClassificationResult, ...]:
        return tuple(drawn(seed=seed + k, sure=sure, ids=tuple(f"{k}-{i}" for i in range(60))) for k in range(5))

    runs = (Run("a", folds(0, 1.0)), Run("b", folds(10, 4.0)))
    a, b = compare_runs(RunComparison("t", runs, reference="a"), resamples=50)
    assert a.pictures == b.pictures == 300
    assert b.p is not None
    assert b.p < 0.01


def test_runs_on_other_pictures_are_not_tested(drawn: Drawn) -> None:
    elsewhere = drawn(ids=tuple(f"q{i}" for i in range(60)))
    _, b = compare_runs(RunComparison("t", (Run("a", (drawn(),)), Run("b", (elsewhere,))), reference="a"), resamples=50)
    assert b.p is None


def test_a_figure_that_a_run_has_not_is_no_number(drawn: Drawn) -> None:
    keys = ("accuracy", "mse", "f1:no such class")
    (row,) = compare_runs(RunComparison("t", (Run("a", (drawn(),)),), keys), resamples=20)
    assert [np.isfinite(row.figures[key].value) for key in keys] == [True, False, False]


def test_mistaken_tables_are_refused(drawn: Drawn) -> None:
    run = Run("a", (drawn(),))
    with pytest.raises(ValueError, match="no run is called 'b'"):
        RunComparison("t", (run,), reference="b")
    with pytest.raises(ValueError, match="one name"):
        RunComparison("t", (run, run))
    with pytest.raises(KeyError, match="acuracy"):
        RunComparison("t", (run,), ("acuracy",))
    with pytest.raises(ValueError, match="at least one result"):
        Run("a", ())
    with pytest.raises(ValueError, match="not of one kind"):
        Run("a", (drawn(), drawn(classes=4)))
