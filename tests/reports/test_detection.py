"""Reports on detectors, read back."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal import metrics
from edgegal.data.fields import Field
from edgegal.detections import Detections
from edgegal.errors import InputError
from edgegal.reports.detection import DetectionResult, write_detection_report
from edgegal.reports.detection_figures import compare_detectors, figure_keys, measure_detector
from edgegal.reports.detection_sheet import mistakes, worst_pictures

pytestmark = pytest.mark.host

SIZES = {"tiny": (0.0, 16.0), "other": (16.0, float("inf"))}


def field(rng: np.random.Generator, **known: Any) -> Field:
    """Three galaxies that do not touch, and a region to ignore in the last corner."""
    corners = np.array([[5, 5], [60, 5], [5, 60]], np.float32) + rng.integers(0, 10, (3, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.integers(8, 30, (3, 2)).astype(np.float32)], axis=1)
    return Field(
        rng.integers(0, 60, (100, 110, 3), np.uint8), boxes, np.array([[60, 60, 110, 100]], np.float32), **known
    )


def answer(rng: np.random.Generator, field: Field) -> Detections:
    """Most galaxies, sure of the larger; something false and less sure; and something in the ignored region."""
    side = (field.boxes[:, 2:] - field.boxes[:, :2]).max(axis=1)
    seen = rng.random(len(side)) < side / 32
    extra = np.array([[45, 45, 55, 55], [70, 70, 90, 90]], np.float32)
    boxes = np.concatenate([field.boxes[seen], extra])
    scores = np.concatenate([np.clip(side[seen] / 32, 0.3, 0.95), [0.2, 0.9]]).astype(np.float32)
    return Detections(boxes, scores, np.zeros(len(boxes), np.int32))


def result(name: str = "net", seed: int = 0, n: int = 12, known: bool = True, **over: Any) -> DetectionResult:
    rng = np.random.default_rng(9)
    fields = [field(rng, magnitudes=rng.uniform(12, 17, 3), pixel_scale=3.0) if known else field(rng) for _ in range(n)]
    answers = np.random.default_rng(seed)
    values: dict[str, Any] = {"name": name, "fields": fields, "found": [answer(answers, f) for f in fields]}
    return DetectionResult(**(values | over))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    first = result("../net <script>", description="Costs $1$ & more.", threshold=0.25)
    second = DetectionResult(name="perfect", fields=first.fields, found=[f.truth for f in first.fields])
    return write_detection_report(
        "Odd & even", "One.\n\nOther\nline.", [first, second], tmp_path_factory.mktemp("r"), SIZES, 0, 50
    )


def document(page: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((page.parent / "report.json").read_text())
    return loaded


def test_the_folder_holds_what_the_document_lists_and_nothing_else(report: Path) -> None:
    found = document(report)
    files = {*found["files"], *(name for r in found["results"] for name in r["files"])}
    # Five curves, and one sheet: the perfect detector made no mistake.
    assert len(files) == 6
    assert {p.name for p in report.parent.iterdir()} == {"report.html", "report.json", *files}
    assert all((report.parent / name).read_bytes().startswith(b"\x89PNG") for name in files)


def test_the_page_needs_nothing_from_outside_and_escapes_names(report: Path) -> None:
    html = report.read_text()
    assert html.count('src="data:image/png;base64,') == 6
    assert not re.search(r'(?:src|href)="(?!data:)|@import|url\(', html)
    assert "<script" not in html
    assert "Costs $1$ &amp; more." in html
    assert "<p>Other line.</p>" in html
    assert "perfect made none." in html
    assert "square degree" in html


def test_figures_of_the_document_are_those_of_the_metrics(report: Path) -> None:
    net, perfect = document(report)["results"]
    expected = result()
    summary = metrics.coco_summary(expected.found, expected.truth, expected.ignore, SIZES)
    assert set(net["figures"]) == set(figure_keys(SIZES))
    assert net["figures"]["ap"]["value"] == pytest.approx(summary.ap)
    assert net["figures"]["ap:tiny"]["value"] == pytest.approx(summary.ap_by_size["tiny"])
    assert net["truths_by_size"] == summary.truths_by_size
    # One detection a picture cannot take all of several galaxies.
    assert {f["value"] for key, f in perfect["figures"].items() if not key.startswith("ar1:") and key != "ar1"} == {1.0}
    (difference,) = document(report)["differences"]
    assert (difference["name"], difference["from"]) == ("perfect", "../net <script>")
    assert difference["figures"]["ap"]["value"] == pytest.approx(1 - summary.ap)
    assert difference["figures"]["ap"]["low"] > 0


def test_what_is_given_at_the_threshold_is_counted_there(report: Path) -> None:
    net, perfect = document(report)["results"]
    expected = result()
    kept = [f.above(0.25) for f in expected.found]
    hits = sum(int((f.boxes[:, None] == t.boxes).all(axis=2).sum()) for f, t in zip(kept, expected.truth, strict=True))
    assert net["threshold"] == 0.25
    assert net["at_threshold"]["recall"]["value"] == pytest.approx(hits / 36)
    assert net["at_threshold"]["precision"]["value"] == 1
    for kind in ("side", "magnitude"):
        assert sum(net["completeness"][kind]["found"]) == hits
        assert sum(net["completeness"][kind]["truths"]) == 36
        assert perfect["completeness"][kind]["limits"] == {"0.5": None, "0.9": None}
    # At a low threshold each field has its one false detection, on 100 x 110 pixels of 3 arc seconds.
    assert net["false_detections_a"] == "square degree"
    assert net["curves"]["false"]["value"][0] == pytest.approx(1 / (100 * 110 * (3 / 3600) ** 2))


def test_without_scale_and_magnitude_there_is_less_to_say(tmp_path: Path) -> None:
    page = write_detection_report("Few", "", [result(n=2, known=False)], tmp_path, resamples=20)
    (one,) = document(page)["results"]
    assert one["false_detections_a"] == "picture"
    assert one["completeness"]["magnitude"] is None
    assert one["threshold"] == one["best_threshold"]["value"]
    assert document(page)["differences"] == []
    assert not any("magnitude" in name for name in document(page)["files"])


@pytest.mark.parametrize("galaxies", [False, True])
def test_a_detector_that_finds_nothing_or_has_nothing_to_find_is_reported(galaxies: bool, tmp_path: Path) -> None:
    whole = result(n=2, known=False)
    none = np.zeros((0, 4), np.float32)
    fields = whole.fields if galaxies else [Field(f.picture, none, none) for f in whole.fields]
    silent = DetectionResult(name="silent", fields=fields, found=[Detections.empty()] * 2)
    page = write_detection_report("None", "", [silent], tmp_path, resamples=20)
    (one,) = document(page)["results"]
    assert one["figures"]["ap"]["value"] == (0 if galaxies else None)
    assert one["curves"]["false"]["value"][0] == 0


def test_detectors_on_fewer_fields_are_reported_without_a_number_of_galaxies_for_all(tmp_path: Path) -> None:
    page = write_detection_report("Two", "", [result("a", n=3), result("b", n=2)], tmp_path, resamples=20)
    assert [r["truths"] for r in document(page)["results"]] == [9, 6]
    assert "<td>AP .50</td><td>–</td>" in page.read_text()
    assert "difference" not in page.read_text()


def test_detectors_on_other_fields_are_not_paired() -> None:
    first = result(n=3)
    # Equal pictures in another object cannot be told from other pictures at a glance.
    other = dataclasses.replace(first, fields=[dataclasses.replace(f) for f in first.fields])
    assert compare_detectors([first, other], SIZES, 0, 20) == []
    (same,) = compare_detectors([first, first], SIZES, 0, 20)
    assert (float(same["ap"].value), float(same["ap"].low), float(same["ap"].high)) == (0, 0, 0)


def test_intervals_follow_the_seed_alone() -> None:
    first, again, other = (measure_detector(result(), SIZES, True, seed, 50) for seed in (1, 1, 2))
    assert first.coco["ap"].interval() == again.coco["ap"].interval() != other.coco["ap"].interval()


def test_the_worst_pictures_come_first_and_show_what_went_wrong() -> None:
    # Truth, and three pictures: one right, one with a galaxy missed, one with that and a false detection.
    rng = np.random.default_rng(0)
    fields = [dataclasses.replace(field(rng), picture=np.zeros((100, 110, 3), np.uint8)) for _ in range(3)]
    false = Detections(np.array([[45, 45, 55, 55]], np.float32), np.array([0.7], np.float32), np.zeros(1, np.int32))
    fewer = [f.truth.select(np.array([0, 1])) for f in fields]
    found = [fields[0].truth, fewer[1], Detections.concatenate([fewer[2], false])]
    judged = DetectionResult(name="net", fields=fields, found=found)
    worst = mistakes(judged, 0.5, 5)
    assert [(m.picture, int(m.missed.sum()), int(m.false.sum())) for m in worst] == [(2, 1, 1), (1, 1, 0)]
    assert mistakes(judged, 0.5, 1)[0].picture == 2
    sheet = worst_pictures(judged, worst, side=220)
    # Scale 2, 4 pixels of margin, 22 of heading: red where the third galaxy is.
    x0, y0 = (2 * fields[2].boxes[2, :2]).astype(int)
    assert sheet[y0 + 26, x0 + 4].tolist() == [240, 50, 50]
    assert sheet[2 * 45 + 26, 2 * 45 + 4].tolist() == [255, 165, 30]


def test_pictures_on_the_page_are_red_where_the_sheet_is(report: Path) -> None:
    (name,) = document(report)["results"][0]["files"]
    picture = cv2.imread(str(report.parent / name))
    assert picture is not None
    blue, _, red = picture.reshape(-1, 3).T.astype(int)
    assert ((red > 200) & (blue < 80)).any()
    assert not ((blue > 200) & (red < 80)).any()


def test_results_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="no pictures"):
        result(n=0)
    with pytest.raises(ValueError, match="1 answers to 12 fields"):
        result(found=[Detections.empty()])
