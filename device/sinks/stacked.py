"""The live stack as FITS files with where they come from in their headers."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.facts import Enquiry, FrameFacts, RunFacts
from edgegal.device.sinks.files import file_name, write_whole
from edgegal.device.sinks.pace import Pace
from edgegal.device.tracking import Sighting
from edgegal.errors import MissingPartError
from edgegal.frames import Frame

__all__ = ["StackedFits"]

# What the camera's own header says and a stack of its frames shares.
_OF_THE_CAMERA = (
    *("INSTRUME", "TELESCOP", "OBSERVER", "FILTER", "GAIN", "OFFSET", "CCD-TEMP", "XBINNING", "YBINNING"),
    *("XPIXSZ", "YPIXSZ", "FOCALLEN", "SITELAT", "SITELONG"),
)

# Pixels brought to the order of bytes of FITS at a time: a second copy of a stack is a lot of memory.
_PIECE_PIXELS = 1 << 18
_FITS_BLOCK = 2880
_WORD = 0xFFFFFFFF

_Card: TypeAlias = tuple[str, str | int | float | bool, str]


@dataclass
class _Stack:
    """The stack so far.

    Attributes
    ----------
    path
        Where it goes.
    frame, facts
        The last that is known of it.
    begun
        When its first frame was taken.
    exposure_s
        Sum over its frames; None where one did not say.
    written
        Whether the file holds this state.
    """

    path: Path
    frame: Frame
    facts: FrameFacts
    begun: datetime | None
    exposure_s: float | None
    written: bool = False


class StackedFits(Sink):
    """A FITS file for each stack, written anew as the stack grows and at its end.

    Pixels are float32 (uint8 for frames stretched for display), the first row the top one as ``ROWORDER`` says, colour
    as three planes; pixels that no frame covered are NaN. ``CHECKSUM`` and ``DATASUM`` are set.

    Parameters
    ----------
    folder
        Where they go; created with the first of them.
    run
        For the headers.
    ask
        Says how many frames are in the stack and where on the sky it looks.
    every_s
        Seconds from one version of a file to the next.
    clock
        Seconds, never going back.

    Raises
    ------
    MissingPartError
        Astropy is not installed.
    """

    def __init__(
        self,
        folder: Path,
        run: RunFacts,
        ask: Enquiry,
        every_s: float = 600.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if importlib.util.find_spec("astropy") is None:
            raise MissingPartError("writing FITS files needs astropy", "pip install 'edgegal[device]'")
        self.folder = folder
        self._run = run
        self._ask = ask
        self._pace = Pace(every_s, clock)
        self._stack: _Stack | None = None

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        facts = self._ask(result)
        if not facts.stacked:
            return
        before = self._stack
        self._stack = self._grown(result.frame, facts)
        if before is not None and before.path != self._stack.path:
            self._save(before)
        if self._pace.due:
            self._save(self._stack)

    def close(self, alive: Sequence[Sighting]) -> None:
        if self._stack is not None:
            self._save(self._stack)
            self._stack = None

    def _grown(self, frame: Frame, facts: FrameFacts) -> _Stack:
        """The stack with its last frame."""
        stack = self._stack
        if stack is None or facts.stacked <= stack.facts.stacked:
            return _Stack(self._path(frame), frame, facts, frame.time, frame.exposure_s)
        known = stack.exposure_s is not None and frame.exposure_s is not None
        exposure_s = (stack.exposure_s or 0) + (frame.exposure_s or 0) if known else None
        return _Stack(stack.path, frame, facts, stack.begun, exposure_s)

    def _path(self, frame: Frame) -> Path:
        time = frame.time or self._run.started
        target = f"_{file_name(frame.target)}" if frame.target else ""
        return self.folder / f"{time:%Y%m%dT%H%M%S}_{self._run.id}_{frame.index:06d}{target}.fits"

    def _save(self, stack: _Stack) -> None:
        if not stack.written:
            write_whole(stack.path, _encoded(stack, self._run))
            stack.written = True
            self._pace.done()


def _encoded(stack: _Stack, run: RunFacts) -> Iterator[bytes]:
    """The file, piece by piece."""
    from astropy.io import fits

    pixels = stack.frame.pixels if stack.frame.pixels.ndim == 2 else np.moveaxis(stack.frame.pixels, 2, 0)
    # Astropy makes the header from a picture that takes no memory; it would copy the real one.
    unit = fits.PrimaryHDU(np.broadcast_to(np.zeros((), pixels.dtype), pixels.shape))
    header = unit.header
    header.extend([(key, _ascii(value), comment) for key, value, comment in _cards(stack, run)])
    unit.verify("exception")
    data = _sum(_pieces(pixels))
    header["CHECKSUM"] = "0" * 16, "of header and data"
    header["DATASUM"] = str(data), "of the data"
    header["CHECKSUM"] = _complement(_folded(_sum([header.tostring().encode()]) + data))
    yield header.tostring().encode()
    yield from _pieces(pixels)
    yield bytes(-pixels.nbytes % _FITS_BLOCK)


def _pieces(pixels: NDArray[Any]) -> Iterator[bytes]:
    """The pixels of ``(h, w)`` or ``(3, h, w)`` as they stand in the file, some rows at a time."""
    rows = max(1, _PIECE_PIXELS // pixels.shape[-1])
    for plane in (pixels,) if pixels.ndim == 2 else pixels:
        for top in range(0, len(plane), rows):
            yield plane[top : top + rows].astype(pixels.dtype.newbyteorder(">")).tobytes()


def _sum(pieces: Iterable[bytes]) -> int:
    """Ones' complement sum of 32-bit words, as DATASUM wants it; the last word is filled up with zeros."""
    total, rest = 0, b""
    for piece in pieces:
        joined = rest + piece
        whole = len(joined) - len(joined) % 4
        total += int(np.frombuffer(joined[:whole], ">u4").sum(dtype=np.uint64))
        rest = joined[whole:]
    return _folded(total + int.from_bytes(rest.ljust(4, b"\0"), "big"))


def _folded(total: int) -> int:
    while total > _WORD:
        total = (total & _WORD) + (total >> 32)
    return total


def _complement(total: int) -> str:
    """The complement of a sum in sixteen letters and digits, as CHECKSUM wants it: FITS standard 4.0, appendix J."""
    columns = []
    for byte in (_WORD - total).to_bytes(4, "big"):
        quarter, rest = divmod(byte, 4)
        letters = [48 + quarter + rest, *[48 + quarter] * 3]
        # Pairs keep their sum when one grows and the other shrinks.
        while any(not chr(letter).isalnum() for letter in letters):
            for i in (0, 2):
                if not (chr(letters[i]).isalnum() and chr(letters[i + 1]).isalnum()):
                    letters[i] += 1
                    letters[i + 1] -= 1
        columns.append(letters)
    text = "".join(chr(columns[i][j]) for j in range(4) for i in range(4))
    # A card's value begins one byte off a word's boundary.
    return text[-1] + text[:-1]


def _ascii(value: str | int | float | bool) -> str | int | float | bool:
    """Values as FITS allows them: text of printable ASCII."""
    if not isinstance(value, str):
        return value
    return "".join(c if " " <= c <= "~" else "?" for c in value)


def _cards(stack: _Stack, run: RunFacts) -> Iterator[_Card]:
    frame = stack.frame
    yield "IMAGETYP", "Light Stack", "kind of picture"
    yield "ROWORDER", "TOP-DOWN", "first row is the top"
    if frame.target:
        yield "OBJECT", frame.target, "what was pointed at"
    yield from _times(stack)
    yield "STACKCNT", stack.facts.stacked, "frames in the stack"
    if frame.exposure_s is not None:
        yield "EXPTIME", frame.exposure_s, "[s] of one frame"
    if stack.exposure_s is not None:
        yield "TOTALEXP", stack.exposure_s, "[s] of all frames together"
    for key in _OF_THE_CAMERA:
        if key in frame.header and not _is_nan(frame.header[key]):
            yield key, frame.header[key], "of the last frame"
    if stack.facts.sky is not None:
        for key, value in stack.facts.sky.cards().items():
            yield key, value, ""
    # Addresses can be longer than a card, and leave no room for words.
    yield "LONGSTRN", "OGIP 1.0", "long texts go on in CONTINUE"
    yield "SOURCE", run.source, ""
    yield "RUNID", run.id, "run of edgegal"
    yield "SWCREATE", run.software, "what wrote this"
    if run.bundle:
        yield "BUNDLE", run.bundle, "networks that looked at it"
        yield "BUNDVER", run.bundle_version, "their version"
        # It leaves no room for words.
        yield "BUNDSEAL", run.seal, ""
    yield "STRBLACK", run.stretch.black_sigma, "[sigma] stretch: black below the sky"
    yield "STRSOFT", run.stretch.soft_sigma, "[sigma] stretch: linear up to here"
    yield "STRWHITE", run.stretch.white_sigma, "[sigma] stretch: white above black"


def _times(stack: _Stack) -> Iterator[_Card]:
    if stack.begun is not None:
        yield "TIMESYS", "UTC", "time scale"
        yield "DATE-OBS", _iso(stack.begun), "[UTC] time of the first frame"
    if stack.frame.time is not None:
        end = stack.frame.time + timedelta(seconds=stack.frame.exposure_s or 0)
        yield "DATE-END", _iso(end), "[UTC] end of the last frame"


def _iso(time: datetime) -> str:
    """A time as FITS writes it: in UTC, without saying so."""
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _is_nan(value: str | int | float | bool) -> bool:
    return isinstance(value, float) and not np.isfinite(value)
