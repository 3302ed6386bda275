import json

import pytest

from edgegal.benchmarks.figures import ClassifierRow
from edgegal.benchmarks.report import Comparison, Gate, StageReport
from edgegal.errors import GateFailedError
from edgegal.metrics import Interval


def row(
    name: str = "onnx-int8", drop: tuple[float, float, float] | None = (0.0, 0.0, 0.0), agreement: float | None = 1.0
) -> ClassifierRow:
    return ClassifierRow(
        name,
        "onnxruntime 1.31",
        "int8",
        n=500,
        accuracy=Interval(0.9, 0.87, 0.93),
        balanced_accuracy=0.89,
        macro_f1=0.88,
        calibration_error=0.02,
        agreement=agreement,
        drop=Interval(*drop) if drop else None,
        mcnemar_p=1.0 if drop else None,
    )


def report(*rows: ClassifierRow) -> Comparison:
    float_row = row("onnx-fp32", drop=None, agreement=None)
    stage = StageReport("classifier", "painted", "test", "onnx-fp32", (float_row, *rows))
    return Comparison("tiny", 0, Gate(max_drop=0.01, min_agreement=0.97), (stage,))


def test_a_drop_that_may_be_chance_passes_and_a_sure_one_is_named() -> None:
    assert report(row(drop=(0.05, 0.01, 0.09))).failures == ()
    failing = report(row(drop=(0.05, 0.011, 0.09)), row("tflite-int8"))
    with pytest.raises(GateFailedError, match=r"classifier onnx-int8 lost 0\.0500 \[0\.0110, 0\.0900\]") as caught:
        failing.check()
    assert caught.value.exit_code == 1
    assert "tflite-int8" not in caught.value.message


def test_too_little_agreement_fails_even_without_a_drop() -> None:
    assert report(row(agreement=0.97)).failures == ()
    (failure,) = report(row(agreement=0.9699)).failures
    assert failure == "classifier onnx-int8 agrees with float on 0.9699, less than 0.97"


def test_the_document_is_json_with_the_verdict() -> None:
    document = json.loads(json.dumps(report(row(drop=(0.5, 0.4, 0.6))).document()))
    assert document["gate"]["passed"] is False
    assert document["stages"][0]["rows"][0]["drop"] is None
    assert document["stages"][0]["rows"][1]["drop"] == {"value": 0.5, "low": 0.4, "high": 0.6}


def test_markdown_has_a_line_for_every_variant_of_equal_width() -> None:
    text = report(row()).markdown()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "| onnx-int8 | onnxruntime 1.31 | int8 | 0.9000 [0.8700, 0.9300] |" in text
    assert "Passed" in text
