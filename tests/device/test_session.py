import contextlib
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections, iou_matrix
from edgegal.device.calibration import Calibration
from edgegal.device.controls import Controls, Thresholds
from edgegal.device.cosmetic import CosmeticCorrection
from edgegal.device.masters import Master
from edgegal.device.pipeline import FrameResult, Naming, Pipeline, StageTimes
from edgegal.device.quality import Judge
from edgegal.device.session import Spares, observe, stop_signals
from edgegal.device.sinks import AnnotatedPictures, SightingLog, Sink
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.enduring import Enduring
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sources import Source, open_source
from edgegal.device.sources.files import open_file
from edgegal.device.stacking import LiveStack
from edgegal.device.supervision import StageFailedError
from edgegal.device.tracking import Sighting
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame, View
from edgegal.preprocess import Stretch, as_view, crop_square
from edgegal.sky import Night

Detect = Callable[[View], Detections]


def crop(view: View, found: Detections) -> View:
    crops = [crop_square(view, (float(x), float(y)), float(max(s)), 16) for (x, y), s in _centres(found)]
    return np.stack(crops) if crops else np.zeros((0, 16, 16, 3), np.uint8)


def _centres(found: Detections) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(found.centres, found.sizes, strict=True))


def redness(crops: View) -> np.ndarray:
    """Share of red, green and blue light: probabilities of three classes."""
    light = crops.reshape(len(crops), -1, 3).sum(axis=1).astype(np.float32)
    return light / np.maximum(light.sum(axis=1, keepdims=True), 1)


COLOURS = Naming(("red", "green", "blue"), crop, redness)


def write_sky(path: Path, *spots: tuple[int, int, tuple[int, int, int]]) -> None:
    """A dark picture with round spots: x, y, RGB."""
    picture = np.full((200, 300, 3), 10, np.uint8)
    for x, y, colour in spots:
        cv2.circle(picture, (x, y), 12, colour, -1)
    cv2.imwrite(str(path), picture[..., ::-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four frames: a red galaxy drifting, a blue one that comes later, one bad file between."""
    folder = tmp_path / "frames"
    folder.mkdir()
    red, blue = (250, 60, 40), (40, 90, 250)
    write_sky(folder / "1.png", (50, 50, red))
    write_sky(folder / "2.png", (54, 51, red))
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes()[:100])
    write_sky(folder / "4.png", (58, 52, red), (200, 120, blue))
    return folder


def test_the_road_from_files_to_sightings(folder: Path, tmp_path: Path, bright_spots: Detect) -> None:
    out = tmp_path / "out"
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots, naming=COLOURS), (AnnotatedPictures(out), SightingLog(out)))
    red, blue = summary.sightings
    assert (red.label, red.frames, red.agreeing, red.first_frame, red.last_frame) == ("red", 3, 3, 0, 3)
    assert (blue.label, blue.frames, blue.first_frame) == ("blue", 1, 3)
    assert blue.box == pytest.approx((188, 108, 213, 133))
    assert summary.frames == 3
    assert len(summary.skipped) == 1
    assert "3.png is cut short" in summary.skipped[0]
    assert not summary.interrupted
    assert sorted(p.name for p in out.iterdir()) == [
        "000000_1.png.png",
        "000001_2.png.png",
        "000003_4.png.png",
        "sightings.jsonl",
    ]


def test_every_stage_that_ran_took_time_and_the_others_none(folder: Path, bright_spots: Detect, tmp_path: Path) -> None:
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots, naming=COLOURS, stack=LiveStack(4)), (SightingLog(tmp_path),))
    assert len(summary.times) == summary.frames
    for times in summary.times:
        for stage in ("read", "stack", "view", "detect", "crop", "classify", "track", "sink"):
            assert getattr(times, stage) > 0, stage
        assert times.total == pytest.approx(sum(getattr(times, name) for name in StageTimes.names()))
    assert set(summary.latency_ms()) == {*StageTimes.names(), "total"}


def test_a_skipped_frame_is_said_and_counted(
    folder: Path, bright_spots: Detect, caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(str(folder)) as source, caplog.at_level(logging.WARNING):
        observe(source, Pipeline(bright_spots))
    assert "skipped" in caplog.text
    assert "3.png" in caplog.text


def test_the_only_frame_being_bad_is_fatal_and_leaves_nothing(
    folder: Path, tmp_path: Path, bright_spots: Detect
) -> None:
    out = tmp_path / "out"
    with open_source(str(folder / "3.png")) as source, pytest.raises(FrameError, match="cut short"):
        observe(source, Pipeline(bright_spots), (AnnotatedPictures(out), SightingLog(out)))
    assert not out.exists()


def test_a_folder_without_a_readable_picture_is_fatal(tmp_path: Path, bright_spots: Detect) -> None:
    for name in ("1.png", "2.fits"):
        (tmp_path / name).write_text("clear")
    with open_source(str(tmp_path)) as source, pytest.raises(InputError, match=r"no frame of .* could be used"):
        observe(source, Pipeline(bright_spots))


def test_the_limit_counts_frames_taken(folder: Path, bright_spots: Detect) -> None:
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots), limit=3)
    assert (summary.frames, len(summary.skipped)) == (2, 1)


class _Watching(Sink):
    """Counts frames, and keeps what it was closed with."""

    def __init__(self) -> None:
        self.frames = 0
        self.closed_with: Sequence[Sighting] | None = None

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self.frames += 1

    def close(self, alive: Sequence[Sighting]) -> None:
        self.closed_with = alive


class _Broken(_Watching):
    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        raise OSError(28, "No space left on device")


class _Signalling(_Watching):
    """Has the process sent a signal during the first frame."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        super().write(result, seen, ended)
        if self.frames == 1:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_and_keeps_what_was_seen(number: signal.Signals, bright_spots: Detect) -> None:
    sink = _Signalling(number)
    before = signal.getsignal(number)
    with stop_signals():
        summary = observe(open_source("sim:seed=3,frames=500,width=480,height=320"), Pipeline(bright_spots), (sink,))
    assert summary.interrupted
    assert 1 <= summary.frames < 500
    assert sink.frames == summary.frames
    assert summary.sightings
    assert sink.closed_with == summary.sightings
    assert signal.getsignal(number) is before


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two linear frames of 300 x 200, between them one cut to half and one display picture."""
    folder = tmp_path / "raw"
    folder.mkdir()
    light = Night(seed=2, width=300, height=200, frames=1).frame(0).pixels
    for name, pixels in (("1.png", light), ("2.png", light[:100]), ("4.png", light)):
        cv2.imwrite(str(folder / name), pixels)
    write_sky(folder / "3.png")
    return folder


def test_a_frame_that_does_not_fit_the_dark_is_skipped(raw: Path, bright_spots: Detect) -> None:
    dark = np.full((200, 300, 3), 500, np.float32)
    with open_source(str(raw)) as source:
        summary = observe(source, Pipeline(bright_spots, calibrate=Calibration(Master("dark", dark))))
    assert summary.frames == 2
    cut, display = summary.skipped
    assert "(100, 300, 3)" in cut
    assert "display picture" in display


def test_a_dark_that_fits_no_frame_is_fatal_and_says_both_sizes(raw: Path, bright_spots: Detect) -> None:
    dark = np.zeros((9, 9), np.float32)
    with open_source(str(raw)) as source, pytest.raises(InputError, match=r"no frame of .*\(9, 9\).*\(200, 300, 3\)"):
        observe(source, Pipeline(bright_spots, calibrate=Calibration(Master("dark", dark))))


def test_every_sink_is_closed_when_one_breaks(folder: Path, tmp_path: Path, bright_spots: Detect) -> None:
    log, broken = SightingLog(tmp_path), _Broken()
    with open_source(str(folder)) as source, pytest.raises(OSError, match="No space"):
        observe(source, Pipeline(bright_spots), (log, broken))
    assert broken.closed_with is not None
    assert log.path.read_text().count('"end"') == 1


def test_faint_galaxies_appear_in_the_stack(bright_spots: Detect) -> None:
    """A night too noisy for single frames: what the stack shows is where the truth says in its first frame."""
    night = Night(seed=2, width=480, height=320, frames=10, noise=4.0)

    def run(stack: LiveStack | None) -> np.ndarray:
        pipeline = Pipeline(bright_spots, Stretch(black_sigma=0, soft_sigma=4, white_sigma=40), stack=stack)
        for frame in night:
            result = pipeline(frame)
        truth = night.boxes(0 if stack else 9, stacked=10)
        inside = (truth[:, 0] > 30) & (truth[:, 1] > 30) & (truth[:, 2] < 450) & (truth[:, 3] < 290)
        return iou_matrix(truth[inside], result.detections.boxes).max(axis=1, initial=0)

    single, stacked = run(None), run(LiveStack(10))
    assert len(stacked) >= 3
    assert single.mean() < 0.25 < 0.5 < stacked.mean()


def test_crops_are_cut_from_the_view_their_classifier_knows(bright_spots: Detect) -> None:
    """Two networks trained on two stretches each see their own."""
    seen: list[float] = []

    def remember(view: View, found: Detections) -> View:
        seen.append(float(view.mean()))
        return crop(view, found)

    frame = Night(seed=2, width=300, height=260, frames=1).frame(0)
    for white in (300, 30):
        naming = Naming(COLOURS.labels, remember, redness, Stretch(white_sigma=white))
        Pipeline(bright_spots, Stretch(white_sigma=300), naming)(frame)
    assert seen[1] > 1.2 * seen[0]


def test_raw_pixels_go_once_they_are_calibrated(bright_spots: Detect) -> None:
    """Beside the sums of a stack each array of a frame's size is much of a small computer's memory."""
    raw: list[weakref.ref[np.ndarray]] = []
    held: list[bool] = []
    dark = Calibration(Master("dark", np.zeros((260, 300, 3), np.float32)))

    def calibrate(frame: Frame) -> Frame:
        raw.append(weakref.ref(frame.pixels))
        return dark(frame)

    def detect(view: View) -> Detections:
        held.append(raw[-1]() is not None)
        return bright_spots(view)

    pipeline = Pipeline(detect, calibrate=calibrate, stack=LiveStack(4), keep_single=False)
    with open_source("sim:seed=2,width=300,height=260,frames=3") as source:
        observe(source, pipeline)
    assert len(held) == 3
    # Older interpreters hold the arguments of a call until it returns.
    assert not any(held) or sys.version_info < (3, 11)


def test_without_a_classifier_galaxies_are_only_found(folder: Path, bright_spots: Detect) -> None:
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots))
    assert {s.label for s in summary.sightings} == {"galaxy"}
    assert summary.latency_ms()["classify"] == 0


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


class _Listed(_Watching):
    """Keeps the sources of frames and the reasons of those left out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.indices: list[int] = []
        self.skipped: list[str] = []
        self.skipped_numbers: list[int | None] = []
        self.dropped = 0

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        super().write(result, seen, ended)
        self.seen.append(result.frame.source)
        self.indices.append(result.frame.index)
        self.dropped = result.dropped

    def skip(self, reason: str, number: int | None = None) -> None:
        self.skipped.append(reason)
        self.skipped_numbers.append(number)


def nothing(view: View) -> Detections:
    return Detections.empty()


@pytest.fixture
def pipe() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there
        here.shutdown(socket.SHUT_RDWR)


Pair = tuple[socket.socket, socket.socket]


def test_a_camera_never_waits_and_what_it_drops_is_counted(bright_spots: Detect) -> None:
    def slow(view: View) -> Detections:
        time.sleep(0.05)
        return bright_spots(view)

    listed = _Listed()
    summary = observe(open_source("sim:frames=60,width=300,height=260,fps=200"), Pipeline(slow), (listed,))
    assert summary.dropped > 0
    assert summary.frames + summary.dropped == 60
    assert listed.frames == summary.frames
    assert listed.dropped == summary.dropped
    assert summary.document()["dropped"] == summary.dropped
    assert listed.indices == sorted(set(listed.indices))
    assert listed.indices[-1] == 59


def test_files_lose_nothing_and_keep_their_order_however_slow_a_stage(tmp_path: Path) -> None:
    for i in range(12):
        write_sky(tmp_path / f"{i}.png", (20 + 5 * i, 50, (250, 60, 40)))

    class Slow(_Listed):
        def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
            time.sleep(0.02)
            super().write(result, seen, ended)

    slow = Slow()
    summary = observe(open_source(str(tmp_path)), Pipeline(nothing), (slow,))
    assert [Path(name).name for name in slow.seen] == [f"{i}.png" for i in range(12)]
    assert (summary.frames, summary.dropped) == (12, 0)


def test_a_pipeline_that_hangs_is_made_again_and_its_late_answer_is_not_listened_to(pipe: Pair, folder: Path) -> None:
    here, there = pipe
    came_back = threading.Event()

    frames = iter(range(4))

    def hang(view: View) -> Detections:
        if next(frames) == 1:
            here.recv(1)
            came_back.set()
        return Detections.empty()

    listed = _Listed()
    summary = observe(
        open_source(str(folder)),
        Pipeline(hang),
        (listed,),
        spares=Spares(pipeline=lambda: Pipeline(nothing), stall_s=0.2),
    )
    assert len(summary.restarts) == 1
    assert "2.png hung" in summary.restarts[0]
    assert [Path(name).name for name in listed.seen] == ["1.png", "4.png"]
    assert listed.skipped[0].endswith("2.png: processing hung")
    assert summary.skips == 2
    there.send(b".")
    assert came_back.wait(10)
    assert len(listed.seen) == 2


def test_a_pipeline_that_always_hangs_ends_the_run_with_an_error(pipe: Pair, tmp_path: Path) -> None:
    for i in range(9):
        write_sky(tmp_path / f"{i}.png")
    frames = iter(range(9))

    def hang(view: View) -> Detections:
        if next(frames):
            here.recv(1)
        return Detections.empty()

    here, _ = pipe
    listed = _Listed()
    spares = Spares(pipeline=lambda: Pipeline(hang), stall_s=0.1)
    with pytest.raises(StageFailedError, match=r"6\.png hung"):
        observe(open_source(str(tmp_path)), Pipeline(hang), (listed,), spares=spares)
    assert listed.closed_with == ()


def test_a_pipeline_that_breaks_without_a_spare_shows_the_defect(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        observe(open_source(str(folder)), Pipeline(lambda view: 1 / 0))


def test_a_sink_that_hangs_is_made_again_and_keeps_no_other_from_writing(pipe: Pair, tmp_path: Path) -> None:
    for i in range(4):
        write_sky(tmp_path / f"{i}.png")
    here, _ = pipe

    class Hanging(_Listed):
        def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
            if result.frame.index == 1:
                here.recv(1)
            super().write(result, seen, ended)

    first, second, fresh = Hanging(), _Listed(), _Listed()
    spares = Spares(sinks=(lambda: fresh, _Listed), stall_s=0.2)
    summary = observe(open_source(str(tmp_path)), Pipeline(nothing), (first, second), spares=spares)
    assert summary.frames == 4
    assert (len(first.seen), len(fresh.seen), len(second.seen)) == (1, 2, 4)
    assert fresh.closed_with == second.closed_with == ()
    assert first.closed_with is None


def test_a_source_that_dies_is_opened_again(pipe: Pair) -> None:
    here, there = pipe
    again, back = socket.socketpair()
    there.send(b"\x01")
    back.send(b"\x02")
    back.shutdown(socket.SHUT_RDWR)
    listed = _Listed()

    def die(view: View) -> Detections:
        # Not before the first frame went through: the newest would take its place.
        if view[0, 0, 0] == 1:
            there.send(b"\xff")
        return Detections.empty()

    with again, back:
        summary = observe(Busy(here), Pipeline(die), (listed,), spares=Spares(source=lambda: Busy(again)))
    assert listed.seen == ["level 1", "level 2"]
    assert summary.restarts == ("reading: RuntimeError: the driver lost its mind",)


def test_a_camera_that_falls_silent_is_opened_again(pipe: Pair) -> None:
    here, there = pipe
    again, back = socket.socketpair()
    there.send(b"\x01")
    back.send(b"\x02")
    back.shutdown(socket.SHUT_RDWR)
    listed = _Listed()
    spares = Spares(source=lambda: Busy(again), silence_s=0.3)
    with again, back:
        summary = observe(Busy(here), Pipeline(nothing), (listed,), spares=spares)
    assert listed.seen == ["level 1", "level 2"]
    assert summary.restarts == ("reading: busy hung",)


def test_a_camera_that_is_silent_for_long_is_left_alone_otherwise(pipe: Pair) -> None:
    here, there = pipe

    def answer() -> None:
        time.sleep(0.5)
        there.send(b"\x01")
        there.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=answer).start()
    spares = Spares(source=lambda: Busy(here), pipeline=lambda: Pipeline(nothing), stall_s=0.1)
    summary = observe(Busy(here), Pipeline(nothing), spares=spares)
    assert (summary.frames, summary.restarts) == (1, ())


def test_a_limit_ends_a_run_whose_camera_is_silent(pipe: Pair) -> None:
    here, there = pipe
    there.send(b"\x07")
    assert observe(Busy(here), Pipeline(nothing), limit=1).frames == 1


_STUBBORN = """
import os, signal, threading, time
import numpy as np
from edgegal.detections import Detections
from edgegal.device.pipeline import Pipeline
from edgegal.device.session import observe, stop_signals
from edgegal.device.sinks import Sink
from edgegal.device.sources import open_source

class Stubborn(Sink):
    def write(self, result, seen, ended):
        print("written", flush=True)
    def close(self, alive):
        print("closing", flush=True)
        os.read(os.pipe()[0], 1)

with stop_signals():
    sky = open_source("sim:frames=100000,width=300,height=260,drift=0")
    observe(sky, Pipeline(lambda view: Detections.empty()), [Stubborn()])
    print("ended", flush=True)
"""


@pytest.mark.parametrize("signals", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_sink_that_never_closes_keeps_no_run_from_ending(signals: int) -> None:
    """After one signal in its time, after a second at once."""
    with subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGTERM)
        while process.stdout.readline() == "written\n":
            pass
        if signals == 2:
            process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == ((130, "") if signals == 2 else (0, "ended\n"))


def test_the_thresholds_follow_the_dials(folder: Path, bright_spots: Detect) -> None:
    controls = Controls(thresholds=Thresholds(0.1))

    class Turning(_Watching):
        labels: ClassVar[list[str]] = []

        def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
            self.labels.append(seen[0].label)
            controls.turn(abstain_below=1.0)

    observe(open_source(str(folder)), Pipeline(bright_spots, naming=COLOURS), (Turning(),), controls=controls)
    assert Turning.labels == ["red", "uncertain", "uncertain"]


def test_bad_frames_of_a_stack_are_left_out_and_said(bright_spots: Detect) -> None:
    pipeline = Pipeline(bright_spots, stack=LiveStack(20), judge=Judge())
    summary = observe(open_source("sim:seed=3,frames=14,width=480,height=320,cloud=0.25"), pipeline)
    assert summary.frames + summary.skips == 14
    assert summary.skips > 0
    assert all("is left out: " in reason for reason in summary.skipped)


def test_what_the_sinks_get_of_a_stacked_frame(bright_spots: Detect) -> None:
    results: list[FrameResult] = []

    class Kept(_Watching):
        def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
            results.append(result)

    pipeline = Pipeline(bright_spots, stack=LiveStack(20), cosmetic=CosmeticCorrection(), level_sky=True)
    observe(open_source("sim:seed=3,frames=3,width=480,height=320"), pipeline, (Kept(),))
    last = results[-1]
    assert last.stacked is not None
    assert last.quality is not None
    assert (last.stacked.frames, last.quality.stars > 5) == (3, True)
    picture = last.picture()
    assert last.frame.pixels.shape == picture.pixels.shape == last.view.shape == (320, 480, 3)
    # The sky of the one is even, the view is made of it.
    np.testing.assert_array_equal(as_view(picture, pipeline.stretch), last.view)
    assert last.times.background > 0


def test_a_run_remembers_no_more_of_a_long_night_than_of_a_short_one() -> None:
    class Endless(Source):
        """Every third frame of a long night is good."""

        name, stream = "endless", True

        def __init__(self) -> None:
            self._index = -1

        def __next__(self) -> Frame:
            self._index += 1
            if self._index == 7000:
                raise StopIteration
            if self._index % 3:
                raise FrameError("it is cut")
            return Frame(np.zeros((8, 8, 3), np.uint8), "endless", self._index, linear=False)

    summary = observe(Endless(), Pipeline(nothing))
    assert (summary.frames, summary.skips) == (2334, 4666)
    assert (len(summary.skipped), summary.skipped[-1]) == (1000, "frame 6998: it is cut")
    assert len(summary.times) == 2000


class _Exposing(Source):
    """A camera whose frames are there after 0.05 s and read after 0.1 s more; the third is damaged."""

    name, stream, live = "exposing", True, True

    def __init__(self) -> None:
        self._index = -1

    def __next__(self) -> Frame:
        self._index += 1
        if self._index == 4:
            raise StopIteration
        time.sleep(0.05)
        self.arrived = time.perf_counter()
        if self._index == 2:
            raise FrameError("it is damaged")
        time.sleep(0.1)
        return Frame(np.zeros((8, 8, 3), np.uint8), self.name, self._index, linear=False)


def test_waiting_for_a_camera_is_told_apart_from_reading_and_no_latency() -> None:
    summary = observe(_Exposing(), Pipeline(nothing))
    assert summary.frames + summary.dropped == 3
    assert all(t.wait >= 0.05 and t.read >= 0.1 for t in summary.times)
    assert all(t.total == pytest.approx(sum(getattr(t, name) for name in StageTimes.names())) for t in summary.times)
    assert "wait" not in {*StageTimes.names(), *summary.latency_ms()}
    assert summary.document()["median_wait_ms"] >= 50


def test_reading_a_file_is_no_waiting(folder: Path) -> None:
    times = observe(open_source(str(folder)), Pipeline(nothing)).times
    assert all(t.read > 0 == t.wait for t in times)


def test_a_skipped_frame_of_a_camera_is_named_by_its_number_everywhere(tmp_path: Path) -> None:
    listed = _Listed()
    database = SightingDatabase(tmp_path / "night.sqlite", RunFacts("exposing"))
    summary = observe(_Exposing(), Pipeline(nothing), (listed, Enduring(database, "database", lambda: None)))
    assert summary.skipped == ("frame 2: it is damaged",)
    assert listed.skipped == ["frame 2: it is damaged"]
    assert listed.skipped_numbers == [2]
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        rows = connection.execute("SELECT number, fault FROM frames WHERE fault IS NOT NULL").fetchall()
    assert rows == [(2, "frame 2: it is damaged")]


def test_frames_are_counted_on_when_a_camera_is_opened_again(pipe: Pair) -> None:
    here, there = pipe
    again, back = socket.socketpair()
    back.send(b"\x02")
    back.shutdown(socket.SHUT_RDWR)
    listed = _Listed()

    def die(view: View) -> Detections:
        if view[0, 0, 0] == 1:
            there.send(b"\xff")
        return Detections.empty()

    there.send(b"\x01")
    with again, back:
        observe(Busy(here), Pipeline(die), (listed,), spares=Spares(source=lambda: Busy(again)))
    assert listed.indices == [0, 1]


def never() -> Source:
    raise AssertionError("it was opened again")


def test_a_folder_is_not_opened_again_when_no_file_comes(tmp_path: Path) -> None:
    source = open_source(f"watch:{tmp_path}?every=0.05")

    def come() -> None:
        time.sleep(0.6)
        write_sky(tmp_path / "1.png")

    threading.Thread(target=come).start()
    summary = observe(source, Pipeline(nothing), limit=1, spares=Spares(source=never, silence_s=0.1))
    assert (summary.frames, summary.restarts) == (1, ())


def test_a_file_that_its_reader_breaks_on_is_counted_as_skipped_and_no_other_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_sky(tmp_path / f"{number}.png")

    def open_most(path: Path) -> Source:
        if path.name == "1.png":
            raise ZeroDivisionError("a defect")
        return open_file(path)

    monkeypatch.setattr("edgegal.device.sources.files.open_file", open_most)
    source = open_source(f"watch:{tmp_path}?every=0.05&old")
    listed = _Listed()
    summary = observe(source, Pipeline(nothing), (listed,), limit=4, spares=Spares(source=never))
    assert [Path(name).name for name in listed.seen] == ["0.png", "2.png", "3.png"]
    assert listed.indices == [0, 2, 3]
    assert summary.restarts == ("reading: ZeroDivisionError: a defect",)
    assert (summary.frames, summary.skips) == (3, 1)
    (skipped,) = listed.skipped
    assert skipped.startswith(f"frame 1: {tmp_path / '1.png'} broke what reads it: a defect")


@pytest.mark.parametrize("fault", ["hangs", "breaks"])
def test_no_two_sightings_of_a_run_have_one_number_although_the_stages_are_made_again(
    pipe: Pair, tmp_path: Path, bright_spots: Detect, fault: str
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
        return Pipeline(detect, naming=COLOURS, stack=LiveStack(20))

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


class _Slow:
    """A step that takes several times as long as a stall, each time."""

    def __call__(self, view: View) -> Detections:
        time.sleep(0.25)
        return Detections.empty()


def test_a_computer_whose_frames_take_longer_than_a_stall_is_given_the_time(tmp_path: Path) -> None:
    for i in range(4):
        write_sky(tmp_path / f"{i}.png")

    class Slow(_Listed):
        def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
            time.sleep(0.25)
            super().write(result, seen, ended)

    slow = Slow()
    spares = Spares(pipeline=lambda: Pipeline(nothing), sinks=(_Listed,), stall_s=0.1)
    summary = observe(open_source(str(tmp_path)), Pipeline(_Slow()), (slow,), spares=spares)
    assert (summary.frames, len(slow.seen), summary.restarts) == (4, 4, ())
