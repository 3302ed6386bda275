"""The demonstration, run for real."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="the report needs Jinja2: the demo environment")
pytest.importorskip("skimage", reason="the real sky frame comes with scikit-image: the demo environment")

from edgegal import zoo
from edgegal.bundle import save
from edgegal.demo import run_demo
from edgegal.demo.report import write_report
from edgegal.demo.sky import DemoResult, hubble_deep_field, score_night
from edgegal.detections import iou_matrix
from edgegal.device.tracking import Sighting
from edgegal.errors import InputError
from edgegal.labels import SCHEMES
from edgegal.sky import KINDS, Night

# The floors test runs the demonstration in the device environments too.
pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    out = tmp_path_factory.mktemp("demo")
    (out / "night").mkdir()
    (out / "night" / "mine.txt").write_text("a file of the user's")
    (out / "sightings.jsonl").write_text("of another night\n")
    return run_demo(zoo.resolve(zoo.DEFAULT), out)


def test_simulated_kinds_are_the_labels_of_their_scheme() -> None:
    assert SCHEMES["gz2-5class"].labels == KINDS


def test_both_skies_give_sightings(shown: DemoResult) -> None:
    hubble, night = shown.expositions
    assert hubble.summary is not None
    assert night.summary is not None
    assert len(hubble.summary.sightings) >= 30
    assert night.summary.frames == 8
    assert shown.night.galaxies >= 5
    assert shown.night.found >= 0.7 * shown.night.galaxies
    assert shown.night.wrong <= 1


def test_every_line_of_the_log_is_a_sighting_of_this_demonstration(shown: DemoResult) -> None:
    lines = [json.loads(line) for line in (shown.out / "sightings.jsonl").read_text().splitlines()]
    assert len({line["run"] for line in lines}) == 2
    ended = [line for line in lines if line["event"] == "end"]
    assert len(ended) == sum(len(e.summary.sightings) for e in shown.expositions if e.summary)


def test_pictures_are_written_and_the_users_files_stay(shown: DemoResult) -> None:
    assert len(list((shown.out / "hubble").rglob("*.png"))) == 1
    assert len(list((shown.out / "night").rglob("*.png"))) == 8
    assert (shown.out / "night" / "mine.txt").read_text() == "a file of the user's"


def test_the_report_stands_alone(shown: DemoResult) -> None:
    html = write_report(shown, zoo.resolve(zoo.DEFAULT)).read_text()
    sources = re.findall(r'src="([^"]*)"', html)
    assert len(sources) > 10
    assert all(s.startswith("data:image/jpeg;base64,") for s in sources)
    assert "http" not in re.sub(r"data:[^\"]*", "", html)
    for row in shown.comparison.stages[0].rows:
        assert row.variant in html


def test_a_bundle_without_evaluation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    whole = zoo.resolve(zoo.DEFAULT)
    assert whole.manifest.detector is not None
    bare = whole.manifest.detector.model_copy(update={"evaluation": None})
    bundle = save(whole.manifest.model_copy(update={"detector": bare}), tmp_path)
    with pytest.raises(InputError, match="no evaluation set"):
        run_demo(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_night_is_scored_against_its_truth() -> None:
    night = Night(seed=3, width=400, height=300, frames=2)
    truth = night.boxes(0, stacked=2)
    inside = [
        (box, kind)
        for box, kind in zip(truth, night.scene.kinds, strict=True)
        if box.min() >= 0 and box[2] <= 400 and box[3] <= 300 and max(box[2:] - box[:2]) >= 24
    ]

    def sighting(number: int, box: np.ndarray, label: str) -> Sighting:
        corners = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        return Sighting(number, corners, 0.9, {label: 1.0}, 2, 2, 0, 1, None, None)

    seen = [sighting(i, box, KINDS[kind]) for i, (box, kind) in enumerate(inside)]
    corners = (np.array([x, y, x + 8, y + 8]) for x in range(0, 390, 10) for y in range(0, 290, 10))
    stray = sighting(99, next(c for c in corners if not iou_matrix(truth, c[None]).any()), "round")
    score = score_night(night, [*seen, stray], KINDS)
    assert (score.galaxies, score.found, score.named) == (len(inside), len(inside), len(inside))
    assert score.wrong == 1
    assert score_night(night, [], KINDS).found == 0


def test_the_picture_is_found_without_importing_its_package() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from edgegal.demo.sky import hubble_deep_field; hubble_deep_field(); "
        "sys.exit(bool({'skimage', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert hubble_deep_field().stat().st_size > 100_000
