import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.detections import Detections
from edgegal.device.registration import Motion
from edgegal.device.tracking import Sighting, Tracker
from edgegal.frames import Frame
from edgegal.inference import Abstention

LABELS = ("round", "spiral")
START = datetime(2026, 3, 21, 21, 0, tzinfo=timezone.utc)
PIXELS = np.zeros((4, 4), np.uint8)


def frame(index: int) -> Frame:
    return Frame(PIXELS, "test", index, time=START + timedelta(seconds=10 * index))


def found(*boxes: tuple[float, float, float, float], scores: list[float] | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(scores or [0.8] * n, np.float32),
        np.zeros(n, np.int32),
    )


def sure(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), 2)


def step(tracker: Tracker, index: int, detections: Detections, p: np.ndarray) -> tuple[Sighting, ...]:
    return tracker.update(frame(index), detections, p)[0]


def test_one_picture_gives_sightings_of_one_frame() -> None:
    (sighting,) = step(Tracker(LABELS), 0, found((10, 20, 50, 70)), sure((0.3, 0.7)))
    assert sighting.box == (10, 20, 50, 70)
    assert (sighting.label, sighting.confidence) == ("spiral", pytest.approx(0.7))
    assert (sighting.frames, sighting.agreeing) == (1, 1)
    assert sighting.first_time == sighting.last_time == START


def test_probabilities_and_scores_are_averaged_and_votes_counted() -> None:
    tracker = Tracker(LABELS)
    step(tracker, 0, found((10, 10, 50, 50), scores=[0.6]), sure((0.6, 0.4)))
    step(tracker, 1, found((11, 10, 51, 50), scores=[0.8]), sure((0.2, 0.8)))
    (sighting,) = step(tracker, 2, found((12, 10, 52, 50), scores=[1.0]), sure((0.1, 0.9)))
    assert sighting.probabilities == pytest.approx({"round": 0.3, "spiral": 0.7})
    assert sighting.score == pytest.approx(0.8)
    assert (sighting.label, sighting.agreeing, sighting.frames) == ("spiral", 2, 3)
    assert sighting.box == (12, 10, 52, 50)
    assert (sighting.first_frame, sighting.last_frame) == (0, 2)
    assert sighting.last_time == START + timedelta(seconds=20)


def test_neighbours_that_cross_keep_their_names_by_overlap() -> None:
    tracker = Tracker(LABELS)
    first = step(tracker, 0, found((0, 0, 40, 40), (30, 0, 70, 40)), sure((1, 0), (0, 1)))
    second = step(tracker, 1, found((34, 0, 74, 40), (4, 0, 44, 40)), sure((0, 1), (1, 0)))
    assert [s.id for s in second] == [first[1].id, first[0].id]


def test_a_galaxy_elsewhere_is_a_new_one() -> None:
    tracker = Tracker(LABELS)
    step(tracker, 0, found((0, 0, 40, 40)), sure((1, 0)))
    (other,) = step(tracker, 1, found((200, 200, 240, 240)), sure((1, 0)))
    assert other.id == 2
    assert [s.id for s in tracker.alive] == [1, 2]


def test_a_gap_is_bridged_until_patience_ends() -> None:
    tracker = Tracker(LABELS, patience=2)
    step(tracker, 0, found((0, 0, 40, 40)), sure((1, 0)))
    for i in (1, 2):
        assert tracker.update(frame(i), Detections.empty(), sure()) == ((), ())
    (again,) = step(tracker, 3, found((2, 0, 42, 40)), sure((1, 0)))
    assert (again.id, again.frames) == (1, 2)
    ended = [tracker.update(frame(i), Detections.empty(), sure())[1] for i in (4, 5, 6)]
    assert ended == [(), (), (again,)]
    assert tracker.alive == ()


def test_without_a_classifier_the_score_is_the_confidence() -> None:
    tracker = Tracker()
    for i in range(3):
        (sighting,) = tracker.update(frame(i), found((0, 0, 9, 9), scores=[0.9]), np.zeros((1, 0)))[0]
    assert (sighting.label, sighting.confidence) == ("galaxy", pytest.approx(0.9))
    assert sighting.agreeing == sighting.frames == 3


CAREFUL = Abstention(abstain_below=0.7, min_side_px=20)


def test_a_galaxy_nobody_is_sure_of_is_uncertain_and_keeps_its_probabilities() -> None:
    (sighting,) = step(Tracker(LABELS, CAREFUL), 0, found((0, 0, 40, 40)), sure((0.4, 0.6)))
    assert (sighting.label, sighting.refusal) == ("uncertain", "uncertain")
    assert (sighting.frames, sighting.agreeing) == (1, 1)
    document = json.loads(json.dumps(sighting.document()))
    assert (document["class"], document["refusal"], document["confidence"]) == (None, "uncertain", 0.6)
    assert document["probabilities"] == {"round": 0.4, "spiral": 0.6}


def test_frames_that_disagree_make_an_answer_uncertain_and_agreeing_ones_settle_it() -> None:
    tracker = Tracker(LABELS, Abstention(0.65))
    rows = [(0.1, 0.9), (0.9, 0.1), (0.1, 0.9), (0.1, 0.9)]
    seen = [step(tracker, i, found((0, 0, 40, 40)), sure(row))[0] for i, row in enumerate(rows)]
    assert [s.label for s in seen] == ["spiral", "uncertain", "uncertain", "spiral"]
    # No single frame was uncertain: none of them voted for what their average says.
    assert [s.agreeing for s in seen] == [1, 0, 0, 3]
    assert [s.refusal for s in seen] == [None, "uncertain", "uncertain", None]


def test_a_short_box_is_too_small_by_its_longer_side_averaged_over_frames() -> None:
    tracker = Tracker(LABELS, CAREFUL)
    sizes = [(19, 8), (22, 8), (22, 8)]
    seen = [step(tracker, i, found((0, 0, *size)), sure((0.0, 1.0)))[0] for i, size in enumerate(sizes)]
    assert [s.label for s in seen] == ["too small", "spiral", "spiral"]
    assert [s.agreeing for s in seen] == [1, 1, 2]


def test_too_small_goes_before_uncertain() -> None:
    (sighting,) = step(Tracker(LABELS, CAREFUL), 0, found((0, 0, 9, 9)), sure((0.5, 0.5)))
    assert sighting.refusal == "too small"


def test_without_a_classifier_there_is_nothing_to_refuse() -> None:
    (sighting,) = Tracker(abstention=CAREFUL).update(frame(0), found((0, 0, 9, 9)), np.zeros((1, 0)))[0]
    assert (sighting.label, sighting.refusal, sighting.agreeing) == ("galaxy", None, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_a_class_is_given_exactly_where_the_averaged_probability_reaches_the_threshold(
    spirals: list[float], threshold: float
) -> None:
    tracker = Tracker(LABELS, Abstention(threshold))
    for i, p in enumerate(spirals):
        (sighting,) = tracker.update(frame(i), found((0, 0, 40, 40)), np.array([[1 - p, p]]))[0]
    assert (sighting.refusal is None) == (sighting.confidence >= threshold)
    assert sighting.label in ({"uncertain"} if sighting.refusal else set(LABELS))


corner = st.integers(0, 60)
box = st.tuples(corner, corner, st.integers(5, 40), st.integers(5, 40)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(st.lists(box, max_size=6), max_size=6))
def test_every_detection_belongs_to_one_sighting_of_its_own(frames: list[list[tuple[int, int, int, int]]]) -> None:
    tracker = Tracker(LABELS, patience=1)
    everyone: dict[int, Sighting] = {}
    for i, boxes in enumerate(frames):
        seen, ended = tracker.update(frame(i), found(*boxes), sure(*[(0.5, 0.5)] * len(boxes)))
        assert len({s.id for s in seen}) == len(boxes)
        assert [s.box for s in seen] == boxes
        everyone |= {s.id: s for s in (*seen, *ended)}
    assert sum(s.frames for s in everyone.values()) == sum(len(b) for b in frames)


def test_the_document_survives_json() -> None:
    (sighting,) = step(Tracker(LABELS), 4, found((1.234, 2, 30, 40)), sure((0.25, 0.75)))
    document = json.loads(json.dumps(sighting.document()))
    assert document["class"] == "spiral"
    assert document["box"] == [1.23, 2, 30, 40]
    assert datetime.fromisoformat(document["first_time"]) == START + timedelta(seconds=40)


def test_a_class_is_told_only_when_enough_frames_agree() -> None:
    tracker = Tracker(LABELS, agree=3)
    rows = [(0.1, 0.9), (0.9, 0.1), (0.1, 0.9), (0.1, 0.9)]
    seen = [step(tracker, i, found((0, 0, 40, 40)), sure(row))[0] for i, row in enumerate(rows)]
    assert [s.label for s in seen] == ["undecided", "undecided", "undecided", "spiral"]
    assert [s.document()["class"] for s in seen] == [None, None, None, "spiral"]
    assert [s.document()["settled"] for s in seen] == [False, False, False, True]


def test_by_default_one_frame_is_enough() -> None:
    (sighting,) = step(Tracker(LABELS), 0, found((0, 0, 40, 40)), sure((0.1, 0.9)))
    assert sighting.settled
    assert sighting.document()["settled"]


TURNS = {
    "drift": Motion.shift(120, -35),
    "meridian flip": Motion(np.array([[-1.0, 0.0, 640.0], [0.0, -1.0, 480.0]])),
    "field rotation": Motion(np.array([[0.8, -0.6, 200.0], [0.6, 0.8, -50.0]])),
}


@pytest.mark.parametrize("carried", TURNS.values(), ids=TURNS)
def test_a_sighting_keeps_its_name_when_the_picture_moves(carried: Motion) -> None:
    tracker = Tracker(LABELS)
    boxes = [(100, 300, 140, 340), (420, 200, 450, 290)]
    before = step(tracker, 0, found(*boxes), sure((0.1, 0.9), (0.9, 0.1)))
    moved = carried.boxes(np.array(boxes, float))
    again = Detections(moved[::-1].copy(), np.array([0.8, 0.8], np.float32), np.zeros(2, np.int32))
    seen, ended = tracker.update(frame(1), again, sure((0.9, 0.1), (0.1, 0.9)), carried)
    assert [s.id for s in seen] == [before[1].id, before[0].id]
    assert [s.frames for s in seen] == [2, 2]
    assert not ended


def test_another_sky_ends_all_sightings() -> None:
    tracker = Tracker(LABELS)
    (first,) = step(tracker, 0, found((0, 0, 40, 40)), sure((0.1, 0.9)))
    (seen,), ended = tracker.update(frame(1), found((0, 0, 40, 40)), sure((0.1, 0.9)), None)
    assert ended == (first,)
    assert seen.id == 2
