"""A camera of a real Alpaca server: alpaca-simulators.

Its pictures of the sky need a star catalogue from the network, so they fail here, as cameras do; dark frames need none.
"""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgegal.device.sources import open_source
from edgegal.errors import InputError

pytestmark = pytest.mark.peers

_ENVIRONMENT = Path(__file__).resolve().parents[2] / "build" / "peers" / "alpaca"


class Alpaca:
    """The simulator, with some properties of its camera changed."""

    def __init__(self, serve: Callable[[list[str]], Any], folder: Path, **camera: object) -> None:
        (template,) = _ENVIRONMENT.glob("lib/python3*/site-packages/alpaca_simulators/config/template.yaml")
        config = yaml.safe_load(template.read_text())
        # Not square, so that an exchange of axes shows.
        config["devices"]["camera"][0].update({"numx": 320, "numy": 200, **camera})
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [str(_ENVIRONMENT / "bin" / "alpaca-simulators"), "--host", "127.0.0.1", "--port", "{port}"]
        self.server = serve([*command, "--config", str(path)])

    def address(self, options: str = "exposure=0.2&light=0", camera: int = 0) -> str:
        return f"alpaca://127.0.0.1:{self.server.port}/camera/{camera}?{options}"

    def get(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}/api/v1/camera/0/{what}") as answer:
            return json.load(answer)["Value"]


@pytest.fixture
def alpaca(serve: Callable[[list[str]], Any], tmp_path: Path) -> Callable[..., Alpaca]:
    return lambda **camera: Alpaca(serve, tmp_path, **camera)


def test_the_camera_exposes_and_says_what_it_did(alpaca: Callable[..., Alpaca]) -> None:
    simulator = alpaca(pixelsizex=3.75, binx=2, biny=2, ccdtemperature=-10.0)
    before = datetime.now(timezone.utc)
    with open_source(simulator.address("exposure=0.6&light=0&gain=3")) as source:
        frames = [next(source) for _ in range(2)]
    after = datetime.now(timezone.utc)
    for index, frame in enumerate(frames):
        assert frame.size == (320, 200)
        assert frame.pixels.dtype == np.uint16
        assert (frame.index, frame.linear, frame.bayer, frame.exposure_s) == (index, True, None, 0.6)
        assert frame.header["INSTRUME"] == "Simulator Camera"
        assert frame.header["GAIN"] == simulator_gain(simulator)
        assert frame.header["CCD-TEMP"] == -10.0
        # The size of a binned pixel.
        assert frame.header["XPIXSZ"] == 7.5
        assert frame.time is not None
        # The middle of the exposure.
        assert before + timedelta(seconds=0.25) < frame.time < after - timedelta(seconds=0.25)
    assert not np.array_equal(frames[0].pixels, frames[1].pixels)


def simulator_gain(simulator: Alpaca) -> Any:
    return simulator.get("gain")


@pytest.mark.parametrize(
    ("offset", "start", "expected"),
    [((0, 0), (0, 0), "RGGB"), ((1, 0), (0, 0), "GRBG"), ((0, 1), (0, 0), "GBRG"), ((1, 0), (1, 1), "GBRG")],
)
def test_a_colour_camera_has_its_bayer_pattern(
    alpaca: Callable[..., Alpaca], offset: tuple[int, int], start: tuple[int, int], expected: str
) -> None:
    simulator = alpaca(sensortype=2, bayeroffsetx=offset[0], bayeroffsety=offset[1], startx=start[0], starty=start[1])
    with open_source(simulator.address()) as source:
        assert next(source).bayer == expected


def test_filters_that_nobody_reads_are_refused(alpaca: Callable[..., Alpaca]) -> None:
    with pytest.raises(InputError, match="CMYG colour filters"):
        open_source(alpaca(sensortype=3).address())


def test_faults_of_the_address_are_refused_with_the_servers_words(alpaca: Callable[..., Alpaca]) -> None:
    simulator = alpaca()
    with pytest.raises(InputError, match="not found"):
        open_source(simulator.address(camera=7))
    with pytest.raises(InputError, match="does not take gain=99"):
        open_source(simulator.address("gain=99"))


def test_what_the_camera_cannot_do_is_not_tried_for_ever(alpaca: Callable[..., Alpaca]) -> None:
    # More pixels than the sensor has when two and two are one.
    simulator = alpaca(binx=2, biny=2, numx=1024)
    with open_source(simulator.address()) as source, pytest.raises(InputError, match=r"does not take exposure=0\.2"):
        next(source)


def test_an_exposure_that_fails_is_tried_again(alpaca: Callable[..., Alpaca], caplog: pytest.LogCaptureFixture) -> None:
    simulator = alpaca()
    source = open_source(simulator.address("exposure=0.1&light=1"))
    ended: list[Any] = []
    waiting = threading.Thread(target=lambda: ended.append(list(source)), daemon=True)
    with caplog.at_level(logging.WARNING):
        waiting.start()
        end = time.monotonic() + 60
        while not caplog.records and time.monotonic() < end:
            time.sleep(0.1)
        assert not ended
        source.close()
        waiting.join(5)
    assert ended == [[]]
    assert "the exposure failed" in caplog.text


def test_a_server_that_is_killed_and_started_again_is_found(alpaca: Callable[..., Alpaca]) -> None:
    simulator = alpaca()
    with open_source(simulator.address()) as source:
        next(source)
        simulator.server.stop()
        threading.Timer(2, simulator.server.start).start()
        assert next(source).index == 1


@pytest.mark.parametrize("hung", [False, True])
def test_closing_ends_a_long_wait_at_once(alpaca: Callable[..., Alpaca], hung: bool) -> None:
    simulator = alpaca()
    source = open_source(simulator.address("exposure=0.5&light=0" if hung else "exposure=300&light=0"))
    ended: list[Any] = []
    waiting = threading.Thread(target=lambda: ended.append(len(list(source))), daemon=True)
    waiting.start()
    time.sleep(0.3)
    if hung:
        simulator.server.freeze()
        time.sleep(1)
    source.close()
    waiting.join(5)
    assert ended == [0]


def test_clients_of_urllib_and_we_see_one_camera(alpaca: Callable[..., Alpaca]) -> None:
    simulator = alpaca()
    with open_source(simulator.address()) as source:
        frame = next(source)
    url = f"http://127.0.0.1:{simulator.server.port}/api/v1/camera/0/imagearray"
    request = urllib.request.Request(url, headers={"Accept": "application/imagebytes"})
    with urllib.request.urlopen(request) as answer:
        raw = answer.read()
    # Column after column, as the simulator keeps its last picture.
    columns = np.frombuffer(raw, "<u2", offset=44).reshape(320, 200)
    np.testing.assert_array_equal(frame.pixels, columns.T)
