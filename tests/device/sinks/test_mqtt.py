"""What needs no broker; `tests/peers/test_mqtt.py` has a real one."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sinks.home_assistant import discovery
from edgegal.device.sinks.mqtt import Broker, MqttSink
from edgegal.errors import InputError

pytest.importorskip("paho.mqtt")

RUN = RunFacts("sim:", id="night1")


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://hub", Broker("hub", 1883)),
        ("mqtt://hub:2883/", Broker("hub", 2883)),
        ("mqtts://ada@hub.lan/dome/scope%20one/", Broker("hub.lan", 8883, "dome/scope one", "ada", True)),
        ("mqtt://[::1]:1884/x", Broker("::1", 1884, "x")),
    ],
)
def test_an_address_is_understood(url: str, broker: Broker) -> None:
    assert Broker.parse(url) == broker


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hub:1883", "no address of a broker"),
        ("http://hub", "no address of a broker"),
        ("mqtt://", "no address of a broker"),
        ("mqtt://hub:99999", "no address of a broker"),
        ("mqtt://hub:x", "no address of a broker"),
        ("mqtt://hub/a?b", "no address of a broker"),
        ("mqtt://hub/a/+/b", "no prefix of topics"),
        ("mqtt://hub/%23", "no prefix of topics"),
        ("mqtt://ada:secret@hub", "holds no password"),
    ],
)
def test_what_is_no_address_is_refused(url: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Broker.parse(url)
    assert caught.value.mend
    assert "secret" not in str(caught.value)


def test_a_certificate_that_is_not_there_or_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no certificate"):
        Broker.parse("mqtts://hub", tmp_path / "ca.pem")
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(InputError, match="is no certificate"):
        MqttSink(Broker.parse("mqtts://hub", tmp_path / "ca.pem"), RUN)


def test_without_a_frame_nobody_is_called() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = MqttSink(Broker("127.0.0.1", server.getsockname()[1]), RUN)
        sink.skip("a cloud")
        sink.close(())
        server.settimeout(0.3)
        with pytest.raises(TimeoutError):
            server.accept()


def test_without_a_broker_a_night_goes_on_and_ends(
    night: Any, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MqttSink(Broker("127.0.0.1", free_port), RUN)
    for _ in range(1200):
        night.show(sink, (0.1, 0.9))
        night.show(sink)
    assert sink.lost == 1400
    sink.close(night.tracker.alive)
    assert [r.message for r in caplog.records if "does not answer" in r.message] == [
        f"the MQTT broker at 127.0.0.1:{free_port} does not answer (the run goes on, and tries again)"
    ]


def test_home_assistant_is_told_of_one_device_with_its_sensors() -> None:
    told = dict(discovery("homeassistant", "dome/scope one", "edgegal 0.1.0"))
    assert set(told) == {
        f"homeassistant/sensor/dome_scope_one/{key}/config"
        for key in ("galaxies", "last_class", "frames", "dropped", "temperature_c")
    }
    sensors = list(told.values())
    assert len({s["unique_id"] for s in sensors}) == len(sensors)
    for sensor in sensors:
        assert json.loads(json.dumps(sensor)) == sensor
        assert sensor["state_topic"] == "dome/scope one/state"
        assert sensor["availability_topic"] == "dome/scope one/available"
        assert sensor["device"] == {
            **{"identifiers": ["dome_scope_one"], "name": "dome/scope one", "model": "edgegal", "sw_version": "0.1.0"}
        }
