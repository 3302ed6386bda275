"""SER videos, as planetary and live-stacking capture software records them.

The format is Grischa Hahn's, version 3: http://www.grischa-hahn.homepage.t-online.de/astro/ser/
"""

import logging
import os
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegal.device.sources.base import Source
from edgegal.device.sources.options import Options, parse_options, split_options
from edgegal.errors import FrameError, InputError
from edgegal.frames import BayerPattern, Frame, Header

__all__ = ["SUFFIXES", "SerHeader", "SerSource", "parse_header", "ser_time"]

SUFFIXES = (".ser",)

_log = logging.getLogger(__name__)

# FileID and LuID come first; programs write what they like there.
_HEADER = struct.Struct("<14xi6i40s40s40s2q")
_HEADER_BYTES = 178
assert _HEADER.size == _HEADER_BYTES

_BAYER: dict[int, BayerPattern] = {8: "RGGB", 9: "GRBG", 10: "GBRG", 11: "BGGR"}
_CMY = {16: "CYYM", 17: "YCMY", 18: "YMCY", 19: "MYYC"}
_MONO, _RGB, _BGR = 0, 100, 101
_MOST_PIXELS = 2**30
_FOREIGN = "copy it again, or have the program that recorded it save it as SER version 3"
_UNREAD = "give a file that is there and that you may read"

_YEAR_1 = datetime(1, 1, 1, tzinfo=timezone.utc)
# Programs without a clock write zeros or small numbers; nobody recorded SER videos before.
_EARLIEST = datetime(1990, 1, 1, tzinfo=timezone.utc)

Endian = Literal["little", "big"]


class SerOptions(Options):
    """Options of ``ser:PATH?...``."""

    endian: Endian | None = None


@dataclass(frozen=True)
class SerHeader:
    """What the first 178 bytes say.

    Attributes
    ----------
    width, height
        Pixels.
    dtype
        Of one value in the file, byte order included.
    depth
        Bits of it that are used.
    bayer
        Colour filter pattern, None for mono and RGB.
    planes
        1, or 3 for RGB.
    blue_first
        Whether the planes are blue, green, red.
    frames
        Frames announced; 0 where the recorder did not come to say.
    observer, instrument, telescope
        Texts, maybe empty.
    start
        UTC time the recording began, if known.
    """

    width: int
    height: int
    dtype: np.dtype[Any]
    depth: int
    bayer: BayerPattern | None
    planes: int
    blue_first: bool
    frames: int
    observer: str
    instrument: str
    telescope: str
    start: datetime | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame."""
        return (self.height, self.width) if self.planes == 1 else (self.height, self.width, self.planes)

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame."""
        return self.width * self.height * self.planes * self.dtype.itemsize


def ser_time(ticks: int) -> datetime | None:
    """A time given in 100 ns since the year 1; None when it is none of the days of digital cameras."""
    try:
        time = _YEAR_1 + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None
    return time if time >= _EARLIEST else None


def parse_header(raw: bytes, name: str, endian: Endian | None = None) -> SerHeader:
    """Read the header of a SER file.

    Parameters
    ----------
    raw
        The first 178 bytes.
    name
        The file, for errors.
    endian
        Byte order of 16-bit values, where the file lies.

    Raises
    ------
    FrameError
        It is no SER file, or of a colour or depth that nothing here reads.
    """
    if len(raw) < _HEADER_BYTES:
        raise FrameError(f"{name} is no SER file: {len(raw)} bytes are less than its header", _FOREIGN)
    _, colour, flag, width, height, depth, frames, observer, instrument, telescope, _, utc = _HEADER.unpack(
        raw[:_HEADER_BYTES]
    )
    if colour in _CMY:
        raise FrameError(f"{name} has {_CMY[colour]} colour filters, which are not read", "record mono, RGGB or RGB")
    if colour not in (_MONO, _RGB, _BGR, *_BAYER):
        raise FrameError(f"{name} is no SER file: there is no colour {colour}", _FOREIGN)
    if not 1 <= depth <= 16:
        raise FrameError(f"{name} has {depth} bits a value; 1 to 16 are read", _FOREIGN)
    if width < 1 or height < 1 or width * height > _MOST_PIXELS:
        raise FrameError(f"{name} is no SER file: a frame of {width} x {height} pixels", _FOREIGN)
    # By the specification 1 means little-endian. The first programs had it the other way round, and so have all since.
    order = endian or ("big" if flag == 1 else "little")
    by, camera, scope = (text.split(b"\0")[0].decode("latin-1").strip() for text in (observer, instrument, telescope))
    return SerHeader(
        width,
        height,
        np.dtype(np.uint8) if depth <= 8 else np.dtype("<u2" if order == "little" else ">u2"),
        depth,
        _BAYER.get(colour),
        3 if colour in (_RGB, _BGR) else 1,
        colour == _BGR,
        max(frames, 0),
        by,
        camera,
        scope,
        ser_time(utc),
    )


class SerSource(Source):
    """The frames of a SER video: linear, mono, Bayer or RGB, with the times of its trailer.

    A video whose recorder was cut off has its whole frames read. Frames without a trailer have no time.

    Parameters
    ----------
    path
        The file, or ``ser:PATH?endian=big`` where it lies about its byte order.

    Raises
    ------
    FrameError
        See `parse_header`; or the file holds no whole frame.
    InputError
        The address names no file, or an option is unknown.
    """

    stream = True

    def __init__(self, path: Path | str) -> None:
        options = SerOptions()
        if isinstance(path, str):
            path, options = self.parse(path)
        self.name = str(path)
        self._index = 0
        try:
            # Not mapped into memory: a file that another program cuts short would end this one with SIGBUS.
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise FrameError(f"{path} cannot be read: {error.strerror or error}", _UNREAD) from error
        try:
            size = os.fstat(self._file.fileno()).st_size
            self._header = parse_header(self._file.read(_HEADER_BYTES), self.name, options.endian)
            self._frames = self._whole_frames(size)
            self._times = self._trailer(size)
        except FrameError:
            self.close()
            raise
        self._facts = _facts(self._header)

    @staticmethod
    def parse(address: str) -> tuple[Path, SerOptions]:
        """The file, and the options."""
        place, text = split_options(address.removeprefix("ser:"))
        options = parse_options(text, SerOptions, "ser:")
        if not place:
            raise InputError("ser: names no file", "such as ser:night.ser?endian=big")
        return Path(place), options

    def _whole_frames(self, size: int) -> int:
        present = (size - _HEADER_BYTES) // self._header.frame_bytes
        announced = self._header.frames
        if not present:
            raise FrameError(f"{self.name} holds no whole frame", "copy it again, or leave it out")
        if announced > present:
            _log.warning("%s ends after %d of %d frames", self.name, present, announced)
        return min(announced, present) if announced else present

    def _trailer(self, size: int) -> tuple[datetime | None, ...]:
        """UTC time of each frame; empty without a whole trailer."""
        count = self._header.frames
        start = _HEADER_BYTES + count * self._header.frame_bytes
        if not count or size < start + 8 * count:
            return ()
        self._file.seek(start)
        return tuple(ser_time(int(ticks)) for ticks in np.frombuffer(self._file.read(8 * count), "<u8"))

    def __next__(self) -> Frame:
        if self._index >= self._frames:
            raise StopIteration
        index, self._index = self._index, self._index + 1
        header = self._header
        self._file.seek(_HEADER_BYTES + index * header.frame_bytes)
        raw = self._file.read(header.frame_bytes)
        if len(raw) < header.frame_bytes:
            self._frames = index
            raise FrameError(f"{self.name} was cut short while it was read, at frame {index}", "copy it again")
        return Frame(
            _pixels(raw, header),
            self.name,
            index,
            time=self._times[index] if self._times else None,
            bayer=header.bayer,
            header=self._facts,
        )

    def close(self) -> None:
        self._file.close()


def _pixels(raw: bytes, header: SerHeader) -> NDArray[Any]:
    stored = np.frombuffer(raw, header.dtype).reshape(header.shape)
    if header.blue_first:
        stored = stored[..., ::-1]
    return stored.astype(header.dtype.newbyteorder("="), order="C")


def _facts(header: SerHeader) -> Header:
    facts = {"OBSERVER": header.observer, "INSTRUME": header.instrument, "TELESCOP": header.telescope}
    return {key: text for key, text in facts.items() if text}
