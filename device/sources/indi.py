"""Cameras of an INDI server: told to expose, or listened to while another program tells them."""

import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic, perf_counter
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from pydantic import Field

from edgegal.device.sources.fits import decode_fits
from edgegal.device.sources.indi_protocol import Blob, MessageStream, Properties, blob_of, command, new_vector
from edgegal.device.sources.live import LiveSource
from edgegal.device.sources.options import Options, parse_options
from edgegal.device.sources.sockets import connected_socket, hang_up
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame

__all__ = ["IndiSource"]

_PORT = 7624
# A driver defines its properties at once, a camera takes its time to start.
_DEFINED_S, _STARTED_S = 5.0, 20.0
# Once a camera has started, the rest of its properties come one after the other.
_SETTLED_S = 1.0
# Read-out and transfer beyond the exposure, of the slowest cameras on the slowest networks.
_READ_OUT_S = 60.0
_LOOK_S = 0.5
_CHUNK = 2**20

_MEND = "such as indi://localhost:7624/CCD Simulator"

_BLOB = "CCD1"
# Where drivers keep the gain.
_GAINS = (("CCD_GAIN", "GAIN"), ("CCD_CONTROLS", "Gain"))


class IndiOptions(Options):
    """Options of ``indi://HOST:PORT/DEVICE?...``: seconds, the driver's own units, or to tell it nothing."""

    exposure: float = Field(default=1.0, gt=0, le=3600)
    gain: float | None = Field(default=None, ge=0)
    listen: bool = False


class IndiSource(LiveSource):
    """FITS frames of one camera: ``indi://localhost:7624/ZWO CCD ASI224MC?exposure=2&gain=200``.

    With ``listen`` nothing is set and nothing switched on: frames come when another program exposes.

    Raises
    ------
    InputError
        The address names no device, or an option is unknown or out of its range.
    """

    _socket: socket.socket | None = None

    def __init__(self, address: str) -> None:
        self._place, device, self._options = self.parse(address)
        host, port = self._place
        super().__init__(f"indi://{host}:{port}/{device}", f"devices there are: indi_getprop -h {host} -p {port}")
        self._device = device
        self._stream = MessageStream()
        self._unread: deque[Element] = deque()
        self._properties = Properties(device)

    @staticmethod
    def parse(address: str) -> tuple[tuple[str, int], str, IndiOptions]:
        """Host and port, the device, and the options."""
        try:
            parts = urlsplit(address)
            place = (parts.hostname or "localhost", parts.port or _PORT)
        except ValueError as error:
            raise InputError(f"{address} has no host or no port that exists: {error}", _MEND) from error
        options = parse_options(parts.query, IndiOptions, "indi:")
        device = unquote(parts.path.strip("/"))
        if not device:
            raise InputError(f"{address} names no device", _MEND)
        return place, device, options

    def _connect(self) -> None:
        self._socket = connected_socket(self._place)
        self._stream = MessageStream()
        self._unread.clear()
        self._properties = Properties(self._device)
        self._send(command("getProperties", version="1.7"))
        if self._options.listen:
            self._send(self._want_blobs())
            return
        self._await(lambda: "CONNECTION" in self._properties, _DEFINED_S, self._absent)
        if not self._properties.is_on("CONNECTION", "CONNECT"):
            self._set("Switch", "CONNECTION", CONNECT="On")
        self._await(self._is_started, _STARTED_S, lambda: f"{self._device} does not start")
        # Before, a driver may not know that it has pictures, and the server forgets.
        self._send(self._want_blobs())
        self._set_up()

    def _absent(self) -> str:
        there = ", ".join(sorted(self._properties.others))
        return f"it has no device {self._device}" + (f", but {there}" if there else "")

    def _is_started(self) -> bool:
        if "CONNECTION" in self._properties and self._properties["CONNECTION"].state == "Alert":
            raise ConnectionError(f"{self._device} does not start: {self._properties.last_words}")
        return self._properties.is_on("CONNECTION", "CONNECT") and "CCD_EXPOSURE" in self._properties

    def _want_blobs(self) -> bytes:
        return command("enableBLOB", "Also", device=self._device)

    def _set_up(self) -> None:
        """Have frames sent to us, as FITS, with the gain that was asked for."""
        for _ in self._messages(_SETTLED_S):
            pass
        if self._properties.is_on("UPLOAD_MODE", "UPLOAD_LOCAL"):
            self._set("Switch", "UPLOAD_MODE", UPLOAD_CLIENT="On")
        for name in ("CCD_TRANSFER_FORMAT", "ENCODE_FORMAT"):
            if name in self._properties and "FORMAT_FITS" in self._properties[name].values:
                self._set("Switch", name, FORMAT_FITS="On")
        if self._options.gain is None:
            return
        for name, element in _GAINS:
            if name in self._properties and element in self._properties[name].values:
                self._set("Number", name, **{element: f"{self._options.gain:g}"})
                return
        raise InputError(f"{self._device} has no gain to set", "leave out gain=")

    def _receive(self) -> Frame:
        if self._options.listen:
            blob = self._next_blob(None)
        else:
            self._set("Number", "CCD_EXPOSURE", CCD_EXPOSURE_VALUE=f"{self._options.exposure:g}")
            blob = self._next_blob(self._options.exposure + _READ_OUT_S)
        if not blob.format.startswith((".fits", ".fit", ".fts")):
            raise FrameError(f"{self.name} sent a {blob.format or 'nameless'} file", "set the camera to send FITS")
        return replace(decode_fits(blob.data, self.name), source=self.name)

    def _next_blob(self, timeout_s: float | None) -> Blob:
        # What the exposure before left behind is no answer to this one.
        asked = False
        for message in self._messages(timeout_s):
            self.arrived = perf_counter()
            try:
                blob = blob_of(message, self._device, _BLOB)
            except ValueError as error:
                raise FrameError(
                    f"{self.name} sent a damaged frame: {error}", "look at the network and the driver's log"
                ) from error
            if blob is not None:
                return blob
            if self._options.listen:
                continue
            if not self._properties.is_on("CONNECTION", "CONNECT"):
                raise ConnectionError(f"{self._device} was switched off")
            if "CCD_EXPOSURE" not in self._properties:
                raise ConnectionError(f"{self._device} is gone")
            state = self._properties["CCD_EXPOSURE"].state
            asked = asked or state == "Busy"
            if asked and state == "Alert":
                raise ConnectionError(f"the exposure failed: {self._properties.last_words or 'no reason given'}")
        raise TimeoutError(f"no frame came within {timeout_s:g} s")

    def _await(self, condition: Callable[[], bool], timeout_s: float, failure: Callable[[], str]) -> None:
        if condition():
            return
        for _ in self._messages(timeout_s):
            if condition():
                return
        raise TimeoutError(failure())

    def _messages(self, timeout_s: float | None) -> Iterator[Element]:
        """Messages as they come, taken into the properties, until the time is over."""
        assert self._socket is not None
        end = None if timeout_s is None else monotonic() + timeout_s
        self._socket.settimeout(_LOOK_S)
        while end is None or monotonic() < end:
            while self._unread:
                message = self._unread.popleft()
                self._properties.update(message)
                yield message
            if self._closing.is_set():
                raise ConnectionAbortedError("closed")
            try:
                data = self._socket.recv(_CHUNK)
            except TimeoutError:
                continue
            if not data:
                raise ConnectionResetError("the server hung up")
            self._unread.extend(self._stream.feed(data))

    def _set(self, kind: str, name: str, **values: str) -> None:
        self._send(new_vector(kind, self._device, name, **values))

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.settimeout(_DEFINED_S)
        self._socket.sendall(data)

    def _interrupt(self) -> None:
        hang_up(self._socket)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
