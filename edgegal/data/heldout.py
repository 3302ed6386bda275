"""Pictures to judge a classifier on, in classes that the set and the classifier share."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription
from edgegal.data.boxed.registry import galaxies_of
from edgegal.data.framing import framed
from edgegal.data.leakage import leaks, learned_from, same_galaxies
from edgegal.data.pictures import PictureSet
from edgegal.data.registry import open_dataset
from edgegal.errors import DatasetError, EdgegalError, InputError
from edgegal.frames import View
from edgegal.labels import SCHEMES, LabelScheme, label_map
from edgegal.labels import scheme as scheme_named

__all__ = ["Framing", "HeldOut", "common_scheme", "held_out", "tell_seen"]

_LOG = logging.getLogger(__name__)

Framing = Literal["box", "whole"]
"""Cut around the galaxy's box as the device cuts, or taken whole as another survey framed it."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pictures of one split, at a classifier's input size.

    Attributes
    ----------
    name
        The set, and what was done to it, in words.
    split
        The split; ``all`` for the whole set.
    ids
        Ids of the pictures in the set.
    pictures
        ``(n, h, w, 3)`` uint8 RGB.
    labels
        ``(n,)`` indices into the labels of `scheme`.
    scheme
        The classes to judge in.
    """

    name: str
    split: str
    ids: tuple[str, ...]
    pictures: View
    labels: NDArray[np.int32]
    scheme: LabelScheme


def held_out(
    name: str,
    description: ClassifierDescription,
    scheme: str | None = None,
    split: str = "test",
    framing: Framing = "box",
) -> HeldOut:
    """Open a set for judging a classifier on it.

    Pictures that cannot be read are left out and named in a warning. Another tells of galaxies of the set that stand in
    the training part of a set the classifier names as its source; whether they were left out there, only who trained
    it knows. One trained in a fold of a cross-validation knows pictures of every split of its set.

    Parameters
    ----------
    name
        As `open_dataset` takes it.
    description
        The classifier.
    scheme
        Name of the scheme to judge in; by default the set's own where the classifier's classes map to it, else the
        classifier's where the set's map to that.
    split
        One of `edgegal.data.pictures.SPLITS`, or ``all``.
    framing
        How the galaxies are framed.

    Raises
    ------
    DatasetError
        The set is missing or damaged, or has no labelled pictures there.
    InputError
        Set and classifier have no classes in common, or not those asked for.
    """
    judged = _in_common_classes(name, description.scheme, scheme)
    chosen = judged.subset(None if split == "all" else split)
    if not len(chosen):
        raise DatasetError(f"{name} has no labelled pictures in its {split} split", "choose another with --split")
    sources = _learned_from(description.provenance.datasets)
    _tell_folds(chosen, sources)
    _tell_leaks(judged, sources, "classifier")
    size = description.preprocess.height
    chosen, pictures = chosen.read(size if framing == "whole" else None)
    if framing == "box":
        pictures = framed(pictures, description.preprocess.crop_scale, size)
    words = name
    if judged.scheme.name in SCHEMES and judged.scheme.name != description.scheme:
        words += f" in {judged.scheme.name}"
    if framing == "whole":
        words += ", whole"
    return HeldOut(words, split, chosen.ids, pictures, chosen.labels, judged.scheme)


def common_scheme(classifier: LabelScheme, pictures: LabelScheme) -> LabelScheme:
    """The scheme to judge in: that of the pictures if the classifier's maps to it, or else the other way round.

    Raises
    ------
    InputError
        Neither maps to the other; the mend names the schemes that both map to.
    """
    if _maps(classifier, pictures):
        return pictures
    if _maps(pictures, classifier):
        return classifier
    both = [s.name for s in SCHEMES.values() if _maps(classifier, s) and _maps(pictures, s)]
    raise InputError(
        f"the classifier's classes are {classifier.name}, the set's {pictures.name}, and neither map to the other",
        f"judge in classes that both map to: --scheme {' or '.join(both)}" if both else "take a set of other classes",
    )


def _maps(source: LabelScheme, target: LabelScheme) -> bool:
    try:
        label_map(source, target)
    except InputError:
        return False
    return True


def _in_common_classes(name: str, classifier: str, wanted: str | None) -> PictureSet:
    if classifier not in SCHEMES:
        # Classes of somebody's own: their names are all there is to go by.
        if wanted is not None:
            raise InputError(f"the classifier's classes {classifier!r} map to no scheme", "leave out --scheme")
        return open_dataset(name)
    if wanted is not None:
        target = scheme_named(wanted)
        label_map(scheme_named(classifier), target)
        own = open_dataset(name).scheme
        if own.name in SCHEMES or set(own.labels) <= set(target.labels):
            return open_dataset(name, wanted)
        # Folders or a CSV with the classifier's class names.
        return open_dataset(name, classifier).relabelled(target)
    opened = open_dataset(name)
    if opened.scheme.name not in SCHEMES:
        return open_dataset(name, classifier)
    common = common_scheme(scheme_named(classifier), opened.scheme)
    return opened if common == opened.scheme else opened.relabelled(common)


def _tell_folds(chosen: PictureSet, sources: "Sequence[_Source]") -> None:
    for trained, what in sources:
        known = same_galaxies(trained.subset(), chosen) if what.startswith("fold ") else ()
        if known:
            _LOG.warning(
                "%d of the %d galaxies judged were among those of %s that were split into folds: the classifier "
                "has learned from many of them, and the figures of its own fold are in the report of its recipe",
                len(known),
                len(chosen),
                trained.name,
            )


def tell_seen(name: str, sources: Sequence[str], network: str) -> None:
    """Warn of test galaxies from which a detector may have learned, as `held_out` does of a classifier's.

    Parameters
    ----------
    name
        A boxed set, as `edgegal.data.boxed.registry.open_boxed` takes it; those without cutouts are passed over.
    sources
        What the detector's provenance names as training data.
    network
        What it is called in the warning.
    """
    judged = galaxies_of(name)
    if judged is not None:
        _tell_leaks(judged, _learned_from(sources), network)


def _tell_leaks(judged: PictureSet, sources: "Sequence[_Source]", network: str) -> None:
    for trained, what in sources:
        found = () if what.startswith("fold ") else leaks([trained], [judged])
        if found:
            _LOG.warning(
                "%d test galaxies of %s stand in the training part of %s: if they were not left out there, "
                "the %s has seen them",
                len(found),
                judged.name,
                trained.name,
                network,
            )


_Source = tuple[PictureSet, str]


def _learned_from(sources: Sequence[str]) -> list[_Source]:
    """The sets of cutouts that are here, and what of each."""
    found = []
    for source, what in learned_from(sources):
        try:
            found.append((galaxies_of(source) or open_dataset(source), what))
        except (EdgegalError, ImportError):
            continue  # Not a set by name, or not here, or nothing here that reads it.
    return found
