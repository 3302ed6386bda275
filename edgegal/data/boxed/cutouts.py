"""Survey cutouts as a boxed set: the galaxy of each is boxed by segmentation, everything else in it ignored."""

import numpy as np

from edgegal.data.boxed.annotations import UNREADABLE_PICTURES, Tally
from edgegal.data.boxed.boxed_set import BoxedSet, Truth
from edgegal.data.boxes import CutoutBoxes, cutout_boxes
from edgegal.data.pictures import PictureSet, refuse_if_most
from edgegal.frames import View
from edgegal.labels import SCHEMES
from edgegal.preprocess import resize

__all__ = ["boxed_cutouts"]

# The segmentation is set for cutouts of 128 pixels; others are boxed at that size and keep their own.
_SIDE = 128
_AS_THEY_ARE = (96, 192)

_NO_GALAXY = "cutouts with nothing at the centre"


def boxed_cutouts(name: str, pictures: PictureSet) -> BoxedSet:
    """Box the galaxy of every cutout, the unlabelled ones too; the set keeps its splits and ids.

    Parameters
    ----------
    name
        Name of the boxed set.
    pictures
        Cutouts with a galaxy near the centre.

    Raises
    ------
    DatasetError
        Of more than half the picture cannot be read, or nothing is found at the centre.
    """
    tally = Tally()
    truths: dict[int, Truth] = {}
    for index, picture in pictures.store.pixels(pictures.files):
        truth = None if picture is None else _truth(picture)
        if truth is None:
            tally.add(UNREADABLE_PICTURES if picture is None else _NO_GALAXY, pictures.ids[index])
        else:
            truths[index] = truth
    for skip in tally.skips():
        refuse_if_most(name, skip, len(pictures), "give a set of cutouts with a galaxy at the centre of each")
    rows = sorted(truths)
    return BoxedSet(
        name=name,
        labels=SCHEMES["galaxy"].labels,
        ids=tuple(pictures.ids[i] for i in rows),
        splits=pictures.splits[rows],
        files=tuple(pictures.files[i] for i in rows),
        store=pictures.store,
        truths=tuple(truths[i] for i in rows),
        skipped=(*pictures.skipped, *tally.skips()),
    )


def _truth(picture: View) -> Truth | None:
    """The galaxy and its companions; None when nothing lies at the centre."""
    height, width = picture.shape[:2]
    found = _boxes(picture)
    if found.galaxy is None:
        return None
    boxes = np.concatenate([found.galaxy[None], found.companions])
    return Truth.of((width, height), boxes, np.zeros(len(boxes), np.int32), np.arange(len(boxes)) > 0)


def _boxes(picture: View) -> CutoutBoxes:
    height, width = picture.shape[:2]
    if _AS_THEY_ARE[0] <= min(height, width) <= _AS_THEY_ARE[1]:
        return cutout_boxes(picture)
    scale = _SIDE / min(height, width)
    small = resize(picture, round(height * scale), round(width * scale))
    found = cutout_boxes(small)
    factor = np.array([width / small.shape[1], height / small.shape[0]] * 2, np.float32)
    return CutoutBoxes(None if found.galaxy is None else found.galaxy * factor, found.companions * factor)
