import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.benchmarks.comparison.figures import ClassDrop, DetectorRow
from edgegal.benchmarks.comparison.verdict import Check, Gate
from edgegal.errors import InputError
from edgegal.metrics import Interval

Make = Callable[..., Any]


def of(checks: tuple[Check, ...], gate: str) -> Check:
    (check,) = (c for c in checks if c.gate == gate)
    return check


@pytest.mark.parametrize(
    ("drop", "outcome"),
    [
        ((0.05, 0.011, 0.09), "failed"),
        ((0.05, 0.010, 0.09), "not excluded"),
        ((0.002, -0.001, 0.011), "not excluded"),
        ((0.002, -0.001, 0.009), "passed"),
        ((-0.05, -0.09, -0.02), "passed"),
    ],
)
def test_a_drop_is_judged_by_its_interval(classifier_row: Make, drop: tuple[float, float, float], outcome: str) -> None:
    float_row = classifier_row(drop=None)
    assert of(Gate().checks(classifier_row(drop=drop), float_row), "drop").outcome == outcome


@given(value=st.floats(-1, 1), below=st.floats(0, 1), above=st.floats(0, 1), limit=st.floats(0, 1))
def test_a_drop_fails_exactly_when_its_whole_interval_lies_beyond_the_limit(
    classifier_row: Make, value: float, below: float, above: float, limit: float
) -> None:
    row = classifier_row(drop=(value, value - below, value + above))
    check = of(Gate(max_drop=limit).checks(row, classifier_row(drop=None)), "drop")
    assert (check.outcome == "failed") == (value - below > limit)
    if check.outcome == "passed":
        assert value + above <= limit


def test_the_pictures_asked_for_would_tell() -> None:
    # A drop of 0 within ±.03 on 400 pictures: to get within ±.01 takes nine times as many.
    row = _detector(drop=(0.0, -0.03, 0.03), n=400)
    check = of(Gate().checks(row, _detector(drop=None)), "drop")
    assert (check.outcome, check.pictures) == ("not excluded", 3600)
    # At the limit itself no number of pictures settles it.
    at = of(Gate().checks(_detector(drop=(0.01, -0.03, 0.03)), row), "drop")
    assert (at.outcome, at.pictures) == ("not excluded", None)


def test_pictures_that_all_agree_exclude_no_more_than_their_number_does(classifier_row: Make) -> None:
    few, many = (of(Gate().checks(classifier_row(n=n), classifier_row(drop=None, n=n)), "drop") for n in (30, 3000))
    assert few.outcome == "not excluded"
    assert "more than 0.01 cannot be excluded; about 200 pictures would tell" in str(few)
    assert few.pictures is not None
    enough, short = (
        of(Gate().checks(classifier_row(n=n), classifier_row(drop=None, n=n)), "drop")
        for n in (few.pictures, round(0.9 * few.pictures))
    )
    assert (enough.outcome, short.outcome, many.outcome) == ("passed", "not excluded", "passed")


def test_agreement_fails_when_its_whole_interval_lies_below_the_limit(classifier_row: Make) -> None:
    float_row = classifier_row(drop=None)
    for high, outcome in ((0.97, "passed"), (0.9699, "failed")):
        checks = Gate().checks(classifier_row(agreement=(0.95, 0.92, high)), float_row)
        assert of(checks, "agreement").outcome == outcome


def test_relative_limits_are_shares_of_floats_figure(classifier_row: Make) -> None:
    row = classifier_row(
        drop=(0.02, 0.0095, 0.03), class_drops=(ClassDrop("merger", 50, 0.5, Interval(0.1, 0.02, 0.2)),)
    )
    float_row = classifier_row(drop=None)
    absolute, relative = (Gate(drop_type=kind).checks(row, float_row) for kind in ("absolute", "relative"))
    assert [of(absolute, gate).limit for gate in ("drop", "worst class")] == [0.01, 0.03]
    # Float has an accuracy of .9, and a recall of .5 in the class.
    assert [of(relative, gate).limit for gate in ("drop", "worst class")] == pytest.approx([0.009, 0.015])
    assert [of(absolute, gate).outcome for gate in ("drop", "worst class")] == ["not excluded", "passed"]
    assert [of(relative, gate).outcome for gate in ("drop", "worst class")] == ["failed", "failed"]


def test_a_rare_class_does_not_hide_one_that_surely_lost(classifier_row: Make) -> None:
    rare = ClassDrop("merger", 2, 1.0, Interval(0.5, -0.4, 0.9))
    sure = ClassDrop("spiral", 400, 0.9, Interval(0.1, 0.05, 0.15))
    check = of(Gate().checks(classifier_row(class_drops=(rare, sure)), classifier_row(drop=None)), "worst class")
    assert check.outcome == "failed"
    assert check.figure.startswith("spiral recall drop")
    check = of(Gate().checks(classifier_row(class_drops=(rare,)), classifier_row(drop=None)), "worst class")
    assert check.outcome == "passed"


def _detector(drop: tuple[float, float, float] | None, n: int = 100) -> DetectorRow:
    one = Interval(0.8, 0.7, 0.9)
    return DetectorRow(
        *("tflite-int8", "litert 2.3", "int8"),
        n=n,
        truths=200,
        average_precision_50=one,
        mean_average_precision=one,
        average_recall_1=one,
        average_recall_100=one,
        f1=one,
        agreement=Interval(0.9, 0.8, 0.84) if drop else None,
        drop=Interval(*drop) if drop else None,
    )


def test_a_detector_has_its_own_limit_of_agreement() -> None:
    row, float_row = _detector((0.0, 0.0, 0.0)), _detector(None)
    assert of(Gate().checks(row, float_row), "agreement").outcome == "failed"
    assert of(Gate(min_box_agreement=0.8).checks(row, float_row), "agreement").outcome == "passed"
    several = replace(row, class_drops=(ClassDrop("star", 9, 0.9, Interval(0.5, 0.2, 0.8)),))
    assert of(Gate().checks(several, float_row), "worst class").figure.startswith("star AP@.5 drop")


def test_nothing_is_judged_of_float_itself(classifier_row: Make) -> None:
    float_row = classifier_row(drop=None)
    assert Gate().checks(float_row, float_row) == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.01, 1.01])
@pytest.mark.parametrize("limit", ["max_drop", "min_agreement", "min_box_agreement", "worst_class_drop"])
def test_a_limit_that_is_no_share_is_refused(limit: str, value: float) -> None:
    with pytest.raises(InputError, match=f"--{limit.replace('_', '-')} .* is no limit"):
        Gate(**{limit: value})
