"""A simulated night as files: FITS frames with headers as capture software writes them, and the truth beside them."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgegal import __version__
from edgegal.detections import Detections
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import Frame
from edgegal.sky import KINDS, Night

__all__ = ["TRUTH", "write_night"]

TRUTH = "truth.json"


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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not an empty folder", "give another --out, or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        frames = []
        for frame in night:
            name = f"frame_{frame.index:04d}.fits"
            _write_fits(frame, unfinished / name)
            frames.append({"file": name, "galaxies": _galaxies(night, frame)})
        truth = {"seed": night.seed, "width": night.width, "height": night.height, "frames": frames}
        (unfinished / TRUTH).write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
        # A temporary folder is private; what it becomes is not.
        unfinished.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder / TRUTH


def _galaxies(night: Night, frame: Frame) -> list[dict[str, Any]]:
    boxes = night.boxes(frame.index)
    inside = Detections(boxes, np.ones(len(boxes), np.float32), night.scene.kinds).clipped(*frame.size)
    return [
        {"box": [round(float(v), 2) for v in box], "kind": KINDS[kind]}
        for box, kind in zip(inside.boxes, inside.classes, strict=True)
    ]


def _write_fits(frame: Frame, path: Path) -> None:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise MissingPartError(f"writing FITS needs astropy: {error}", "pip install 'edgegal[device]'") from None
    header = fits.Header()
    header["ROWORDER"] = ("TOP-DOWN", "first row is the top of the picture")
    header["OBJECT"] = frame.target
    if frame.time is not None:
        header["DATE-OBS"] = (frame.time.strftime("%Y-%m-%dT%H:%M:%S.%f"), "UTC, start of exposure")
    header["EXPTIME"] = (frame.exposure_s, "s")
    header["SWCREATE"] = f"edgegal {__version__}"
    fits.PrimaryHDU(np.moveaxis(frame.pixels, 2, 0), header).writeto(path)
