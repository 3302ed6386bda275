"""Stages, sinks and cameras that hang, break or fall silent: made again, or waited for where that is all they need."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import FrameResult, Naming, Pipeline
from edgegal.device.session import Spares, observe
from edgegal.device.sinks import SightingLog
from edgegal.device.sources import Source, open_source
from edgegal.device.sources.files import open_file
from edgegal.device.stacking import LiveStack
from edgegal.device.supervision import StageFailedError
from edgegal.device.tracking import Sighting
from edgegal.frames import Frame, View

Detect = Callable[[View], Detections]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pipe() -> Iterator[Pair]:
    """Reading from one end blocks until something is sent from the other."""
    here, there = socket.socketpair()
    with here, there:
        yield here, there
        here.shutdown(socket.SHUT_RDWR)


class Busy(Source):
    """Frames from another process over a socket, one byte each: its grey level."""

    stream = True
    live = True

    def __init__(self, peer: socket.socket) -> None:
        self.name = "busy"
        self._peer = peer
        self._index = 0

    def __next__(self) -> Frame:
        got = self._peer.recv(1)
        if not got:
            raise StopIteration
        if got == b"\xff":
            raise RuntimeError("the driver lost its mind")
        self._index += 1
        return Frame(np.full((64, 64, 3), got[0], np.uint8), f"level {got[0]}", self._index - 1, linear=False)

    def close(self) -> None:
        # Closing alone does not wake a thread that reads.
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)


def never() -> Source:
    """Opens no source a second time."""
    raise AssertionError("it was opened again")


def test_a_pipeline_that_hangs_is_made_again_and_its_late_answer_is_not_listened_to(
    pipe: Pair, folder: Path, nothing: Detect, new_listener: Any
) -> None:
    here, there = pipe
    came_back = threading.Event()
    frames = iter(range(4))

    def hang(view: View) -> Detections:
        if next(frames) == 1:
            here.recv(1)
            came_back.set()
        return Detections.empty()

    listed = new_listener()
    summary = observe(
        open_source(str(folder)),
        Pipeline(hang),
        (listed,),
        spares=Spares(pipeline=lambda: Pipeline(nothing), stall_s=0.2),
    )
    assert len(summary.restarts) == 1
    assert "2.png hung" in summary.restarts[0]
    assert [Path(name).name for name in listed.sources] == ["1.png", "4.png"]
    assert listed.skipped[0].endswith("2.png: processing hung")
    assert summary.skips == 2
    there.send(b".")
    assert came_back.wait(10)
    assert len(listed.sources) == 2


def test_a_pipeline_that_always_hangs_ends_the_run_with_an_error(
    pipe: Pair, tmp_path: Path, write_sky: Callable[..., None], new_listener: Any
) -> None:
    for i in range(9):
        write_sky(tmp_path / f"{i}.png")
    here, _ = pipe
    frames = iter(range(9))

    def hang(view: View) -> Detections:
        if next(frames):
            here.recv(1)
        return Detections.empty()

    listed = new_listener()
    spares = Spares(pipeline=lambda: Pipeline(hang), stall_s=0.1)
    with pytest.raises(StageFailedError, match=r"6\.png hung"):
        observe(open_source(str(tmp_path)), Pipeline(hang), (listed,), spares=spares)
    assert listed.closed_with == ()


def test_a_pipeline_that_breaks_without_a_spare_shows_the_defect(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        observe(open_source(str(folder)), Pipeline(lambda view: 1 / 0))


@pytest.mark.parametrize("fault", ["hangs", "breaks"])
def test_no_two_sightings_of_a_run_have_one_number_although_the_stages_are_made_again(
    pipe: Pair, tmp_path: Path, bright_spots: Detect, colours: Naming, fault: str
) -> None:
    here, _ = pipe
    frames = iter(range(100))

    def detect(view: View) -> Detections:
        if next(frames) != 3:
            return bright_spots(view)
        if fault == "hangs":
            here.recv(1)
        raise ZeroDivisionError("a defect")

    def stages() -> Pipeline:
        return Pipeline(detect, naming=colours, stack=LiveStack(20))

    sky = open_source("sim:seed=3,frames=7,width=480,height=320")
    spares = Spares(pipeline=stages, stall_s=0.5)
    log = SightingLog(tmp_path)
    summary = observe(sky, stages(), (log,), spares=spares)
    assert len(summary.restarts) == 1
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    begun = [line["id"] for line in lines if line["event"] == "new"]
    assert begun == list(range(1, len(begun) + 1))
    assert [s.id for s in summary.sightings] == begun
    # The second stack is another sky to the tracker.
    assert {line["first_frame"] for line in lines if line["event"] == "new"} >= {0, 4}


def test_a_sink_that_hangs_is_made_again_and_keeps_no_other_from_writing(
    pipe: Pair, tmp_path: Path, nothing: Detect, write_sky: Callable[..., None], new_listener: Any
) -> None:
    for i in range(4):
        write_sky(tmp_path / f"{i}.png")
    here, _ = pipe

    def hang(result: FrameResult, seen: Sequence[Sighting]) -> None:
        if result.frame.index == 1:
            here.recv(1)

    first, second, fresh = new_listener(hang), new_listener(), new_listener()
    spares = Spares(sinks=(lambda: fresh, new_listener), stall_s=0.2)
    summary = observe(open_source(str(tmp_path)), Pipeline(nothing), (first, second), spares=spares)
    assert summary.frames == 4
    assert (len(first.sources), len(fresh.sources), len(second.sources)) == (1, 2, 4)
    assert fresh.closed_with == second.closed_with == ()
    assert first.closed_with is None


def test_a_computer_whose_frames_take_longer_than_a_stall_is_given_the_time(
    tmp_path: Path, nothing: Detect, write_sky: Callable[..., None], new_listener: Any
) -> None:
    for i in range(4):
        write_sky(tmp_path / f"{i}.png")

    def detect(view: View) -> Detections:
        time.sleep(0.25)
        return Detections.empty()

    slow = new_listener(lambda result, seen: time.sleep(0.25))
    spares = Spares(pipeline=lambda: Pipeline(nothing), sinks=(new_listener,), stall_s=0.1)
    summary = observe(open_source(str(tmp_path)), Pipeline(detect), (slow,), spares=spares)
    assert (summary.frames, len(slow.sources), summary.restarts) == (4, 4, ())


def test_a_source_that_dies_is_opened_again_and_its_frames_are_counted_on(pipe: Pair, new_listener: Any) -> None:
    here, there = pipe
    again, back = socket.socketpair()
    there.send(b"\x01")
    back.send(b"\x02")
    back.shutdown(socket.SHUT_RDWR)
    listed = new_listener()

    def die(view: View) -> Detections:
        # Not before the first frame went through: the newest would take its place.
        if view[0, 0, 0] == 1:
            there.send(b"\xff")
        return Detections.empty()

    with again, back:
        summary = observe(Busy(here), Pipeline(die), (listed,), spares=Spares(source=lambda: Busy(again)))
    assert listed.sources == ["level 1", "level 2"]
    assert listed.indices == [0, 1]
    assert summary.restarts == ("reading: RuntimeError: the driver lost its mind",)


def test_a_camera_that_falls_silent_is_opened_again(pipe: Pair, nothing: Detect, new_listener: Any) -> None:
    here, there = pipe
    again, back = socket.socketpair()
    there.send(b"\x01")
    back.send(b"\x02")
    back.shutdown(socket.SHUT_RDWR)
    listed = new_listener()
    spares = Spares(source=lambda: Busy(again), silence_s=0.3)
    with again, back:
        summary = observe(Busy(here), Pipeline(nothing), (listed,), spares=spares)
    assert listed.sources == ["level 1", "level 2"]
    assert summary.restarts == ("reading: busy hung",)


def test_a_camera_that_is_silent_for_long_is_left_alone_otherwise(pipe: Pair, nothing: Detect) -> None:
    here, there = pipe

    def answer() -> None:
        time.sleep(0.5)
        there.send(b"\x01")
        there.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=answer).start()
    spares = Spares(source=lambda: Busy(here), pipeline=lambda: Pipeline(nothing), stall_s=0.1)
    summary = observe(Busy(here), Pipeline(nothing), spares=spares)
    assert (summary.frames, summary.restarts) == (1, ())


def test_a_limit_ends_a_run_whose_camera_is_silent(pipe: Pair, nothing: Detect) -> None:
    here, there = pipe
    there.send(b"\x07")
    assert observe(Busy(here), Pipeline(nothing), limit=1).frames == 1


def test_a_folder_is_not_opened_again_when_no_file_comes(
    tmp_path: Path, nothing: Detect, write_sky: Callable[..., None]
) -> None:
    source = open_source(f"watch:{tmp_path}?every=0.05")

    def come() -> None:
        time.sleep(0.6)
        write_sky(tmp_path / "1.png")

    threading.Thread(target=come).start()
    summary = observe(source, Pipeline(nothing), limit=1, spares=Spares(source=never, silence_s=0.1))
    assert (summary.frames, summary.restarts) == (1, ())


def test_a_file_that_its_reader_breaks_on_is_counted_as_skipped_and_no_other_is_read_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nothing: Detect,
    write_sky: Callable[..., None],
    new_listener: Any,
) -> None:
    for number in range(4):
        write_sky(tmp_path / f"{number}.png")

    def open_most(path: Path) -> Source:
        if path.name == "1.png":
            raise ZeroDivisionError("a defect")
        return open_file(path)

    monkeypatch.setattr("edgegal.device.sources.files.open_file", open_most)
    source = open_source(f"watch:{tmp_path}?every=0.05&old")
    listed = new_listener()
    summary = observe(source, Pipeline(nothing), (listed,), limit=4, spares=Spares(source=never))
    assert [Path(name).name for name in listed.sources] == ["0.png", "2.png", "3.png"]
    assert listed.indices == [0, 2, 3]
    assert summary.restarts == ("reading: ZeroDivisionError: a defect",)
    assert (summary.frames, summary.skips) == (3, 1)
    (skipped,) = listed.skipped
    assert skipped.startswith(f"frame 1: {tmp_path / '1.png'} broke what reads it: a defect")
