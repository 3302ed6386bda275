"""Signs of life to the service manager: systemd's notification protocol, sd_notify(3)."""

import logging
import os
import socket
from collections.abc import Mapping
from threading import Lock
from time import monotonic

__all__ = ["Notifier"]

_log = logging.getLogger(__name__)

# Signs of life for one period of the watchdog: two may be lost.
_BEATS_A_PERIOD = 4
# As the unit's TimeoutStartSec: one step of a start may take as long as a start that tells nothing.
_STEP_S = 120


class Notifier:
    """Tells the service manager how a run is doing; does nothing where none listens.

    Nothing here blocks or raises: what a manager that does not read its socket misses is told with the next call. Any
    thread may call.

    Parameters
    ----------
    address
        Path of the manager's datagram socket, or ``@NAME`` for one in the abstract namespace; None for no manager.
    watchdog_s
        The manager ends the service when it sees no sign of life for so long; None without a watchdog.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._beat_s = watchdog_s / _BEATS_A_PERIOD if watchdog_s else None
        self._socket = _datagrams() if address else None
        self._lock = Lock()
        self._beaten = -float("inf")
        self._ready = False
        self._status = ""
        self._heard = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        """The notifier of this process, as ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` say."""
        period = environment.get("WATCHDOG_USEC", "")
        own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(environment.get("NOTIFY_SOCKET"), int(period) / 1e6 if own and period.isdecimal() else None)

    def starting(self, step: str) -> None:
        """The run is being put together, and a step of that begins: the manager waits two minutes for the next sign.

        Parameters
        ----------
        step
            What it is, as `status` shows it.
        """
        with self._lock:
            self._send(f"EXTEND_TIMEOUT_USEC={_STEP_S * 1_000_000}")
        self.status(step)

    def ready(self) -> None:
        """The run has begun: the first frame came, or the source is waited for. Told once."""
        with self._lock:
            if not self._ready:
                self._ready = self._send("READY=1")

    def status(self, line: str) -> None:
        """What ``systemctl status`` shows, in one line; sent when it changed."""
        line = " ".join(line.split())
        with self._lock:
            if line != self._status and self._send(f"STATUS={line}"):
                self._status = line

    def beat(self) -> None:
        """All supervised threads are alive.

        Call it as often as you like, and not while one of them is stuck: the manager then starts the service anew.
        """
        with self._lock:
            now = monotonic()
            if self._beat_s is not None and now - self._beaten >= self._beat_s and self._send("WATCHDOG=1"):
                self._beaten = now

    def stopping(self) -> None:
        """The run is coming to its end."""
        with self._lock:
            self._send("STOPPING=1")

    def close(self) -> None:
        """Let go of the socket; what is told afterwards reaches nobody."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _send(self, message: str) -> bool:
        """Whether the manager has it."""
        if self._socket is None or self._address is None:
            return False
        # A leading @ stands for the zero byte of the abstract namespace.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            self._socket.sendto(message.encode(), address)
        except OSError as error:
            if self._heard:
                _log.warning("the service manager is not told: %s: %s", self._address, error.strerror or error)
            self._heard = False
        else:
            self._heard = True
        return self._heard


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
