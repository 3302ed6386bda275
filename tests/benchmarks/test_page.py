"""The page of a comparison: everything inside, nothing from outside, and what it says of nothing."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.benchmarks.comparison.charts import Axis, drop_chart
from edgegal.benchmarks.comparison.disagreements import Disagreements, box_disagreements, class_disagreements
from edgegal.benchmarks.comparison.figures import Answers
from edgegal.benchmarks.comparison.page import html_page
from edgegal.detections import Detections

Make = Callable[..., Any]

pytest.importorskip("jinja2")


def differing(n: int) -> Disagreements:
    """A variant that differs from float on all of `n` pictures, ever less surely."""
    rng = np.random.default_rng(0)
    sure = np.linspace(0.99, 0.6, n).astype(np.float32)
    expected, obtained = np.stack([sure, 1 - sure], axis=1), np.stack([1 - sure, sure], axis=1)
    pictures = rng.integers(0, 255, (n, 20, 20, 3)).astype(np.uint8)
    labels = np.zeros(n, np.int32)
    return class_disagreements(
        "onnx-int8", pictures, labels, ("<round>", "spiral"), Answers(expected), Answers(obtained)
    )


def test_the_page_shows_up_to_24_pictures_and_needs_nothing_from_outside(classifier_row: Make, compared: Make) -> None:
    comparison = compared(classifier_row(drop=(0.5, 0.4, 0.6)))
    found = differing(30)
    assert (found.total, [d.index for d in found.shown]) == (30, list(range(24)))
    page = html_page(replace(comparison, stages=(replace(comparison.stages[0], disagreements=(found,)),)))
    assert page.count("<img ") == page.count("data:image/jpeg;base64,") == 24
    assert "30 pictures, the 24 most confident of them" in page
    assert "true &lt;round&gt;; float &lt;round&gt; 0.99; variant spiral 0.99" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)|url\(|<script|@import", page)
    assert "surely more than 0.01" in page


def test_a_page_without_disagreements_says_so(classifier_row: Make, compared: Make) -> None:
    comparison = compared(classifier_row())
    none = (Disagreements("onnx-int8", 0, ()),)
    page = html_page(replace(comparison, stages=(replace(comparison.stages[0], disagreements=none),)))
    assert "onnx-int8: agrees on every picture" in page
    assert "<img " not in page


def test_the_drawing_of_drops_holds_every_interval_and_limit(classifier_row: Make, compared: Make) -> None:
    comparison = compared(classifier_row(drop=(0.02, -0.01, 0.05)), classifier_row("tflite-int8"))
    chart = drop_chart(comparison.stages[0], comparison.gate, 100.0)
    assert chart is not None
    assert [c.variant for c in chart.checks] == ["onnx-int8", "tflite-int8"]
    places = [chart.axis.at(v) for v in (-0.01, 0.0, 0.01, 0.02, 0.05)]
    assert places == sorted(set(places))
    assert 0 < places[0] < places[-1] < 100
    assert 0.0 in chart.axis.ticks


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [float("nan"), 1.0], [-3e-9, 2e5], [40.0, 12.5, -1.0]])
def test_an_axis_holds_its_values_with_round_ticks_inside(values: list[float]) -> None:
    axis = Axis.over(values, 300.0)
    finite = [v for v in values if v == v]
    assert all(axis.low < v < axis.high for v in finite)
    assert 1 <= len(axis.ticks) <= 8
    assert all(0 <= axis.at(tick) <= 300 for tick in axis.ticks)


def test_boxes_that_one_detector_lacks_are_drawn_in_its_colour() -> None:
    def found(*boxes: tuple[float, float, float, float]) -> Detections:
        n = len(boxes)
        return Detections(np.array(boxes, np.float32).reshape(n, 4), np.full(n, 0.9, np.float32), np.zeros(n, np.int32))

    common, lost, new = (10.0, 10.0, 30.0, 30.0), (50.0, 10.0, 70.0, 30.0), (10.0, 60.0, 30.0, 80.0)
    pictures = [np.zeros((100, 100, 3), np.uint8)] * 2
    expected, obtained = [found(common, lost), found(common)], [found(common, new), found(common)]
    each = box_disagreements("int8", pictures, [found(common)] * 2, expected, obtained)
    ((only,), total) = each.shown, each.total
    assert (total, only.index) == (1, 0)
    assert (only.only_float.tolist(), only.only_variant.tolist()) == ([False, True], [False, True])
    drawn = cv2.cvtColor(only.drawn(100), cv2.COLOR_RGB2HSV)
    at = [int(drawn[y, x, 0]) * 2 for x, y in ((50, 20), (10, 70))]
    assert 200 < at[0] < 230  # blue, float
    assert 20 < at[1] < 45  # orange, the variant
