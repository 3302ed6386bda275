"""Picture files: PNG, JPEG, TIFF."""

import re
from pathlib import Path

import cv2
import numpy as np

from edgegal.device.sources.opencv import silent_opencv
from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["SUFFIXES", "read_picture"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_MEND = "copy or save it again, or leave it out"

_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
# A marker inside entropy-coded data: neither a stuffed byte, nor a restart, nor fill.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA


def read_picture(path: Path, index: int = 0) -> Frame:
    """Read one picture.

    Eight-bit pictures were made for the eye and are display-ready (``linear`` false); deeper ones come from a sensor
    and are linear. Transparency is dropped.

    Raises
    ------
    FrameError
        The file is empty, no picture, or cut short. OpenCV decodes a JPEG or PNG that ends early without a word, so
        the end is looked for first.
    """
    raw = path.read_bytes()
    problem = _problem(raw)
    if problem:
        raise FrameError(f"{path} {problem}", _MEND)
    try:
        with silent_opencv():
            pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error as error:
        raise FrameError(f"{path} cannot be decoded: {str(error.err).strip()}", _MEND) from error
    if pixels is None:
        raise FrameError(f"{path} is damaged: its pixels cannot be decoded", _MEND)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return Frame(pixels, str(path), index, linear=pixels.dtype != np.uint8)


def _problem(raw: bytes) -> str:
    """What is wrong with the bytes of a picture file; empty when nothing shows."""
    if not raw:
        return "is empty"
    if raw.startswith(_JPEG_START):
        return "" if _jpeg_is_whole(raw) else "is cut short: the end of the JPEG is missing"
    if raw.startswith(_PNG_START):
        return "" if _PNG_END in raw[-1024:] else "is cut short: the end of the PNG is missing"
    if raw.startswith(_TIFF_STARTS):
        return ""
    return "is not a PNG, JPEG or TIFF picture"


def _jpeg_is_whole(raw: bytes) -> bool:
    """Walk the segments to the end marker; searching for its two bytes would find the one of an embedded thumbnail."""
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        kind = raw[at + 1]
        if kind == 0xFF:
            at += 1
            continue
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
        if kind != _JPEG_SCAN:
            continue
        marker = _JPEG_MARKER.search(raw, at)
        if marker is None:
            return False
        if marker[1][0] == _JPEG_END:
            return True
        at = marker.end() - 2
    return False
