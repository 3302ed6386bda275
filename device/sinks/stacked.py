"""The live stack as FITS files with where they come from in their headers."""

import importlib.util
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np

from edgegal.device.astrometry import SkyMap
from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.facts import Enquiry, RunFacts
from edgegal.device.sinks.files import file_name, write_whole
from edgegal.device.sinks.pace import Pace
from edgegal.device.stacking import Stack, StackFacts, as_display
from edgegal.device.supervision import beat
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
_PIECE_PIXELS = 1 << 15
_FITS_BLOCK = 2880
_WORD = 0xFFFFFFFF

_Card: TypeAlias = tuple[str, str | int | float | bool, str]


@dataclass
class _Held:
    """A stack that is being followed.

    Attributes
    ----------
    stack
        It goes on.
    path
        Where its file goes.
    sky
        Where it looks, as far as is known.
    written
        Frames it had when its file was written last.
    """

    stack: Stack
    path: Path
    sky: SkyMap | None
    written: int = 0


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
        Says where on the sky the stack looks.
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
        self._held: _Held | None = None

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        if result.stacked is None:
            return
        sky, stack, before = self._ask(result).sky, result.stacked.stack, self._held
        if before is not None and before.stack is stack:
            before.sky = sky
        else:
            # The stack that is held first: a card that is full must not make it forgotten.
            if before is not None:
                self._save(before)
            self._held = _Held(stack, self._path(result.frame), sky)
        if self._held is not None and self._pace.due:
            self._save(self._held)

    def close(self, alive: Sequence[Sighting]) -> None:
        if self._held is not None:
            self._save(self._held)
            self._held = None

    def _path(self, frame: Frame) -> Path:
        time = frame.time or self._run.started
        target = f"_{file_name(frame.target)}" if frame.target else ""
        return self.folder / f"{time:%Y%m%dT%H%M%S}_{self._run.id}_{frame.index:06d}{target}.fits"

    def _save(self, held: _Held) -> None:
        frames = held.stack.frames
        if held.written < frames:
            # Closed at once where the card is full: the stack stands still until then.
            with closing(_encoded(held.stack, held.sky, self._run)) as pieces:
                write_whole(held.path, pieces)
            held.written = frames
            self._pace.done()


def _encoded(stack: Stack, sky: SkyMap | None, run: RunFacts) -> Generator[bytes, None, None]:
    """The file, piece by piece, which no frame changes meanwhile: a copy of the stack is a lot of memory."""
    from astropy.io import fits

    with stack.held() as facts:
        dtype = np.dtype(np.float32 if facts.last.linear else np.uint8)
        shape = stack.shape if len(stack.shape) == 2 else (stack.shape[2], *stack.shape[:2])
        # Astropy makes the header from a picture that takes no memory; it would copy the real one.
        unit = fits.PrimaryHDU(np.broadcast_to(np.zeros((), dtype), shape))
        header = unit.header
        header.extend([(key, _ascii(value), comment) for key, value, comment in _cards(facts, sky, run)])
        unit.verify("exception")
        data = _sum(_pieces(stack, dtype))
        header["CHECKSUM"] = "0" * 16, "of header and data"
        header["DATASUM"] = str(data), "of the data"
        header["CHECKSUM"] = _complement(_folded(_sum([header.tostring().encode()]) + data))
        yield header.tostring().encode()
        yield from _pieces(stack, dtype)
    yield bytes(-int(np.prod(shape)) * dtype.itemsize % _FITS_BLOCK)


def _pieces(stack: Stack, dtype: np.dtype[Any]) -> Iterator[bytes]:
    """The pixels as they stand in the file, plane by plane, some rows at a time."""
    height, width = stack.shape[:2]
    rows = max(1, _PIECE_PIXELS // width)
    for channel in range(stack.shape[2] if len(stack.shape) == 3 else 1):
        for top in range(0, height, rows):
            # Also of those that are only summed: of a large frame they take a small computer longer than a stall.
            beat()
            values = stack.planes(top, min(top + rows, height))[channel]
            pixels = as_display(values) if dtype == np.uint8 else values
            yield pixels.astype(dtype.newbyteorder(">")).tobytes()


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


def _cards(facts: StackFacts, sky: SkyMap | None, run: RunFacts) -> Iterator[_Card]:
    frame = facts.last
    yield "IMAGETYP", "Light Stack", "kind of picture"
    yield "ROWORDER", "TOP-DOWN", "first row is the top"
    if frame.target:
        yield "OBJECT", frame.target, "what was pointed at"
    yield from _times(facts)
    yield "STACKCNT", facts.frames, "frames in the stack"
    if frame.exposure_s is not None:
        yield "EXPTIME", frame.exposure_s, "[s] of one frame"
    if facts.exposure_s is not None:
        yield "TOTALEXP", facts.exposure_s, "[s] of all frames together"
    for key in _OF_THE_CAMERA:
        if key in frame.header and not _is_nan(frame.header[key]):
            yield key, frame.header[key], "of the last frame"
    if sky is not None:
        for key, value in sky.cards().items():
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


def _times(facts: StackFacts) -> Iterator[_Card]:
    if facts.begun is not None:
        yield "TIMESYS", "UTC", "time scale"
        yield "DATE-OBS", _iso(facts.begun), "[UTC] time of the first frame"
    if facts.last.time is not None:
        end = facts.last.time + timedelta(seconds=facts.last.exposure_s or 0)
        yield "DATE-END", _iso(end), "[UTC] end of the last frame"


def _iso(time: datetime) -> str:
    """A time as FITS writes it: in UTC, without saying so."""
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _is_nan(value: str | int | float | bool) -> bool:
    return isinstance(value, float) and not np.isfinite(value)
