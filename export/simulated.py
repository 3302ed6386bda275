"""Evaluation sets from the simulated sky: survey pictures may not travel in a bundle, simulated ones may."""

from itertools import count as counting
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.bundle import Bundle, open_bundle
from edgegal.bundle.manifest import ClassifierStage
from edgegal.data.fields import Field, compose_field
from edgegal.data.simulated import simulate_cutouts
from edgegal.errors import InputError
from edgegal.export.writer import add_classifier_evaluation, add_detector_evaluation
from edgegal.labels import UNLABELLED, label_map, scheme
from edgegal.preprocess import Stretch
from edgegal.sky import KINDS

__all__ = ["add_simulated_evaluation"]

# Far from the seeds that training draws its simulated pictures with.
_SEED_OFFSET = 9_000_000
_CUTOUTS_PER_FIELD = 6


def add_simulated_evaluation(out: Path, count: int, seed: int) -> Bundle:
    """Give an evaluation set to every network of the bundle folder `out` that knows the simulated galaxies.

    Parameters
    ----------
    out
        A bundle folder.
    count
        Cutouts for the classifier; the detector gets a sixth as many fields, which hold several galaxies each.
    seed
        Seed of everything drawn.
    """
    bundle = open_bundle(out)
    classifier, detector = bundle.manifest.classifier, bundle.manifest.detector
    table = None if classifier is None else _simulated_classes(classifier)
    if classifier is not None and table is not None:
        prepared = classifier.preprocess
        pictures, kinds = simulate_cutouts(
            count, seed + _SEED_OFFSET, prepared.height, prepared.stretch, prepared.crop_scale
        )
        bundle = add_classifier_evaluation(out, pictures, table[kinds], f"simulated cutouts, seed {seed}")
    if detector is not None:
        fields = _clear_cut(
            max(1, count // _CUTOUTS_PER_FIELD), seed, detector.preprocess.height, detector.preprocess.stretch
        )
        bundle = add_detector_evaluation(
            out, np.stack([f.picture for f in fields]), [f.boxes for f in fields], f"simulated fields, seed {seed}"
        )
    return bundle


def _simulated_classes(classifier: ClassifierStage) -> NDArray[np.int32] | None:
    """Class of `classifier` for each simulated kind; None where it has none for one of them."""
    if set(KINDS) <= set(classifier.labels):
        return np.array([classifier.labels.index(kind) for kind in KINDS], np.int32)
    try:
        table = label_map(scheme("gz2-5class"), scheme(classifier.scheme))
    except InputError:
        return None
    return None if (table == UNLABELLED).any() else table


def _clear_cut(count: int, seed: int, size: int, stretch: Stretch) -> list[Field]:
    """Fields in which every galaxy is large enough to be wanted."""
    drawn = (compose_field(size, stretch, (), np.random.default_rng((seed + _SEED_OFFSET, i))) for i in counting())
    found: list[Field] = []
    for field in drawn:
        if not len(field.ignore):
            found.append(field)
        if len(found) == count:
            break
    return found
