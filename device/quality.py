"""Quality of single frames, and the judge that drops those far below the rest of the night.

A cloud takes stars away, lost focus widens them, wind and bad guiding draw them out, dawn lifts the sky. What passes
through a frame, such as a satellite, leaves all of these alone and is the stack's to leave out.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgegal.device.stars import Field

__all__ = ["FrameQuality", "Judge", "Verdict", "frame_quality"]

Fault = Literal["few stars", "wide stars", "trailed stars", "bright sky", "uneven sky"]

# Faint stars are measured badly: widths come from the brightest.
_MEASURED_STARS = 50


@dataclass(frozen=True)
class FrameQuality:
    """What tells a good frame from a bad one.

    Attributes
    ----------
    stars
        Stars found, at most 200.
    fwhm_px
        Median full width at half maximum of the brightest, in pixels of the frame; NaN without stars.
    elongation
        Their median ratio of longer to shorter axis; NaN without stars.
    background
        Median sky of the luminance, in units of the frame.
    gradient
        Brightest less darkest ninth of the sky, same units.
    sigma
        Sky noise of the luminance, same units; of cells of four pixels where the frame was measured at half its
        sampling.
    """

    stars: int
    fwhm_px: float
    elongation: float
    background: float
    gradient: float
    sigma: float


def frame_quality(field: Field) -> FrameQuality:
    """Quality of the frame that `field` was measured on."""
    best = field.stars.brightest(_MEASURED_STARS)
    return FrameQuality(
        stars=len(field.stars),
        fwhm_px=float(np.median(best.fwhm)) if len(best) else float("nan"),
        elongation=float(np.median(best.elongation)) if len(best) else float("nan"),
        background=float(np.median(field.sky)),
        gradient=_gradient(field.sky),
        sigma=field.sigma,
    )


def _gradient(sky: NDArray[np.float32]) -> float:
    ninths = [part for row in np.array_split(sky, 3) for part in np.array_split(row, 3, axis=1)]
    levels = [float(np.median(part)) for part in ninths if part.size]
    return max(levels) - min(levels)


@dataclass(frozen=True)
class Verdict:
    """What the judge says of a frame.

    Attributes
    ----------
    quality
        Of the frame.
    fault
        What is wrong with it; None for a good frame.
    reason
        The fault with its figures, in words; empty for a good frame.
    """

    quality: FrameQuality
    fault: Fault | None = None
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether the frame may go on."""
        return self.fault is None


@dataclass
class Judge:
    """Compares frames with the running median of the good ones before.

    The first frames pass while there is nothing to compare them with. A change that lasts is taken for the new state of
    the night: after `patience` bad frames in a row the judge starts anew.

    Attributes
    ----------
    least_stars
        Share of the usual number of stars below which a frame is clouded.
    largest_fwhm
        Times the usual width from which stars are out of focus.
    largest_elongation
        Elongation from which stars are trailed, unless it is usual.
    largest_background_sigma
        Sky above the usual, and unevenness above the usual one, in sigmas of the sky noise.
    memory
        Good frames that the medians are of.
    patience
        Bad frames in a row that are no accident any more.
    """

    least_stars: float = 0.5
    largest_fwhm: float = 1.5
    largest_elongation: float = 1.6
    largest_background_sigma: float = 30.0
    memory: int = 30
    patience: int = 20
    _good: deque[FrameQuality] = field(init=False, repr=False)
    _bad: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._good = deque(maxlen=self.memory)

    def __call__(self, quality: FrameQuality) -> Verdict:
        """Judge the next frame of the night."""
        found = self._fault(quality) if len(self._good) >= _LEAST_TO_COMPARE else None
        if found is None:
            self._good.append(quality)
            self._bad = 0
            return Verdict(quality)
        self._bad += 1
        if self._bad >= self.patience:
            self._good.clear()
            self._bad = 0
        return Verdict(quality, *found)

    def _fault(self, quality: FrameQuality) -> tuple[Fault, str] | None:
        usual = {name: float(np.median([getattr(q, name) for q in self._good])) for name in _COMPARED}
        if usual["stars"] >= _LEAST_STARS and quality.stars < self.least_stars * usual["stars"]:
            return "few stars", f"few stars: {quality.stars} instead of {usual['stars']:.0f}, a cloud or dew"
        if quality.fwhm_px > self.largest_fwhm * usual["fwhm_px"]:
            widths = f"{quality.fwhm_px:.1f} px instead of {usual['fwhm_px']:.1f}"
            return "wide stars", f"wide stars: {widths}, out of focus or bad seeing"
        if quality.elongation > self.largest_elongation * max(1.0, usual["elongation"] / _USUAL_ELONGATION):
            return "trailed stars", f"trailed stars: elongation {quality.elongation:.1f}, wind or tracking"
        noise = max(usual["sigma"], 1e-9)
        above = (quality.background - usual["background"]) / noise
        if above > self.largest_background_sigma:
            return "bright sky", f"bright sky: {above:.0f} sigma above the usual, a cloud, a lamp or dawn"
        steeper = (quality.gradient - usual["gradient"]) / noise
        if steeper > self.largest_background_sigma:
            return "uneven sky", f"uneven sky: it differs by {steeper:.0f} sigma more than usual, a cloud or a lamp"
        return None


_COMPARED = ("stars", "fwhm_px", "elongation", "background", "gradient", "sigma")
# With fewer frames a median is one frame's word against another's.
_LEAST_TO_COMPARE = 3
# Fields of fewer stars lose half of them by chance.
_LEAST_STARS = 10
# What round stars show on account of noise and of coarse sampling.
_USUAL_ELONGATION = 1.2
