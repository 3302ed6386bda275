"""How a run is put together."""

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edgegal.bundle import Bundle
from edgegal.device.service import ClockWatch
from edgegal.device.service.clock import ClockState
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sources import Source
from edgegal.device.wiring import _paces, _Timed, wired
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import Frame
from edgegal.preprocess import Stretch
from edgegal.runtimes import RUNTIMES, installed
from edgegal.settings import KeepSettings, Settings


class Camera(Source):
    """Gives frames of one moment, with the headers it was made with."""

    name, stream, live = "camera", True, True

    def __init__(self, *headers: dict[str, str]) -> None:
        self._headers = iter(headers)

    def __next__(self) -> Frame:
        now = datetime(2026, 3, 1, tzinfo=timezone.utc)
        return replace(Frame(np.zeros((8, 8), np.uint8), "camera"), time=now, header=next(self._headers))


@pytest.mark.parametrize(
    ("synchronised", "mark"), [(False, {"CLOCK": "unsynchronised"}), (None, {"CLOCK": "unknown"}), (True, {})]
)
def test_frames_that_this_computer_timed_are_marked_where_its_clock_may_be_wrong(
    synchronised: bool | None, mark: dict[str, str]
) -> None:
    clock = ClockWatch(lambda: ClockState(synchronised, "as the test says"))
    clock.check()
    own, told = _Timed(Camera({}, {"DATE-OBS": "2026-03-01T00:00:00"}), clock)
    assert own.header == mark
    assert "CLOCK" not in told.header


@pytest.mark.parametrize(
    ("keep", "live", "paces"),
    [
        ({}, False, (0, None)),
        ({}, True, (60, 10)),
        ({"news_every": 5}, True, (60, 5)),
        ({"pictures_every": 0}, True, (0, None)),
        ({"pictures_every": 7, "news_every": 2}, True, (7, 2)),
    ],
)
def test_cameras_get_a_picture_a_minute_and_files_one_a_frame_unless_told_otherwise(
    keep: dict[str, float], live: bool, paces: tuple[float, float | None]
) -> None:
    assert _paces(KeepSettings.model_validate(keep), live) == paces


def test_a_missing_runtime_leaves_no_password_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEGAL_WEB_PASSWORD", raising=False)
    absent = next(name for name, entry in RUNTIMES.items() if entry not in installed())
    flags = {"source": "sim:", "web": True, "web_address": "0.0.0.0:0", "out": tmp_path / "out", "runtime": absent}
    with pytest.raises(MissingPartError), wired(Settings.of_flags(flags)):
        pass
    assert not (tmp_path / "out").exists()


def test_frames_that_wait_are_known_to_wait() -> None:
    camera = Camera({})
    camera.keeps = True
    assert _Timed(camera, ClockWatch(lambda: ClockState(True, ""))).keeps


def test_an_output_that_is_no_folder_is_refused_before_the_night(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    flags = {"source": "sim:width=256,height=256", "out": tmp_path / "taken"}
    with pytest.raises(InputError, match="is no folder"), wired(Settings.of_flags(flags)):
        pass


def test_passwords_in_the_address_of_a_stream_are_kept_out_of_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []

    def of(source: str, bundle: Bundle, stretch: Stretch) -> RunFacts:
        sources.append(source)
        return RunFacts(source, bundle.manifest.name, "", "", stretch)

    monkeypatch.setattr(RunFacts, "of", of)
    address = "http://observer:secret-word@127.0.0.1:9/stream?key=secret-key"
    with wired(Settings.of_flags({"source": address, "out": tmp_path / "out", "wait": True})):
        pass
    (source,) = sources
    assert "127.0.0.1:9" in source
    assert "secret" not in source
