"""The simulated night as a source."""

from edgegal.device.sources.base import Source
from edgegal.errors import InputError
from edgegal.frames import Frame
from edgegal.sky import Night

__all__ = ["SimulatedSource"]

_DEFAULTS = {"seed": 0, "frames": 8, "width": 960, "height": 640}
_LEAST = {"seed": 0, "frames": 1, "width": 256, "height": 256}
_MOST = {"seed": 2**32 - 1, "frames": 100_000, "width": 16_384, "height": 16_384}


class SimulatedSource(Source):
    """Frames of `edgegal.sky.Night`.

    Parameters
    ----------
    options
        ``name=number`` pairs joined by commas: ``seed``, ``frames``, ``width``, ``height``; may be empty.

    Raises
    ------
    InputError
        An option is unknown or no number in range.
    """

    stream = True

    def __init__(self, options: str) -> None:
        self.name = f"sim:{options}"
        chosen = _DEFAULTS | _parsed(options)
        night = Night(chosen["seed"], chosen["width"], chosen["height"], chosen["frames"])
        self._frames = iter(night)

    def __next__(self) -> Frame:
        return next(self._frames)


def _parsed(options: str) -> dict[str, int]:
    values: dict[str, int] = {}
    for option in filter(None, options.split(",")):
        key, _, text = option.partition("=")
        if key not in _LEAST:
            raise InputError(f"sim: has no option {key!r}", f"options: {', '.join(_LEAST)}")
        if not text.isdecimal() or not _LEAST[key] <= int(text) <= _MOST[key]:
            raise InputError(f"sim: {key} is a whole number from {_LEAST[key]} to {_MOST[key]}, not {text!r}")
        values[key] = int(text)
    return values
