"""The page's server: uvicorn in a thread of its own."""

import errno
import ipaddress
import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

import uvicorn
from typing_extensions import Self

from edgegal.device.web.app import create_app, is_loopback
from edgegal.device.web.live import Live
from edgegal.errors import InputError

__all__ = ["Page"]

# Longer than uvicorn lets requests under way finish.
_STOP_S = 5.0


class Page:
    """Serves the page; a context manager that stops it.

    Connections wait from the moment it is made; they are answered once it is entered.

    Parameters, errors: see `edgegal.device.web.open_page`.

    Attributes
    ----------
    url
        Where a browser on this computer finds it.
    """

    def __init__(self, live: Live, address: str) -> None:
        self._socket = _listening(*_parsed(address))
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            create_app(live),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        # A daemon, so that nothing a browser does can keep a run from ending.
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="edgegal-page", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_S)
        self._socket.close()

    def wait(self) -> None:
        """Return when someone interrupts (Ctrl-C)."""
        with suppress(KeyboardInterrupt):
            # In steps: some versions of Python see the interrupt only when a join ends.
            while self._thread.is_alive():
                self._thread.join(0.5)


def _parsed(address: str) -> tuple[str, int]:
    """Loopback IP and port of ``HOST:PORT``."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or address != parts.netloc:
        raise InputError(f"the page's address is HOST:PORT, not {address!r}", "such as 127.0.0.1:8780")
    if not is_loopback(parts.netloc):
        raise InputError(
            f"the page has no password yet, so it does not listen on {address}, where others could open it",
            f"leave it on 127.0.0.1 and on the other computer: ssh -L {port}:127.0.0.1:{port} USER@THIS-COMPUTER, "
            f"then open http://127.0.0.1:{port}",
        )
    return "127.0.0.1" if host == "localhost" else host, port


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    # Else the address stays taken for a minute after the last run.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is in use, perhaps by another run", "stop that, or give another --web-address"
            ) from None
        raise InputError(f"the page cannot listen on {host}, port {port}: {error.strerror}") from None
    return listening
