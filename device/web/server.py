"""The page's server: uvicorn in a thread of its own."""

import errno
import ipaddress
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import uvicorn
from typing_extensions import Self

from edgegal.device.web.access import Access, find_password
from edgegal.device.web.app import create_app
from edgegal.device.web.live import Live
from edgegal.device.web.names import Names
from edgegal.errors import InputError

__all__ = ["Page"]

# Longer than uvicorn lets requests under way finish.
_STOP_S = 3.0
# A browser opens six connections.
_CONNECTIONS = 256


class Page:
    """Serves the page; a context manager that stops it.

    Connections wait from the moment it is made; they are answered once it is entered.

    Parameters, errors: see `edgegal.device.web.open_page`.

    Attributes
    ----------
    url
        Where a browser on this computer finds it.
    new_password
        A password made just now, to be shown once; else empty.
    """

    def __init__(self, live: Live, address: str, state: Path | None = None, names: Iterable[str] = ()) -> None:
        host, port, others = _parsed(address)
        further = Names(others, names)
        password, self.new_password = find_password(None)
        if others and password is None and state is None:
            raise InputError(
                f"the page has no password, so it does not listen on {address}, where others could open it",
                "set EDGEGAL_WEB_PASSWORD, or --out DIR to keep one in, or leave it on 127.0.0.1 and on the other "
                f"computer: ssh -L {port}:127.0.0.1:{port} USER@THIS-COMPUTER, then open http://127.0.0.1:{port}",
            )
        self._socket = _listening(host, port)
        if others and password is None:
            # Not before all else is well: it is shown this once only.
            try:
                password, self.new_password = find_password(state)
            except InputError:
                self._socket.close()
                raise
        host, port = self._socket.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            host = "127.0.0.1"
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            create_app(live, further, Access(password) if password else None),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever connects could say to be anybody, and guess passwords in everybody's name.
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
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


def _parsed(address: str) -> tuple[str, int, bool]:
    """IP address and port of ``IP:PORT``, and whether others can connect there."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or address != parts.netloc:
        raise InputError(f"the page's address is IP:PORT, not {address!r}", "such as 127.0.0.1:8780")
    try:
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        # A name may stand for several, and for others at another time.
        raise InputError(
            f"the page's address is IP:PORT with an IP address of this computer, not {address!r}",
            f"for all of them: 0.0.0.0:{port}",
        ) from None
    return str(ip), port, not ip.is_loopback


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
        raise InputError(
            f"the page cannot listen on {host}, port {port}: {error.strerror}",
            "give an address of this computer and a port from 1024 on with --web-address",
        ) from None
    return listening
