"""Video files through OpenCV."""

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.device.sources.base import Source
from edgegal.device.sources.opencv import silent_opencv
from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["SUFFIXES", "VideoSource"]

SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".m4v", ".webm")

_log = logging.getLogger(__name__)


class VideoSource(Source):
    """The frames of a video: 8-bit, display-ready, without a time of day.

    Raises
    ------
    FrameError
        The file is no video that this OpenCV can decode.
    """

    stream = True

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._index = 0
        with silent_opencv():
            self._capture = cv2.VideoCapture(str(path))
        # A cut file may open and still hold no frame: the first one is decoded now to know.
        self._first = self._decoded()
        if self._first is None:
            self.close()
            raise FrameError(f"{path} is not a video that OpenCV can decode", "save it as H.264 or MJPEG")
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __next__(self) -> Frame:
        pixels, self._first = self._first, None
        if pixels is None:
            pixels = self._decoded()
        if pixels is None:
            # The count of some containers is a guess, so a short video is worth a word and no more.
            if self._index < self._expected:
                _log.warning("%s ends after %d of %d frames", self.name, self._index, self._expected)
            raise StopIteration
        frame = Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), self.name, self._index, linear=False)
        self._index += 1
        return frame

    def _decoded(self) -> NDArray[np.uint8] | None:
        """The next frame, BGR; None when there is none."""
        with silent_opencv():
            decoded, pixels = self._capture.read()
        return pixels if decoded else None

    def close(self) -> None:
        self._capture.release()
