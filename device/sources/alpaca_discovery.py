"""Alpaca servers on the networks this computer is in."""

import fcntl
import json
import socket
import struct
from contextlib import suppress
from threading import Event
from time import monotonic

__all__ = ["DISCOVERY_PORT", "find_servers"]

DISCOVERY_PORT = 32227
_QUESTION = b"alpacadiscovery1"
_LISTEN_S = 2.0
_LOOK_S = 0.1
_GET_BROADCAST_ADDRESS = 0x8919  # SIOCGIFBRDADDR of Linux.


def find_servers(cancelled: Event, port: int = DISCOVERY_PORT, listen_s: float = _LISTEN_S) -> list[tuple[str, int]]:
    """Host and port of each server that answers, in the order of their answers.

    Parameters
    ----------
    cancelled
        Ends the search when set.
    port
        Where servers listen.
    listen_s
        Seconds to wait for answers.
    """
    found: dict[tuple[str, int], None] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.settimeout(_LOOK_S)
        for address in ("127.0.0.1", *_broadcast_addresses(asking)):
            # An interface may have gone.
            with suppress(OSError):
                asking.sendto(_QUESTION, (address, port))
        end = monotonic() + listen_s
        while monotonic() < end and not cancelled.is_set():
            # Whatever else lives at that port is passed over, and so are refusals of closed ones.
            with suppress(OSError, ValueError, KeyError, TypeError):
                answer, (host, _) = asking.recvfrom(1024)
                found[host, int(json.loads(answer)["AlpacaPort"])] = None
    return list(found)


def _broadcast_addresses(any_socket: socket.socket) -> list[str]:
    """Of all interfaces that have one; the general one would only go out where the default route does."""
    addresses = []
    for _, name in socket.if_nameindex():
        with suppress(OSError):
            answer = fcntl.ioctl(any_socket, _GET_BROADCAST_ADDRESS, struct.pack("256s", name.encode()))
            addresses.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in dict.fromkeys(addresses) if address != "0.0.0.0"]
