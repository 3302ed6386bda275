import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgegal.benchmarks.comparison.figures import ClassDrop
from edgegal.benchmarks.comparison.github import annotations, append_summary, summary_file
from edgegal.benchmarks.comparison.junit import junit_xml
from edgegal.benchmarks.comparison.layer_report import LayerReport
from edgegal.benchmarks.comparison.outputs import Outputs
from edgegal.benchmarks.comparison.report import Comparison
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.verdict import Gate
from edgegal.benchmarks.layers import LayerError
from edgegal.errors import GateFailedError, InputError
from edgegal.metrics import Interval

Make = Callable[..., Any]

LOST = (0.5, 0.4, 0.6)


def test_a_drop_that_may_be_chance_passes_and_a_sure_one_is_named(classifier_row: Make, compared: Make) -> None:
    assert compared(classifier_row(drop=(0.05, 0.01, 0.09))).failures == ()
    failing = compared(classifier_row(drop=(0.05, 0.011, 0.09)), classifier_row("tflite-int8"))
    said = r"classifier onnx-int8: accuracy drop 0\.0500 \[0\.0110, 0\.0900\], surely more than 0\.01"
    with pytest.raises(GateFailedError, match=said) as caught:
        failing.check()
    assert caught.value.exit_code == 1
    assert "tflite-int8" not in caught.value.message


def test_too_little_agreement_fails_even_without_a_drop(classifier_row: Make, compared: Make) -> None:
    (failure,) = compared(classifier_row(agreement=(0.95, 0.93, 0.9651))).failures
    assert failure == "classifier onnx-int8: agreement with float 0.9500 [0.9300, 0.9651], surely less than 0.97"


def test_a_doubt_passes_and_stands_in_the_verdict(classifier_row: Make, compared: Make) -> None:
    comparison = compared(classifier_row(n=30))
    comparison.check()
    assert comparison.verdict.startswith("Passed")
    assert "more than 0.01 cannot be excluded" in comparison.verdict


def test_the_document_is_json_with_the_verdict(classifier_row: Make, compared: Make) -> None:
    nothing = replace(classifier_row(drop=LOST), calibration_error=float("nan"))
    document = json.loads(json.dumps(compared(nothing).document(), allow_nan=False))
    assert document["gate"]["passed"] is False
    assert document["gate"]["checks"][0]["outcome"] == "failed"
    rows = document["stages"][0]["rows"]
    assert rows[0]["drop"] is None
    assert rows[1]["drop"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert rows[1]["calibration_error"] is None


def lines_of(markdown: str) -> list[list[str]]:
    return [[line for line in part.splitlines() if line.startswith("|")] for part in markdown.split("## ")[1:]]


def test_markdown_has_a_line_for_every_variant_of_equal_width(classifier_row: Make, compared: Make) -> None:
    text = compared(classifier_row()).markdown()
    figures, losses, recalls, gates = lines_of(text)
    assert [len(lines) for lines in (figures, losses, recalls, gates)] == [4, 3, 4, 4]
    for lines in (figures, losses, recalls, gates):
        assert len({line.count("|") for line in lines}) == 1
    assert "| onnx-int8 | onnxruntime 1.31 | int8 | 0.9000 [0.8700, 0.9300] | 0.8900 [0.8500, 0.9200] |" in text
    assert recalls[-1] == "| merger | 0 | - | - |"
    assert "Passed" in text


def test_what_a_class_is_called_breaks_no_table(classifier_row: Make, compared: Make) -> None:
    odd = ClassDrop("S|a\nb <b>* ![x](http://x)", 9, 0.9, Interval(0.1, 0.0, 0.2))
    text = compared(classifier_row(class_drops=(odd,))).markdown()
    assert "S\\|a b &lt;b>\\* ![x]\\(http://x) +0.1000 [" in text


def test_several_sets_stand_in_one_table_and_failures_name_theirs(classifier_row: Make, compared: Make) -> None:
    one = compared(classifier_row(drop=LOST)).stages[0]
    both = Comparison("tiny", 0, 1000, Gate(), (one, replace(one, dataset="printed")))
    title, header, lines = next(both.tables())
    assert "2 sets" in title
    assert header[:2] == ("set", "variant")
    assert [line[0] for line in lines] == ["painted (test, n=500)"] * 2 + ["printed (test, n=500)"] * 2
    # Figures and losses of both, recalls of each, gates of each.
    assert len(list(both.tables())) == 6
    assert [failure.split(" on ")[-1] for failure in both.failures] == [
        "painted (test, n=500)",
        "printed (test, n=500)",
    ]


def test_answers_withheld_have_columns_only_where_some_may_be(classifier_row: Make, compared: Make) -> None:
    (_, plain, _), *_ = compared(classifier_row()).tables()
    (_, careful, (_, line)), *_ = compared(classifier_row(coverage=Interval(0.8, 0.76, 0.83))).tables()
    assert set(careful) - set(plain) == {"answered", "accuracy of answers"}
    assert line[careful.index("answered")] == "0.8000"
    assert line[careful.index("accuracy of answers")] == "0.9700 [0.9500, 0.9800]"


def test_float_alone_is_not_called_passed(classifier_row: Make) -> None:
    alone = StageReport("classifier", "painted", "test", "keras", (classifier_row("keras", drop=None),))
    comparison = Comparison("tiny", 0, 1000, Gate(), (alone,))
    comparison.check()
    assert "Passed" not in comparison.verdict
    assert not any("agrees" in header or "gate" in title for title, header, _ in comparison.tables())


# The elements and attributes of Jenkins' junit-10.xsd that are used here: which may stand in which, and must be there.
_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}
_ATTRIBUTES = {
    "testsuites": ({"name"}, {"time", "tests", "failures", "disabled", "errors"}),
    "testsuite": ({"name", "tests"}, {"failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname"}),
    "properties": (set(), set()),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name"}, {"assertions", "time", "classname", "status"}),
    "failure": (set(), {"type", "message"}),
    "skipped": (set(), {"type", "message"}),
    "system-out": (set(), set()),
}


def test_junit_has_the_shape_that_ci_systems_read(classifier_row: Make, compared: Make) -> None:
    comparison = compared(classifier_row(drop=LOST), classifier_row("tflite-int8", n=30))
    stage = replace(comparison.stages[0], dataset='odd & <set> "\x07', left_out={"openvino-int8": "not installed"})
    root = ElementTree.fromstring(junit_xml(replace(comparison, stages=(stage,))).encode())
    for element in root.iter():
        needed, allowed = _ATTRIBUTES[element.tag]
        assert needed <= set(element.keys()) <= needed | allowed
        assert {child.tag for child in element} <= _CHILDREN.get(element.tag, set())
    (suite,) = root
    assert "<set>" in suite.attrib["name"]
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(cases)
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == 1
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped")) == 1
    assert [case.attrib["name"] for case in cases] == [
        *("onnx-int8: drop", "onnx-int8: agreement", "tflite-int8: drop", "tflite-int8: agreement"),
        "openvino-int8: runs",
    ]
    (failed,) = suite.findall("testcase/failure")
    assert "surely more than 0.01" in failed.attrib["message"]
    (doubt,) = suite.findall("testcase/system-out")
    assert "cannot be excluded" in (doubt.text or "")
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert properties["onnx-int8.drop"] == "0.5 [0.4, 0.6]"
    assert properties["gate.max_drop"] == "0.01"
    assert properties["machine.architecture"]


def test_equal_figures_give_equal_junit(classifier_row: Make, compared: Make) -> None:
    assert junit_xml(compared(classifier_row())) == junit_xml(compared(classifier_row()))


def test_annotations_are_escaped_as_the_runner_reads_them(classifier_row: Make, compared: Make) -> None:
    odd = ClassDrop("50% a\nb", 400, 0.9, Interval(0.5, 0.4, 0.6))
    comparison = replace(compared(classifier_row(class_drops=(odd,), n=30)), bundle="a,b:c%")
    error, warning = annotations(comparison)
    assert error.startswith("::error title=edgegal compare a%2Cb%3Ac%25::classifier onnx-int8: 50%25 a%0Ab recall drop")
    assert warning.startswith("::warning title=")
    assert "\n" not in error + warning


def test_the_summary_is_added_to_what_the_step_wrote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with pytest.raises(InputError, match="GITHUB_STEP_SUMMARY"):
        summary_file()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("earlier\n")
    append_summary(summary_file(), "# later")
    assert (tmp_path / "summary.md").read_text() == "earlier\n# later\n"


def test_paths_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Outputs(junit=tmp_path / "new" / "folder" / "junit.xml", html=tmp_path / "file").check()
    for outputs, says in (
        (Outputs(markdown=tmp_path), "is no file"),
        (Outputs(html=tmp_path / "file" / "page.html"), "takes no files"),
        (Outputs(junit=tmp_path / "a", markdown=tmp_path / "b" / ".." / "a"), "two outputs"),
    ):
        with pytest.raises(InputError, match=says):
            outputs.check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="takes no files"):
        Outputs(junit=tmp_path / "junit.xml").check()


LAYERS = LayerReport(
    *("classifier", "onnx-int8", "onnx", "int8"),
    layers=(
        LayerError("stem", "Conv", 30.0, 30.0),
        LayerError("it's wide", "Conv", 12.0, 11.0),
        LayerError("relu", "Relu", 12.0, None),
        LayerError("flat", "Reshape", None, None),
        LayerError("logits", "Gemm", 9.0, 10.5),
    ),
    keep=("logits", "it's wide"),
)


def test_layers_stand_worst_first_with_the_export_that_keeps_them(classifier_row: Make, compared: Make) -> None:
    comparison = replace(compared(classifier_row()), layers=(LAYERS,))
    (*_, (title, header, rows)) = comparison.tables()
    assert "of 5" in title
    assert [row[header.index("layer")] for row in rows] == ["logits", "it's wide", "stem"]
    assert [row[header.index("place")] for row in rows] == ["5", "2", "1"]
    assert [row[-1] for row in rows] == ["yes", "yes", "-"]
    (command,) = comparison.commands
    assert command.endswith("""--keep-float onnx:logits --keep-float 'onnx:it'"'"'s wide'""")
    assert f"```bash\n{command}\n```" in comparison.markdown()
    (layers,) = json.loads(json.dumps(comparison.document()))["layers"]
    assert (layers["command"], layers["keep"]) == (command, ["logits", "it's wide"])
    assert len(layers["layers"]) == 5


def test_the_export_that_keeps_layers_writes_the_same_variant() -> None:
    assert "--precision int8 --calibration SET --keep-float" in LAYERS.command
    assert "--precision dynamic --keep-float" in replace(LAYERS, variant="onnx-dynamic", precision="dynamic").command
    integers = replace(LAYERS, variant="tflite-int8-io", format="tflite")
    assert "--calibration SET --integer-io --keep-float tflite:logits" in integers.command
