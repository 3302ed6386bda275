"""Cameras and network streams through OpenCV: V4L2, and what its FFmpeg plays (RTSP, HTTP, MJPEG)."""

import os
import re
from abc import abstractmethod
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgegal.device.sources.helper import Helper
from edgegal.device.sources.live import LiveSource
from edgegal.device.sources.opencv import ffmpeg_options, silent_opencv
from edgegal.device.sources.options import Options, parse_options, split_options
from edgegal.errors import InputError
from edgegal.frames import Frame

__all__ = ["CameraSource", "StreamSource", "without_password"]

# FFmpeg by itself studies a stream for seconds before it shows the first frame, and keeps what came meanwhile.
_PROMPT = "rtsp_transport;tcp|fflags;nobuffer|analyzeduration;1000000|probesize;500000"

# A device or server that says nothing for so long is taken for hung.
_OPEN_S, _READ_S = 10.0, 10.0
_RELEASE_S = 2.0


class CameraOptions(Options):
    """Options of ``v4l2:DEVICE?...``: what the camera is asked for; it may give something else."""

    width: int | None = Field(default=None, ge=16, le=16_384)
    height: int | None = Field(default=None, ge=16, le=16_384)
    fps: float | None = Field(default=None, gt=0, le=1000)
    fourcc: str | None = Field(default=None, min_length=4, max_length=4)


class _CaptureSource(LiveSource):
    """Display-ready 8-bit RGB frames of an OpenCV capture, with the time of their arrival."""

    _helper: Helper | None = None
    _capture: cv2.VideoCapture | None = None

    @abstractmethod
    def _open(self) -> cv2.VideoCapture:
        """The capture, which may have failed to open; runs on the helper's thread."""

    def _connect(self) -> None:
        self._helper = Helper(self.name)
        capture = self._helper.call(self._open_silently, _OPEN_S + _READ_S, self._closing)
        self._capture = capture
        if not capture.isOpened():
            raise ConnectionError("it cannot be opened")

    def _open_silently(self) -> cv2.VideoCapture:
        with silent_opencv():
            return self._open()

    def _receive(self) -> Frame:
        assert self._helper is not None
        pixels, time = self._helper.call(self._read, _READ_S + 1, self._closing)
        if pixels is None:
            raise ConnectionError("it gives no more frames")
        return Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), self.name, time=time, linear=False)

    def _read(self) -> tuple[NDArray[np.uint8] | None, datetime]:
        assert self._capture is not None
        grabbed, time = self._capture.grab(), datetime.now(timezone.utc)
        self.arrived = perf_counter()
        decoded, pixels = self._capture.retrieve() if grabbed else (False, None)
        return (pixels if decoded else None), time

    def _disconnect(self) -> None:
        helper, capture = self._helper, self._capture
        self._helper = self._capture = None
        if helper is not None:
            # On the thread that reads, and not before it has come back: releasing under a read crashes.
            helper.leave(capture.release if capture is not None else int, _RELEASE_S)


class CameraSource(_CaptureSource):
    """A camera of Video for Linux: ``v4l2:/dev/video0`` or ``v4l2:0``, with ``?width=1920&height=1080&fps=30``.

    Raises
    ------
    InputError
        It names no device, or an option is unknown or out of its range.
    """

    @staticmethod
    def parse(address: str) -> tuple[Path, CameraOptions]:
        """The device, and the options."""
        place, text = split_options(address.removeprefix("v4l2:"))
        options = parse_options(text, CameraOptions, "v4l2:")
        if not place:
            raise InputError("v4l2: names no device", "such as v4l2:0, which is v4l2:/dev/video0")
        return Path(f"/dev/video{place}" if place.isdecimal() else place), options

    def __init__(self, address: str) -> None:
        self._device, self._options = self.parse(address)
        super().__init__(f"v4l2:{self._device}", "cameras there are: edgegal doctor")

    def _connect(self) -> None:
        # OpenCV does not say why it cannot open a device.
        if not self._device.exists():
            raise FileNotFoundError(f"there is no {self._device}")
        if not os.access(self._device, os.R_OK | os.W_OK):
            raise InputError(f"{self._device} may not be opened", "sudo usermod -aG video $USER, then log in again")
        super()._connect()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._device), cv2.CAP_V4L2)
        wanted = {
            # The format decides which sizes there are, and the size which rates.
            cv2.CAP_PROP_FOURCC: _fourcc(self._options.fourcc),
            cv2.CAP_PROP_FRAME_WIDTH: self._options.width,
            cv2.CAP_PROP_FRAME_HEIGHT: self._options.height,
            cv2.CAP_PROP_FPS: self._options.fps,
            # The newest frame, not one that waited.
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
        for key, value in wanted.items():
            if value is not None:
                capture.set(key, value)
        return capture


def _fourcc(name: str | None) -> int | None:
    return None if name is None else cv2.VideoWriter.fourcc(*name)


class StreamSource(_CaptureSource):
    """A stream that OpenCV's FFmpeg plays: ``rtsp://``, ``http://``, ``https://`` and others, RTSP over TCP.

    A user name and password may stand in the address; they are not shown.

    Raises
    ------
    InputError
        The address has no host, or no port that exists.
    """

    @staticmethod
    def parse(address: str) -> str:
        """The address, if a player can make sense of it."""
        mend = "such as rtsp://192.168.1.20:554/stream"
        try:
            parts = urlsplit(address)
            _ = parts.port
        except ValueError as error:
            raise InputError(f"{without_password(address)} is no address of a stream: {error}", mend) from error
        # A receiver of datagrams may name no host: it listens.
        if not parts.hostname and parts.scheme not in ("udp", "tcp"):
            raise InputError(f"{without_password(address)} names no host", mend)
        return address

    def __init__(self, address: str) -> None:
        self._address = self.parse(address)
        super().__init__(without_password(address), "check address, user name and password with another player")

    def _open(self) -> cv2.VideoCapture:
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * _OPEN_S)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * _READ_S)),
        ]
        with ffmpeg_options(_PROMPT):
            return cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, limits)


def without_password(address: str) -> str:
    """The address as it may be shown."""
    try:
        parts = urlsplit(address)
    except ValueError:
        # Of no use to anybody, so nobody misses the rest.
        return f"{address.partition(':')[0]}://..."
    return urlunsplit(parts._replace(netloc=re.sub(r"^.*@", "", parts.netloc), query="", fragment=""))
