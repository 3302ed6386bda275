"""The simulated night as a source, fair or foul."""

from dataclasses import replace
from threading import Event
from time import monotonic, perf_counter

import numpy as np
from pydantic import Field

from edgegal.device.sources.base import Source
from edgegal.device.sources.options import Options, parse_options
from edgegal.errors import FrameError
from edgegal.frames import Frame
from edgegal.sky import Night

__all__ = ["SimulatedSource"]

# Linear units of `Night`: its pedestal, and what a lit cloud adds to the sky.
_PEDESTAL, _GLOW = 800.0, 600.0
_CLOUD_PASSES = 0.1
_CLOUD_NOISE = 30.0


class SimulatedOptions(Options):
    """Options of ``sim:``.

    Attributes
    ----------
    seed, frames, width, height
        See `edgegal.sky.Night`.
    drift
        Pixels of drift per exposure to the right; that of `Night` by default.
    rotate
        Degrees of field rotation per exposure.
    cloud
        Share of frames that a cloud covers.
    drop
        Share of frames that arrive damaged.
    fps
        Frames a second at most; as fast as they are taken by default.
    """

    seed: int = Field(default=0, ge=0, lt=2**32)
    frames: int = Field(default=8, ge=1, le=100_000)
    width: int = Field(default=960, ge=256, le=16_384)
    height: int = Field(default=640, ge=256, le=16_384)
    drift: float | None = Field(default=None, ge=-20, le=20)
    rotate: float = Field(default=0.0, ge=-180, le=180)
    cloud: float = Field(default=0.0, ge=0, le=1)
    drop: float = Field(default=0.0, ge=0, le=1)
    fps: float | None = Field(default=None, gt=0, le=1000)


class SimulatedSource(Source):
    """Frames of `edgegal.sky.Night`; the same options give the same frames.

    Parameters
    ----------
    address
        ``sim:`` and ``name=number`` pairs joined by commas, see `SimulatedOptions`.

    Raises
    ------
    InputError
        An option is unknown or no number in range.
    """

    stream = True

    def __init__(self, address: str) -> None:
        self.name = address
        options = self.parse(address)
        self._options = options
        self._night = Night(
            options.seed,
            options.width,
            options.height,
            options.frames,
            drift=Night.drift if options.drift is None else (options.drift, 0.0),
            rotation=options.rotate,
        )
        self.live = options.fps is not None
        self._index = 0
        self._due = monotonic()
        self._closing = Event()

    @staticmethod
    def parse(address: str) -> SimulatedOptions:
        """The options."""
        return parse_options(address.removeprefix("sim:"), SimulatedOptions, "sim:", ",")

    def __next__(self) -> Frame:
        self._keep_pace()
        index = self._index
        if self._closing.is_set() or index == self._night.frames:
            raise StopIteration
        self._index += 1
        chance = np.random.default_rng((self._options.seed, index, 1))
        damaged, clouded = chance.random(2) < (self._options.drop, self._options.cloud)
        if damaged:
            raise FrameError(f"{self.name} sent a damaged frame")
        frame = self._night.frame(index)
        return _clouded(frame, chance) if clouded else frame

    def close(self) -> None:
        self._closing.set()

    def _keep_pace(self) -> None:
        if self._options.fps is not None:
            self._closing.wait(max(0.0, self._due - monotonic()))
            self.arrived = perf_counter()
            self._due = max(self._due, monotonic() - 1) + 1 / self._options.fps


def _clouded(frame: Frame, chance: np.random.Generator) -> Frame:
    """The frame behind a cloud that takes most of the light and glows in the town's."""
    light = _CLOUD_PASSES * (frame.pixels - _PEDESTAL)
    noise = _CLOUD_NOISE * chance.standard_normal(frame.pixels.shape, np.float32)
    foul = np.clip(_PEDESTAL + _GLOW + light + noise, 0, 65535).astype(frame.pixels.dtype)
    return replace(frame, pixels=foul)
