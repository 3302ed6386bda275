import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.device.pipeline import FrameResult, Pipeline
from edgegal.device.session import Summary
from edgegal.device.sinks import annotate
from edgegal.device.tracking import Sighting
from edgegal.device.web import Live, live
from edgegal.frames import Frame, View

Watch = Callable[[Path], tuple[Live, Summary]]


def decoded(jpeg: bytes | None) -> View:
    assert jpeg is not None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


@pytest.fixture
def results(pipeline: Pipeline) -> list[FrameResult]:
    """Two frames that differ."""
    dark = [np.full((120, 160, 3), level, np.uint8) for level in (10, 40)]
    return [pipeline(Frame(pixels, f"{i}.png", i, linear=False)) for i, pixels in enumerate(dark)]


def sighting(number: int, *box: float) -> Sighting:
    x0, y0, x1, y1 = box
    return Sighting(number, (x0, y0, x1, y1), 0.9, {"spiral": 0.8, "smooth": 0.2}, 1, 1, 0, 0, None, None)


def test_it_ends_with_what_the_run_says_of_itself(folder: Path, watch: Watch) -> None:
    shown, summary = watch(folder)
    now = shown.now
    assert (now.frames, now.skipped, now.last_skipped) == (summary.frames, 1, summary.skipped[0])
    assert now.galaxies == len(summary.sightings) == 2
    assert now.alive == summary.sightings
    assert now.frame is not None
    assert [s.id for s in now.frame.seen] == [1]
    assert now.frame.source.endswith("4.png")
    assert now.frame.times.detect == summary.times[-1].detect > 0
    assert now.over


def test_a_sighting_that_ended_is_counted_and_no_longer_shown(results: list[FrameResult]) -> None:
    shown = Live("sky")
    gone, stays = sighting(1, 1, 1, 9, 9), sighting(2, 20, 20, 40, 40)
    shown.write(results[0], (gone, stays), ())
    shown.write(results[1], (stays,), (gone,))
    assert shown.now.alive == (stays,)
    assert shown.now.galaxies == 2


def test_there_is_no_picture_before_the_first_frame() -> None:
    assert Live("sky").picture() is None


def test_the_picture_is_the_annotated_view(folder: Path, watch: Watch) -> None:
    shown, _ = watch(folder)
    frame = shown.now.frame
    assert frame is not None
    expected = annotate(frame.view, frame.seen)
    difference = np.abs(decoded(shown.picture()).astype(int) - expected)
    assert difference.mean() < 3
    assert np.abs(expected[::3, ::3].astype(int) - 10).mean() > difference.mean()  # it is not a dark rectangle


def test_a_picture_is_encoded_once_a_frame(results: list[FrameResult]) -> None:
    shown = Live("sky")
    shown.write(results[0], (), ())
    first = shown.picture()
    assert shown.picture() is first
    shown.write(results[1], (), ())
    assert decoded(shown.picture()).mean() == pytest.approx(40, abs=2)


def test_a_large_view_is_shrunk_with_its_boxes(pipeline: Pipeline) -> None:
    pixels = np.full((2000, 4000, 3), 10, np.uint8)
    shown = Live("sky")
    shown.write(pipeline(Frame(pixels, "a.png", linear=False)), (sighting(1, 2000, 1000, 3000, 1800),), ())
    picture = decoded(shown.picture())
    assert picture.shape == (960, 1920, 3)
    bright = picture.max(axis=2) > 100
    # Left and right edge of the box, half way down.
    assert np.flatnonzero(bright[680])[[0, -1]] == pytest.approx([960, 1440], abs=3)


def test_the_run_goes_on_while_a_reader_is_slow(results: list[FrameResult], monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(view: View, seen: object) -> View:
        entered.set()
        assert go_on.wait(30)
        return view

    monkeypatch.setattr(live, "annotate", slow)
    shown = Live("sky")
    shown.write(results[0], (), ())
    reader = threading.Thread(target=shown.picture)
    reader.start()
    assert entered.wait(30)
    # Were this to wait for the reader, it would wait for ever: only the lines below let the reader go.
    shown.write(results[1], (), ())
    shown.skip("3.png is empty")
    shown.close(())
    assert (shown.now.frames, shown.now.skipped, shown.now.over) == (2, 1, True)
    assert reader.is_alive()
    go_on.set()
    reader.join(30)
    assert decoded(shown.picture()).mean() == pytest.approx(40, abs=2)


def test_every_reader_sees_one_whole_moment(results: list[FrameResult]) -> None:
    shown = Live("sky")
    torn, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            now = shown.now
            if now.frame is not None and now.frames != len(now.alive):
                torn.append(now)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(1, 200):
        shown.write(results[0], (sighting(i, 0, 0, 9, 9),), ())
    done.set()
    for reader in readers:
        reader.join(30)
    assert shown.now.frames == 199
    assert torn == []
