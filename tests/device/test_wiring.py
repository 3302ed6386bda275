"""How a run is put together."""

import socket
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.bundle import Bundle
from edgegal.device.service import ClockWatch
from edgegal.device.service.clock import ClockState
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sinks.stacked import StackedFits
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


def test_a_catalogue_that_no_frame_can_use_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("astropy")
    (tmp_path / "NGC.csv").write_text("Name;Type;RA;Dec;MajAx\nNGC5194;G;13:29:52.71;+47:11:42.9;13.7\n")
    flags = {"source": "sim:width=256,height=256,frames=3", "catalogue": tmp_path / "NGC.csv"}
    with wired(Settings.of_flags(flags)) as ready:
        assert ready.observe().frames == 3
    said = [record.getMessage() for record in caplog.records if "catalogue" in record.getMessage()]
    assert len(said) == 1
    assert "add --stack N and --solve" in said[0]


def test_what_was_seen_is_written_and_closed_before_the_file_of_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow card makes a large file wait, and a stop waits for nobody."""
    out, known = tmp_path / "out", []
    write, close = StackedFits.write, StackedFits.close

    def look() -> None:
        lines = (out / "sightings.jsonl").read_text().splitlines() if (out / "sightings.jsonl").exists() else []
        with closing(sqlite3.connect(out / "sightings.sqlite")) as database:
            ended = database.execute("SELECT count(*) FROM runs WHERE ended IS NOT NULL").fetchone()[0]
        known.append((len(lines), ended))

    def slow_write(self: StackedFits, *told: Any) -> None:
        look()
        write(self, *told)

    def slow_close(self: StackedFits, *alive: Any) -> None:
        look()
        close(self, *alive)

    monkeypatch.setattr(StackedFits, "write", slow_write)
    monkeypatch.setattr(StackedFits, "close", slow_close)
    flags = {"source": "sim:seed=7,frames=2,drift=0", "out": out, "stack": 4}
    with wired(Settings.of_flags(flags)) as ready:
        ready.observe()
    assert len(known) == 3
    assert known[0][0] > 0
    assert [ended for _, ended in known] == [0, 0, 1]


def test_a_flag_without_effect_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    settings = Settings.of_flags({"source": "sim:width=256,height=256", "out": tmp_path / "out", "reopen_after": 60.0})
    with pytest.raises(InputError, match="--reopen-after has no effect"), wired(settings, ["reopen_after"]):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="service managers listen on Unix sockets")
def test_the_service_manager_is_told_of_each_exposure_of_the_masters_before_the_run_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    darks = tmp_path / "darks"
    darks.mkdir()
    noise = np.random.default_rng(5)
    for number in range(3):
        cv2.imwrite(str(darks / f"{number}.png"), noise.integers(90, 110, (256, 256, 3), np.uint16))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        heard: list[str] = []

        def listen() -> None:
            while "STOPPING=1" not in heard:
                heard.append(manager.recv(4096).decode())

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        flags = {"source": "sim:width=256,height=256,frames=2", "dark": darks}
        with wired(Settings.of_flags(flags)) as ready:
            assert ready.observe().frames == 2
        listening.join(60)
    extension = "EXTEND_TIMEOUT_USEC=120000000"
    steps = [f"making the master dark: {count} exposures read" for count in range(1, 7)] + ["opening the networks"]
    start = heard[: heard.index("READY=1")]
    assert start == [message for step in steps for message in (extension, f"STATUS={step}")]
    assert extension not in heard[len(start) :]


def test_masters_are_not_made_for_a_run_that_is_refused(tmp_path: Path) -> None:
    flags = {"source": "sim:width=256,height=256", "dark": tmp_path / "absent", "reopen_after": 60.0}
    with pytest.raises(InputError, match="--reopen-after"), wired(Settings.of_flags(flags), ["reopen_after"]):
        pass


def test_a_timed_camera_says_when_its_frame_was_there() -> None:
    camera = Camera({})
    camera.arrived = 12.5
    timed = _Timed(camera, ClockWatch(lambda: ClockState(True, "")))
    next(timed)
    assert timed.arrived == 12.5
