"""Master bias, dark and flat frames: made once from many exposures, kept as FITS.

The exposures are read twice and never held together: first for the mean and spread of each pixel without its two
extremes, then for the mean of what lies near. A cosmic ray cannot hide behind the spread it causes itself.
"""

import errno
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgegal import __version__
from edgegal.device.sources import Source, open_files, open_source
from edgegal.device.stars import measure_field
from edgegal.errors import FrameError, InputError, MissingPartError
from edgegal.frames import BayerPattern, Frame

__all__ = ["Kind", "Master", "make_master", "offset", "read_master", "write_master"]

Kind = Literal["bias", "dark", "flat"]

Array = NDArray[np.float32]

# With three exposures one extreme on either side still leaves a value.
_LEAST_FRAMES = 3
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CLIP_SIGMA = 4.0
# Exposure times that a camera rounds differently are one; temperatures within a cooler's swing too.
_SAME_EXPOSURE = 0.01
_SAME_TEMPERATURE_C = 2.0
# So many sharp stars are no hot pixels: a cover was off.
_STARS_OF_A_LIGHT = 20
# Pixels at the very top of a frame: more of them than this share were cut off there.
_SATURATED_SHARE = 0.01
# Light over noise of a pixel: below, a flat brings more noise into a frame than it takes shading out.
_LEAST_FLAT_SIGNAL = 20.0
_MAD_TO_SIGMA = 1.4826

_WANTED = "give FITS files, SER videos or 16-bit pictures as the camera wrote them, or folders of these"


@dataclass(frozen=True)
class Master:
    """A calibration frame made of many.

    Attributes
    ----------
    kind
        What it is.
    pixels
        ``(h, w)`` or ``(h, w, 3)`` float32 in units of the camera, row 0 at the top.
    frames
        Exposures it was made of; 1 for a file that does not say.
    exposure_s, temperature_c, gain
        Of the exposures, where they said.
    bayer
        Colour filter pattern, None for mono and colour.
    subtracted
        Which masters were subtracted from the exposures: the pixels are without them.
    rejected
        Share of the values that were clipped, 0-1.
    """

    kind: Kind
    pixels: Array
    frames: int = 1
    exposure_s: float | None = None
    temperature_c: float | None = None
    gain: float | None = None
    bayer: BayerPattern | None = None
    subtracted: tuple[Kind, ...] = ()
    rejected: float = 0.0


def make_master(
    kind: Kind,
    paths: Sequence[Path],
    bias: Master | None = None,
    dark: Master | None = None,
    progress: Callable[[int], None] | None = None,
    least: int = _LEAST_FRAMES,
) -> Master:
    """Make a master of exposures.

    Parameters
    ----------
    kind
        What the exposures are.
    paths
        Files, or folders of files.
    bias
        Subtracted from darks and flats: a dark without bias scales with the exposure time.
    dark
        Subtracted from flats, scaled to their exposure time where it is without bias and both say theirs.
    progress
        Called with the number of exposures read so far, each of which is read twice.
    least
        Exposures that a master takes; of fewer than three it is their plain mean.

    Raises
    ------
    InputError
        There are too few, they differ in size, exposure, gain or temperature, or they are not what they are
        said to be.
    FrameError
        An exposure cannot be read, or is a display picture.
    """
    told = progress or (lambda _: None)
    check = _Consistency(kind)
    spread: _Spread | None = None
    count = 0
    for count, frame in enumerate(_frames(paths), start=1):
        check(frame)
        pixels = _less(frame, kind, bias, dark)
        spread = spread or _Spread.blank(pixels.shape)
        spread.add(pixels)
        told(count)
    if spread is None or count < least:
        raise InputError(
            f"{count} {kind} frame{'' if count == 1 else 's'}: a master takes at least {least}",
            "take some twenty exposures",
        )
    middle, reach = spread.limits()
    total, kept = np.zeros(middle.shape, np.float64), np.zeros(middle.shape, np.int32)
    for again, frame in enumerate(_frames(paths), start=count + 1):
        pixels = _less(frame, kind, bias, dark)
        near = np.abs(pixels - middle) <= reach
        np.add(total, pixels, out=total, where=near)
        kept += near
        told(again)
    # Values that all lie far from each other have no mean of near ones.
    mean = np.where(kept > 0, total / np.maximum(kept, 1), middle).astype(np.float32)
    first = check.first
    return Master(
        kind,
        mean,
        count,
        first.exposure_s,
        _fact(first, "CCD-TEMP"),
        _fact(first, "GAIN"),
        first.bayer,
        _subtracted(kind, bias, dark),
        1 - float(kept.sum(dtype=np.int64)) / (count * kept.size),
    )


def _frames(paths: Sequence[Path]) -> Iterator[Frame]:
    for path in paths:
        with _opened(path) as source:
            for frame in source:
                if not frame.linear:
                    raise FrameError(f"{frame.source} is a display picture, not a calibration frame", _WANTED)
                yield frame


def _opened(path: Path) -> Source:
    # The only address of files: a video may lie about its byte order.
    if str(path).startswith("ser:"):
        return open_source(str(path))
    if not path.exists():
        raise InputError(f"no file or folder {path}", _WANTED)
    return open_files(path)


def _fact(frame: Frame, keyword: str) -> float | None:
    value = frame.header.get(keyword)
    return float(value) if isinstance(value, int | float) else None


@dataclass
class _Consistency:
    """Names the first exposure that does not belong to the others, or is not what it is said to be."""

    kind: Kind
    _first: Frame | None = field(default=None, init=False)

    @property
    def first(self) -> Frame:
        if self._first is None:
            raise InputError(f"no {self.kind} frame", _WANTED)
        return self._first

    def __call__(self, frame: Frame) -> None:
        _check_light(frame, self.kind)
        self._first = self._first or frame
        self._compare(frame, "size", f"{self.first.pixels.shape}", f"{frame.pixels.shape}")
        self._compare(frame, "Bayer pattern", f"{self.first.bayer}", f"{frame.bayer}")
        if self.kind == "dark":
            self._near(frame, "exposure", self.first.exposure_s, frame.exposure_s, "s", _SAME_EXPOSURE)
            self._near(
                frame,
                "temperature",
                _fact(self.first, "CCD-TEMP"),
                _fact(frame, "CCD-TEMP"),
                "C",
                absolute=_SAME_TEMPERATURE_C,
            )
        self._near(frame, "gain", _fact(self.first, "GAIN"), _fact(frame, "GAIN"), "")
        if self.kind == "flat":
            _check_flat(frame)
        else:
            _check_dark(frame, self.kind)

    def _near(
        self,
        frame: Frame,
        what: str,
        one: float | None,
        other: float | None,
        unit: str,
        relative: float = 0.0,
        absolute: float = 0.0,
    ) -> None:
        if one is not None and other is not None and abs(one - other) > max(absolute, relative * abs(one)):
            self._differ(frame, what, f"{one:g} {unit}".strip(), f"{other:g} {unit}".strip())

    def _compare(self, frame: Frame, what: str, one: str, other: str) -> None:
        if one != other:
            self._differ(frame, what, one, other)

    def _differ(self, frame: Frame, what: str, one: str, other: str) -> None:
        raise InputError(
            f"{self.kind} frames of mixed {what}: {self.first.source} has {one}, {frame.source} {other}",
            "make one master of each",
        )


def _check_light(frame: Frame, kind: Kind) -> None:
    """Flats have light and the others none: short darks do for bias, but nothing does for a flat."""
    named = _named(frame)
    if named and kind not in named and ("flat" in named or kind == "flat"):
        raise InputError(
            f"{frame.source} is a {named[0]} frame by its IMAGETYP, not a {kind}", f"give {kind} frames alone"
        )


def _named(frame: Frame) -> tuple[Kind, ...]:
    """The kinds that a frame says it is of; a flat dark is of two."""
    said = str(frame.header.get("IMAGETYP", "")).lower()
    return tuple(kind for kind in get_args(Kind) if kind in said)


def _check_dark(frame: Frame, kind: Kind) -> None:
    stars = len(measure_field(frame).stars)
    if stars > _STARS_OF_A_LIGHT:
        raise InputError(
            f"{frame.source} shows {stars} stars: it is no {kind} frame", "cover the telescope, or give other files"
        )


def _check_flat(frame: Frame) -> None:
    pixels = frame.pixels
    top = np.nanmax(pixels)
    share = float(np.mean(pixels == top))
    if share > _SATURATED_SHARE and pixels.min() < top:
        raise InputError(
            f"{frame.source} is a saturated flat: {share:.0%} of its pixels stand at {top:g}",
            "expose to half of the full scale",
        )
    step = 2 if frame.bayer else 1
    cell = pixels[::step, ::step].astype(np.float32)
    # Noise from neighbours, which the shading leaves alone.
    noise = _MAD_TO_SIGMA * float(np.nanmedian(np.abs(cell[:, 1:] - cell[:, :-1]))) / np.sqrt(2)
    level = float(np.nanmedian(cell))
    if level < _LEAST_FLAT_SIGNAL * noise:
        raise InputError(
            f"{frame.source} is too dark for a flat: its light is {level / noise:.0f} times its noise",
            "expose to half of the full scale",
        )


def offset(bias: Master | None, dark: Master | None, exposure_s: float | None) -> Array | None:
    """What the camera adds to an exposure: bias, and dark current scaled to the exposure time.

    Without a bias the dark counts as it is, for exposures as long as its own.

    Parameters
    ----------
    bias, dark
        Masters; None for none.
    exposure_s
        Of the exposure; the dark is taken for as long where it is None.

    Returns
    -------
    array or None
        Of the masters' shape, float32; None without masters.

    Raises
    ------
    InputError
        The dark was made without bias and there is none, or the two differ in shape.
    """
    if dark is None:
        return None if bias is None else bias.pixels
    if bias is None:
        if "bias" in dark.subtracted:
            raise InputError("the master dark is without bias, so frames need the bias too", "give it: --bias")
        return dark.pixels
    if bias.pixels.shape != dark.pixels.shape:
        raise InputError(
            f"the bias has shape {bias.pixels.shape} and the dark {dark.pixels.shape}",
            "take both with the same camera, binning and cut",
        )
    current = dark.pixels if "bias" in dark.subtracted else dark.pixels - bias.pixels
    scale = exposure_s / dark.exposure_s if exposure_s is not None and dark.exposure_s else 1.0
    return bias.pixels + current * np.float32(scale)


def _less(frame: Frame, kind: Kind, bias: Master | None, dark: Master | None) -> Array:
    """The pixels of an exposure without bias and, those of a flat, dark."""
    pixels = frame.pixels.astype(np.float32)
    added = offset(bias, dark if kind == "flat" else None, frame.exposure_s) if kind != "bias" else None
    if added is None:
        return pixels
    if added.shape != pixels.shape:
        raise InputError(
            f"the master to subtract has shape {added.shape} and {frame.source} {pixels.shape}",
            "take both with the same camera, binning and cut",
        )
    pixels -= added
    return pixels


def _subtracted(kind: Kind, bias: Master | None, dark: Master | None) -> tuple[Kind, ...]:
    taken: dict[Kind, Master | None] = {"bias": bias, "dark": dark}
    possible: dict[Kind, tuple[Kind, ...]] = {"bias": (), "dark": ("bias",), "flat": ("bias", "dark")}
    return tuple(name for name in possible[kind] if taken[name] is not None)


@dataclass
class _Spread:
    """Running sums of exposures and their extremes, by pixel."""

    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    least: Array
    most: Array
    count: int = 0

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> "_Spread":
        extremes = np.full(shape, np.inf, np.float32)
        return cls(np.zeros(shape), np.zeros(shape), extremes, -extremes)

    def add(self, pixels: Array) -> None:
        exact = pixels.astype(np.float64)
        self.total += exact
        self.squares += exact * exact
        np.minimum(self.least, pixels, out=self.least)
        np.maximum(self.most, pixels, out=self.most)
        self.count += 1

    def limits(self) -> tuple[Array, Array]:
        """Mean without the least and the most, and how far from it a value is believed."""
        if self.count < _LEAST_FRAMES:
            return (self.total / self.count).astype(np.float32), np.full_like(self.least, np.inf)
        extremes = self.least.astype(np.float64) + self.most
        inner = self.count - 2
        mean = (self.total - extremes) / inner
        squares = self.squares - self.least.astype(np.float64) ** 2 - self.most.astype(np.float64) ** 2
        sigma = np.sqrt(np.maximum(squares / inner - mean**2, 0))
        # A pixel's own spread rests on few values: that of most pixels is the least to allow.
        everywhere = np.sqrt(np.maximum(self.squares / self.count - (self.total / self.count) ** 2, 0))
        usual = float(np.nanmedian(everywhere)) * np.sqrt(self.count / (self.count - 1))
        return mean.astype(np.float32), (_CLIP_SIGMA * np.maximum(sigma, usual)).astype(np.float32)


def write_master(path: Path, master: Master) -> None:
    """Write a master as FITS, float32, rows from the top, under a temporary name first.

    Raises
    ------
    InputError
        It cannot be written.
    MissingPartError
        Astropy is not installed.
    """
    try:
        from astropy.io import fits
    except ImportError as error:
        raise MissingPartError(f"writing {path} needs astropy", "pip install 'edgegal[device]'") from error
    pixels = master.pixels if master.pixels.ndim == 2 else np.moveaxis(master.pixels, 2, 0)
    unit = fits.PrimaryHDU(np.ascontiguousarray(pixels, np.float32))
    unit.header.extend([(k, v, c) for k, v, c in _cards(master) if v is not None])
    # Astropy, writing to a disk that is full, does not say so in a way to rely on.
    content = io.BytesIO()
    unit.writeto(content, output_verify="exception")
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content.getbuffer())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        mend = "give another file with --out"
        if error.errno in _FULL:
            mend = f"make room there, or {mend}"
        raise InputError(f"{path} cannot be written: {error.strerror or error}", mend) from error


def _cards(master: Master) -> Iterator[tuple[str, str | int | float | bool | None, str]]:
    yield "IMAGETYP", f"Master {master.kind.capitalize()}", "kind of frame"
    yield "NCOMBINE", master.frames, "exposures combined"
    yield "COMBINE", "sigma-clipped mean", "how"
    yield "CLIPSIG", _CLIP_SIGMA, "sigma beyond which values are left out"
    yield "REJECTED", master.rejected, "share of the values left out"
    yield "EXPTIME", master.exposure_s, "[s] of one exposure"
    yield "CCD-TEMP", master.temperature_c, "[degC] of the first exposure"
    yield "GAIN", master.gain, "of the camera"
    yield "BAYERPAT", master.bayer, "colours of the top-left pixels"
    yield "ROWORDER", "TOP-DOWN", "first row is the top"
    yield "BIASSUB", "bias" in master.subtracted, "bias was subtracted"
    yield "DARKSUB", "dark" in master.subtracted, "dark was subtracted"
    yield "BUNIT", "adu", "units of the camera"
    yield "SWCREATE", f"edgegal {__version__}", "what wrote this"
    yield "DATE", datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] when it was written"


def read_master(kind: Kind, path: Path, progress: Callable[[int], None] | None = None) -> Master:
    """A master from its file, or made of the exposures in a folder.

    Parameters
    ----------
    kind
        What it is of.
    path
        The file or the folder.
    progress
        As `make_master` takes it.

    Raises
    ------
    InputError
        Nothing is there, the file is a master of another kind, or as `make_master`.
    FrameError
        It cannot be read: unlike a light frame it is not skipped, for it goes into every result.
    """
    frame = None if path.is_dir() else next(_frames([path]), None)
    if frame is None or "IMAGETYP" not in frame.header:
        return make_master(kind, [path], progress=progress, least=1)
    named = _named(frame)
    if named and kind not in named:
        raise InputError(f"{path} is a {named[0]} frame by its IMAGETYP, not a {kind}", f"give the master {kind}")
    subtracted: dict[Kind, bool] = {
        "bias": frame.header.get("BIASSUB") is True,
        "dark": frame.header.get("DARKSUB") is True,
    }
    return Master(
        kind,
        frame.pixels.astype(np.float32),
        int(_fact(frame, "NCOMBINE") or 1),
        frame.exposure_s,
        _fact(frame, "CCD-TEMP"),
        _fact(frame, "GAIN"),
        frame.bayer,
        tuple(name for name, done in subtracted.items() if done),
        _fact(frame, "REJECTED") or 0.0,
    )
