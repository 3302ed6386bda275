"""Which source opens what: by scheme (``sim:``), by being a folder, by the end of the name.

A source's module is imported when the source is opened: a device that never uses it does not pay for its packages.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from edgegal.device.sources import files, video
from edgegal.device.sources.base import Source
from edgegal.errors import InputError

__all__ = ["SOURCES", "SourceKind", "check_address", "open_files", "open_source"]


@dataclass(frozen=True)
class SourceKind:
    """One kind of source that has a scheme.

    Attributes
    ----------
    module
        Where it lives, below ``edgegal.device.sources``.
    name
        Of its class, which is made from the whole address and whose ``parse`` takes one apart.
    example
        An address, for people.
    """

    module: str
    name: str
    example: str

    def open(self, address: str) -> Source:
        """The source of an address; nothing is reached yet."""
        source: Source = self._source()(address)
        return source

    def check(self, address: str) -> None:
        """`InputError` when an address makes no sense; nothing is opened."""
        self._source().parse(address)

    def _source(self) -> Any:
        return getattr(import_module(f"edgegal.device.sources.{self.module}"), self.name)


_STREAM = SourceKind("capture", "StreamSource", "rtsp://camera:554/stream")

SOURCES: Mapping[str, SourceKind] = {
    "sim": SourceKind("simulated", "SimulatedSource", "sim:seed=7,frames=30"),
    "ser": SourceKind("ser", "SerSource", "ser:night.ser?endian=big"),
    "watch": SourceKind("watch", "WatchSource", "watch:captures?nested"),
    "v4l2": SourceKind("capture", "CameraSource", "v4l2:/dev/video0"),
    "picamera2": SourceKind("picamera", "PicameraSource", "picamera2:0?exposure=2"),
    "indi": SourceKind("indi", "IndiSource", "indi://localhost:7624/CCD Simulator?exposure=2"),
    "alpaca": SourceKind("alpaca", "AlpacaSource", "alpaca://192.168.1.20:11111/camera/0?exposure=2"),
    **dict.fromkeys(("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp"), _STREAM),
}
"""Kinds of source by the scheme of their addresses."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


def open_source(uri: str, patient: bool = False) -> Source:
    """Open a source of frames.

    Parameters
    ----------
    uri
        A picture, FITS file, video or SER video, a folder of these, or an address with one of the schemes of
        `SOURCES`.
    patient
        Whether a live source that does not answer yet is waited for, instead of refused.

    Raises
    ------
    InputError
        Nothing is there, or nothing here reads it.
    MissingPartError
        A package that the source needs is absent.
    """
    kind = _kind_of(uri)
    if kind is None:
        return open_files(Path(uri), f", or {' '.join(f'{name}:' for name in SOURCES)}")
    source = kind.open(uri)
    if not patient:
        source.reach()
    return source


def open_files(path: Path, others: str = "") -> Source:
    """Open a file that holds frames, or a folder of such files.

    Parameters
    ----------
    path
        A picture, FITS file, video or SER video, or a folder of these.
    others
        What else may be given, for the error when nothing is there.

    Raises
    ------
    InputError
        Nothing is there, or nothing here reads it.
    MissingPartError
        A package that it needs is absent.
    """
    if path.is_dir():
        return files.FolderSource(path)
    if not path.exists():
        raise InputError(f"no file or folder {path}", f"give a picture, a FITS file, a video, a folder{others}")
    name = path.name.lower()
    if name.endswith(files.SUFFIXES):
        return files.open_file(path)
    if name.endswith(video.SUFFIXES):
        return video.VideoSource(path)
    known = " ".join(files.SUFFIXES + video.SUFFIXES)
    raise InputError(f"no source reads files named like {path.name}", f"known endings: {known}")


def check_address(uri: str) -> None:
    """Judge what `open_source` takes without opening it; files and folders are not looked for.

    Raises
    ------
    InputError
        It has a scheme that no source has, or a part of it is unknown, absent or out of its range.
    """
    kind = _kind_of(uri)
    if kind is not None:
        kind.check(uri)


def _kind_of(uri: str) -> SourceKind | None:
    """The kind of source that an address is of; None for a file or folder."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return None
    if scheme[1] in SOURCES:
        return SOURCES[scheme[1]]
    # File names may hold colons, and drives of Windows are letters.
    close = difflib.get_close_matches(scheme[1].lower(), SOURCES, n=1)
    if (scheme[2] or close) and not Path(uri).exists():
        known = " ".join(f"{name}:" for name in SOURCES)
        raise InputError(f"no source has the scheme {scheme[1]}:", f"did you mean {close[0]}:?" if close else known)
    return None
