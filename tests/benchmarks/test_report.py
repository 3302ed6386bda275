import json
from dataclasses import replace

import pytest

from edgegal.benchmarks.figures import ClassifierRow, ClassRecall
from edgegal.benchmarks.report import Comparison, Gate, StageReport
from edgegal.errors import GateFailedError
from edgegal.metrics import Interval


def row(
    name: str = "onnx-int8",
    drop: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    agreement: float | None = 1.0,
    coverage: Interval | None = None,
) -> ClassifierRow:
    return ClassifierRow(
        name,
        "onnxruntime 1.31",
        "int8",
        n=500,
        accuracy=Interval(0.9, 0.87, 0.93),
        balanced_accuracy=Interval(0.89, 0.85, 0.92),
        macro_f1=Interval(0.88, 0.85, 0.91),
        calibration_error=0.02,
        recalls=(ClassRecall("round", 500, Interval(0.9, 0.87, 0.93)), ClassRecall("merger", 0, None)),
        coverage=coverage,
        selective_accuracy=coverage and Interval(0.97, 0.95, 0.98),
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
    figures, recalls = ([line for line in part.splitlines() if line.startswith("|")] for part in text.split("## ")[1:])
    assert len(figures) == len(recalls) == 4
    assert len({line.count("|") for line in figures}) == len({line.count("|") for line in recalls}) == 1
    assert "| onnx-int8 | onnxruntime 1.31 | int8 | 0.9000 [0.8700, 0.9300] | 0.8900 [0.8500, 0.9200] |" in text
    assert recalls[-1] == "| merger | 0 | - | - |"
    assert "Passed" in text


def test_several_sets_stand_in_one_table_and_failures_name_theirs() -> None:
    one = report(row(drop=(0.5, 0.4, 0.6))).stages[0]
    both = Comparison("tiny", 0, Gate(), (one, replace(one, dataset="printed")))
    title, header, lines = next(both.tables())
    assert "2 sets" in title
    assert header[:2] == ("set", "variant")
    assert [line[0] for line in lines] == ["painted (test, n=500)"] * 2 + ["printed (test, n=500)"] * 2
    assert len(list(both.tables())) == 3
    assert [failure.split(" on ")[-1] for failure in both.failures] == [
        "painted (test, n=500)",
        "printed (test, n=500)",
    ]


def test_answers_withheld_have_columns_only_where_some_may_be() -> None:
    (_, plain, _), *_ = report(row()).tables()
    (_, careful, (_, line)), *_ = report(row(coverage=Interval(0.8, 0.76, 0.83))).tables()
    assert set(careful) - set(plain) == {"answered", "accuracy of answers"}
    assert line[careful.index("answered")] == "0.8000"
    assert line[careful.index("accuracy of answers")] == "0.9700 [0.9500, 0.9800]"


def test_float_alone_is_not_called_passed() -> None:
    alone = StageReport("classifier", "painted", "test", "keras", (row("keras", drop=None, agreement=None),))
    comparison = Comparison("tiny", 0, Gate(), (alone,))
    comparison.check()
    assert "Passed" not in comparison.verdict
    (_, header, _), *_ = comparison.tables()
    assert "agrees" not in header
