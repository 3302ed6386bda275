"""TCP connections to servers that may vanish without a word."""

import socket
from contextlib import suppress

__all__ = ["connected_socket", "hang_up"]

_CONNECT_S = 3.0
# A peer without power is noticed after 10 + 3 x 5 seconds of silence, with nothing to send.
_IDLE_S, _EVERY_S, _TIMES = 10, 5, 3


def connected_socket(place: tuple[str, int]) -> socket.socket:
    """Connect to a host and port.

    Raises
    ------
    OSError
        Nobody answers.
    """
    connection = socket.create_connection(place, timeout=_CONNECT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _EVERY_S), ("TCP_KEEPCNT", _TIMES)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return connection


def hang_up(connection: socket.socket | None) -> None:
    """End a connection, and with it the waiting of another thread."""
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
