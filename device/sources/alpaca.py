"""Cameras of ASCOM Alpaca servers, told to expose over HTTP."""

import http.client
import json
import re
from datetime import datetime, timedelta, timezone
from itertools import count
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic import Field

from edgegal.device.sources.alpaca_discovery import find_servers
from edgegal.device.sources.fits import fits_time
from edgegal.device.sources.imagebytes import CONTENT_TYPE, decode_imagebytes
from edgegal.device.sources.live import LiveSource
from edgegal.device.sources.options import Options, parse_options
from edgegal.device.sources.sockets import hang_up
from edgegal.errors import InputError
from edgegal.frames import BayerPattern, Frame, Header, shifted_bayer

__all__ = ["AlpacaError", "AlpacaSource"]

_PORT = 11111
# Any number does that no other client uses.
_CLIENT = "60917"
_ANSWER_S = 10.0
# Read-out and transfer beyond the exposure, of the slowest cameras on the slowest networks.
_READ_OUT_S = 60.0
_POLL_S = (0.02, 0.5)

_MEND = "such as alpaca://192.168.1.20:11111/camera/0"

_NOT_IMPLEMENTED, _INVALID_VALUE = 0x400, 0x401
_FAILED = 5
_MONO, _COLOUR, _RGGB = 0, 1, 2
_OTHER_FILTERS = {3: "CMYG", 4: "CMYG2", 5: "LRGB"}


class AlpacaError(ConnectionError):
    """An Alpaca device says that it cannot do something.

    Parameters
    ----------
    number
        Its error number.
    message
        Its words.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"{message or 'no reason given'} (error {number:#x})")
        self.number = number


class AlpacaOptions(Options):
    """Options of ``alpaca://HOST:PORT/camera/NUMBER?...``: seconds, the driver's own units, shutter open or not."""

    exposure: float = Field(default=1.0, ge=0, le=3600)
    gain: int | None = None
    light: bool = True


class AlpacaSource(LiveSource):
    """Frames of one camera: ``alpaca://192.168.1.20:11111/camera/0?exposure=2&gain=100``.

    ``alpaca:`` alone takes the first camera of the first server that answers on the local networks. The time of a
    frame is the middle of its exposure.

    Raises
    ------
    InputError
        The address is none of a camera, or an option is unknown or out of its range.
    """

    _http: http.client.HTTPConnection | None = None

    def __init__(self, address: str) -> None:
        self._place, self._number, self._options = self.parse(address)
        where = "{}:{}".format(*self._place) if self._place else "found"
        super().__init__(f"alpaca://{where}/camera/{self._number}", "servers there are answer alpaca: alone")
        self._transactions = count(1)
        self._bayer: BayerPattern | None = None
        self._facts: dict[str, str | int | float | bool] = {}

    @staticmethod
    def parse(address: str) -> tuple[tuple[str, int] | None, int, AlpacaOptions]:
        """Host and port, None to look for a server, the number of the camera, and the options."""
        try:
            parts = urlsplit(address)
            place = (parts.hostname, parts.port or _PORT) if parts.hostname else None
        except ValueError as error:
            raise InputError(f"{address} has no host or no port that exists: {error}", _MEND) from error
        options = parse_options(parts.query, AlpacaOptions, "alpaca:")
        device = re.fullmatch(r"(?:/camera(?:/(\d+))?)?/?", parts.path)
        if device is None:
            raise InputError(f"{address} is no camera", _MEND)
        return place, int(device[1] or 0), options

    def _connect(self) -> None:
        host, port = self._place or self._found()
        self._http = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
        self._put("connected", Connected="True")
        self._bayer = self._sensor_pattern()
        if self._options.gain is not None:
            self._order("gain", f"gain={self._options.gain}", Gain=str(self._options.gain))
        self._facts = self._camera_facts()

    def _found(self) -> tuple[str, int]:
        for host, port in find_servers(self._closing):
            self._http = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
            devices = self._ask("GET", "/management/v1/configureddevices", {})
            if any((d["DeviceType"].lower(), d["DeviceNumber"]) == ("camera", self._number) for d in devices):
                return host, port
            self._disconnect()
        raise ConnectionError("no Alpaca server with such a camera answers on the local networks")

    def _sensor_pattern(self) -> BayerPattern | None:
        kind = self._get("sensortype", _MONO)
        if kind in _OTHER_FILTERS:
            raise InputError(
                f"{self.name} has {_OTHER_FILTERS[kind]} colour filters, which are not read", "use mono or RGGB"
            )
        if kind != _RGGB or self._get("binx", 1) > 1 or self._get("biny", 1) > 1:
            return None
        # The offset is that of the sensor; a part of it may begin elsewhere.
        x = self._get("bayeroffsetx", 0) + self._get("startx", 0)
        y = self._get("bayeroffsety", 0) + self._get("starty", 0)
        return shifted_bayer("RGGB", x, y)

    def _order(self, what: str, asked: str, **values: str) -> None:
        """Set or start something as the user asked; what the camera cannot do is the user's to mend."""
        try:
            self._put(what, **values)
        except AlpacaError as error:
            if error.number in (_NOT_IMPLEMENTED, _INVALID_VALUE):
                raise InputError(
                    f"{self.name} does not take {asked}: {error}", "give a value that the driver takes"
                ) from error
            raise

    def _camera_facts(self) -> dict[str, str | int | float | bool]:
        facts = {
            "INSTRUME": self._get("name", None),
            "GAIN": self._get("gain", None),
            "OFFSET": self._get("offset", None),
            "XPIXSZ": self._get("pixelsizex", None),
            "YPIXSZ": self._get("pixelsizey", None),
            "XBINNING": self._get("binx", None),
            "YBINNING": self._get("biny", None),
        }
        for pixel, binning in (("XPIXSZ", "XBINNING"), ("YPIXSZ", "YBINNING")):
            # By custom of FITS the size of a binned pixel.
            if facts[pixel] is not None:
                facts[pixel] = facts[pixel] * (facts[binning] or 1)
        return {key: value for key, value in facts.items() if value is not None}

    def _receive(self) -> Frame:
        asked = datetime.now(timezone.utc)
        duration, light = f"{self._options.exposure:g}", str(self._options.light)
        self._order("startexposure", f"exposure={duration}", Duration=duration, Light=light)
        self._wait_until_ready()
        body = self._picture()
        self.arrived = perf_counter()
        pixels = decode_imagebytes(body, self.name)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        exposure_s = float(self._get("lastexposureduration", self._options.exposure))
        started = fits_time(str(self._get("lastexposurestarttime", ""))) or asked
        return Frame(
            pixels,
            self.name,
            time=started + timedelta(seconds=exposure_s / 2),
            bayer=self._bayer if pixels.ndim == 2 else None,
            exposure_s=exposure_s,
            header=self._with_temperature(),
        )

    def _with_temperature(self) -> Header:
        temperature = self._get("ccdtemperature", None)
        return self._facts if temperature is None else {**self._facts, "CCD-TEMP": float(temperature)}

    def _wait_until_ready(self) -> None:
        end = monotonic() + self._options.exposure + _READ_OUT_S
        self._closing.wait(self._options.exposure)
        pause_s = _POLL_S[0]
        while monotonic() < end:
            if self._closing.is_set():
                raise ConnectionAbortedError("closed")
            if self._get("imageready", False):
                return
            if self._get("camerastate", None) == _FAILED:
                raise ConnectionError("the exposure failed")
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _POLL_S[1])
        raise TimeoutError(f"no picture was ready within {self._options.exposure + _READ_OUT_S:g} s")

    def _picture(self) -> bytes:
        kind, body = self._exchange("GET", self._path("imagearray"), {}, CONTENT_TYPE, _READ_OUT_S)
        if kind != CONTENT_TYPE:
            # Errors may come as JSON all the same.
            _checked(body)
            raise InputError(f"{self.name} sends no ImageBytes", "update the Alpaca server")
        return body

    def _get(self, what: str, otherwise: Any) -> Any:
        """A property of the camera, or `otherwise` where the driver has none."""
        try:
            return self._ask("GET", self._path(what), {})
        except AlpacaError:
            return otherwise

    def _put(self, what: str, **values: str) -> None:
        self._ask("PUT", self._path(what), values)

    def _path(self, what: str) -> str:
        return f"/api/v1/camera/{self._number}/{what}"

    def _ask(self, method: str, path: str, values: dict[str, str]) -> Any:
        return _checked(self._exchange(method, path, values, "application/json", _ANSWER_S)[1])

    def _exchange(
        self, method: str, path: str, values: dict[str, str], accept: str, timeout_s: float
    ) -> tuple[str, bytes]:
        """Content type and body of the answer to one request."""
        assert self._http is not None
        values = {**values, "ClientID": _CLIENT, "ClientTransactionID": str(next(self._transactions))}
        headers = {"Accept": accept}
        body = None
        if method == "PUT":
            body = urlencode(values)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            path += f"?{urlencode(values)}"
        # A new connection each time: servers close idle ones, and an exposure is long.
        self._http.close()
        self._http.timeout = timeout_s
        try:
            self._http.request(method, path, body, headers)
            answer = self._http.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"it broke off: {error or type(error).__name__}") from error
        if answer.status != http.client.OK:
            words = content.decode("utf-8", "replace").strip().splitlines()[:1]
            raise ConnectionError(f"it answers {answer.status} {answer.reason}: {' '.join(words)[:200]}")
        return answer.headers.get_content_type(), content

    def _interrupt(self) -> None:
        if self._http is not None:
            hang_up(self._http.sock)

    def _disconnect(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


def _checked(body: bytes) -> Any:
    """The value in a JSON answer.

    Raises
    ------
    AlpacaError
        The device reports an error.
    ConnectionError
        It is no answer of an Alpaca server.
    """
    try:
        answer = json.loads(body)
        number, words = int(answer.get("ErrorNumber", 0)), str(answer.get("ErrorMessage", ""))
    except (ValueError, AttributeError) as error:
        raise ConnectionError("it does not speak Alpaca") from error
    if number:
        raise AlpacaError(number, words)
    return answer.get("Value")
