"""Morphology label schemes and the maps between them.

A scheme is an ordered tuple of class names; a map sends each class of one scheme to a class of another, or to
nothing where the other scheme has no such class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["SCHEMES", "UNLABELLED", "LabelScheme", "label_map", "relabel", "scheme"]

UNLABELLED = -1
"""Index of a picture that carries no label, or none that the scheme knows."""


@dataclass(frozen=True)
class LabelScheme:
    """Named, ordered classes.

    Attributes
    ----------
    name
        Registry key.
    labels
        Class names; the position is the class index.
    source
        Who defined the classes.
    mirror_safe
        Whether a mirrored picture keeps its label (false where spiral handedness is told apart).
    """

    name: str
    labels: tuple[str, ...]
    source: str
    mirror_safe: bool = True

    def index(self, label: str) -> int:
        """Position of `label`; `InputError` when the scheme has no such class."""
        try:
            return self.labels.index(label)
        except ValueError:
            raise InputError(
                f"label {label!r} is not in scheme {self.name!r}", f"use one of: {', '.join(self.labels)}"
            ) from None


SCHEMES: Mapping[str, LabelScheme] = {
    s.name: s
    for s in (
        LabelScheme("galaxy", ("galaxy",), "detection of any galaxy"),
        LabelScheme(
            "gz2-5class",
            ("round", "in-between", "cigar", "edge-on", "spiral"),
            "Zhu et al. 2019 clean-sample cuts on Galaxy Zoo 2 votes",
        ),
        LabelScheme(
            "gz1-6class",
            ("elliptical", "spiral-cw", "spiral-acw", "edge-on", "dont-know", "merger"),
            "Lintott et al. 2011, Galaxy Zoo 1",
            mirror_safe=False,
        ),
        LabelScheme("h4", ("smooth", "spiral", "edge-on", "merger"), "common to Galaxy Zoo 1 and 2"),
    )
}

_MAPS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("gz2-5class", "h4"): {
        "round": "smooth",
        "in-between": "smooth",
        "cigar": "smooth",
        "edge-on": "edge-on",
        "spiral": "spiral",
    },
    ("gz1-6class", "h4"): {
        "elliptical": "smooth",
        "spiral-cw": "spiral",
        "spiral-acw": "spiral",
        "edge-on": "edge-on",
        "merger": "merger",
    },
}


def scheme(name: str) -> LabelScheme:
    """The scheme called `name`; `InputError` naming the known ones otherwise."""
    try:
        return SCHEMES[name]
    except KeyError:
        raise InputError(f"unknown label scheme {name!r}", f"use one of: {', '.join(SCHEMES)}") from None


def label_map(source: LabelScheme, target: LabelScheme) -> NDArray[np.int32]:
    """Target index of each source class, `UNLABELLED` where the target has none; shape ``(len(source.labels),)``."""
    if source == target:
        return np.arange(len(source.labels), dtype=np.int32)
    pairs = _MAPS.get((source.name, target.name))
    if pairs is None:
        raise InputError(f"no map from label scheme {source.name!r} to {target.name!r}")
    return np.array(
        [target.index(pairs[label]) if label in pairs else UNLABELLED for label in source.labels],
        dtype=np.int32,
    )


def relabel(labels: NDArray[np.integer], source: LabelScheme, target: LabelScheme) -> NDArray[np.int32]:
    """Labels of `source` expressed in `target`, `UNLABELLED` staying `UNLABELLED`."""
    table = np.append(label_map(source, target), UNLABELLED).astype(np.int32)
    return table[labels]
