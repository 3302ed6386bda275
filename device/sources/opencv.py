"""OpenCV without its own words on stderr: sources say what is wrong with a file, in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

__all__ = ["silent_opencv"]

# FFmpeg inside OpenCV writes by itself; read when the first video is opened. -8 is its "quiet".
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Keep OpenCV's log still for a while."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
