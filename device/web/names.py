"""What a browser may call this computer."""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from edgegal.errors import InputError

__all__ = ["Names", "host_of", "is_loopback"]


def host_of(authority: str) -> str:
    """The host of ``NAME`` or ``NAME:PORT``, in lower case; empty when it is neither."""
    try:
        parts = urlsplit(f"//{authority}")
        return (parts.hostname or "").rstrip(".") if authority == parts.netloc and not parts.username else ""
    except ValueError:
        return ""


def is_loopback(authority: str) -> bool:
    """Whether ``NAME`` or ``NAME:PORT`` names this computer itself by a name nobody else can give."""
    name = host_of(authority)
    return name == "localhost" or ((address := _address(name)) is not None and address.is_loopback)


class Names:
    """The names that the page answers to.

    A web page elsewhere could have its own name point here and read along in the observer's browser (DNS rebinding):
    such a name is not among these. Loopback names always are. Where others may connect, so are this computer's own
    name, with and without ``.local``, and every IP address, for no other web page lives at one of ours.

    Parameters
    ----------
    others
        Whether others may connect.
    further
        Names that somebody chose to answer to, such as that of a proxy.

    Raises
    ------
    InputError
        One of `further` is no name.
    """

    def __init__(self, others: bool, further: Iterable[str] = ()) -> None:
        self._others = others
        self._known = set()
        for name in further:
            if host_of(name) != name.lower().rstrip(".") or not name:
                raise InputError(f"{name!r} is not a name of a computer", "such as telescope.example")
            self._known.add(host_of(name))
        if others:
            own = socket.gethostname().lower()
            self._known |= {own, f"{own.partition('.')[0]}.local"}

    def __contains__(self, authority: object) -> bool:
        """Whether a Host header is one of them, whatever the port."""
        if not isinstance(authority, str):
            return False
        name = host_of(authority)
        return is_loopback(authority) or name in self._known or (self._others and _address(name) is not None)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
