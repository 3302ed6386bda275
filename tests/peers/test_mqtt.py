"""Messages through a real broker, mosquitto, to its own client."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.astrometry import SkyPlace
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks.facts import FrameFacts, RunFacts
from edgegal.device.sinks.mqtt import Broker, MqttSink
from edgegal.device.tracking import Tracker
from edgegal.frames import Frame

pytestmark = pytest.mark.peers

Serve = Callable[[list[str]], Any]

MOSQUITTO = ["mosquitto", "-p", "{port}"]
RUN = RunFacts("sim:", "galaxies", id="night1")
SPIRAL = (0.1, 0.9)


class Listener:
    """A client that hears everything from the moment it is made.

    Parameters
    ----------
    port
        Of the broker.
    options
        How to connect, for mosquitto_sub.
    session
        Further options of it.
    """

    def __init__(self, port: int, *options: str, session: Sequence[str] = ()) -> None:
        there = ["-h", "127.0.0.1", "-p", str(port), *options]
        command = ["mosquitto_sub", *there, *session, "-F", "%r %t %p", "-t", "#"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.heard: list[tuple[bool, str, str]] = []
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + 30
        while not self._listens.wait(0.05):
            assert time.monotonic() < end
            subprocess.run(["mosquitto_pub", *there, "-t", "probe", "-m", "anybody there?"], check=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            retained, topic, payload = line.rstrip("\n").split(" ", 2)
            if topic == "probe":
                self._listens.set()
            else:
                self.heard.append((retained == "1", topic, payload))

    def of(self, topic: str) -> list[str]:
        return [payload for _, heard, payload in self.heard if heard == topic]

    def events(self) -> list[tuple[int, str]]:
        told = [json.loads(payload) for payload in self.of("edgegal/events")]
        return [(event["id"], event["event"]) for event in told]

    def wait(self, wanted: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not wanted():
            assert time.monotonic() < end, self.heard
            time.sleep(0.02)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts listeners."""
    listeners: list[Listener] = []

    def start(port: int, *options: str, session: Sequence[str] = ()) -> Listener:
        listeners.append(Listener(port, *options, session=session))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


class Night:
    """Frames with galaxies, each at its own place."""

    def __init__(self, *sinks: MqttSink) -> None:
        self.sinks = sinks
        self.tracker = Tracker(("round", "spiral"), patience=0)
        self.index = 0

    def show(self, *probabilities: tuple[float, float]) -> None:
        corners = [25.0 * k for k in range(len(probabilities))]
        boxes = np.array([[c, c, c + 20, c + 20] for c in corners], np.float32).reshape(-1, 4)
        n = len(corners)
        found = Detections(boxes, np.full(n, 0.9, np.float32), np.zeros(n, np.int32))
        view = np.zeros((60, 80, 3), np.uint8)
        frame = Frame(view, "sim:", self.index, linear=False, target="M 51")
        rows = np.array(probabilities, np.float32).reshape(-1, 2)
        seen, ended = self.tracker.update(frame, found, rows)
        self.index += 1
        for sink in self.sinks:
            sink.write(FrameResult(frame, view, found, rows, StageTimes()), seen, ended)

    def close(self) -> None:
        for sink in self.sinks:
            sink.close(self.tracker.alive)


def test_a_night_is_heard(serve: Serve, listen: Callable[..., Listener]) -> None:
    port = serve(MOSQUITTO).port
    listener = listen(port)
    facts = FrameFacts(places={1: SkyPlace(202.47, 47.19)}, names={1: "NGC 5194"}, dropped=3)
    sink = MqttSink(Broker("127.0.0.1", port), RUN, lambda result: facts, lambda: 51.5)
    night = Night(sink)
    night.show(SPIRAL)
    listener.wait(lambda: "online" in listener.of("edgegal/available"))
    night.show(SPIRAL)
    sink.mark_false(1)
    sink.mark_false(8)
    night.close()
    listener.wait(lambda: "offline" in listener.of("edgegal/available"))
    assert listener.events() == [(1, "new"), (1, "update"), (1, "false"), (1, "end")]
    event = json.loads(listener.of("edgegal/events")[0])
    assert (event["class"], event["ra_deg"], event["name"], event["run"]) == ("spiral", 202.47, "NGC 5194", "night1")
    late = listen(port)
    late.wait(lambda: late.of("edgegal/available") and late.of("edgegal/state"))
    assert all(retained for retained, _, _ in late.heard)
    assert late.of("edgegal/available") == ["offline"]
    state = json.loads(late.of("edgegal/state")[0])
    wanted = {"frames": 2, "galaxies": 1, "last_class": "spiral", "last_name": "NGC 5194", "dropped": 3}
    assert state == state | wanted | {"target": "M 51", "temperature_c": 51.5, "run": "night1", "events_lost": 0}
    sensors = [json.loads(payload) for _, topic, payload in late.heard if topic.startswith("homeassistant/sensor/")]
    assert len(sensors) == 5
    for sensor in sensors:
        assert sensor["value_template"].removeprefix("{{ value_json.").removesuffix(" }}") in state


_RUN_FOR_EVER = """
import sys, time
from test_mqtt import *
night = Night(MqttSink(Broker("127.0.0.1", int(sys.argv[1])), RUN))
while True:
    night.show(SPIRAL)
    time.sleep(0.05)
"""


def test_the_last_will_of_a_killed_run_is_heard(serve: Serve, listen: Callable[..., Listener]) -> None:
    port = serve(MOSQUITTO).port
    listener = listen(port)
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", _RUN_FOR_EVER, str(port)], env=here) as run:
        listener.wait(lambda: listener.of("edgegal/available") == ["online"])
        listener.wait(lambda: (1, "new") in listener.events())
        run.kill()
    listener.wait(lambda: listener.of("edgegal/available") == ["online", "offline"])


def test_what_happens_while_the_broker_is_away_is_heard_when_it_is_back(
    serve: Serve, free_port: int, tmp_path: Path, listen: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    configuration = tmp_path / "mosquitto.conf"
    # It remembers its listeners, so that none misses what comes while it connects again.
    configuration.write_text(
        f"user root\nlistener {free_port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
        f"persistence_location {tmp_path}/\nautosave_on_changes true\nautosave_interval 1\n"
    )
    server = serve(["mosquitto", "-c", str(configuration)])
    listener = listen(free_port, session=("-q", "1", "-c", "-i", "listener"))
    night = Night(MqttSink(Broker("127.0.0.1", free_port), RUN))
    night.show(SPIRAL)
    listener.wait(lambda: (1, "new") in listener.events())
    server.stop()
    for _ in range(30):
        night.show()
        night.show(SPIRAL)
    server.start()
    listener.wait(lambda: (31, "new") in listener.events())
    night.close()
    # The last thing that is told.
    listener.wait(lambda: listener.of("edgegal/available")[-1:] == ["offline"])
    # What was on its way when the broker died may be heard twice.
    assert {(i, event) for i in range(1, 32) for event in ("new", "end")} == set(listener.events())
    assert listener.of("edgegal/available")[-2:] == ["online", "offline"]
    assert sum("is there again" in r.message for r in caplog.records) == 1


def test_a_run_that_begins_before_its_broker_loses_nothing(
    serve: Serve, free_port: int, listen: Callable[..., Listener]
) -> None:
    night = Night(MqttSink(Broker("127.0.0.1", free_port), RUN))
    for _ in range(10):
        night.show(SPIRAL)
        night.show()
    serve(MOSQUITTO)
    # Messages come in the order they were made, those of the last frames while somebody listens.
    listener = listen(free_port)
    listener.wait(lambda: listener.of("edgegal/available") == ["online"])
    night.show(SPIRAL)
    listener.wait(lambda: (11, "new") in listener.events())
    night.close()
    listener.wait(lambda: (11, "end") in listener.events())
    assert night.sinks[0].lost == 0


def test_a_password_is_asked_of_the_environment(
    serve: Serve,
    free_port: int,
    tmp_path: Path,
    listen: Callable[..., Listener],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "ada", "open sesame"], check=True)
    passwords.chmod(0o644)
    tmp_path.chmod(0o755)
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"user root\nlistener {free_port} 127.0.0.1\npassword_file {passwords}\n")
    serve(["mosquitto", "-c", str(configuration)])
    listener = listen(free_port, "-u", "ada", "-P", "open sesame")
    monkeypatch.delenv("EDGEGAL_MQTT_PASSWORD", raising=False)
    broker = Broker("127.0.0.1", free_port, user="ada")
    refused = Night(MqttSink(broker, RUN))
    refused.show(SPIRAL)
    listener.wait(lambda: "refuses the connection" in caplog.text)
    assert "check user and EDGEGAL_MQTT_PASSWORD" in caplog.text
    refused.close()
    monkeypatch.setenv("EDGEGAL_MQTT_PASSWORD", "open sesame")
    night = Night(MqttSink(broker, RUN))
    night.show(SPIRAL)
    listener.wait(lambda: (1, "new") in listener.events())
    night.close()


def make_certificates(folder: Path) -> None:
    """An authority, and a broker at 127.0.0.1 that it vouches for."""
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=broker -keyout broker.key -out broker.csr",
        "x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out broker.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, check=True)


def test_an_encrypted_connection_is_made_only_with_a_broker_that_is_vouched_for(
    serve: Serve, free_port: int, tmp_path: Path, listen: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    make_certificates(tmp_path)
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(
        f"user root\nlistener {free_port} 127.0.0.1\nallow_anonymous true\n"
        f"certfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n"
    )
    serve(["mosquitto", "-c", str(configuration)])
    authority = tmp_path / "ca.pem"
    listener = listen(free_port, "--cafile", str(authority))
    stranger = Night(MqttSink(Broker.parse(f"mqtts://127.0.0.1:{free_port}/stranger"), RUN))
    stranger.show(SPIRAL)
    listener.wait(lambda: "certificate is not trusted" in caplog.text)
    stranger.close()
    night = Night(MqttSink(Broker.parse(f"mqtts://127.0.0.1:{free_port}", authority), RUN))
    night.show(SPIRAL)
    listener.wait(lambda: (1, "new") in listener.events())
    night.close()
    assert not listener.of("stranger/available")


def test_a_broker_that_hangs_holds_up_neither_a_frame_nor_the_end(
    serve: Serve, listen: Callable[..., Listener]
) -> None:
    server = serve(MOSQUITTO)
    listener = listen(server.port)
    night = Night(MqttSink(Broker("127.0.0.1", server.port), RUN))
    night.show(SPIRAL)
    listener.wait(lambda: (1, "new") in listener.events())
    server.freeze()

    def go_on() -> None:
        for _ in range(500):
            night.show()
            night.show(SPIRAL)
        night.close()

    # Whoever waits for an answer waits for ever.
    going_on = threading.Thread(target=go_on, daemon=True)
    going_on.start()
    going_on.join(60)
    assert not going_on.is_alive()
