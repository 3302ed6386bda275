"""The camera of a Raspberry Pi through picamera2, as its sensor gives it."""

import re
import time
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgegal.device.sources.helper import Helper
from edgegal.device.sources.live import LiveSource
from edgegal.device.sources.options import Options, parse_options, split_options
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import BayerPattern, Frame, Header

__all__ = ["PicameraSource", "bayer_of_format", "unpadded"]

_START_S = 20.0
_STOP_S = 2.0
# What the camera stack takes beyond the exposure, in its slowest mode.
_OVERHEAD_S = 10.0


class PicameraOptions(Options):
    """Options of ``picamera2:NUMBER?...``."""

    exposure: float = Field(default=1.0, gt=0, le=670)
    gain: float = Field(default=1.0, ge=1, le=64)


class PicameraSource(LiveSource):
    """Raw Bayer frames of one camera: ``picamera2:0?exposure=2&gain=4``.

    The time of a frame is the middle of its exposure.

    Raises
    ------
    InputError
        An option is unknown or out of its range.
    MissingPartError
        Picamera2 is not installed.
    """

    _helper: Helper | None = None
    _camera: Any = None

    def __init__(self, address: str) -> None:
        self._number, self._options = self.parse(address)
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            # Pip would build its own and pull a numpy over the system's that the camera stack was built for.
            raise MissingPartError(
                "picamera2: needs picamera2 from the system",
                "sudo apt install -y python3-picamera2, and a venv made with --system-site-packages",
            ) from error
        self._make = Picamera2
        super().__init__(f"picamera2:{self._number}", "cameras the system knows: rpicam-hello --list-cameras")

    @staticmethod
    def parse(address: str) -> tuple[int, PicameraOptions]:
        """The number of the camera, and the options."""
        place, text = split_options(address.removeprefix("picamera2:"))
        if place and not place.isdecimal():
            raise InputError(f"picamera2: takes the number of a camera, not {place!r}", "the first is picamera2:0")
        return int(place or 0), parse_options(text, PicameraOptions, "picamera2:")

    def _connect(self) -> None:
        self._helper = Helper(self.name)
        try:
            self._helper.call(self._start, _START_S, self._closing)
        except (RuntimeError, IndexError) as error:
            raise ConnectionError(str(error) or "there is no such camera") from error

    def _start(self) -> None:
        """Runs on the helper's thread, as all that touches the camera does."""
        from picamera2.sensor_format import SensorFormat

        camera = self._camera = self._make(self._number)
        raw = SensorFormat(camera.sensor_format)
        raw.packing = None
        exposure_us = round(1e6 * self._options.exposure)
        controls = {
            "AeEnable": False,
            "ExposureTime": exposure_us,
            "AnalogueGain": self._options.gain,
            "FrameDurationLimits": (exposure_us, exposure_us + 100_000),
        }
        config = camera.create_still_configuration(
            raw={"format": raw.format, "size": camera.sensor_resolution}, buffer_count=2, controls=controls
        )
        camera.configure(config)
        camera.start()

    def _receive(self) -> Frame:
        assert self._helper is not None
        try:
            # The exposure that runs when we ask is followed by the one we get.
            return self._helper.call(self._take, 2 * self._options.exposure + _OVERHEAD_S, self._closing)
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error

    def _take(self) -> Frame:
        request = self._camera.capture_request()
        self.arrived = time.perf_counter()
        try:
            stored, facts = request.make_array("raw"), request.get_metadata()
        finally:
            request.release()
        layout = self._camera.camera_configuration()["raw"]
        exposure_s = facts.get("ExposureTime", 0) / 1e6 or self._options.exposure
        return Frame(
            unpadded(stored, layout["size"][0]),
            self.name,
            time=_middle(facts.get("SensorTimestamp"), exposure_s),
            bayer=bayer_of_format(layout["format"]),
            exposure_s=exposure_s,
            header=_facts(facts, self._camera.camera_properties),
        )

    def _disconnect(self) -> None:
        helper, camera = self._helper, self._camera
        self._helper = self._camera = None
        if helper is not None:
            helper.leave(camera.close if camera is not None else int, _STOP_S)


def unpadded(stored: NDArray[np.uint8], width: int) -> NDArray[np.uint16]:
    """``(height, width)`` values of the bytes of a raw stream without packing, whose rows may be padded."""
    return np.ascontiguousarray(stored.view(np.uint16)[:, :width])


def bayer_of_format(name: str) -> BayerPattern | None:
    """Colour filter pattern of a raw format of libcamera, such as ``SRGGB12``; None for a mono sensor."""
    found = re.match(r"S([RGB]{4})\d", name)
    return next((known for known in get_args(BayerPattern) if found and known == found[1]), None)


def _middle(started_ns: int | None, exposure_s: float) -> datetime:
    """UTC time of the middle of an exposure whose read-out began at a time since boot."""
    now = datetime.now(timezone.utc)
    if started_ns is None:
        return now - timedelta(seconds=exposure_s / 2)
    ago_s = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started_ns) / 1e9
    return now - timedelta(seconds=ago_s + exposure_s / 2)


def _facts(facts: dict[str, Any], properties: dict[str, Any]) -> Header:
    found = {
        "GAIN": facts.get("AnalogueGain"),
        "CCD-TEMP": facts.get("SensorTemperature"),
        "INSTRUME": properties.get("Model"),
    }
    return {key: value for key, value in found.items() if value is not None}
