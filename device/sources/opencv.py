"""OpenCV without its own words on stderr: sources say what is wrong with a file, in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

__all__ = ["ffmpeg_options", "silent_opencv"]

# FFmpeg inside OpenCV writes by itself; read when the first video is opened. -8 is its "quiet".
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_SILENT = 0
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def _logging() -> Any:
    """The module with OpenCV's log level, which moved between releases of version 4."""
    return getattr(cv2.utils, "logging", cv2)


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Keep OpenCV's log still for a while."""
    before = _logging().getLogLevel()
    _logging().setLogLevel(_SILENT)
    try:
        yield
    finally:
        _logging().setLogLevel(before)


@contextmanager
def ffmpeg_options(options: str) -> Iterator[None]:
    """Open streams with options of FFmpeg, ``key;value|key;value``, unless the user's environment has some.

    OpenCV takes them from the environment alone, and for video files too, which lose frames by options for streams.
    """
    mine = _OPTIONS not in os.environ
    if mine:
        os.environ[_OPTIONS] = options
    try:
        yield
    finally:
        if mine:
            os.environ.pop(_OPTIONS, None)
