"""A run: what goes in and what comes out, what is skipped, dropped and counted, and what ends it."""

import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.calibration import Calibration
from edgegal.device.controls import Controls, Thresholds
from edgegal.device.cosmetic import CosmeticCorrection
from edgegal.device.masters import Master
from edgegal.device.pipeline import FrameResult, Naming, Pipeline, StageTimes
from edgegal.device.quality import Judge
from edgegal.device.session import observe, stop_signals
from edgegal.device.sinks import AnnotatedPictures, SightingLog
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.enduring import Enduring
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sources import Source, open_source
from edgegal.device.stacking import LiveStack
from edgegal.device.tracking import Sighting
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame, View
from edgegal.preprocess import as_view
from edgegal.sky import Night

Detect = Callable[[View], Detections]


def test_the_road_from_files_to_sightings(folder: Path, tmp_path: Path, bright_spots: Detect, colours: Naming) -> None:
    out = tmp_path / "out"
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots, naming=colours), (AnnotatedPictures(out), SightingLog(out)))
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


def test_every_stage_that_ran_took_time_and_the_others_none(
    folder: Path, bright_spots: Detect, colours: Naming, tmp_path: Path
) -> None:
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots, naming=colours, stack=LiveStack(4)), (SightingLog(tmp_path),))
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_and_keeps_what_was_seen(
    number: signal.Signals, bright_spots: Detect, new_listener: Any
) -> None:
    def interrupt(result: FrameResult, seen: Sequence[Sighting]) -> None:
        if result.frame.index == 0:
            os.kill(os.getpid(), number)

    sink = new_listener(interrupt)
    before = signal.getsignal(number)
    with stop_signals():
        summary = observe(open_source("sim:seed=3,frames=500,width=480,height=320"), Pipeline(bright_spots), (sink,))
    assert summary.interrupted
    assert 1 <= summary.frames < 500
    assert len(sink.sources) == summary.frames
    assert summary.sightings
    assert sink.closed_with == summary.sightings
    assert signal.getsignal(number) is before


@pytest.fixture
def raw(tmp_path: Path, write_sky: Callable[..., None]) -> Path:
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


def test_every_sink_is_closed_when_one_breaks(
    folder: Path, tmp_path: Path, bright_spots: Detect, new_listener: Any
) -> None:
    def fail(result: FrameResult, seen: Sequence[Sighting]) -> None:
        raise OSError(28, "No space left on device")

    log, broken = SightingLog(tmp_path), new_listener(fail)
    with open_source(str(folder)) as source, pytest.raises(OSError, match="No space"):
        observe(source, Pipeline(bright_spots), (log, broken))
    assert broken.closed_with is not None
    assert log.path.read_text().count('"end"') == 1


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


def test_a_camera_never_waits_and_what_it_drops_is_counted(bright_spots: Detect, new_listener: Any) -> None:
    def slow(view: View) -> Detections:
        time.sleep(0.05)
        return bright_spots(view)

    listed = new_listener()
    summary = observe(open_source("sim:frames=60,width=300,height=260,fps=200"), Pipeline(slow), (listed,))
    assert summary.dropped > 0
    assert summary.frames + summary.dropped == 60
    assert len(listed.sources) == summary.frames
    assert listed.dropped == summary.dropped
    assert summary.document()["dropped"] == summary.dropped
    assert listed.indices == sorted(set(listed.indices))
    assert listed.indices[-1] == 59


def test_files_lose_nothing_and_keep_their_order_however_slow_a_stage(
    tmp_path: Path, nothing: Detect, write_sky: Callable[..., None], new_listener: Any
) -> None:
    for i in range(12):
        write_sky(tmp_path / f"{i}.png", (20 + 5 * i, 50, (250, 60, 40)))
    slow = new_listener(lambda result, seen: time.sleep(0.02))
    summary = observe(open_source(str(tmp_path)), Pipeline(nothing), (slow,))
    assert [Path(name).name for name in slow.sources] == [f"{i}.png" for i in range(12)]
    assert (summary.frames, summary.dropped) == (12, 0)


_STUBBORN = """
import os
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


def test_the_thresholds_follow_the_dials(
    folder: Path, bright_spots: Detect, colours: Naming, new_listener: Any
) -> None:
    controls = Controls(thresholds=Thresholds(0.1))
    labels: list[str] = []

    def turn(result: FrameResult, seen: Sequence[Sighting]) -> None:
        labels.append(seen[0].label)
        controls.turn(abstain_below=1.0)

    pipeline = Pipeline(bright_spots, naming=colours)
    observe(open_source(str(folder)), pipeline, (new_listener(turn),), controls=controls)
    assert labels == ["red", "uncertain", "uncertain"]


def test_bad_frames_of_a_stack_are_left_out_and_said(bright_spots: Detect) -> None:
    pipeline = Pipeline(bright_spots, stack=LiveStack(20), judge=Judge())
    summary = observe(open_source("sim:seed=3,frames=14,width=480,height=320,cloud=0.25"), pipeline)
    assert summary.frames + summary.skips == 14
    assert summary.skips > 0
    assert all("is left out: " in reason for reason in summary.skipped)


def test_what_the_sinks_get_of_a_stacked_frame(bright_spots: Detect, new_listener: Any) -> None:
    results: list[FrameResult] = []
    keeper = new_listener(lambda result, seen: results.append(result))
    pipeline = Pipeline(bright_spots, stack=LiveStack(20), cosmetic=CosmeticCorrection(), level_sky=True)
    observe(open_source("sim:seed=3,frames=3,width=480,height=320"), pipeline, (keeper,))
    last = results[-1]
    assert last.stacked is not None
    assert last.quality is not None
    assert (last.stacked.frames, last.quality.stars > 5) == (3, True)
    picture = last.picture()
    assert last.frame.pixels.shape == picture.pixels.shape == last.view.shape == (320, 480, 3)
    # The sky of the one is even, the view is made of it.
    np.testing.assert_array_equal(as_view(picture, pipeline.stretch), last.view)
    assert last.times.background > 0


def test_a_run_remembers_no_more_of_a_long_night_than_of_a_short_one(nothing: Detect) -> None:
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


def test_waiting_for_a_camera_is_told_apart_from_reading_and_no_latency(nothing: Detect) -> None:
    summary = observe(_Exposing(), Pipeline(nothing))
    assert summary.frames + summary.dropped == 3
    assert all(t.wait >= 0.05 and t.read >= 0.1 for t in summary.times)
    assert all(t.total == pytest.approx(sum(getattr(t, name) for name in StageTimes.names())) for t in summary.times)
    assert "wait" not in {*StageTimes.names(), *summary.latency_ms()}
    assert summary.document()["median_wait_ms"] >= 50


def test_reading_a_file_is_no_waiting(folder: Path, nothing: Detect) -> None:
    times = observe(open_source(str(folder)), Pipeline(nothing)).times
    assert all(t.read > 0 == t.wait for t in times)


def test_a_skipped_frame_of_a_camera_is_named_by_its_number_everywhere(
    tmp_path: Path, nothing: Detect, new_listener: Any
) -> None:
    listed = new_listener()
    database = SightingDatabase(tmp_path / "night.sqlite", RunFacts("exposing"))
    summary = observe(_Exposing(), Pipeline(nothing), (listed, Enduring(database, "database", lambda: None)))
    assert summary.skipped == ("frame 2: it is damaged",)
    assert listed.skipped == ["frame 2: it is damaged"]
    assert listed.skipped_numbers == [2]
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        rows = connection.execute("SELECT number, fault FROM frames WHERE fault IS NOT NULL").fetchall()
    assert rows == [(2, "frame 2: it is damaged")]
