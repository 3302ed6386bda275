"""Cutouts framed as the device frames them: a square of a fixed multiple of the galaxy's box around its centre.

Survey cutouts are framed by somebody else's radius, which differs from class to class; a network trained on them learns
the framing. The device cuts by the detector's box, so training and evaluation cut by the box too.
"""

import numpy as np

from edgegal.data.boxes import cutout_boxes
from edgegal.frames import View
from edgegal.preprocess import crop_square

__all__ = ["CROP_SCALE", "framed"]

CROP_SCALE = 1.6
"""The galaxy's box spans five eighths of the crop: room for a faint outskirt, and for the neighbour it merges with."""


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
    box = cutout_boxes(picture).galaxy
    height, width = picture.shape[:2]
    if box is None:
        return crop_square(picture, (width / 2, height / 2), min(height, width), size)
    centre = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    return crop_square(picture, centre, float(max(box[2] - box[0], box[3] - box[1])) * crop_scale, size)
