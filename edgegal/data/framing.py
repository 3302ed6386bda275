"""Cutouts framed as the device frames them: a square of a fixed multiple of the galaxy's box around its centre.

Survey cutouts are framed by somebody else's radius, which differs from class to class; a network trained on them learns
the framing. The device cuts by the detector's box, so training and evaluation cut by the box too.
"""

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import cutout_boxes
from edgegal.frames import View
from edgegal.preprocess import crop_square, resize

__all__ = ["CROP_SCALE", "framed"]

CROP_SCALE = 1.6
"""The galaxy's box spans five eighths of the crop: room for a faint outskirt, and for the neighbour it merges with."""

_BOXED_SIDE = 128
_FINEST = 1.5
"""Pictures of more than this many times the side are shrunk to it before a box is looked for."""


def framed(pictures: View, crop_scale: float, size: int) -> View:
    """Crop each cutout around its central galaxy.

    Parameters
    ----------
    pictures
        ``(n, h, w, 3)`` uint8 RGB.
    crop_scale
        Side of the crop over the longer side of the galaxy's box.
    size
        Side of the result in pixels.

    Returns
    -------
    View
        ``(n, size, size, 3)``; a picture in which no central galaxy stands out is taken whole.
    """
    return np.stack([_framed(picture, crop_scale, size) for picture in pictures])


def _framed(picture: View, crop_scale: float, size: int) -> View:
    height, width = picture.shape[:2]
    box = _central_box(picture)
    if box is None:
        return crop_square(picture, (width / 2, height / 2), min(height, width), size)
    centre = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    return crop_square(picture, centre, float(max(box[2] - box[0], box[3] - box[1])) * crop_scale, size)


def _central_box(picture: View) -> NDArray[np.float32] | None:
    """Box of the central galaxy in the picture's pixels; large pictures are looked at in the size boxes are found in.

    In finer pixels a large galaxy falls apart into its core and its arms.
    """
    height, width = picture.shape[:2]
    shrunk = max(height, width) / _BOXED_SIDE
    if shrunk <= _FINEST:
        return cutout_boxes(picture).galaxy
    box = cutout_boxes(resize(picture, round(height / shrunk), round(width / shrunk))).galaxy
    return None if box is None else box * np.float32(shrunk)
