"""The demonstration's report in a real browser."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

pytestmark = pytest.mark.peers

Browse = Callable[..., str]

# Counts, once everything is loaded, the pictures that are there and those that show nothing.
COUNT = """<script>addEventListener("load", () => {
  const pictures = [...document.images];
  const broken = pictures.filter(picture => !picture.complete || picture.naturalWidth === 0);
  document.title = `pictures ${pictures.length} broken ${broken.length}`;
})</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    subprocess.run([sys.executable, "-m", "edgegal", "demo", "--out", out], check=True, timeout=600)
    (page,) = out.glob("*.html")
    return page


def test_every_picture_of_the_report_shows(report: Path, browse: Browse) -> None:
    counting = report.with_name("counting.html")
    counting.write_text(report.read_text() + COUNT)
    said = re.search(r"pictures (\d+) broken (\d+)", browse(counting.as_uri(), "--dump-dom"))
    assert said is not None
    assert int(said[1]) > 0
    assert int(said[2]) == 0


def test_the_report_stands_alone(report: Path, tmp_path: Path, browse: Browse) -> None:
    # Moved away from what the demonstration wrote beside it, and with no network.
    alone = tmp_path / "elsewhere" / "report.html"
    alone.parent.mkdir()
    shutil.copy(report, alone)
    alone.write_text(alone.read_text() + COUNT)
    assert " broken 0" in browse(alone.as_uri(), "--dump-dom")


def test_the_report_fills_a_screen(report: Path, tmp_path: Path, browse: Browse) -> None:
    picture = tmp_path / "report.png"
    browse(report.as_uri(), "--window-size=1200,3000", f"--screenshot={picture}")
    seen = cv2.imread(str(picture))
    assert seen is not None
    assert seen.std() > 10  # a blank page has one colour
