"""Frames between the reading and the working thread."""

import threading

import numpy as np

from edgegal.device.handover import Handover
from edgegal.frames import Frame


def frame(index: int) -> Frame:
    return Frame(np.zeros((4, 4), np.uint8), f"{index}", index)


def indices(handover: Handover) -> list[int | str]:
    """What is left in it, faults by their words."""
    taken = iter(handover.take, None)
    return [arrival.frame.index if arrival.frame else arrival.fault for arrival in taken]


def test_the_newest_frame_of_a_camera_takes_the_place_of_the_one_that_waits() -> None:
    handover = Handover(latest=True)
    assert all(handover.ready() and handover.put(frame(i), 2.0, 0.5) for i in range(5))
    handover.end()
    taken = handover.take()
    assert taken is not None
    assert taken.frame is not None
    assert (taken.number, taken.wait_s, taken.read_s, taken.dropped) == (4, 2.0, 0.5, 4)
    assert handover.take() is None


def test_a_file_waits_and_loses_nothing() -> None:
    handover = Handover(latest=False)

    def read() -> None:
        for i in range(40):
            assert handover.ready()
            assert handover.put_bad(f"bad {i}", i) if i % 3 == 0 else handover.put(frame(i), 0.0, 0.0)
        handover.end()

    reader = threading.Thread(target=read)
    reader.start()
    assert indices(handover) == [f"bad {i}" if i % 3 == 0 else i for i in range(40)]
    reader.join()
    assert handover.dropped == 0


def test_bad_frames_of_a_camera_are_told_and_push_no_good_one_out() -> None:
    handover = Handover(latest=True)
    handover.put(frame(0), 0.0, 0.0)
    handover.put_bad("cut", 1)
    handover.put_bad("cut again", 2)
    handover.end()
    assert indices(handover) == ["cut", "cut again", 0]
    assert handover.dropped == 0


def test_a_flood_of_bad_frames_stays_in_bounded_memory() -> None:
    handover = Handover(latest=True)
    for i in range(5_000):
        handover.put_bad(f"{i}", i)
    handover.end()
    left = indices(handover)
    assert len(left) == 1_000
    assert left[-1] == "4999"


def test_an_end_frees_a_reader_that_waits_and_one_that_takes() -> None:
    handover = Handover(latest=False)
    assert handover.put(frame(0), 0.0, 0.0)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(handover.ready()))
    waiting.start()
    handover.end(discard=True)
    waiting.join()
    assert answers == [False]
    assert not handover.put_bad("too late", 1)
    assert handover.take() is None
