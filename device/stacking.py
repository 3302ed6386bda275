"""Live stacking: the running mean of registered frames, without what only one of them saw.

Each frame is brought to the sky level of the stack, moved to where the first frame had the sky, and averaged pixel by
pixel. A value far from the mean of those before it is left out: a satellite, a plane, a cosmic ray. Memory does not
grow with the number of frames.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.device.alignment import Aligned
from edgegal.device.registration import Motion, Reference
from edgegal.device.stars import Field, measure_field
from edgegal.device.supervision import beat
from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["LiveStack", "Stack", "StackFacts", "Stacked", "as_display"]

_log = logging.getLogger(__name__)

Array = NDArray[np.float32]

# So many frames in a row that do not register mean that the telescope points elsewhere.
_ELSEWHERE_AFTER = 3
# Beyond this share of the frame a drifted field is looked at anew instead of stacked on its last strip.
_LARGEST_DRIFT = 0.25
# A value further from the mean than so many sigma is left out.
_CLIP_SIGMA = np.float32(4.0)
# Seeing and focus change the light of a star's pixel by up to this share from frame to frame, seen as one sigma.
_SEEING = np.float32(0.15)
# Until then the mean may itself be what only one frame saw: of two values that disagree the darker is the sky.
_SETTLED_FRAMES = 5
# One grey level of a display picture: its noise can be smaller than its steps.
_LEAST_DISPLAY_NOISE = 1.0
# Rows averaged at a time, in pixels: what they pass through stays in the cache of a small computer.
_BLOCK_PIXELS = 1 << 15
# Blocks whose part of a frame is made ready at once: never a copy of the whole frame.
_BAND_BLOCKS = 8
# The largest count there is place for.
_MOST_COUNTED = int(np.iinfo(np.uint16).max)
_SKY_SAMPLES = 3_000
_LEAST_FOR_NOISE = 1.5
_MAD_TO_SIGMA = 1.4826
# How often whoever waits for a stack looks whether the one that has it goes on, and how long a reader waits for one
# that does not.
_LOOK_S = 0.25
_GIVE_UP_S = 10.0


@dataclass(frozen=True)
class StackFacts:
    """What is known of a stack at one moment.

    Attributes
    ----------
    last
        The last frame, without its pixels.
    frames
        Frames in the stack.
    begun
        When the first of them was taken.
    exposure_s
        Sum of their exposure times; None where one did not say.
    """

    last: Frame
    frames: int
    begun: datetime | None
    exposure_s: float | None


@dataclass(frozen=True)
class Stacked:
    """What a frame made of the stack.

    Attributes
    ----------
    stack
        The stack, which goes on: its picture is that of the moment it is asked for.
    motion
        Where the stack's places lie in the frame.
    carried
        Where places of the picture before lie in this one: standing still, but for a stack begun anew. None where that
        shows another sky.
    frames
        Frames in the stack.
    left_out
        Share of the frame's pixels that were left out, 0-1.
    """

    stack: "Stack"
    motion: Motion
    carried: Motion | None
    frames: int
    left_out: float


class LiveStack:
    """Running sigma-clipped mean of frames registered to the first.

    The stack starts anew when the sky has drifted by a quarter of the frame, or when three frames in a row do not
    register.

    Parameters
    ----------
    depth
        Frames that count, at least 1: from then on the mean forgets the oldest gradually. None for as many as can be
        counted, 65,535.

    Attributes
    ----------
    stack
        What the next frame is added to, if it shows the same sky.
    """

    def __init__(self, depth: int | None) -> None:
        if depth is not None and depth < 1:
            raise ValueError(f"a stack is at least 1 frame deep, not {depth}")
        self.depth = depth
        self._reference: Reference | None = None
        self.stack = Stack((0, 0), depth)
        self._last: Motion | None = None
        self._misses = 0

    def push(self, frame: Frame, field: Field | None = None) -> Stacked:
        """Stack `frame`.

        Parameters
        ----------
        frame
            Raw or demosaiced, calibrated.
        field
            What was measured on it; measured here when None.

        Raises
        ------
        FrameError
            The frame does not register; the stack is as before.
        """
        try:
            field = field or measure_field(frame)
            motion, carried = self._registered(frame, field)
        except FrameError as error:
            raise FrameError(f"{frame.source}: {error.message}") from None
        left_out = self.stack.add(frame, motion)
        self._last = motion
        return Stacked(self.stack, motion, carried, self.stack.frames, left_out)

    def _registered(self, frame: Frame, field: Field) -> tuple[Motion, Motion | None]:
        """The motion of a frame, and what carries places over when the stack is begun anew for it."""
        shape = _demosaiced_shape(frame)
        carried: Motion | None = None
        if self._reference is not None and shape == self.stack.shape:
            try:
                motion = self._reference.motion_of(field, self._last)
            except FrameError:
                self._misses += 1
                if self._misses < _ELSEWHERE_AFTER:
                    raise
            else:
                self._misses = 0
                if _drift(motion, field.size) <= _LARGEST_DRIFT:
                    return motion, Motion.none()
                carried = motion
            _log.info("%s: the sky has moved on, stacking anew", frame.source)
        self._reference = Reference(field)
        # Another object: whoever holds the one before can still have its picture.
        self.stack = Stack(shape, self.depth)
        self._misses = 0
        return Motion.none(), carried


class Stack:
    """The running sums of one sky: `edgegal.preprocess.Strips` of its mean.

    Its picture may be asked for by one thread while another adds frames.

    Parameters
    ----------
    shape
        ``(h, w)`` or ``(h, w, 3)`` of its frames, demosaiced.
    depth
        As `LiveStack` has it.
    """

    def __init__(self, shape: tuple[int, ...], depth: int | None) -> None:
        self.shape = shape
        self.depth = min(depth or _MOST_COUNTED, _MOST_COUNTED)
        # By channel, so that whole rows of one kind are summed.
        self._total = [np.zeros(shape[:2], np.float32) for _ in range(shape[2] if len(shape) == 3 else 1)]
        # Of the differences of the light, which is the sum of the channels, from its mean; averaged over 2x2 pixels.
        self._squares = np.zeros([-(-side // 2) for side in shape[:2]], np.float32)
        # Frames that counted, in parts of one: those beyond the depth are forgotten gradually.
        self._one = _MOST_COUNTED // self.depth
        self._count = np.zeros(shape[:2], np.uint16)
        self._weight = self._weight_squares = 0.0
        self._facts: StackFacts | None = None
        self._lock = threading.Lock()
        # Of rows that were read or added.
        self._steps = 0

    @property
    def frames(self) -> int:
        """Frames in the stack."""
        return self._facts.frames if self._facts else 0

    @property
    def coverage(self) -> NDArray[np.float32]:
        """``(h, w)`` frames that count in each pixel, at most `depth`."""
        counted: NDArray[np.float32] = np.divide(self._count, self._one, dtype=np.float32)
        return counted

    @property
    def noise(self) -> NDArray[np.float32]:
        """``(h, w)`` noise sigma of the stack's luminance (the mean of its channels), from how its frames differ.

        NaN where fewer than two frames count.
        """
        count = self.coverage
        count[count < _LEAST_FOR_NOISE] = np.nan
        rows, columns = (np.arange(side) // 2 for side in count.shape)
        one_frame = self._squares[np.ix_(rows, columns)] / (count - 1)
        weight = self._weight_squares / max(self._weight, 1e-9) / len(self._total) ** 2
        noise: Array = np.sqrt(one_frame / count * np.float32(weight))
        return noise

    @contextmanager
    def held(self) -> Iterator[StackFacts]:
        """Keep frames from being added: its rows and what is known of it are of one moment.

        Raises
        ------
        FrameError
            Nothing was added yet, or whoever has the stack does not go on.
        """
        with self._alone(_GIVE_UP_S):
            if self._facts is None:
                raise FrameError("the stack holds no frame yet")
            yield self._facts

    @contextmanager
    def _alone(self, patience_s: float = float("inf")) -> Iterator[None]:
        """Nobody else adds to the stack or holds it.

        A file on a slow card, and a large frame on a slow computer, take longer than a stall: as long as they go on,
        whoever waits for them beats. `FrameError` after so many seconds in which they do not.
        """
        steps, since = self._steps, monotonic()
        while not self._lock.acquire(timeout=_LOOK_S):
            if self._steps != steps:
                steps, since = self._steps, monotonic()
                beat()
            elif monotonic() - since > patience_s:
                raise FrameError("the stack cannot be seen: its file is being written, and the disk does not go on")
        try:
            yield
        finally:
            self._lock.release()

    def picture(self) -> Frame:
        """The mean now, in the pixels of the first frame and with everything else of the last.

        float32 when linear, else uint8; pixels that no frame covered are NaN. Errors as `held`.
        """
        with self.held() as facts:
            pixels: NDArray[Any] = np.empty(self.shape, np.float32)
            for top, bottom in self._blocks():
                planes = self.planes(top, bottom)
                pixels[top:bottom] = cv2.merge(planes) if len(self.shape) == 3 else planes[0]
            if not facts.last.linear:
                pixels = as_display(pixels)
            return replace(facts.last, pixels=pixels, bayer=None)

    def planes(self, top: int, bottom: int) -> Sequence[NDArray[np.float32]]:
        """Rows of the mean, ``(rows, w)`` of each channel; NaN where nothing counted."""
        self._steps += 1
        with np.errstate(divide="ignore", invalid="ignore"):
            # A count of zero gives NaN: nothing of infinite weight.
            share = np.divide(self._one, self._count[top:bottom], dtype=np.float32)
            return [total[top:bottom] * share for total in self._total]

    def every(self, step: int, first: int = 0) -> NDArray[np.float32]:
        """``(channels, n)``: every `step`-th pixel of the mean, counted row by row from the `first`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.divide(self._one, self._count.ravel()[first::step], dtype=np.float32)
            return np.stack([total.ravel()[first::step] * share for total in self._total])

    def add(self, frame: Frame, motion: Motion) -> float:
        """Take a frame in.

        Parameters
        ----------
        frame
            Raw or demosaiced, of the stack's size.
        motion
            Where the stack's places lie in it.

        Returns
        -------
        float
            Share of its pixels that was left out, 0-1.
        """
        aligned = Aligned(frame, motion)
        # What is no number, or fits no float32, is left out.
        with self._alone(), np.errstate(invalid="ignore", over="ignore"):
            agreement = self._compared(aligned, 0.0 if frame.linear else _LEAST_DISPLAY_NOISE)
            kept = 1.0 if self.frames < self.depth else (self.depth - 1) / self.depth
            covered = left_out = 0
            for first, last in self._blocks(_BAND_BLOCKS):
                band = aligned.band(first, last, agreement.offset)
                for top, bottom in self._blocks(1, first, last):
                    seen, left = self._add_rows(top, band.rows(top, bottom), agreement, kept)
                    covered, left_out = covered + seen, left_out + left
            self._weight = self._weight * kept + 1
            self._weight_squares = self._weight_squares * kept**2 + 1
            self._facts = self._told(frame)
        return left_out / max(covered, 1)

    def _told(self, frame: Frame) -> StackFacts:
        """What is known with one more frame."""
        before = self._facts
        if before is None:
            return StackFacts(frame.without_pixels(), 1, frame.time, frame.exposure_s)
        known = before.exposure_s is not None and frame.exposure_s is not None
        exposure_s = (before.exposure_s or 0) + (frame.exposure_s or 0) if known else None
        return StackFacts(frame.without_pixels(), before.frames + 1, before.begun, exposure_s)

    def _blocks(self, together: int = 1, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
        """Where blocks of rows begin and end, or so many of them `together`, between two rows."""
        height, width = self.shape[:2]
        last = height if last is None else last
        # In pairs, as the squares are.
        rows = max(2, _BLOCK_PIXELS // width & ~1) * together
        return ((top, min(top + rows, last)) for top in range(first, last, rows))

    def _compared(self, aligned: Aligned, least_noise: float) -> "_Agreement":
        height, width = self.shape[:2]
        step = max(1, int(np.sqrt(height * width / _SKY_SAMPLES)))
        count = np.divide(self._count[::step, ::step], self._one, dtype=np.float32)
        sample = np.stack(aligned.sample(step))
        both = (count > 0) & np.isfinite(sample).all(axis=0)
        if not both.any():
            return _Agreement(np.zeros(len(sample), np.float32), 0.0, 0.0)
        before = np.stack([total[::step, ::step][both] for total in self._total]) / count[both]
        sample = sample[:, both]
        offset = np.median(before - sample, axis=1)
        difference = (sample + offset[:, None] - before).sum(axis=0)
        noise = _MAD_TO_SIGMA * float(np.median(np.abs(difference))) or float(difference.std())
        noise /= float(np.sqrt(1 + 1 / np.median(count[both])))
        sky = float(np.median(before.sum(axis=0)))
        return _Agreement(offset.astype(np.float32), sky, max(noise, len(sample) * least_noise))

    def _add_rows(self, top: int, planes: Sequence[Array], agreement: "_Agreement", kept: float) -> tuple[int, int]:
        """Add rows of a frame; how many pixels it covers, and how many of them are left out."""
        self._steps += 1
        bottom = top + len(planes[0])
        squares = self._squares[top // 2 : -(-bottom // 2)]
        sums = _Rows([total[top:bottom] for total in self._total], squares, self._count[top:bottom], self._one)
        if kept < 1:
            sums.forget(kept)
        return sums.add(planes, agreement)


@dataclass(frozen=True)
class _Agreement:
    """How a frame compares with the stack.

    Attributes
    ----------
    offset
        What lifts each of its channels to the sky of the stack.
    sky
        Light of that sky, summed over the channels.
    noise
        Noise sigma of the frame's light.
    """

    offset: Array
    sky: float
    noise: float


@dataclass(frozen=True)
class _Rows:
    """Some rows of the sums.

    Attributes
    ----------
    totals, squares, count
        As the stack has them; changed in place.
    one
        What the count of one frame is.
    """

    totals: Sequence[Array]
    squares: Array
    count: NDArray[np.uint16]
    one: int

    def forget(self, kept: float) -> None:
        """Keep only a share of what all frames so far weigh."""
        left = np.rint(self.count * np.float32(kept))
        # Counts are rounded: the sums are kept to them, or their mean would change.
        share = np.divide(left, self.count, out=np.zeros_like(left), where=self.count > 0)
        for total in self.totals:
            np.multiply(total, share, out=total)
        np.multiply(self.squares, np.float32(kept), out=self.squares)
        self.count[...] = left

    def add(self, planes: Sequence[Array], agreement: _Agreement) -> tuple[int, int]:
        """Add those of a frame, which are changed; how many pixels it covers, and how many of them are left out."""
        light = _summed(planes)
        count = self.count.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = _summed(self.totals)
            difference *= np.divide(np.float32(self.one), count)
            np.subtract(light, difference, out=difference)
        squared = np.square(difference)
        # Most pixels agree within the least tolerance there is: only the others are looked at one by one.
        doubtful = np.flatnonzero(~(squared <= (_CLIP_SIGMA * np.float32(agreement.noise)) ** 2))
        covered = np.isfinite(light.ravel()[doubtful])
        uncovered = doubtful[~covered]
        squared.ravel()[uncovered] = 0
        left_out = self._left_out(doubtful[covered], light, difference, squared, count, agreement)
        away = np.concatenate([uncovered, left_out])
        for plane in planes:
            plane.ravel()[away] = 0
        more = count + self.one
        squared *= np.divide(count, more, out=count)
        halved = cv2.resize(squared, self.squares.shape[::-1], interpolation=cv2.INTER_AREA)
        np.add(self.squares, halved, out=self.squares)
        for total, plane in zip(self.totals, planes, strict=True):
            total += plane
        more.ravel()[away] -= self.one
        self.count[...] = more
        return light.size - len(uncovered), len(left_out)

    def _left_out(
        self,
        at: NDArray[np.intp],
        light: Array,
        difference: Array,
        squared: Array,
        count: Array,
        agreement: _Agreement,
    ) -> NDArray[np.intp]:
        """Which of some pixels disagree with the mean.

        A mean of few frames that is far brighter than this one is what only they saw: it is begun anew. What is left
        out widens the tolerance, so that light that stays is let in after a few frames.
        """
        begun = count.ravel()[at] > 0
        squared.ravel()[at[~begun]] = 0
        at = at[begun]
        light, difference, apart = light.ravel()[at], difference.ravel()[at], squared.ravel()[at]
        counted = count.ravel()[at]
        tolerance = self._tolerance(at, counted, np.minimum(light, light - difference), agreement)
        disagrees = apart > tolerance
        outshone = disagrees & (difference < 0) & (counted < _SETTLED_FRAMES * self.one)
        for values in (*self.totals, count):
            values.ravel()[at[outshone]] = 0
        squared.ravel()[at] = np.minimum(apart, tolerance)
        return at[disagrees & ~outshone]

    def _tolerance(self, at: NDArray[np.intp], count: Array, darker: Array, agreement: _Agreement) -> Array:
        """Square of how far pixels may lie from the mean."""
        share = self.one / count
        rows, columns = np.divmod(at, self.count.shape[1])
        variance = np.maximum(self.squares[rows // 2, columns // 2] * share, np.float32(agreement.noise) ** 2) * (
            1 + share
        )
        seeing = _SEEING * np.maximum(darker - np.float32(agreement.sky), 0)
        tolerance: Array = _CLIP_SIGMA**2 * (variance + seeing * seeing)
        return tolerance


def as_display(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Means of display pixels as such pixels again."""
    pixels: NDArray[np.uint8] = np.rint(np.nan_to_num(values)).astype(np.uint8)
    return pixels


def _summed(planes: Sequence[Array]) -> Array:
    """The light of all channels, in a new array."""
    first, *others = planes
    light: Array = first + others[0] if others else first.copy()
    for plane in others[1:]:
        light += plane
    return light


def _demosaiced_shape(frame: Frame) -> tuple[int, ...]:
    return (*frame.pixels.shape, 3) if frame.is_mosaic else frame.pixels.shape


def _drift(motion: Motion, size: tuple[int, int]) -> float:
    """How far the middle of the frame has moved, as a share of its sides."""
    middle = np.array(size) / 2
    return float((np.abs(motion.apply(middle[None])[0] - middle) / size).max())
