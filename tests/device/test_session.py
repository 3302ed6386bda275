import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections, iou_matrix
from edgegal.device.calibration import Calibration
from edgegal.device.pipeline import FrameResult, Naming, Pipeline, StageTimes
from edgegal.device.session import observe, sigterm_interrupts
from edgegal.device.sinks import AnnotatedPictures, SightingLog, Sink
from edgegal.device.sources import open_source
from edgegal.device.stacking import LiveStack
from edgegal.device.tracking import Sighting
from edgegal.errors import FrameError, InputError
from edgegal.frames import View
from edgegal.preprocess import Stretch, crop_square
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


class _Interrupt(Sink):
    """Ctrl-C during the second frame."""

    def __init__(self) -> None:
        self.frames = 0
        self.closed_with: Sequence[Sighting] | None = None

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self.frames += 1
        if self.frames == 2:
            raise KeyboardInterrupt

    def close(self, alive: Sequence[Sighting]) -> None:
        self.closed_with = alive


def test_an_interrupt_ends_the_run_and_keeps_what_was_seen(folder: Path, bright_spots: Detect) -> None:
    sink = _Interrupt()
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots, naming=COLOURS), (sink,))
    assert summary.interrupted
    assert [s.label for s in summary.sightings] == ["red"]
    assert sink.closed_with == summary.sightings


class _Broken(_Interrupt):
    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        raise OSError(28, "No space left on device")


class _Terminate(_Interrupt):
    """SIGTERM during the first frame."""

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_a_run_like_an_interrupt(folder: Path, bright_spots: Detect) -> None:
    sink = _Terminate()
    before = signal.getsignal(signal.SIGTERM)
    with open_source(str(folder)) as source, sigterm_interrupts():
        summary = observe(source, Pipeline(bright_spots), (sink,))
    assert summary.interrupted
    assert sink.closed_with == summary.sightings
    assert signal.getsignal(signal.SIGTERM) is before


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
        summary = observe(source, Pipeline(bright_spots, calibrate=Calibration(dark)))
    assert summary.frames == 2
    cut, display = summary.skipped
    assert "(100, 300, 3)" in cut
    assert "display picture" in display


def test_a_dark_that_fits_no_frame_is_fatal_and_says_both_sizes(raw: Path, bright_spots: Detect) -> None:
    dark = np.zeros((9, 9), np.float32)
    with open_source(str(raw)) as source, pytest.raises(InputError, match=r"no frame of .*\(9, 9\).*\(200, 300, 3\)"):
        observe(source, Pipeline(bright_spots, calibrate=Calibration(dark)))


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


def test_without_a_classifier_galaxies_are_only_found(folder: Path, bright_spots: Detect) -> None:
    with open_source(str(folder)) as source:
        summary = observe(source, Pipeline(bright_spots))
    assert {s.label for s in summary.sightings} == {"galaxy"}
    assert summary.latency_ms()["classify"] == 0
