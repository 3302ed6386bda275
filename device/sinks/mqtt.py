"""Sightings as MQTT messages, for home automation and for whoever else listens.

Topics below the prefix: ``available`` (``online`` or ``offline``, retained, with a last will), ``state`` (a JSON
document of the run, retained) and ``events`` (the documents of ``sightings.jsonl``).
"""

import importlib.util
import json
import logging
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from typing_extensions import Self

from edgegal import settings
from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.events import Event, Events
from edgegal.device.sinks.facts import Enquiry, RunFacts, nothing_known
from edgegal.device.sinks.home_assistant import discovery
from edgegal.device.sinks.pace import Pace
from edgegal.device.tracking import Sighting
from edgegal.errors import InputError, MissingPartError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

__all__ = ["Broker", "MqttSink"]

_log = logging.getLogger(__name__)

_PORTS = {"mqtt": 1883, "mqtts": 8883}
# Seconds without a word from which a broker is taken for gone.
_KEEPALIVE_S = 20
_CONNECT_S = 3.0
_LONGEST_PAUSE_S = 60
# Messages held while there is no broker.
_MOST_HELD = 1_000
# A run is to end within five seconds, whatever the broker does.
_FAREWELL_S = 2.0
_AT_LEAST_ONCE = 1


@dataclass(frozen=True)
class Broker:
    """Where messages go.

    Attributes
    ----------
    host, port
        Of the broker.
    prefix
        What all topics begin with.
    user
        None to be anonymous; the password is the secret ``mqtt-password``.
    tls
        Whether the connection is encrypted and the broker's certificate checked.
    authority
        Certificate of who vouches for the broker's; the system's authorities when None.
    """

    host: str
    port: int
    prefix: str = "edgegal"
    user: str | None = None
    tls: bool = False
    authority: Path | None = None

    @classmethod
    def parse(cls, url: str, authority: Path | None = None) -> Self:
        """The broker at ``mqtt://[USER@]HOST[:PORT][/PREFIX]``, or ``mqtts://`` for TLS.

        Raises
        ------
        InputError
            It is no such address, or holds a password or wildcards.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InputError(f"{url} is no address of a broker: {error}", _MEND) from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
            raise InputError(f"{url} is no address of a broker", _MEND)
        if parts.password is not None:
            raise InputError(
                "the address of a broker holds no password, for others may read it",
                "give it as EDGEGAL_MQTT_PASSWORD or as the credential mqtt-password",
            )
        prefix = unquote(parts.path).strip("/") or "edgegal"
        if set(prefix) & set("+#\0"):
            raise InputError(f"{prefix!r} is no prefix of topics", "leave out + and #")
        if authority is not None and not authority.is_file():
            raise InputError(f"no certificate {authority}", "give the file of the authority, in PEM")
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        return cls(parts.hostname, port or _PORTS[parts.scheme], prefix, user, tls, authority)


_MEND = "give mqtt://HOST, or mqtts://USER@HOST:PORT/PREFIX"


class MqttSink(Sink):
    """Sends what happens to a broker; a run neither waits for it nor ends without it.

    The connection is made with the first frame by a thread of its own, and made again with growing pauses when it
    breaks. Events are held until there is a broker, up to a thousand; those beyond are counted in `lost`. An event is
    sent of sightings only whose answer enough frames agree on.

    Parameters
    ----------
    broker
        Where to.
    run
        For the documents.
    ask
        Says what else is known of a frame.
    temperature
        Degrees Celsius of the computer as last measured; None where it is unknown.
    home_assistant
        Prefix of the topics where Home Assistant looks for devices; empty to tell it nothing.
    state_every_s
        Seconds from one state to the next where nothing happens.
    clock
        Seconds, never going back.

    Raises
    ------
    MissingPartError
        paho-mqtt is not installed.
    InputError
        The certificate of the authority cannot be read.
    """

    name = "the broker"

    def __init__(
        self,
        broker: Broker,
        run: RunFacts,
        ask: Enquiry = nothing_known,
        temperature: Callable[[], float | None] = lambda: None,
        home_assistant: str = "homeassistant",
        state_every_s: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if importlib.util.find_spec("paho") is None:
            raise MissingPartError("sending MQTT messages needs paho-mqtt", "pip install 'edgegal[device]'")
        self.lost = 0
        """Events that were dropped because no broker took them in time."""
        self._broker = broker
        self._run = run
        self._ask = ask
        self._temperature = temperature
        self._home_assistant = home_assistant
        self._pace = Pace(state_every_s, clock)
        self._events = Events(settled_only=True)
        # Sightings are numbered from 1.
        self._newest = 0
        self._state: dict[str, Any] = _first_state(run)
        self._failure = ""
        self._client = self._made()
        self._connecting = False
        self._over = False

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        if not self._connecting:
            self._client.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S)
            self._client.loop_start()
            self._connecting = True
        facts = self._ask(result)
        events = self._events.of(seen, ended, facts)
        for event in events:
            self._send(event.document(self._run.id))
        self._update(result, facts.dropped, events)
        if events or self._pace.due:
            self._send_state()

    def skip(self, reason: str, number: int | None = None) -> None:
        self._state = self._state | {"skipped": self._state["skipped"] + 1, "last_skipped": reason}

    def mark_false(self, sighting: int) -> None:
        if 0 < sighting <= self._newest:
            self._send({"run": self._run.id, "event": "false", "id": sighting})

    def close(self, alive: Sequence[Sighting]) -> None:
        if not self._connecting:
            return
        for event in self._events.ends(alive):
            self._send(event.document(self._run.id))
        self._send_state()
        self._over = True
        if self._client.is_connected() and not self._has_said_goodbye():
            # Without a goodbye the broker sends the last will when this process ends.
            _log.warning("%s does not answer: it did not get the last messages", self._shown)
            return
        # Whoever waits in vain for a broker notices the end within seconds; nobody needs to wait for that.
        leaving = threading.Thread(target=self._leave, name="edgegal-mqtt", daemon=True)
        leaving.start()
        leaving.join(_FAREWELL_S)

    def _made(self) -> "Client":
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        broker = self._broker
        name = f"edgegal-{socket.gethostname()[:12]}-{uuid.uuid4().hex[:6]}"
        client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv311)
        if broker.user is not None:
            client.username_pw_set(broker.user, settings.secret("mqtt-password"))
        if broker.tls:
            client.tls_set_context(_context(broker.authority))
        client.will_set(self._topic("available"), "offline", _AT_LEAST_ONCE, retain=True)
        client.max_queued_messages_set(_MOST_HELD)
        client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
        client.connect_timeout = _CONNECT_S
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        return client

    @property
    def _shown(self) -> str:
        return f"the MQTT broker at {self._broker.host}:{self._broker.port}"

    def _topic(self, name: str) -> str:
        return f"{self._broker.prefix}/{name}"

    def _send(self, document: dict[str, Any]) -> None:
        from paho.mqtt.enums import MQTTErrorCode

        self._newest = max(self._newest, document["id"])
        sent = self._client.publish(self._topic("events"), json.dumps(document), _AT_LEAST_ONCE)
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self.lost += 1
            if self.lost == 1:
                _log.warning("%s is away for long: events are lost", self._shown)

    def _send_state(self) -> None:
        # Of states only the last matters: none is held for a broker that is away, which gets it when it is back.
        if self._client.is_connected():
            self._client.publish(self._topic("state"), json.dumps(self._state), retain=True)
            self._pace.done()

    def _update(self, result: FrameResult, dropped: int, events: Sequence[Event]) -> None:
        before, frame = self._state, result.frame
        new = [event for event in events if event.kind == "new"]
        state = before | {
            "frames": before["frames"] + 1,
            "dropped": dropped,
            "galaxies": before["galaxies"] + len(new),
            "target": frame.target,
            "time": frame.time and frame.time.isoformat(),
            "temperature_c": self._temperature(),
            "events_lost": self.lost,
        }
        named = [event for event in events if event.sighting.settled]
        if named:
            last = named[-1]
            state |= {
                "last_class": last.sighting.label,
                "last_confidence": round(last.sighting.confidence, 4),
                "last_name": last.name,
            }
        self._state = state

    def _on_connect(
        self, client: "Client", data: object, flags: "ConnectFlags", code: "ReasonCode", properties: "Properties | None"
    ) -> None:
        if code.is_failure:
            self._fail(f"{self._shown} refuses the connection: {code}", "check user and EDGEGAL_MQTT_PASSWORD")
            return
        if self._failure:
            _log.warning("%s is there again", self._shown)
            self._failure = ""
        if self._over:
            return
        client.publish(self._topic("available"), "online", _AT_LEAST_ONCE, retain=True)
        client.publish(self._topic("state"), json.dumps(self._state), retain=True)
        if self._home_assistant:
            for topic, document in discovery(self._home_assistant, self._broker.prefix, self._run.software):
                client.publish(topic, json.dumps(document), _AT_LEAST_ONCE, retain=True)

    def _on_connect_fail(self, client: "Client", data: object) -> None:
        # Why, paho does not tell.
        distrust = ", or its certificate is not trusted" if self._broker.tls else ""
        self._fail(f"{self._shown} does not answer{distrust}", "the run goes on, and tries again")

    def _on_disconnect(
        self,
        client: "Client",
        data: object,
        flags: "DisconnectFlags",
        code: "ReasonCode",
        properties: "Properties | None",
    ) -> None:
        if code.is_failure:
            self._fail(f"{self._shown} broke the connection: {code}", "the run goes on, and tries again")

    def _fail(self, what: str, mend: str) -> None:
        """Say what is wrong, once until it is well again."""
        if not self._failure:
            _log.warning("%s (%s)", what, mend)
            self._failure = what

    def _has_said_goodbye(self) -> bool:
        # The last in the order of sending: when it has arrived, all have.
        last = self._client.publish(self._topic("available"), "offline", _AT_LEAST_ONCE, retain=True)
        try:
            last.wait_for_publish(_FAREWELL_S)
            return last.is_published()
        except (RuntimeError, ValueError):
            # What paho raises for a connection that broke in this moment, and for a full queue.
            return False

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _first_state(run: RunFacts) -> dict[str, Any]:
    return {
        "run": run.id,
        "source": run.source,
        "started": run.started.isoformat(),
        "bundle": run.bundle,
        "frames": 0,
        "skipped": 0,
        "last_skipped": "",
        "dropped": 0,
        "galaxies": 0,
        "last_class": None,
        "last_confidence": None,
        "last_name": None,
        "target": None,
        "time": None,
        "temperature_c": None,
        "events_lost": 0,
    }


def _context(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{authority} is no certificate: {error}", "give the file of the authority, in PEM") from error
