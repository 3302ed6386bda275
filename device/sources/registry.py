"""Which source opens what: by scheme (``sim:``), by being a folder, by the end of the name.

A source's module is imported when the source is opened: a device that never uses it does not pay for its packages.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edgegal.device.sources import files, video
from edgegal.device.sources.base import Source
from edgegal.errors import InputError

__all__ = ["SOURCES", "SourceKind", "open_source"]


@dataclass(frozen=True)
class SourceKind:
    """One kind of source that has a scheme.

    Attributes
    ----------
    module
        Where it lives, below ``edgegal.device.sources``.
    name
        Of its class, which is made from the whole address.
    example
        An address, for people.
    """

    module: str
    name: str
    example: str

    def open(self, address: str) -> Source:
        """The source of an address; nothing is reached yet."""
        source: Source = getattr(import_module(f"edgegal.device.sources.{self.module}"), self.name)(address)
        return source


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

_SCHEME = re.compile(r"([a-z][a-z0-9]*):")


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
    scheme = _SCHEME.match(uri)
    if scheme and scheme[1] in SOURCES:
        source = SOURCES[scheme[1]].open(uri)
        if not patient:
            source.reach()
        return source
    path = Path(uri)
    if path.is_dir():
        return files.FolderSource(path)
    if not path.exists():
        schemes = " ".join(f"{name}:" for name in SOURCES)
        raise InputError(f"no file or folder {uri}", f"give a picture, a FITS file, a video, a folder, or {schemes}")
    name = path.name.lower()
    if name.endswith(files.SUFFIXES):
        return files.open_file(path)
    if name.endswith(video.SUFFIXES):
        return video.VideoSource(path)
    known = " ".join(files.SUFFIXES + video.SUFFIXES)
    raise InputError(f"no source reads files named like {path.name}", f"known endings: {known}")
