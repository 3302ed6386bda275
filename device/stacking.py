"""Live stacking: the running mean of registered frames, without what only one of them saw.

Each frame is brought to the sky level of the stack, moved to where the first frame had the sky, and averaged pixel by
pixel. A value far from the mean of those before it is left out: a satellite, a plane, a cosmic ray. Memory does not
grow with the number of frames.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.device.registration import Motion, Reference
from edgegal.device.stars import Field, measure_field
from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["LiveStack", "Stacked"]

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
_SKY_SAMPLES = 10_000
_LEAST_FOR_NOISE = 1.5
_MAD_TO_SIGMA = 1.4826
_MEAN_OF_CHANNELS = np.full((1, 3), 1 / 3, np.float32)


@dataclass(frozen=True)
class Stacked:
    """What a frame made of the stack.

    Attributes
    ----------
    frame
        The stack, in the pixels of its first frame and with everything else of the last: float32 when linear, else
        uint8. Pixels that no frame covered are NaN.
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

    frame: Frame
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
        Frames that count, at least 1: from then on the mean forgets the oldest gradually. None for all of the night.
    """

    def __init__(self, depth: int | None) -> None:
        if depth is not None and depth < 1:
            raise ValueError(f"a stack is at least 1 frame deep, not {depth}")
        self.depth = depth
        self._reference: Reference | None = None
        self._sums = _Sums.blank((0, 0))
        self._shape: tuple[int, ...] = ()
        self._last: Motion | None = None
        self._frames = 0
        self._misses = 0

    @property
    def coverage(self) -> NDArray[np.float32]:
        """``(h, w)`` frames that count in each pixel, at most `depth`."""
        return self._sums.count.copy()

    @property
    def noise(self) -> NDArray[np.float32]:
        """``(h, w)`` noise sigma of the stack's luminance (the mean of its channels), from how its frames differ.

        NaN where fewer than two frames count.
        """
        return self._sums.noise()

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
        aligned = _Aligned(frame, motion)
        least_noise = 0.0 if frame.linear else _LEAST_DISPLAY_NOISE
        if self.depth is not None and self._frames >= self.depth:
            self._sums.forget((self.depth - 1) / self.depth)
        left_out = self._sums.add(aligned, least_noise)
        self._frames += 1
        self._last = motion
        stacked = replace(frame, pixels=self._sums.picture(frame.linear), bayer=None)
        return Stacked(stacked, motion, carried, self._frames, left_out)

    def _registered(self, frame: Frame, field: Field) -> tuple[Motion, Motion | None]:
        """The motion of a frame, and what carries places over when the stack is begun anew for it."""
        shape = _demosaiced_shape(frame)
        carried: Motion | None = None
        if self._reference is not None and shape == self._shape:
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
        self._shape = shape
        self._sums = _Sums.blank(shape)
        self._frames = self._misses = 0
        return Motion.none(), carried


def _demosaiced_shape(frame: Frame) -> tuple[int, ...]:
    return (*frame.pixels.shape, 3) if _is_mosaic(frame) else frame.pixels.shape


def _drift(motion: Motion, size: tuple[int, int]) -> float:
    """How far the middle of the frame has moved, as a share of its sides."""
    middle = np.array(size) / 2
    return float((np.abs(motion.apply(middle[None])[0] - middle) / size).max())


class _Aligned:
    """A frame seen from the stack: parts of it are moved as they are asked for.

    A Bayer frame is not demosaiced first: each colour is interpolated once, from its own pixels to the stack's.

    Parameters
    ----------
    frame
        Raw or demosaiced.
    motion
        Where the stack's places lie in it.
    """

    def __init__(self, frame: Frame, motion: Motion) -> None:
        pixels = frame.pixels.astype(np.float32, copy=False)
        self._size = frame.size
        self._whole = pixels if not _is_mosaic(frame) else None
        self._still = np.array_equal(motion.matrix, np.eye(2, 3))
        self._matrix = motion.for_opencv
        self._by_colour: dict[str, list[tuple[Array, NDArray[np.float64]]]] = {}
        if _is_mosaic(frame) and frame.bayer:
            for i, colour in enumerate(frame.bayer):
                self._by_colour.setdefault(colour, []).append(_bayer_plane(pixels, i % 2, i // 2, self._matrix))

    def rows(self, top: int, bottom: int) -> Array:
        """``(bottom - top, w)`` or ``(bottom - top, w, 3)``: those rows; NaN where the frame does not cover them."""
        if self._whole is not None and self._still:
            return self._whole[top:bottom].copy()
        return self._seen(_from_corner(top, 1), (self._size[0], bottom - top))

    def sample(self, step: int) -> Array:
        """Every `step`-th pixel of every `step`-th row of the stack."""
        width, height = self._size
        return self._seen(_from_corner(0, step), (-(-width // step), -(-height // step)))

    def _seen(self, corner: NDArray[np.float64], size: tuple[int, int]) -> Array:
        if self._whole is not None:
            return _warped(self._whole, self._matrix @ corner, size)
        channels = []
        for colour in "RGB":
            first, *others = (_warped(plane, matrix @ corner, size) for plane, matrix in self._by_colour[colour])
            for other in others:
                first += other
                first *= np.float32(0.5)
            channels.append(first)
        return cv2.merge(channels)


def _is_mosaic(frame: Frame) -> bool:
    return frame.bayer is not None and frame.pixels.ndim == 2


def _bayer_plane(pixels: Array, x: int, y: int, matrix: NDArray[np.float64]) -> tuple[Array, NDArray[np.float64]]:
    """The pixels of one place in the Bayer cell, and the matrix from the stack to them.

    With one more pixel around them: the outermost pixels of the frame lie beyond the outermost of most colours.
    """
    plane = cv2.copyMakeBorder(np.ascontiguousarray(pixels[y::2, x::2]), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    within = matrix / 2
    within[:, 2] += 1 - np.array((x, y)) / 2
    return plane, within


def _warped(pixels: Array, matrix: NDArray[np.float64], size: tuple[int, int]) -> Array:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, matrix, size, flags=flags, borderValue=(np.nan,) * 4)


def _from_corner(top: int, step: float) -> NDArray[np.float64]:
    """``(3, 3)`` matrix from pixels counted from row `top` in steps to pixels of the whole."""
    return np.array([[step, 0, 0], [0, step, top], [0, 0, 1]], np.float64)


@dataclass
class _Sums:
    """The running figures of each pixel; its mean is `total` over `count`.

    Attributes
    ----------
    total
        ``(h, w)`` or ``(h, w, 3)`` float32: sum of the frames.
    squares
        ``(h, w)`` float32: sum of the squared differences of their luminance from the mean.
    count
        ``(h, w)`` float32: frames that counted, those beyond the depth forgotten gradually.
    weight, weight_squares
        Sum of the weights of the frames, and of their squares: 1 each, and less once they are being forgotten.
    """

    total: Array
    squares: Array
    count: Array
    weight: float = 0.0
    weight_squares: float = 0.0

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> "_Sums":
        """Nothing yet, for frames of ``(h, w)`` or ``(h, w, 3)``."""
        return cls(np.zeros(shape, np.float32), np.zeros(shape[:2], np.float32), np.zeros(shape[:2], np.float32))

    def forget(self, kept: float) -> None:
        """Keep only a share of what all frames so far weigh."""
        for values in (self.total, self.squares, self.count):
            values *= np.float32(kept)
        self.weight *= kept
        self.weight_squares *= kept**2

    def add(self, aligned: _Aligned, least_noise: float) -> float:
        """Take a frame in; the share of its pixels that was left out."""
        height, width = self.count.shape
        step = max(1, int(np.sqrt(height * width / _SKY_SAMPLES)))
        sky, offset, noise = self._compared(aligned.sample(step), step, least_noise)
        covered = left_out = 0
        for top, bottom in _blocks(height, width):
            pixels = aligned.rows(top, bottom)
            flat = pixels.reshape(bottom - top, -1)
            # Whole rows: numpy is slow along an axis of three.
            flat += np.tile(offset, width)
            part = _Sums(self.total[top:bottom], self.squares[top:bottom], self.count[top:bottom])
            seen, taken = part._take(pixels, sky, noise)
            covered, left_out = covered + seen, left_out + seen - taken
        self.weight += 1
        self.weight_squares += 1
        return left_out / max(covered, 1)

    def _compared(self, sample: Array, step: int, least_noise: float) -> tuple[float, Array, float]:
        """Sky level of the stack's luminance, what lifts each channel of a frame to it, and the frame's noise."""
        count = self.count[::step, ::step]
        sample = sample.reshape(*count.shape, -1)
        both = (count > 0) & np.isfinite(sample).all(axis=2)
        if not both.any():
            return 0.0, np.zeros(sample.shape[2], np.float32), 0.0
        before = self.total[::step, ::step].reshape(sample.shape)[both] / count[both][:, None]
        offset = np.median(before - sample[both], axis=0)
        difference = (sample[both] + offset - before).mean(axis=1)
        noise = _MAD_TO_SIGMA * float(np.median(np.abs(difference))) or float(difference.std())
        noise /= float(np.sqrt(1 + 1 / np.median(count[both])))
        return float(np.median(before.mean(axis=1))), offset.astype(np.float32), max(noise, least_noise)

    def _take(self, pixels: Array, sky: float, noise: float) -> tuple[int, int]:
        """Add rows of a frame to these; how many pixels it covers, and how many of them are added."""
        light = _luminance(pixels)
        share = np.reciprocal(np.maximum(self.count, 1))
        mean = _luminance(self.total) * share
        difference = light - mean
        finite = np.isfinite(difference)
        tolerance = self._tolerance(np.minimum(light, mean), share, sky, noise)
        squared = difference * difference
        agrees = squared <= tolerance
        # A mean of few frames that is far brighter than this one is what only they saw.
        outshone = (difference < 0) & (self.count < _SETTLED_FRAMES) & (self.count > 0) & ~agrees
        if outshone.any():
            self.total[outshone] = 0
            self.count[outshone] = 0
        taken = (agrees | (self.count == 0)) & finite
        # What is left out widens the tolerance: light that stays is let in after a few frames.
        np.minimum(squared, tolerance, out=squared)
        squared *= self.count / (self.count + 1)
        cv2.accumulate(squared, self.squares, mask=finite.view(np.uint8))
        cv2.accumulate(pixels, self.total, mask=taken.view(np.uint8))
        self.count += taken
        return int(np.count_nonzero(finite)), int(np.count_nonzero(taken))

    def _tolerance(self, darker: Array, share: Array, sky: float, noise: float) -> Array:
        """Square of how far a pixel may lie from the mean."""
        variance = self.squares * share
        np.maximum(variance, np.float32(noise) ** 2, out=variance)
        variance *= 1 + share
        darker -= np.float32(sky)
        np.maximum(darker, 0, out=darker)
        darker *= _SEEING
        darker *= darker
        variance += darker
        variance *= _CLIP_SIGMA**2
        return variance

    def picture(self, linear: bool) -> NDArray[Any]:
        """``(h, w)`` or ``(h, w, 3)``: float32 with NaN where nothing counted, or uint8."""
        pixels = np.empty_like(self.total)
        for top, bottom in _blocks(*self.count.shape):
            count = self.count[top:bottom]
            with np.errstate(divide="ignore"):
                share = 1 / count
            # A count of zero gives NaN: nothing of infinite weight.
            shares = share if pixels.ndim == 2 else cv2.merge([share] * 3)
            with np.errstate(invalid="ignore"):
                np.multiply(self.total[top:bottom], shares, out=pixels[top:bottom])
        return pixels if linear else np.rint(np.nan_to_num(pixels)).astype(np.uint8)

    def noise(self) -> Array:
        """``(h, w)`` sigma of the mean of the luminance; NaN where fewer than two frames count."""
        count = np.where(self.count >= _LEAST_FOR_NOISE, self.count, np.float32(np.nan))
        one_frame = self.squares / (count - 1)
        noise: Array = np.sqrt(one_frame / count * np.float32(self.weight_squares / max(self.weight, 1e-9)))
        return noise


def _blocks(height: int, width: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _BLOCK_PIXELS // width)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def _luminance(pixels: Array) -> Array:
    return pixels if pixels.ndim == 2 else cv2.transform(pixels, _MEAN_OF_CHANNELS)
