import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.device.astrometry import SkyPlace
from edgegal.device.controls import Controls
from edgegal.device.pipeline import FrameResult, Pipeline
from edgegal.device.registration import Motion
from edgegal.device.session import Summary
from edgegal.device.sinks import annotate
from edgegal.device.sinks.facts import FrameFacts
from edgegal.device.stacking import Stack, Stacked
from edgegal.device.tracking import Sighting
from edgegal.device.web import Live, pictures
from edgegal.frames import Frame, View
from edgegal.preprocess import Stretch, stretch_linear

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


@pytest.fixture
def linear(pipeline: Pipeline) -> FrameResult:
    """A frame of sky noise with a bright half, as a sensor gives it."""
    pixels = np.random.default_rng(1).normal(1000, 20, (120, 160)).astype(np.float32)
    pixels[:, 80:] += 200
    return pipeline(Frame(pixels, "a.fits"))


def sighting(number: int, *box: float, frames: int = 1) -> Sighting:
    x0, y0, x1, y1 = box
    return Sighting(number, (x0, y0, x1, y1), 0.9, {"spiral": 0.8, "smooth": 0.2}, 1, frames, 0, 0, None, None)


def test_it_ends_with_what_the_run_says_of_itself(folder: Path, watch: Watch) -> None:
    shown, summary = watch(folder)
    now = shown.now
    assert (now.frames, now.skipped, now.last_skipped) == (summary.frames, 1, summary.skipped[0])
    assert now.galaxies == len(summary.sightings) == 2
    assert now.alive == summary.sightings
    assert now.frame is not None
    assert [s.id for s in now.frame.seen] == [1]
    assert now.frame.result.frame.source.endswith("4.png")
    assert now.frame.result.times.detect == summary.times[-1].detect > 0
    assert now.over


def test_a_sighting_that_ended_is_counted_and_no_longer_shown(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=0)
    gone, stays = sighting(1, 1, 1, 9, 9), sighting(2, 20, 20, 40, 40)
    shown.write(results[0], (gone, stays), ())
    shown.write(results[1], (stays,), (gone,))
    assert shown.now.alive == (stays,)
    assert shown.now.galaxies == 2


def test_there_is_no_picture_before_the_first_frame() -> None:
    assert Live("sky", shared_s=0).picture() is None


def test_the_picture_is_the_annotated_view(folder: Path, watch: Watch) -> None:
    shown, _ = watch(folder)
    frame = shown.now.frame
    assert frame is not None
    expected = annotate(frame.result.view, frame.seen)
    difference = np.abs(decoded(shown.picture()).astype(int) - expected)
    assert difference.mean() < 3
    assert np.abs(expected[::3, ::3].astype(int) - 10).mean() > difference.mean()  # it is not a dark rectangle


def test_a_picture_is_encoded_once_a_frame(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=0)
    shown.write(results[0], (), ())
    first = shown.picture()
    assert shown.picture() is first
    shown.write(results[1], (), ())
    assert decoded(shown.picture()).mean() == pytest.approx(40, abs=2)


def test_a_large_view_is_shrunk_with_its_boxes(pipeline: Pipeline) -> None:
    pixels = np.full((2000, 4000, 3), 10, np.uint8)
    shown = Live("sky", shared_s=0)
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

    monkeypatch.setattr(pictures, "annotate", slow)
    shown = Live("sky", shared_s=0)
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
    shown = Live("sky", shared_s=0)
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


def test_readers_within_a_while_see_one_moment(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=1000)
    shown.write(results[0], (), ())
    first = shown.picture()
    shown.write(results[1], (), ())
    assert shown.now.frames == 2
    assert shown.moment.frames == 1
    assert shown.picture() is first


def test_twenty_readers_of_one_moment_cost_one_picture(
    results: list[FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def counted(view: View, seen: object) -> View:
        drawn.append(1)
        return view

    monkeypatch.setattr(pictures, "annotate", counted)
    shown = Live("sky", shared_s=1000)
    shown.write(results[0], (), ())
    together = threading.Barrier(20)
    seen = []

    def read() -> None:
        together.wait(30)
        seen.append(shown.picture())

    readers = [threading.Thread(target=read) for _ in range(20)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(30)
    assert (len(drawn), len(seen), len(set(map(id, seen)))) == (1, 20, 1)


def test_the_dials_change_what_is_shown_and_not_what_the_networks_saw(linear: FrameResult) -> None:
    shown = Live("sky", Controls(Stretch()), shared_s=0)
    shown.write(linear, (), ())
    before = decoded(shown.picture(boxes=False))
    assert np.abs(before.astype(int) - linear.view).mean() < 3
    dials = shown.controls.turn(black_sigma=-5, white_sigma=10)
    after = decoded(shown.picture(boxes=False))
    wanted = stretch_linear(linear.frame.pixels, dials.stretch)
    assert np.abs(after.astype(int) - wanted).mean() < 3
    # The sky is black now, the bright half brighter.
    assert after[:, :70].max() < 3 < before[:, :70].max()
    assert after[:, 90:].mean() > before[:, 90:].mean() + 30
    assert shown.now.frame is not None
    assert shown.now.frame.result.view is linear.view


def test_the_last_frame_stands_beside_its_stack_with_the_boxes_where_it_has_them(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=0)
    stack = Stack(results[0].frame.pixels.shape, None)
    both = replace(results[0], frame=results[1].frame, stacked=Stacked(stack, Motion.shift(30, 10), None, 2, 0.0))
    shown.write(both, (sighting(1, 20, 40, 60, 80),), ())
    assert decoded(shown.picture(boxes=False)).mean() == pytest.approx(10, abs=2)
    assert decoded(shown.picture(single=True, boxes=False)).mean() == pytest.approx(40, abs=2)
    boxed = decoded(shown.picture(single=True))
    scale = boxed.shape[1] / 160
    middle = boxed[round(70 * scale)].max(axis=1)
    assert np.flatnonzero(middle > 90)[[0, -1]] == pytest.approx([50 * scale, 90 * scale], abs=4)


def test_a_stack_that_cannot_be_seen_is_shown_as_the_networks_saw_it(
    results: list[FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegal.device.stacking._GIVE_UP_S", 0.1)
    shown = Live("sky", Controls(Stretch()), shared_s=0)
    frame = replace(results[0].frame, linear=True)
    stack = Stack(frame.pixels.shape, None)
    stack.add(frame, Motion.none())
    shown.write(replace(results[0], frame=frame, stacked=Stacked(stack, Motion.none(), None, 1, 0.0)), (), ())
    usual = shown.picture(boxes=False)
    shown.controls.turn(black_sigma=-5)
    with stack.held():
        assert shown.picture(boxes=False) == usual


def test_without_a_stack_the_last_frame_is_what_is_shown(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=0)
    shown.write(results[0], (), ())
    assert shown.picture(single=True) == shown.picture()


def test_a_crop_shows_the_galaxy_and_is_renewed_ever_more_seldom(folder: Path, watch: Watch) -> None:
    shown, _ = watch(folder)
    crop = decoded(shown.crop(1))
    assert crop.shape == (96, 96, 3)
    assert crop[48, 48, 0] > 200  # the red spot, in the middle
    assert crop[2, 2].max() < 40
    # Seen in three frames: renewed in the second.
    card = shown.card(1)
    assert card is not None
    assert card.version == 2
    assert shown.crop(99) is None


def test_what_ended_is_remembered_and_in_the_end_forgotten(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=0)
    for number in range(1, 301):
        gone = sighting(number, 1, 1, 9, 9)
        shown.write(results[0], (gone,), ())
        shown.write(results[0], (), (gone,))
    assert [s.id for s in shown.now.ended] == list(range(101, 301))
    assert shown.crop(100) is None
    assert shown.crop(101) is not None
    assert shown.sighting(100) is None


def test_a_false_detection_is_told_once(results: list[FrameResult]) -> None:
    told: list[int] = []
    shown = Live("sky", on_false=told.append, shared_s=0)
    shown.write(results[0], (sighting(1, 1, 1, 9, 9),), ())
    assert shown.report_false(2) is None
    assert shown.report_false(1) == shown.report_false(1) == shown.sighting(1)
    assert (told, shown.marked) == ([1], {1})


def test_a_mark_that_could_not_be_kept_is_none(results: list[FrameResult]) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    shown = Live("sky", on_false=full, shared_s=0)
    shown.write(results[0], (sighting(1, 1, 1, 9, 9),), ())
    with pytest.raises(OSError, match="No space"):
        shown.report_false(1)
    assert shown.marked == set()


def test_dropped_frames_are_counted_in_all_and_by_the_minute(results: list[FrameResult]) -> None:
    shown = Live("sky", shared_s=0)
    for dropped in (0, 3, 5):
        shown.write(replace(results[0], dropped=dropped), (), ())
    assert shown.now.dropped == 5
    assert [(m.used, m.dropped) for m in shown.history.minutes] == [(3, 5)]


def test_places_and_names_stay_known_after_the_sighting(results: list[FrameResult]) -> None:
    andromeda = SkyPlace(10.68, 41.27)
    facts = FrameFacts(places={1: andromeda}, names={1: "M31"})
    shown = Live("sky", enquire=lambda result: facts, shared_s=0)
    gone = sighting(1, 1, 1, 9, 9)
    shown.write(results[0], (gone,), ())
    shown.write(results[1], (), (gone,))
    card = shown.card(1)
    assert card is not None
    assert (card.place, card.name) == (andromeda, "M31")
