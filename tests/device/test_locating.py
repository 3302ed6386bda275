"""Places and names of sightings, from headers and from a solver beside the run."""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.astrometry import SkyMap, SkyPlace
from edgegal.device.catalogue import Catalogue, read_catalogue
from edgegal.device.locating import Locator
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.registration import Motion
from edgegal.device.stacking import Stack, Stacked
from edgegal.device.tracking import Sighting
from edgegal.errors import FrameError
from edgegal.frames import Frame

# One arc second a pixel, north up; M 51 in the middle of 200 x 100 pixels.
_WCS: Mapping[str, str | float | bool] = {
    **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 100.5, "CRPIX2": 50.5, "PLTSOLVD": True},
    **{"CRVAL1": 202.4696, "CRVAL2": 47.1952, "CD1_1": -1 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": -1 / 3600},
}
_M51 = SkyPlace(202.4696, 47.1952)
_CATALOGUE = """Name;Type;RA;Dec;MajAx;M;Hubble;Common names
NGC5194;G;13:29:52.71;+47:11:42.9;13.7;51;Sbc;Whirlpool Galaxy
NGC5272;GCl;13:42:11.23;+28:22:31.6;18.0;3;;
"""

pytest.importorskip("astropy")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    path = tmp_path / "NGC.csv"
    path.write_text(_CATALOGUE)
    return read_catalogue(path)


def sighting(number: int, x: float, y: float, frames: int = 1) -> Sighting:
    return Sighting(number, (x - 5, y - 5, x + 5, y + 5), 0.9, {}, 1, frames, 0, 0, None, None)


def result(
    header: Mapping[str, str | float | bool],
    stacked: int = 0,
    motion: Motion | None = None,
    carried: Motion | None = None,
) -> FrameResult:
    frame = Frame(np.zeros((100, 200), np.float32), "sky", header=header)
    view = np.zeros((100, 200, 3), np.uint8)
    stack = Stack(frame.pixels.shape, None)
    stack.add(frame, Motion.none())
    pushed = Stacked(stack, motion or Motion.none(), carried, stacked, 0.0) if stacked else None
    return FrameResult(
        frame, view, Detections.empty(), np.zeros((0, 0), np.float32), StageTimes(), stacked=pushed, dropped=3
    )


def arcsec(one: SkyPlace, other: SkyPlace) -> float:
    return float(one.separation_deg(np.array([other.ra_deg]), np.array([other.dec_deg]))[0] * 3600)


def test_a_galaxy_gets_its_place_and_name_from_the_header(catalogue: Catalogue) -> None:
    locator = Locator(catalogue)
    told = result(_WCS)
    facts = locator.locate(told, [sighting(1, 100, 50), sighting(2, 160, 50)], [])
    assert locator(told) is facts
    assert arcsec(facts.places[1], _M51) < 0.01
    assert arcsec(facts.places[2], _M51) == pytest.approx(60, abs=0.01)
    assert facts.names == {1: "NGC 5194", 2: "NGC 5194"}
    assert (facts.dropped, facts.stacked) == (3, 0)


def test_where_only_the_mount_says_where_it_points_nothing_is_named(catalogue: Catalogue) -> None:
    header = {key: value for key, value in _WCS.items() if key != "PLTSOLVD"}
    facts = Locator(catalogue).locate(result(header), [sighting(1, 100, 50)], [])
    assert set(facts.places) == {1}
    assert facts.names == {}


def test_places_in_a_stack_are_those_of_its_own_pixels() -> None:
    facts = Locator().locate(result(_WCS, 5, Motion.shift(30, 0)), [sighting(1, 70, 50)], [])
    assert arcsec(facts.places[1], _M51) < 0.01
    assert facts.stacked == 5


def test_a_sighting_is_known_to_its_end_and_no_longer() -> None:
    locator = Locator()
    locator.locate(result(_WCS), [sighting(1, 100, 50)], [])
    # A frame without a header: the galaxy stays where it is.
    assert arcsec(locator.locate(result({}), [sighting(1, 0, 0, 2)], []).places[1], _M51) < 0.01
    assert set(locator.locate(result({}), [], [sighting(1, 0, 0)]).places) == {1}
    assert locator.locate(result({}), [], [sighting(1, 0, 0)]).places == {}


def test_a_header_that_nobody_understands_ends_no_night(caplog: pytest.LogCaptureFixture) -> None:
    strange = {**_WCS, "CTYPE1": "RA---XXX", "CD1_1": 0.0, "CD2_2": 0.0}
    locator = Locator()
    for _ in range(3):
        assert locator.locate(result(strange), [sighting(1, 100, 50)], []).places == {}
    assert caplog.text.count("not understood") == 1


class _Solver:
    """Says that the stack looks at M 51, when it is let."""

    def __init__(self) -> None:
        self.asked: list[SkyPlace | None] = []
        self.may_answer = threading.Event()

    def __call__(self, frame: Frame, near: SkyPlace | None) -> SkyMap:
        self.asked.append(near)
        self.may_answer.wait(10)
        return SkyMap(_WCS)


def _solved(locator: Locator, told: FrameResult) -> bool:
    """Whether a frame is located within ten seconds."""
    for _ in range(200):
        if locator.locate(told, [sighting(1, 100, 50)], []).places:
            return True
        threading.Event().wait(0.05)
    return False


def test_the_stack_is_solved_beside_the_run_and_stays_solved() -> None:
    solver = _Solver()
    locator = Locator(solve=solver)
    mount = {"RA": 202.0, "DEC": 47.0}
    # Nobody waits for the solver.
    assert locator.locate(result(mount, 1), [sighting(1, 100, 50)], []).places == {}
    solver.may_answer.set()
    assert _solved(locator, result(mount, 2))
    assert solver.asked == [SkyPlace(202.0, 47.0)]
    # A stack begun anew shifts the map with the sky.
    facts = locator.locate(result(mount, 1, carried=Motion.shift(20, 0)), [sighting(2, 120, 50)], [])
    assert arcsec(facts.places[2], _M51) < 0.01
    # One of another sky has no map.
    assert locator.locate(result(mount, 1), [sighting(3, 100, 50)], []).places == {}


def test_a_field_that_is_not_solved_is_said_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def give_up(frame: Frame, near: SkyPlace | None) -> SkyMap:
        raise FrameError("sky: ASTAP found no solution")

    locator = Locator(solve=give_up)
    for count in (1, 2):
        assert locator.locate(result({}, count), [sighting(1, 100, 50)], []).sky is None
    for _ in range(200):
        if caplog.text:
            break
        threading.Event().wait(0.02)
    assert "found no solution" in caplog.text


def test_a_solution_in_the_header_needs_no_solver() -> None:
    solver = _Solver()
    assert Locator(solve=solver).locate(result(_WCS, 1), [sighting(1, 100, 50)], []).places
    assert solver.asked == []


@pytest.mark.parametrize("header", [{}, _WCS])
def test_a_catalogue_that_cannot_name_anything_is_told_of_once(
    catalogue: Catalogue, header: Mapping[str, str | float | bool], caplog: pytest.LogCaptureFixture
) -> None:
    locator = Locator(catalogue)
    for _ in range(2):
        locator.locate(result(header), [sighting(1, 100, 50)], [])
    assert sum("has no effect" in record.message for record in caplog.records) == (0 if header else 1)


def test_without_a_catalogue_nobody_misses_the_place(caplog: pytest.LogCaptureFixture) -> None:
    Locator().locate(result({}), [sighting(1, 100, 50)], [])
    assert not caplog.records
