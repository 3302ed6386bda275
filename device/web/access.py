"""Who may look: one password, sessions for those who know it, and patience for those who guess."""

import hashlib
import ipaddress
import math
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from typing_extensions import Self

from edgegal.errors import InputError
from edgegal.settings import secret

__all__ = ["SESSION_S", "Access", "Password", "TooManyFailuresError", "WrongPasswordError", "find_password"]

# 16 MiB and some 50 ms on a workstation: little enough for a small computer, and much for who has to try millions.
_COST = {"n": 2**14, "r": 8, "p": 1}
_FORM = "scrypt-16384-8-1"
_LEAST_LENGTH = 8
_FILE = "web-password"

SESSION_S = 36 * 3600
"""How long a session lasts: a night, and the day before and after it."""

_SESSIONS = 64

_FREE_FAILURES = 5
_LONGEST_WAIT_S = 300.0
_FORGOTTEN_S = 3600.0
_REMEMBERED = 1000


class WrongPasswordError(Exception):
    """It is not the password."""


class TooManyFailuresError(Exception):
    """Whoever tries has to wait.

    Attributes
    ----------
    wait_s
        So many seconds, at least 1.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passwords: wait {math.ceil(wait_s)} s")
        self.wait_s = max(1, math.ceil(wait_s))


@dataclass(frozen=True)
class Password:
    """A password of which only the scrypt hash (RFC 7914) is known.

    Attributes
    ----------
    salt, digest
        What it was hashed with, and what came of it.
    """

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, text: str) -> Self:
        """Hash a password.

        Raises
        ------
        InputError
            It is shorter than 8 characters.
        """
        if len(text) < _LEAST_LENGTH:
            raise InputError(f"the page's password has {len(text)} characters", f"use {_LEAST_LENGTH} or more")
        salt = secrets.token_bytes(16)
        return cls(salt, _digest(text, salt))

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read what `line` wrote.

        Raises
        ------
        ValueError
            It is something else.
        """
        form, salt, digest = line.split()
        if form != _FORM:
            raise ValueError(f"{form} is not {_FORM}")
        return cls(bytes.fromhex(salt), bytes.fromhex(digest))

    @property
    def line(self) -> str:
        """One line to keep in a file."""
        return f"{_FORM} {self.salt.hex()} {self.digest.hex()}"

    def matches(self, candidate: str) -> bool:
        """Whether it is the password; takes as long whatever the answer."""
        return secrets.compare_digest(_digest(candidate, self.salt), self.digest)


def _digest(text: str, salt: bytes) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_COST)


def find_password(folder: Path | None) -> tuple[Password | None, str]:
    """The page's password: the secret ``web-password``, else the one made before, else a new random one.

    Parameters
    ----------
    folder
        Where the hash of a random one is kept, readable by its owner only; none is looked for or made when None.

    Returns
    -------
    password
        None when there is none and no folder to keep one in.
    told
        A new random password in plain text, to be shown once; else empty.

    Raises
    ------
    InputError
        The secret is too short, or the file cannot be read, understood or written.
    """
    given = secret("web-password")
    if given is not None:
        return Password.of(given), ""
    if folder is None:
        return None, ""
    path = folder / _FILE
    try:
        return Password.parse(path.read_text(encoding="ascii")), ""
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "let the user who runs edgegal read it") from None
    except ValueError:
        raise InputError(f"{path} does not hold a password's hash", "delete it, and a new password is made") from None
    # 15 letters of 32: nothing in it reads as something else, for it is typed on a phone in the dark.
    letters = "abcdefghijkmnpqrstuvwxyz23456789"
    told = "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(3))
    password = Password.of(told)
    try:
        _write_private(path, f"{password.line}\n")
    except OSError as error:
        raise InputError(
            f"the page's password cannot be kept: {path}: {error.strerror}", "set EDGEGAL_WEB_PASSWORD"
        ) from None
    return password, told


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Access:
    """Sessions of those who gave the password.

    Parameters
    ----------
    password
        The one password.
    clock
        Seconds that only go forward.
    """

    def __init__(self, password: Password, clock: Callable[[], float] = monotonic) -> None:
        self._password = password
        self._clock = clock
        # By the hash of the cookie: how long a look-up takes says nothing about any of them.
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._failures = _Failures(clock)
        # One password is hashed at a time, so that guessing takes one core and 16 MiB at most.
        self._trying = threading.Lock()

    def log_in(self, candidate: str, address: str) -> str:
        """Begin a session.

        Parameters
        ----------
        candidate
            What may be the password.
        address
            IP address of whoever gives it.

        Returns
        -------
        str
            The session's cookie.

        Raises
        ------
        WrongPasswordError
            It is not the password.
        TooManyFailuresError
            This address gave too many wrong ones; nothing was tried.
        """
        with self._trying:
            self._failures.check(address)
            if not self._password.matches(candidate):
                self._failures.add(address)
                raise WrongPasswordError("wrong password")
            self._failures.forget(address)
            cookie = secrets.token_urlsafe(32)
            self._sessions[_name(cookie)] = self._clock() + SESSION_S
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
            return cookie

    def knows(self, cookie: str) -> bool:
        """Whether a cookie is that of a session that goes on."""
        until = self._sessions.get(_name(cookie))
        return until is not None and self._clock() < until

    def log_out(self, cookie: str) -> None:
        """End a session, if it is one."""
        self._sessions.pop(_name(cookie), None)


def _name(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()


class _Failures:
    """Wrong passwords by address: after five, each makes the next wait twice as long, up to five minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_network: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, address: str) -> None:
        count, last = self._by_network.get(_network(address), (0, 0.0))
        if count < _FREE_FAILURES:
            return
        wait = last + min(2.0 ** (count - _FREE_FAILURES + 1), _LONGEST_WAIT_S) - self._clock()
        if wait > 0:
            raise TooManyFailuresError(wait)

    def add(self, address: str) -> None:
        count, last = self._by_network.pop(_network(address), (0, 0.0))
        now = self._clock()
        self._by_network[_network(address)] = (1 if now - last > _FORGOTTEN_S else count + 1, now)
        if len(self._by_network) > _REMEMBERED:
            self._by_network.popitem(last=False)

    def forget(self, address: str) -> None:
        self._by_network.pop(_network(address), None)


def _network(address: str) -> str:
    """What one guesser has: an IPv4 address, or the 64 bits of an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
