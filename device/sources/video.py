"""Video files through OpenCV."""

import logging
from pathlib import Path

import cv2

from edgegal.device.sources.base import Source
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
        self._capture = cv2.VideoCapture(str(path))
        self._index = 0
        if not self._capture.isOpened():
            raise FrameError(f"{path} is not a video that OpenCV can decode")
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __next__(self) -> Frame:
        decoded, pixels = self._capture.read()
        if not decoded:
            if self._index < self._expected:
                _log.warning("%s ends after %d of %d frames", self.name, self._index, self._expected)
            raise StopIteration
        frame = Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), self.name, self._index, linear=False)
        self._index += 1
        return frame

    def close(self) -> None:
        self._capture.release()
