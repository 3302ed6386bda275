import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.astrometry import SkyPlace
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks import SightingLog
from edgegal.device.sinks.facts import FrameFacts
from edgegal.device.tracking import Tracker
from edgegal.frames import Frame
from edgegal.inference import Abstention

LABELS = ("round", "spiral")
VIEW = np.zeros((100, 100, 3), np.uint8)


def run(log: SightingLog, rows: list[list[tuple[float, float]]], tracker: Tracker | None = None) -> Tracker:
    """One frame a row; each pair is the probabilities of a galaxy at its own place."""
    tracker = tracker or Tracker(LABELS, patience=0)
    for i, row in enumerate(rows):
        corners = [20.0 * k for k in range(len(row))]
        boxes = np.array([[c, c, c + 15, c + 15] for c in corners], np.float32).reshape(-1, 4)
        found = Detections(boxes, np.full(len(row), 0.9, np.float32), np.zeros(len(row), np.int32))
        probabilities = np.array(row, np.float32).reshape(-1, 2)
        frame = Frame(VIEW, "test", i, linear=False)
        seen, ended = tracker.update(frame, found, probabilities)
        log.write(FrameResult(frame, VIEW, found, probabilities, StageTimes()), seen, ended)
    return tracker


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def events(path: Path) -> list[tuple[int, str]]:
    return [(line["id"], line["event"]) for line in lines(path)]


def test_nothing_is_created_before_the_first_frame(tmp_path: Path) -> None:
    log = SightingLog(tmp_path / "out")
    log.close(())
    assert not (tmp_path / "out").exists()


def test_an_empty_sky_leaves_an_empty_log(tmp_path: Path) -> None:
    log = SightingLog(tmp_path / "out")
    log.close(run(log, [[], []]).alive)
    assert (tmp_path / "out/sightings.jsonl").read_text() == ""


def test_a_long_sighting_stays_a_few_lines(tmp_path: Path) -> None:
    log = SightingLog(tmp_path)
    log.close(run(log, [[(0.1, 0.9)]] * 100).alive)
    found = lines(log.path)
    assert [line["event"] for line in found] == ["new", *["update"] * 6, "end"]
    assert [line["frames"] for line in found] == [1, 2, 4, 8, 16, 32, 64, 100]


def test_a_change_of_class_is_written_at_once(tmp_path: Path) -> None:
    log = SightingLog(tmp_path)
    run(log, [[(0.6, 0.4)], [(0.5, 0.5)], [(0.0, 1.0)]])
    assert [(line["event"], line["class"]) for line in lines(log.path)] == [
        ("new", "round"),
        ("update", "round"),
        ("update", "spiral"),
    ]


def test_an_uncertain_answer_is_no_class_and_its_change_is_written_at_once(tmp_path: Path) -> None:
    log = SightingLog(tmp_path)
    run(log, [[(0.4, 0.6)], [(0.4, 0.6)], [(0.0, 1.0)]], Tracker(LABELS, Abstention(0.7)))
    assert [(line["event"], line["class"], line["refusal"]) for line in lines(log.path)] == [
        ("new", None, "uncertain"),
        ("update", None, "uncertain"),
        ("update", "spiral", None),
    ]
    assert lines(log.path)[0]["probabilities"] == {"round": 0.4, "spiral": 0.6}


def test_an_ended_sighting_is_closed_while_the_night_goes_on(tmp_path: Path) -> None:
    log = SightingLog(tmp_path)
    tracker = run(log, [[(1, 0), (0, 1)], [(1, 0)]])
    assert events(log.path)[-1] == (2, "end")
    log.close(tracker.alive)
    assert events(log.path)[-1] == (1, "end")


def test_every_line_is_on_the_disk_when_the_frame_is_done(tmp_path: Path) -> None:
    log = SightingLog(tmp_path)
    run(log, [[(1, 0)]])
    # Not closed: what a pulled plug leaves.
    assert events(log.path) == [(1, "new")]


def test_runs_are_appended_and_told_apart(tmp_path: Path) -> None:
    for _ in range(2):
        log = SightingLog(tmp_path)
        log.close(run(log, [[(1, 0)]]).alive)
    found = lines(log.path)
    assert len(found) == 4
    assert len({line["run"] for line in found}) == 2


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "sightings.jsonl"
    path.write_text('{"run": "x", "ev')
    log = SightingLog(tmp_path)
    run(log, [[(1, 0)]])
    first, second = path.read_text().splitlines()
    assert first == '{"run": "x", "ev'
    assert json.loads(second)["event"] == "new"


def test_places_and_names_are_told(tmp_path: Path) -> None:
    facts = FrameFacts(places={1: SkyPlace(202.47, 47.19)}, names={1: "NGC 5194"})
    log = SightingLog(tmp_path, "night1", lambda result: facts)
    log.close(run(log, [[(0.1, 0.9)]]).alive)
    for line in lines(log.path):
        assert (line["run"], line["ra_deg"], line["dec_deg"], line["name"]) == ("night1", 202.47, 47.19, "NGC 5194")


def test_a_mark_is_a_line_and_one_of_nothing_known_is_none(tmp_path: Path) -> None:
    log = SightingLog(tmp_path, "night1")
    run(log, [[(0.1, 0.9)]])
    log.mark_false(1)
    log.mark_false(7)
    assert lines(log.path)[1:] == [{"run": "night1", "event": "false", "id": 1}]


def test_what_a_full_disk_refuses_is_written_when_there_is_room(filler: Any, tiny_disk: Path) -> None:
    log = SightingLog(tiny_disk)
    tracker = run(log, [[(0.1, 0.9)]])
    filler.fill()
    before = log.path.read_text()
    # The file's last block still has room for a few lines.
    for _ in range(20):
        try:
            tracker = run(log, [[(0.1, 0.9), *[(0.9, 0.1)] * 3]], tracker)
        except OSError:
            continue
        before = log.path.read_text()
    assert log.path.read_text() == before
    filler.go()
    log.close(tracker.alive)
    last = {line["id"]: line for line in lines(log.path)}
    assert [(line["event"], line["frames"]) for line in last.values()] == [("end", 21), *[("end", 20)] * 3]


def test_a_full_disk_at_the_end_of_a_night_can_be_tried_again(filler: Any, tiny_disk: Path) -> None:
    log = SightingLog(tiny_disk)
    filler.fill()
    with pytest.raises(OSError, match="No space"):
        run(log, [[(0.1, 0.9)] * 4])
    tracker = Tracker(LABELS)
    with pytest.raises(OSError, match="No space"):
        log.close(tracker.alive)
    filler.go()
    log.close(tracker.alive)
    assert events(log.path) == [(i, "new") for i in (1, 2, 3, 4)]
