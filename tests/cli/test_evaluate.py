"""`edgegal evaluate`, and `edgegal compare` on pictures with boxes."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host

pytest.importorskip("sep", reason="the training environment")

from edgegal.cli import main  # noqa: E402
from edgegal.data.boxed.annotations import Annotation  # noqa: E402
from edgegal.data.boxed.voc import write_voc  # noqa: E402
from edgegal.data.fields import compose_fields  # noqa: E402
from edgegal.preprocess import Stretch  # noqa: E402


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight annotated fields, two of them without a galaxy, of other sizes than the network's."""
    folder = tmp_path_factory.mktemp("frames")
    annotations = []
    for i, field in enumerate(compose_fields(8, 3, 320, Stretch())):
        file = f"{i}.png"
        cv2.imwrite(str(folder / file), field.picture[..., ::-1])
        boxes = np.concatenate([field.boxes, field.ignore]).astype(np.float64)
        ignore = np.arange(len(boxes)) >= len(field.boxes)
        annotations.append(Annotation(file, boxes, ("galaxy",) * len(boxes), ignore, (320, 320), file, ""))
    write_voc(folder, ("galaxy",), annotations)
    return f"voc:{folder}"


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


def test_detectors_stand_side_by_side_with_a_report(
    frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--data", frames, "--split", "all", "--classical", "--out", str(tmp_path)]
    assert called(*words, "--false-alarms", "2", "--json") == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    (judged,) = document["sets"]
    network, classical = judged["detectors"]
    assert network["detector"].startswith("galaxies ")
    assert classical["detector"] == "sep"
    assert network["galaxies"] == classical["galaxies"] > 5
    for row in (network, classical):
        assert 0 < row["ap50"]["low"] <= row["ap50"]["value"] <= row["ap50"]["high"] <= 1
        assert row["place"]["f1"]["value"] >= row["overlap"]["f1"]["value"]
        assert row["seconds"]["median"] > 0
        assert sum(step["galaxies"] for step in row["completeness"]) == row["galaxies"]
        found = sum(step["galaxies"] * step["found"]["value"] for step in row["completeness"])
        assert found == pytest.approx(row["overlap"]["recall"]["value"] * row["galaxies"])
    assert set(document["false_alarms"]) == {network["detector"], "sep"}
    assert {row["frames"] for row in document["false_alarms"]["sep"]} == {2}
    assert json.loads((tmp_path / "evaluation.json").read_text()) == document
    (page,) = tmp_path.glob("00-*/report.html")
    assert "sep" in page.read_text()
    assert (page.parent / "report.json").is_file()


def test_the_table_names_detectors_and_figures(frames: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("evaluate", "--data", frames, "--split", "all", "--precision", "fp32") == 0
    said = capsys.readouterr().out
    assert "AP@.5" in said
    assert "share of the galaxies found" in said
    assert "fp32" in said


def test_frames_without_an_annotation_are_judged_as_empty_when_told(
    frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(frames.removeprefix("voc:"), folder)
    cv2.imwrite(str(folder / "bare.png"), np.full((320, 320, 3), 8, np.uint8))
    words = ("evaluate", "--data", f"voc:{folder}", "--split", "all")
    for option, pictures in (((), 8), (("--unannotated-empty",), 9)):
        assert called(*words, *option) == 0
        assert f": {pictures} pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["evaluate"], "nothing to measure on"),
        (["evaluate", "--data", "gz2_kaggle_5class"], "is no set with boxes"),
        (["evaluate", "four-classes", "--false-alarms", "1"], "detector"),
        (["evaluate", "galaxies", "galaxies", "--false-alarms", "1"], "galaxies is named twice"),
        (["evaluate", "--false-alarms", "1", "--class-map", "a=galaxy"], "--class-map is for sets of pictures"),
        (["evaluate", "--false-alarms", "1", "--unannotated-empty"], "--unannotated-empty is for sets of pictures"),
        (["compare", "four-classes", "--data", "voc:somewhere"], "has no detector to compare on"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(*words) == 2
    assert problem in capsys.readouterr().err


def test_compare_judges_a_detector_on_frames_with_boxes(frames: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "galaxies", "--data", frames, "--split", "all", "--runtime", "onnxruntime", "--json"]
    # Eight pictures are few: whether the gate passes is not asked here.
    assert called(*words, "--max-drop", "1", "--min-box-agreement", "0") == 0
    document = json.loads(capsys.readouterr().out)
    (stage,) = (s for s in document["stages"] if s["stage"] == "detector")
    assert stage["dataset"] == frames
    float_row, int8 = stage["rows"]
    assert float_row["n"] == int8["n"] == 8
    assert float_row["drop"] is None
    assert int8["drop"]["low"] <= int8["drop"]["value"] <= int8["drop"]["high"]
    assert 0 <= int8["f1"]["value"] <= 1


def test_galaxies_that_a_detector_may_have_seen_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both verbs ask, of every set; what is told then is tested with `tell_seen`."""
    asked = []
    monkeypatch.setattr("edgegal.data.heldout.tell_seen", lambda name, sources, network: asked.append((name, network)))
    (tmp_path / "mine.json").write_text(
        json.dumps({"frames": [{"file": "one.png", "objects": [{"box": [9, 9, 40, 50]}]}]})
    )
    cv2.imwrite(str(tmp_path / "one.png"), np.full((64, 64, 3), 8, np.uint8))
    name = f"frames:{tmp_path / 'mine.json'}"
    for verb in ("evaluate", "compare"):
        assert called(verb, "galaxies", "--data", name, "--split", "all", "--runtime", "onnxruntime") in (0, 1)
    assert asked == [(name, "detector of galaxies"), (name, "detector")]


def test_small_galaxies_can_count_neither_way(frames: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for smallest in ("0", "40"):
        words = ["evaluate", "--data", frames, "--split", "all", "--smallest", smallest, "--merge", "wbf", "--json"]
        assert called(*words) == 0
        counts.append(json.loads(capsys.readouterr().out)["sets"][0]["detectors"][0]["galaxies"])
    assert counts[0] > counts[1] > 0


def test_an_empty_split_is_named(frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    (tmp_path / "train").mkdir()
    cv2.imwrite(str(tmp_path / "train" / "0.png"), picture)
    box = np.array([[4, 4, 30, 30]], np.float64)
    write_voc(
        tmp_path,
        ("galaxy",),
        [Annotation("train/0.png", box, ("galaxy",), np.zeros(1, bool), (64, 64), "train/0.png", "train")],
    )
    assert called("evaluate", "--data", f"voc:{tmp_path}") == 2
    assert "has no pictures in its test split" in capsys.readouterr().err
    # A class map serves all sets together: an entry needs to be of one of them only.
    words = ["evaluate", "--data", frames, "--data", f"voc:{tmp_path}", "--split", "all", "--json"]
    assert called(*words, "--class-map", "cluster=") == 2
    assert "no set has a class 'cluster' to map" in capsys.readouterr().err
