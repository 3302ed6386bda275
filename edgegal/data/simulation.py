"""Simulated nights as files: FITS frames with headers as capture software writes them, and the truth beside them."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgegal import __version__
from edgegal.data.new_folder import new_folder
from edgegal.detections import Detections
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import Frame
from edgegal.sky import KINDS, Night

if TYPE_CHECKING:
    from edgegal.data.skies.headers import Cards
    from edgegal.data.skies.observation import Observation
    from edgegal.data.skies.observation import Truth as ObjectTruth

__all__ = ["TRUTH", "magnitude_range", "write_night", "write_observation"]

TRUTH = "truth.json"

_FAINTEST = 30.0


def write_night(night: Night, folder: Path) -> Path:
    """Write every frame as ``frame_0000.fits`` and so on, and `TRUTH`.

    The frames are RGB cubes of unsigned 16-bit integers, planes first, top row first. The truth lists for each frame
    the file and its galaxies: ``box`` x0, y0, x1, y1 in pixels from the outer corner of the top-left pixel, cut to the
    frame, and ``kind``.

    Parameters
    ----------
    night
        What to write.
    folder
        Absent or empty; it appears whole or not at all.

    Returns
    -------
    Path
        The truth file.

    Raises
    ------
    InputError
        `folder` is a file or holds something.
    MissingPartError
        Astropy is not installed.
    """
    with new_folder(folder) as unfinished:
        frames = []
        for frame in night:
            name = _name(frame.index)
            _write_fits(np.moveaxis(frame.pixels, 2, 0), _night_cards(frame), unfinished / name)
            frames.append({"file": name, "galaxies": _galaxies(night, frame)})
        truth = {"seed": night.seed, "width": night.width, "height": night.height, "frames": frames}
        _write_truth(truth, unfinished)
    return folder / TRUTH


def write_observation(observation: "Observation", frames: int, folder: Path) -> Path:
    """Write the first exposures of a telescope as ``frame_0000.fits`` and so on, and `TRUTH`.

    The frames are what the camera's own files are: unsigned 16-bit integers, Bayer or mono, top row first. The truth
    tells the telescope, the night and the labels, and for each frame the file and its ``objects``: ``class``,
    ``kind``, ``magnitude``, ``radius_arcsec``, the middle ``x``, ``y`` in pixels and ``ra``, ``dec`` in degrees, and
    ``box`` x0, y0, x1, y1, or null for what does not rise above the noise; ``unclear`` is true of what counts neither
    way in figures: too few pixels show, a star outshines it, or the border cuts off most of it.

    Parameters
    ----------
    observation
        What to write, from `edgegal.data.skies.observation.draw_observation`.
    frames
        How many, at least 1.
    folder
        Absent or empty; it appears whole or not at all.

    Returns
    -------
    Path
        The truth file.

    Raises
    ------
    InputError
        No frames are asked for, or `folder` is a file or holds something.
    MissingPartError
        Astropy is not installed.
    """
    from edgegal.data.skies.headers import Shot, header_cards

    if frames < 1:
        raise InputError(f"{frames} frames are nothing to write", "ask for 1 or more")
    scope = observation.telescope
    with new_folder(folder) as unfinished:
        entries = []
        for frame, objects in observation.frames(frames):
            begun, pose = observation.begun(frame.index), observation.pose(frame.index)
            shot = Shot(scope, begun, observation.ra, observation.dec, observation.target, pose)
            _write_fits(frame.pixels, header_cards(shot), unfinished / _name(frame.index))
            listed = [_listed(known) for known in objects]
            entries.append({"file": _name(frame.index), "time": begun.isoformat(), "objects": listed})
        truth = {
            "telescope": scope.name,
            "seed": observation.seed,
            "labels": list(observation.labels),
            "width": scope.width,
            "height": scope.height,
            "pixel_scale": round(scope.pixel_scale, 4),
            "seeing_arcsec": round(observation.seeing_arcsec, 3),
            "sky_mag_arcsec2": round(observation.sky_mag, 3),
            "frames": entries,
        }
        _write_truth(truth, unfinished)
    return folder / TRUTH


def magnitude_range(text: str) -> tuple[float, float]:
    """Brightest and faintest magnitude of ``LOW-HIGH``, as in ``9-16``.

    Raises
    ------
    InputError
        `text` is no such range.
    """
    low, _, high = text.partition("-")
    try:
        magnitudes = float(low), float(high)
    except ValueError:
        magnitudes = math.nan, math.nan
    if not 0 <= magnitudes[0] <= magnitudes[1] <= _FAINTEST:
        raise InputError(f"magnitudes {text!r} are no range", f"give LOW-HIGH within 0 to {_FAINTEST:.0f}, as in 9-16")
    return magnitudes


def _listed(known: "ObjectTruth") -> dict[str, Any]:
    return {
        "class": known.label,
        "kind": known.kind,
        "magnitude": round(known.magnitude, 3),
        "radius_arcsec": round(known.radius_arcsec, 3),
        "x": round(known.x, 3),
        "y": round(known.y, 3),
        "ra": round(known.ra, 7),
        "dec": round(known.dec, 7),
        "box": known.box,
        "unclear": known.unclear,
    }


def _name(index: int) -> str:
    return f"frame_{index:04d}.fits"


def _write_truth(truth: dict[str, Any], folder: Path) -> None:
    (folder / TRUTH).write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


def _galaxies(night: Night, frame: Frame) -> list[dict[str, Any]]:
    boxes = night.boxes(frame.index)
    inside = Detections(boxes, np.ones(len(boxes), np.float32), night.scene.kinds).clipped(*frame.size)
    return [
        {"box": [round(float(v), 2) for v in box], "kind": KINDS[kind]}
        for box, kind in zip(inside.boxes, inside.classes, strict=True)
    ]


def _night_cards(frame: Frame) -> "Cards":
    cards: Cards = [("ROWORDER", "TOP-DOWN", "first row is the top of the picture"), ("OBJECT", frame.target or "", "")]
    if frame.time is not None:
        cards.append(("DATE-OBS", frame.time.strftime("%Y-%m-%dT%H:%M:%S.%f"), "UTC, start of exposure"))
    return [*cards, ("EXPTIME", frame.exposure_s or 0.0, "s"), ("SWCREATE", f"edgegal {__version__}", "")]


def _write_fits(data: NDArray[np.generic], cards: "Cards", path: Path) -> None:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise MissingPartError(f"writing FITS needs astropy: {error}", "pip install 'edgegal[device]'") from None
    header = fits.Header()
    for keyword, value, comment in cards:
        header[keyword] = (value, comment)
    fits.PrimaryHDU(data, header).writeto(path)
