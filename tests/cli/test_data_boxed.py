"""`edgegal data` on pictures with boxes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.cli.data import app
from edgegal.errors import DatasetError, InputError

pytestmark = pytest.mark.host

XML = """<annotation><filename>{i}.png</filename>
<object><name>galaxy</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object>
<object><name>{other}</name><bndbox><xmin>90</xmin><ymin>3</ymin><xmax>99</xmax><ymax>9</ymax></bndbox></object>
<object><name>galaxy</name><bndbox><xmin>30</xmin><ymin>3</ymin><xmax>39</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def voc(tmp_path: Path) -> str:
    """Four annotated pictures and a bare one; one box of each lies outside, a cluster on the last."""
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(5):
        cv2.imwrite(str(folder / f"{i}.png"), np.random.default_rng(i).integers(0, 99, (24, 48, 3)))
        if i < 4:
            text = XML.format(i=i, other="galaxy" if i < 3 else "cluster")
            (folder / f"{i}.xml").write_text(text if i < 3 else text.replace("90", "20").replace("99", "29"))
    return f"voc:{folder}"


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_info_counts_boxes_and_says_what_was_left_out(voc: str) -> None:
    summary = json.loads(run("info", voc, "--shares", "1/0/0", "--json"))
    assert summary["counts"]["galaxy"] == {"train": 8, "val": 0, "test": 0}
    assert summary["counts"]["cluster"]["train"] == 1
    assert [len(skip["names"]) for skip in summary["skipped"]] == [3, 1]
    said = run("info", voc)
    assert summary["digest"] not in said, "the splits are others"
    assert "left out, 3 boxes outside their picture: box 2 of 0.xml" in said
    assert "left out, 1 pictures without an annotation: 4.png" in said
    assert "left out, 1 pictures" not in run("info", voc, "--unannotated-empty")


def test_info_checks_the_pixels_when_asked(voc: str) -> None:
    path = Path(voc.removeprefix("voc:")) / "2.png"
    path.write_bytes(path.read_bytes()[:999])
    assert json.loads(run("info", voc, "--json"))["n"] == 4
    assert json.loads(run("info", voc, "--check", "--json"))["n"] == 3


def test_convert_maps_classes_and_info_reads_it_back(voc: str, tmp_path: Path) -> None:
    out = tmp_path / "coco"
    done = json.loads(run("convert", voc, "--to", "coco", "--class-map", "cluster=galaxy", "--out", str(out), "--json"))
    assert (done["pictures"], done["boxes"], done["ignored"]) == (4, 9, 0)
    summary = json.loads(run("info", f"coco:{out / 'annotations.json'}", "--json"))
    assert summary["labels"] == ["galaxy"]
    assert summary["skipped"] == []
    said = run("convert", voc, "--to", "yolo", "--split", "train", "--out", str(tmp_path / "yolo"))
    assert "3 pictures" in said
    assert "left out, 3 boxes outside their picture" in said
    assert json.loads(run("info", f"yolo:{tmp_path / 'yolo'}", "--json"))["counts"]["pictures"]["train"] == 3


def test_a_split_of_boxed_pictures_is_written_and_read_back(voc: str, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    written = json.loads(run("split", voc, "--shares", "1/0/1", "--out", str(out), "--json"))
    assert (written["train"], written["val"], written["test"]) == (2, 0, 2)
    assert json.loads(run("info", voc, "--split-file", str(out), "--json"))["split_digest"] == written["sha256"]


def test_preview_draws_the_boxes(voc: str, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert run("preview", voc, "--out", str(out)).strip() == str(out)
    sheet = np.asarray(cv2.imread(str(out)))
    assert (sheet == np.array([120, 220, 80])).all(axis=2).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scheme", "h4"], "--scheme is for sets of labelled pictures"),
        (["--against", "gz1_6class"], "--against is for sets of labelled pictures"),
        (["--by-picture"], "--by-picture is for sets of labelled pictures"),
    ],
)
def test_options_of_the_other_kind_of_set_are_refused(voc: str, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("info", voc, *words)


def test_a_class_map_needs_boxes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--class-map is for sets of pictures with boxes"):
        run("preview", f"folder:{tmp_path}", "--class-map", "a=b", "--out", str(tmp_path / "sheet.png"))
    with pytest.raises(DatasetError, match="is no set with boxes"):
        run("convert", f"folder:{tmp_path}", "--to", "voc", "--out", str(tmp_path / "out"))
