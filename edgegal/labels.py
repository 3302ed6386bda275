"""Morphology label schemes and the maps between them.

A scheme is an ordered tuple of class names; a map sends each class of one scheme to a class of another, or to
nothing where the other scheme has no such class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["SCHEMES", "UNLABELLED", "LabelScheme", "label_map", "project", "relabel", "scheme"]

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


_GALAXY10_SDSS = (
    "disk-face-on-no-spiral",
    "smooth-completely-round",
    "smooth-in-between-round",
    "smooth-cigar-shaped",
    "disk-edge-on-rounded-bulge",
    "disk-edge-on-boxy-bulge",
    "disk-edge-on-no-bulge",
    "disk-face-on-tight-spiral",
    "disk-face-on-medium-spiral",
    "disk-face-on-loose-spiral",
)
_SECOND_LEVEL = ("artifact", "edge-on", "not-edge-on", "round", "in-between", "cigar")

SCHEMES: Mapping[str, LabelScheme] = {
    s.name: s
    for s in (
        LabelScheme("galaxy", ("galaxy",), "detection of any galaxy"),
        LabelScheme(
            "celestial",
            ("galaxy", "star cluster", "nebula", "planetary nebula", "star trail"),
            "detection of galaxies and of what else is extended in the sky",
        ),
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
        LabelScheme("gz1-disks", ("disk",), "spirals of Galaxy Zoo 1, those seen edge-on among them"),
        LabelScheme(
            "galaxy6",
            ("round", "in-between", "cigar", "edge-on", "spiral", "merger"),
            "the five classes of Zhu et al. 2019 and the mergers of Galaxy Zoo 1",
        ),
        LabelScheme("h4", ("smooth", "spiral", "edge-on", "merger"), "common to Galaxy Zoo 1 and 2"),
        LabelScheme("galaxy10-sdss", _GALAXY10_SDSS, "Galaxy10 SDSS, Leung & Bovy 2018"),
        LabelScheme(
            "galaxy10-sdss-9",
            tuple(label for label in _GALAXY10_SDSS if label != "disk-edge-on-boxy-bulge"),
            "Galaxy10 SDSS without its class 5, which has 17 pictures",
        ),
        LabelScheme(
            "galaxy10-decals",
            (
                "disturbed",
                "merging",
                "round-smooth",
                "in-between-round-smooth",
                "cigar-shaped-smooth",
                "barred-spiral",
                "unbarred-tight-spiral",
                "unbarred-loose-spiral",
                "edge-on-without-bulge",
                "edge-on-with-bulge",
            ),
            "Galaxy10 DECaLS, Leung & Bovy 2021",
        ),
        LabelScheme(
            "gz-smooth-featured", ("smooth", "featured"), "first question of Galaxy Zoo 2, at a confidence cut"
        ),
        LabelScheme("gz-second-level", _SECOND_LEVEL, "answers 1.3, 2.1, 2.2, 7.1, 7.2, 7.3 of the challenge"),
        LabelScheme("gz-second-level-4", _SECOND_LEVEL[1:5], "answers 2.1, 2.2, 7.1, 7.2 of the challenge"),
        LabelScheme("hubble3", ("E", "S0", "S"), "Hubble stages by T-type"),
        LabelScheme(
            "fashion-mnist",
            (
                *("t-shirt", "trouser", "pullover", "dress", "coat"),
                *("sandal", "shirt", "sneaker", "bag", "ankle-boot"),
            ),
            "Xiao et al. 2017",
        ),
    )
}

_FIVE_TO_H4 = {"round": "smooth", "in-between": "smooth", "cigar": "smooth", "edge-on": "edge-on", "spiral": "spiral"}
_SIX_TO_H4 = {**_FIVE_TO_H4, "merger": "merger"}
_FIVE = {label: label for label in _FIVE_TO_H4}
# Edge-on disks count as featured, as the tree of Galaxy Zoo 2 has them.
_H4_TO_FEATURED = {"smooth": "smooth", "spiral": "featured", "edge-on": "featured"}
_SIX_CLASSES_TO_H4 = {
    "elliptical": "smooth",
    "spiral-cw": "spiral",
    "spiral-acw": "spiral",
    "edge-on": "edge-on",
    "merger": "merger",
}

# A face-on disk without arms is neither smooth nor a spiral.
_SDSS_TO_FIVE = {
    "smooth-completely-round": "round",
    "smooth-in-between-round": "in-between",
    "smooth-cigar-shaped": "cigar",
    "disk-edge-on-rounded-bulge": "edge-on",
    "disk-edge-on-boxy-bulge": "edge-on",
    "disk-edge-on-no-bulge": "edge-on",
    "disk-face-on-tight-spiral": "spiral",
    "disk-face-on-medium-spiral": "spiral",
    "disk-face-on-loose-spiral": "spiral",
}
# Disturbed is not yet merging: the volunteers had both answers.
_DECALS_TO_SIX = {
    "merging": "merger",
    "round-smooth": "round",
    "in-between-round-smooth": "in-between",
    "cigar-shaped-smooth": "cigar",
    "barred-spiral": "spiral",
    "unbarred-tight-spiral": "spiral",
    "unbarred-loose-spiral": "spiral",
    "edge-on-without-bulge": "edge-on",
    "edge-on-with-bulge": "edge-on",
}


def _then(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """One map after another; what the second does not know maps to nothing."""
    return {label: second[middle] for label, middle in first.items() if middle in second}


_MAPS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("gz2-5class", "h4"): _FIVE_TO_H4,
    ("gz2-5class", "galaxy6"): _FIVE,
    ("galaxy6", "gz2-5class"): _FIVE,
    ("galaxy6", "h4"): _SIX_TO_H4,
    ("gz1-6class", "h4"): _SIX_CLASSES_TO_H4,
    ("galaxy10-sdss", "galaxy10-sdss-9"): {
        label: label for label in _GALAXY10_SDSS if label != "disk-edge-on-boxy-bulge"
    },
    **{
        (name, target): _then(_SDSS_TO_FIVE, onward)
        for name in ("galaxy10-sdss", "galaxy10-sdss-9")
        for target, onward in (("gz2-5class", _FIVE), ("galaxy6", _FIVE), ("h4", _FIVE_TO_H4))
    },
    ("galaxy10-decals", "galaxy6"): _DECALS_TO_SIX,
    ("galaxy10-decals", "gz2-5class"): _then(_DECALS_TO_SIX, _FIVE),
    ("galaxy10-decals", "h4"): _then(_DECALS_TO_SIX, _SIX_TO_H4),
    **{
        (name, "gz-smooth-featured"): _then(pairs, _H4_TO_FEATURED)
        for name, pairs in (("gz2-5class", _FIVE_TO_H4), ("galaxy6", _SIX_TO_H4), ("gz1-6class", _SIX_CLASSES_TO_H4))
    },
    # A disk seen face-on is featured, whether it has arms or not.
    **{
        (name, "gz-smooth-featured"): {
            **_then(_then(_SDSS_TO_FIVE, _FIVE_TO_H4), _H4_TO_FEATURED),
            "disk-face-on-no-spiral": "featured",
        }
        for name in ("galaxy10-sdss", "galaxy10-sdss-9")
    },
    ("galaxy10-decals", "gz-smooth-featured"): _then(_then(_DECALS_TO_SIX, _SIX_TO_H4), _H4_TO_FEATURED),
    ("h4", "gz-smooth-featured"): _H4_TO_FEATURED,
    ("gz1-disks", "gz-smooth-featured"): {"disk": "featured"},
    # A lenticular is a disk without arms: what volunteers answer depends on how it is turned.
    ("hubble3", "gz-smooth-featured"): {"E": "smooth", "S": "featured"},
    ("gz-second-level", "gz-second-level-4"): {label: label for label in _SECOND_LEVEL[1:5]},
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
        reached = [to for of, to in _MAPS if of == source.name]
        raise InputError(
            f"no map from label scheme {source.name!r} to {target.name!r}",
            f"it maps to: {', '.join(reached)}" if reached else f"use {source.name} itself",
        )
    return np.array(
        [target.index(pairs[label]) if label in pairs else UNLABELLED for label in source.labels],
        dtype=np.int32,
    )


def relabel(labels: NDArray[np.integer], source: LabelScheme, target: LabelScheme) -> NDArray[np.int32]:
    """Labels of `source` expressed in `target`, `UNLABELLED` staying `UNLABELLED`."""
    table = np.append(label_map(source, target), UNLABELLED).astype(np.int32)
    return table[labels]


def project(probabilities: NDArray[np.floating], source: LabelScheme, target: LabelScheme) -> NDArray[np.float32]:
    """Class probabilities of `source` expressed in `target`.

    Classes that map to one target class are summed; those that map to nothing are left out and the rest scaled to
    sum to 1, which asks: which of the target's classes is it, given that it is one of them?

    Parameters
    ----------
    probabilities
        ``(n, len(source.labels))``, none negative.
    source, target
        Schemes with a map.

    Returns
    -------
    NDArray
        ``(n, len(target.labels))`` float32, rows summing to 1; uniform where nothing was left.

    Raises
    ------
    InputError
        The schemes have no map, or the columns are not the classes of `source`.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != len(source.labels):
        raise InputError(
            f"probabilities of shape {probabilities.shape}, not of the {len(source.labels)} classes of {source.name!r}"
        )
    table = label_map(source, target)
    kept = np.flatnonzero(table != UNLABELLED)
    membership = np.zeros((len(source.labels), len(target.labels)))
    membership[kept, table[kept]] = 1
    summed = probabilities.astype(np.float64) @ membership
    mass = summed.sum(axis=1, keepdims=True)
    uniform = np.full_like(summed, 1 / len(target.labels))
    return np.divide(summed, mass, out=uniform, where=mass > 0).astype(np.float32)
