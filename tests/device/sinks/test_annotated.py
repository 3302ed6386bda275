from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks import AnnotatedPictures, annotate
from edgegal.device.sinks.annotated import colour_of
from edgegal.device.tracking import Sighting, Tracker
from edgegal.frames import Frame, View
from edgegal.inference import Abstention


def sightings(
    view: View, *boxes: tuple[float, float, float, float], abstain_below: float = 0.0
) -> tuple[Sighting, ...]:
    n = len(boxes)
    found = Detections(np.array(boxes, np.float32).reshape(n, 4), np.full(n, 0.9, np.float32), np.zeros(n, np.int32))
    probabilities = np.tile(np.array([[0.2, 0.8]], np.float32), (n, 1))
    tracker = Tracker(("round", "spiral"), Abstention(abstain_below))
    return tracker.update(Frame(view, "test", linear=False), found, probabilities)[0]


def dark_sky(height: int = 800, width: int = 1000) -> View:
    return np.full((height, width, 3), 12, np.uint8)


def test_a_box_is_drawn_where_the_galaxy_is_and_its_inside_stays() -> None:
    view = dark_sky()
    drawn = annotate(view, sightings(view, (300, 200, 500, 400)))
    assert (view == 12).all()
    assert drawn.shape == view.shape
    assert drawn[300, 300].max() > 150
    assert drawn[300, 500].max() > 150
    np.testing.assert_array_equal(drawn[215:385, 315:485], view[215:385, 315:485])


def test_without_sightings_the_view_stays_as_it_is() -> None:
    view = np.random.default_rng(0).integers(0, 255, (800, 1000, 3)).astype(np.uint8)
    np.testing.assert_array_equal(annotate(view, ()), view)


def test_a_small_view_is_enlarged_by_a_whole_number() -> None:
    view = np.random.default_rng(0).integers(0, 255, (256, 200, 3)).astype(np.uint8)
    drawn = annotate(view, ())
    assert drawn.shape == (768, 600, 3)
    np.testing.assert_array_equal(drawn[::3, ::3], view)


@pytest.mark.parametrize(
    "box", [(0, 0, 30, 30), (980, 780, 1000, 800), (0, 0, 1000, 800), (-20, -30, 40, 40), (400, 300, 401, 301)]
)
def test_the_writing_is_in_the_picture_wherever_the_box_is(box: tuple[float, float, float, float]) -> None:
    view = dark_sky()
    drawn = annotate(view, sightings(view, box))
    outline = view.copy()
    x0, y0, x1, y1 = (round(v) for v in box)
    cv2.rectangle(outline, (x0, y0), (x1, y1), (255, 255, 255), 5)
    lettered = (drawn.max(axis=2) > 120) & (outline.max(axis=2) < 255)
    # "spiral 0.80" has more ink than this at any size.
    assert lettered.sum() > 150


def test_the_writing_is_legible_on_a_bright_nebula() -> None:
    view = np.full((800, 1000, 3), 200, np.uint8)
    drawn = annotate(view, sightings(view, (300, 300, 500, 500)))
    plate = drawn[270:298, 300:380].max(axis=2)
    assert plate.min() < 70
    assert plate.max() > 150


def test_an_uncertain_galaxy_is_drawn_without_a_class_colour_or_number() -> None:
    view, box = dark_sky(), (300, 300, 500, 500)
    sure, unsure = sightings(view, box), sightings(view, box, abstain_below=0.9)
    assert len(set(colour_of(unsure[0]))) == 1
    assert colour_of(sure[0]) != colour_of(unsure[0])
    plates = [annotate(view, seen)[270:298] for seen in (sure, unsure)]
    assert np.ptp(plates[0].astype(int), axis=2).max() > 60
    assert np.ptp(plates[1].astype(int), axis=2).max() == 0
    assert plates[1].max() > 120


@pytest.mark.parametrize("own", [True, False])
def test_a_view_is_drawn_on_when_nobody_looks_at_it_any_more(tmp_path: Path, own: bool) -> None:
    """But never the frame: the source may hand it out again."""
    view = np.random.default_rng(0).integers(0, 90, (800, 1000, 3)).astype(np.uint8)
    before = view.copy()
    view.flags.writeable = own
    frame = Frame(np.zeros((800, 1000), np.float32) if own else view, "test", linear=own)
    result = FrameResult(frame, view, Detections.empty(), np.zeros((0, 2), np.float32), StageTimes())
    seen = sightings(view, (300, 200, 500, 400))
    sink = AnnotatedPictures(tmp_path, overwrite=lambda: True)
    sink.write(result, seen, ())
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], annotate(before, seen))
    assert (view == before).all() != own


def test_two_labels_do_not_lie_on_each_other() -> None:
    view = dark_sky()
    apart = annotate(view, sightings(view, (300, 300, 340, 340), (700, 300, 740, 340)))
    close = annotate(view, sightings(view, (300, 300, 340, 340), (303, 301, 343, 341)))
    ink = [np.count_nonzero(p.max(axis=2) > 120) for p in (apart, close)]
    # Overlapping boxes share some outline; overlapping words would lose far more.
    assert ink[1] > 0.75 * ink[0]


def write(folder: Path, source: str, index: int) -> None:
    view = dark_sky(60, 80)
    sink = AnnotatedPictures(folder)
    frame = Frame(view, source, index, linear=False)
    result = FrameResult(frame, view, Detections.empty(), np.zeros((0, 2), np.float32), StageTimes())
    sink.write(result, sightings(view, (10, 10, 40, 40)), ())
    sink.close(())


def test_one_picture_a_frame_is_written_whole(tmp_path: Path) -> None:
    write(tmp_path / "out", "/data/M 51 (raw).fits", 7)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "000007_M_51_raw_.fits.png"
    assert cv2.imread(str(path)).shape == (540, 720, 3)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, "sim:", 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("written", [-12, -1, 0])
def test_a_picture_that_lacks_its_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """What OpenCV makes of a disk that is full at its last bytes, and does not tell."""
    write_png = cv2.imwrite

    def cut(name: str, picture: np.ndarray) -> bool:
        done: bool = write_png(name, picture)
        Path(name).write_bytes(Path(name).read_bytes()[:written])
        return done

    monkeypatch.setattr(cv2, "imwrite", cut)
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the disk
        write(tmp_path, "sim:", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_a_galaxy_is_called_empty(tmp_path: Path, night: Any) -> None:
    sink = AnnotatedPictures(tmp_path)
    night.show(sink)
    night.show(sink, (0.1, 0.9))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "20260301T210000_000000_sim_.empty.png",
        "20260301T210010_000001_sim_.png",
    ]


def test_a_night_makes_as_many_pictures_as_are_wanted(tmp_path: Path, night: Any, clock: Any) -> None:
    sink = AnnotatedPictures(tmp_path, every_s=600, clock=clock)
    for _ in range(1_000):
        night.show(sink, (0.1, 0.9))
        clock.now += 3
    assert [int(p.name[16:22]) for p in sorted(tmp_path.iterdir())] == [0, 200, 400, 600, 800]


def test_a_new_galaxy_is_pictured_sooner_and_once(tmp_path: Path, night: Any, clock: Any) -> None:
    sink = AnnotatedPictures(tmp_path, every_s=600, news_every_s=5, clock=clock)
    spiral = (0.1, 0.9)
    for row in [(spiral,), (spiral, spiral), (spiral, spiral), (spiral, spiral), (spiral, spiral, spiral), (spiral,)]:
        night.show(sink, *row)
        clock.now += 3
    assert sorted(int(p.name[16:22]) for p in tmp_path.iterdir()) == [0, 2, 4]
