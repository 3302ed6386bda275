"""A camera of a real INDI server: the simulator of INDI's own."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.device.sources import open_source
from edgegal.device.sources.indi_protocol import MessageStream, command, new_vector
from edgegal.errors import InputError

pytestmark = pytest.mark.peers

Serve = Callable[[list[str]], Any]

SERVER = ["indiserver", "-p", "{port}", "indi_simulator_ccd"]
DEVICE = "CCD Simulator"


class Client:
    """Another program that talks to the server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.sendall(command("getProperties", version="1.7"))
        self._stream = MessageStream()
        self._heard: list[tuple[str, str | None]] = []
        self.wait_for("CONNECTION")

    def set(self, kind: str, name: str, **values: str) -> None:
        self._socket.sendall(new_vector(kind, DEVICE, name, **values))

    def wait_for(self, name: str, tag: str = "") -> None:
        """Read until a message about a property comes."""
        while True:
            while self._heard:
                heard_tag, heard_name = self._heard.pop(0)
                if heard_name == name and heard_tag.startswith(tag):
                    return
            data = self._socket.recv(2**20)
            assert data
            self._heard += [(m.tag, m.get("name")) for m in self._stream.feed(data)]

    def connect_camera(self) -> None:
        self.set("Switch", "CONNECTION", CONNECT="On")
        self.wait_for("CCD_EXPOSURE", "def")

    def close(self) -> None:
        self._socket.close()


def address(port: int, options: str = "exposure=0.2") -> str:
    return f"indi://127.0.0.1:{port}/CCD%20Simulator?{options}"


def test_the_camera_exposes_and_says_what_it_did(serve: Serve) -> None:
    server = serve(SERVER)
    before = datetime.now(timezone.utc)
    with open_source(address(server.port, "exposure=0.5&gain=33")) as source:
        frames = [next(source) for _ in range(3)]
    for index, frame in enumerate(frames):
        assert frame.size == (1280, 1024)
        assert frame.pixels.dtype == np.uint16
        assert frame.pixels.std() > 0
        assert (frame.index, frame.linear, frame.bayer, frame.exposure_s) == (index, True, None, 0.5)
        assert (frame.header["GAIN"], frame.header["INSTRUME"]) == (33.0, DEVICE)
        assert frame.time is not None
        assert before - timedelta(seconds=1) < frame.time < datetime.now(timezone.utc)
    assert not np.array_equal(frames[0].pixels, frames[1].pixels)


def test_a_colour_camera_has_its_bayer_pattern(serve: Serve) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    client.set("Switch", "SIMULATE_BAYER", INDI_ENABLED="On")
    client.wait_for("SIMULATE_BAYER", "set")
    with open_source(address(server.port)) as source:
        frame = next(source)
    client.close()
    assert frame.bayer == "RGGB"
    assert frame.pixels.ndim == 2


def test_frames_compressed_by_the_driver_are_the_same_frames(serve: Serve) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    client.connect_camera()
    client.set("Switch", "CCD_COMPRESSION", INDI_ENABLED="On")
    client.wait_for("CCD_COMPRESSION", "set")
    with open_source(address(server.port)) as source:
        frame = next(source)
    client.close()
    assert frame.size == (1280, 1024)
    assert frame.exposure_s == 0.2


def test_listening_takes_what_another_program_exposes_and_sets_nothing(serve: Serve) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    client.connect_camera()
    with open_source(address(server.port, "listen")) as source:
        taken: list[Any] = []
        waiting = threading.Thread(target=lambda: taken.append(next(source)), daemon=True)
        waiting.start()
        waiting.join(2)
        assert not taken
        client.set("Number", "CCD_EXPOSURE", CCD_EXPOSURE_VALUE="0.3")
        waiting.join(20)
        assert taken
    client.close()
    assert taken[0].exposure_s == 0.3


def test_a_server_that_is_killed_and_started_again_is_found(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(SERVER)
    with open_source(address(server.port)) as source:
        next(source)
        server.stop()
        threading.Timer(3, server.start).start()
        assert next(source).index == 1
        assert next(source).index == 2
    said = [r.message for r in caplog.records]
    assert [("is lost" in m, "is back" in m) for m in said] == [(True, False), (False, True)]


def test_a_driver_that_crashes_is_waited_for(serve: Serve) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    with open_source(address(server.port)) as source:
        next(source)
        client.set("Switch", "CCD_SIMULATE_CRASH", CRASH="On")
        client.close()
        assert next(source).index == 1


def test_a_camera_switched_off_by_another_program_is_switched_on_again(serve: Serve) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    with open_source(address(server.port, "exposure=2")) as source:
        next(source)
        threading.Timer(0.5, lambda: client.set("Switch", "CONNECTION", DISCONNECT="On")).start()
        assert next(source).index == 1
    client.close()


def test_closing_ends_a_long_exposure_at_once(serve: Serve) -> None:
    server = serve(SERVER)
    source = open_source(address(server.port, "exposure=300"))
    ended: list[Any] = []
    waiting = threading.Thread(target=lambda: ended.append(list(source)), daemon=True)
    waiting.start()
    time.sleep(1)
    source.close()
    waiting.join(5)
    assert ended == [[]]


def test_an_unknown_camera_is_refused_with_those_there_are(serve: Serve) -> None:
    server = serve(SERVER)
    with pytest.raises(InputError, match=f"no device ZWO CCD, but {DEVICE}"):
        open_source(f"indi://127.0.0.1:{server.port}/ZWO CCD")


def test_a_video_recorded_by_the_driver_is_read(serve: Serve, tmp_path: Path) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    client.connect_camera()
    client.wait_for("RECORD_OPTIONS")
    client.set("Text", "RECORD_FILE", RECORD_FILE_DIR=str(tmp_path), RECORD_FILE_NAME="night.ser")
    client.set("Number", "RECORD_OPTIONS", RECORD_DURATION="1", RECORD_FRAME_TOTAL="8")
    client.set("Number", "STREAMING_EXPOSURE", STREAMING_EXPOSURE_VALUE="0.1")
    client.wait_for("STREAMING_EXPOSURE", "set")
    client.set("Switch", "RECORD_STREAM", RECORD_FRAME_ON="On")
    # Once when it begins, once when it is done.
    client.wait_for("RECORD_STREAM", "set")
    client.wait_for("RECORD_STREAM", "set")
    client.close()
    video = tmp_path / "night.ser"
    assert video.read_bytes().startswith(b"INDI-RECORDER")
    now = datetime.now(timezone.utc)
    with open_source(str(video)) as source:
        frames = list(source)
    # The driver records fewer where the computer is busy.
    assert len(frames) >= 4
    for frame in frames:
        assert frame.size == (1280, 1024)
        assert frame.pixels.std() > 0
        assert frame.time is not None
        assert now - timedelta(seconds=60) < frame.time < now + timedelta(seconds=5)


def test_sigterm_ends_a_run_on_the_camera_and_keeps_what_was_seen(serve: Serve, tmp_path: Path) -> None:
    server = serve(SERVER)
    client = Client(server.port)
    command_line = [sys.executable, "-m", "edgegal", "run", address(server.port, "exposure=60"), "--json"]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # The exposure has begun.
        client.wait_for("CCD_EXPOSURE", "set")
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert time.monotonic() - begin < 5
    assert process.returncode == 130
