"""Composed fields as a boxed set: what a detector is judged on where exact boxes are wanted.

The galaxies are those of a set's test pictures, and simulated ones, on simulated skies of the telescopes that come
with the package.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgegal.data.boxed.boxed_set import BoxedSet, Truth
from edgegal.data.mixture import Ingredients, mixed_fields
from edgegal.data.pictures import PictureSet
from edgegal.data.skies.telescopes import bundled_telescopes
from edgegal.data.stores import ArrayStore
from edgegal.errors import InputError
from edgegal.labels import SCHEMES
from edgegal.preprocess import Stretch

__all__ = ["COMPOSED", "composed_set"]

COMPOSED = 300
"""Fields unless the name says another number."""

_SIZE = 256
# Far from the seeds that training draws with.
_SEED = 7_000_000


def composed_set(name: str, pictures: PictureSet, count: int = COMPOSED, stretch: Stretch = Stretch()) -> BoxedSet:
    """Compose fields with the test galaxies of a set; all of them are of the test split.

    Parameters
    ----------
    name
        Name of the boxed set.
    pictures
        Cutouts with a galaxy near the centre.
    count
        Number of fields, 256 pixels a side.
    stretch
        Stretch of the device.
    """
    if count < 1:
        raise InputError(f"{name}: {count} fields are none", "give a number from 1 on, as composed:NAME,300")
    # The same fields everywhere, whatever telescopes somebody has added.
    galaxies = Ingredients.of([pictures.subset("test", labelled=False)], bundled_telescopes(), (), _SEED)
    # Whole cutouts are a set of their own.
    fields = mixed_fields(count, _SEED, _SIZE, stretch, replace(galaxies, cutouts=()))
    truths = [
        Truth(
            (_SIZE, _SIZE), f.boxes, f.classes, f.ignore, np.zeros(len(f.ignore), np.int32), f.magnitudes, f.pixel_scale
        )
        for f in fields
    ]
    rows = tuple(map(str, range(count)))
    return BoxedSet(
        name=name,
        labels=SCHEMES["galaxy"].labels,
        ids=rows,
        splits=np.array(["test"] * count),
        files=rows,
        store=ArrayStore(Path(name), np.stack([f.picture for f in fields])),
        truths=tuple(truths),
    )
