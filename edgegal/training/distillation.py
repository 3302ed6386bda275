"""A compact network learns what larger ones see (Hinton et al. 2015), in pictures that nobody labelled too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.frames import View
from edgegal.labels import LabelScheme, label_map, project
from edgegal.training.batches import PictureBatches

__all__ = ["Teacher", "evened", "known_classes", "opinions", "soft_targets"]

_LEAST = 1e-6


@dataclass(frozen=True)
class Teacher:
    """A trained classifier.

    Attributes
    ----------
    model
        The Keras model, of any input size.
    crop_scale
        Side of the crops it was trained on over the longer side of their galaxies' boxes.
    scheme
        Its classes.
    """

    model: Any
    crop_scale: float
    scheme: LabelScheme


def known_classes(teachers: Sequence[Teacher], scheme: LabelScheme) -> NDArray[np.bool_]:
    """Which classes of `scheme` all teachers know, ``(classes,)``; none where there are no teachers."""
    classes = range(len(scheme.labels))
    known = np.full(len(classes), bool(teachers))
    for teacher in teachers:
        known &= np.isin(classes, label_map(teacher.scheme, scheme))
    return known


def opinions(teachers: Sequence[Teacher], pictures: View, scale: float, scheme: LabelScheme) -> NDArray[np.float32]:
    """What the teachers think of pictures, as they are and turned: the normalised geometric mean.

    Parameters
    ----------
    teachers
        Of `scheme`, or of one that maps to it: its probabilities are summed.
    pictures
        ``(n, side, side, 3)`` uint8 RGB. Each teacher sees as much of the middle as it was trained on.
    scale
        Side of the pictures over the longer side of their galaxies' boxes.
    scheme
        Classes to have an opinion on. Where a mirrored picture keeps its label, the turned ones are mirrored too.

    Returns
    -------
    NDArray
        ``(n, classes)``.
    """
    logs = []
    for teacher in teachers:
        seen = _middle(pictures, teacher.crop_scale / scale)
        turned = np.rot90(seen[:, :, ::-1] if scheme.mirror_safe else seen, axes=(1, 2))
        found = [project(_predicted(teacher.model, view), teacher.scheme, scheme) for view in (seen, turned)]
        logs += [np.log(np.clip(probabilities, _LEAST, 1)) for probabilities in found]
    mean = np.exp(np.mean(logs, axis=0))
    together: NDArray[np.float32] = (mean / mean.sum(axis=1, keepdims=True)).astype(np.float32)
    return together


def _middle(pictures: View, share: float) -> View:
    """The middle square of pictures; all where they do not reach as far as `share`."""
    side = pictures.shape[1]
    edge = max(0, round(side * (1 - share) / 2))
    return pictures[:, edge : side - edge, edge : side - edge]


def _predicted(teacher: Any, pictures: View) -> NDArray[np.float32]:
    size = teacher.inputs[0].shape[1]
    # The batches resize as they go: all pictures as float32 would fill the memory.
    batches = PictureBatches(pictures, np.zeros(len(pictures), np.int32), size, 128, None)
    found: NDArray[np.float32] = ops.convert_to_numpy(teacher.predict(batches, verbose=0)["probabilities"])
    return found


def evened(opinions: NDArray[np.float32], frequencies: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Opinions as they were if classes were less uneven: a power of their frequencies is divided out.

    Parameters
    ----------
    opinions
        ``(n, classes)``.
    frequencies
        ``(classes,)`` mean of the opinions.
    power
        0 leaves the opinions, 1 makes all classes as likely before the picture is seen.
    """
    divided = opinions / np.clip(frequencies, _LEAST, 1) ** power
    even: NDArray[np.float32] = (divided / divided.sum(axis=1, keepdims=True)).astype(np.float32)
    return even


def soft_targets(
    candidates: NDArray[np.float32],
    opinions: NDArray[np.float32],
    trust: float = 0.5,
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Targets to learn: the opinions within what the labels allow, mixed with the label where it is one class.

    A picture that may be of a class that the teachers do not know keeps its candidates.

    Parameters
    ----------
    candidates
        ``(n, classes)`` classes that the labels allow, 1 or 0.
    opinions
        ``(n, classes)``.
    trust
        Share of the label in the mixture.
    known
        ``(classes,)`` which classes the teachers know; all when None.
    """
    allowed = candidates * np.clip(opinions, _LEAST, 1)
    within = allowed / allowed.sum(axis=1, keepdims=True)
    # The opinion about a picture whose class is known also tells how near other classes are.
    single = candidates.sum(axis=1, keepdims=True) == 1
    mixed = np.where(single, trust * candidates + (1 - trust) * opinions, within)
    beyond = np.zeros((len(candidates), 1), bool) if known is None else candidates[:, ~known].any(axis=1, keepdims=True)
    targets: NDArray[np.float32] = np.where(beyond, candidates, mixed).astype(np.float32)
    return targets
