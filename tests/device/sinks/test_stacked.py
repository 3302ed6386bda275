import warnings
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.astrometry import SkyMap
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.registration import Motion
from edgegal.device.sinks.facts import FrameFacts, RunFacts, nothing_known
from edgegal.device.sinks.stacked import StackedFits
from edgegal.device.sources.fits import read_fits
from edgegal.device.stacking import Stack, Stacked
from edgegal.frames import Frame
from edgegal.preprocess import Stretch

fits = pytest.importorskip("astropy.io.fits")

BEGIN = datetime(2026, 3, 1, 21, 15, tzinfo=timezone.utc)
RUN = RunFacts("indi://scope:7624/Ä Camera", "galaxies", "1.2", "ab" * 32, Stretch(1.5, 9, 250), "night1")
WCS = {
    **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 20.0, "CRPIX2": 15.5, "CRVAL1": 202.47, "CRVAL2": 47.19},
    **{"CD1_1": -5e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": -5e-4},
}


class Stacking:
    """Frames of a stack, and what the enquiry says of them."""

    def __init__(self, colour: bool = False, linear: bool = True) -> None:
        self.shape = (30, 40, 3) if colour else (30, 40)
        self.linear = linear
        self.index = 0
        self.stack = Stack(self.shape, None)
        self.facts: dict[int, FrameFacts] = {}

    def __call__(self, result: FrameResult) -> FrameFacts:
        return self.facts[result.frame.index]

    def show(self, sink: StackedFits, stacked: int, exposure_s: float | None = 10.0, **facts: Any) -> Frame:
        rng = np.random.default_rng(self.index)
        pixels = rng.normal(500, 20, self.shape).astype(np.float32) if self.linear else rng.integers(0, 255, self.shape)
        if self.linear:
            pixels[:2] = np.nan
        frame = Frame(
            pixels if self.linear else pixels.astype(np.uint8),
            "CCD",
            self.index,
            BEGIN + timedelta(seconds=12 * self.index),
            linear=self.linear,
            exposure_s=exposure_s,
            target="M 51",
            header={"GAIN": 120.0, "INSTRUME": "ASI462MC", "CCD-TEMP": float("nan"), "CHECKSUM": "old"},
        )
        self.facts[self.index] = FrameFacts(**facts)
        self.index += 1
        if stacked == 1:
            self.stack = Stack(frame.pixels.shape, None)
        self.stack.add(frame, Motion.none())
        result = FrameResult(frame, frame.pixels, Detections.empty(), np.zeros((0, 0), np.float32), StageTimes())
        sink.write(replace(result, stacked=Stacked(self.stack, Motion.none(), None, stacked, 0.0)), (), ())
        return frame


def header_of(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as units:
            units.verify("exception")
            return units[0].header


def test_without_a_stack_nothing_is_written(tmp_path: Path, night: Any) -> None:
    sink = StackedFits(tmp_path / "stacks", RUN, nothing_known)
    night.show(sink, (0.1, 0.9))
    sink.close(())
    assert not (tmp_path / "stacks").exists()


def test_the_header_says_where_the_stack_comes_from(tmp_path: Path) -> None:
    stacking = Stacking()
    sink = StackedFits(tmp_path, RUN, stacking)
    for n in (1, 2, 3):
        stacking.show(sink, n, sky=SkyMap(WCS))
    sink.close(())
    (path,) = tmp_path.iterdir()
    assert path.name == "20260301T211500_night1_000000_M_51.fits"
    header = header_of(path)
    wanted = {
        **{"STACKCNT": 3, "EXPTIME": 10.0, "TOTALEXP": 30.0, "OBJECT": "M 51", "ROWORDER": "TOP-DOWN"},
        **{"DATE-OBS": "2026-03-01T21:15:00.000", "DATE-END": "2026-03-01T21:15:34.000", "TIMESYS": "UTC"},
        **{"BUNDLE": "galaxies", "BUNDVER": "1.2", "BUNDSEAL": "ab" * 32, "RUNID": "night1", "SWCREATE": RUN.software},
        **{"STRBLACK": 1.5, "STRSOFT": 9, "STRWHITE": 250, "SOURCE": "indi://scope:7624/? Camera"},
        **{"GAIN": 120.0, "INSTRUME": "ASI462MC", "CRVAL1": 202.47, "CRPIX2": 15.5, "CTYPE1": "RA---TAN"},
    }
    assert {key: header[key] for key in wanted} == wanted
    assert "CCD-TEMP" not in header


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_the_stack_is_read_back_as_it_was(tmp_path: Path, colour: bool, linear: bool) -> None:
    stacking = Stacking(colour, linear)
    sink = StackedFits(tmp_path, RUN, stacking)
    frame = stacking.show(sink, 1, sky=SkyMap(WCS))
    sink.close(())
    (path,) = tmp_path.iterdir()
    header_of(path)
    back = read_fits(path)
    np.testing.assert_array_equal(back.pixels, frame.pixels)
    assert (back.linear, back.time, back.exposure_s, back.target) == (linear, BEGIN, 10.0, "M 51")
    places = [SkyMap(dict(h)).places(np.array([[3.0, 7.0]]))[0] for h in (WCS, back.header)]
    assert places[0].separation_deg(np.array([places[1].ra_deg]), np.array([places[1].dec_deg]))[0] < 1e-9


def test_a_file_grows_with_its_stack_every_so_often_and_at_the_end(tmp_path: Path, clock: Any) -> None:
    stacking = Stacking()
    sink = StackedFits(tmp_path, RUN, stacking, every_s=60, clock=clock)
    counts = []
    for n in range(1, 8):
        stacking.show(sink, n)
        clock.now += 25
        (path,) = tmp_path.iterdir()
        counts.append(header_of(path)["STACKCNT"])
    assert counts == [1, 1, 1, 4, 4, 4, 7]
    stacking.show(sink, 8)
    sink.close(())
    assert header_of(path)["STACKCNT"] == 8


def test_a_stack_begun_anew_is_another_file_and_the_one_before_is_complete(tmp_path: Path, clock: Any) -> None:
    stacking = Stacking()
    sink = StackedFits(tmp_path, RUN, stacking, clock=clock)
    for n in (1, 2, 3, 1, 2):
        stacking.show(sink, n)
    sink.close(())
    first, second = sorted(tmp_path.iterdir())
    assert [header_of(p)["TOTALEXP"] for p in (first, second)] == [30.0, 20.0]
    assert header_of(second)["DATE-OBS"] == "2026-03-01T21:15:36.000"


def test_an_exposure_that_one_frame_does_not_say_is_not_made_up(tmp_path: Path) -> None:
    stacking = Stacking()
    sink = StackedFits(tmp_path, RUN, stacking)
    for n, exposure_s in enumerate((10.0, None, 10.0), start=1):
        stacking.show(sink, n, exposure_s)
    sink.close(())
    (path,) = tmp_path.iterdir()
    assert "TOTALEXP" not in header_of(path)


def test_a_full_disk_leaves_the_file_of_before(tiny_disk: Path, filler: Any, clock: Any) -> None:
    stacking = Stacking()
    # Larger than what is buffered: the writing ends in the middle of the stack.
    stacking.shape = (250, 400)
    sink = StackedFits(tiny_disk, RUN, stacking, every_s=0, clock=clock)
    stacking.show(sink, 1)
    filler.fill()
    with pytest.raises(OSError, match="No space") as full:
        stacking.show(sink, 2)
    # Whoever still looks at the error does not keep the stack from going on.
    assert full.tb is not None
    names = {p.name for p in tiny_disk.iterdir()} - {"filler"}
    (name,) = names
    assert header_of(tiny_disk / name)["STACKCNT"] == 1
    filler.go()
    sink.close(())
    assert header_of(tiny_disk / name)["STACKCNT"] == 2
