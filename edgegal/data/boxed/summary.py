"""What is known of a boxed set before anything is trained on it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.data.pictures import Skip
from edgegal.data.splits import SPLITS, split_digest

__all__ = ["EMPTY", "IGNORED", "PICTURES", "QUANTILES", "BoxedSummary", "summarise_boxed"]

PICTURES, EMPTY, IGNORED = "pictures", "pictures without a box", "ignored boxes"
"""Rows of `BoxedSummary.counts` beside the classes."""

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class BoxedSummary:
    """What a boxed set holds.

    Attributes
    ----------
    name
        The set.
    n
        Number of pictures.
    labels
        Its classes.
    counts
        Boxes by class and split, and below them `PICTURES`, `EMPTY` and `IGNORED` by split.
    sizes
        For each class with boxes the `QUANTILES` of the boxes' longer side, pixels.
    picture_sizes
        Smallest and largest width and height, pixels.
    digest
        `BoxedSet.digest`.
    split_digest
        `edgegal.data.splits.split_digest`.
    skipped
        What was left out, with all names.
    """

    name: str
    n: int
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, tuple[float, ...]]
    picture_sizes: tuple[tuple[int, int], tuple[int, int]]
    digest: str
    split_digest: str
    skipped: tuple[Skip, ...]


def summarise_boxed(boxed: BoxedSet) -> BoxedSummary:
    """Count, measure and hash a set of at least one picture."""
    parts = {split: boxed.subset(split).truths for split in SPLITS}
    counts = {
        label: {split: sum(int((t.classes == index).sum()) for t in truths) for split, truths in parts.items()}
        for index, label in enumerate(boxed.labels)
    }
    counts[PICTURES] = {split: len(truths) for split, truths in parts.items()}
    counts[EMPTY] = {split: sum(not len(t.boxes) for t in truths) for split, truths in parts.items()}
    counts[IGNORED] = {split: sum(len(t.ignore) for t in truths) for split, truths in parts.items()}
    boxes = np.concatenate([truth.boxes for truth in boxed.truths])
    classes = np.concatenate([truth.classes for truth in boxed.truths])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    shapes = np.array([truth.size for truth in boxed.truths])
    smallest, largest = shapes.min(axis=0).tolist(), shapes.max(axis=0).tolist()
    return BoxedSummary(
        name=boxed.name,
        n=len(boxed),
        labels=boxed.labels,
        counts=counts,
        sizes={label: _quantiles(longer[classes == i]) for i, label in enumerate(boxed.labels) if (classes == i).any()},
        picture_sizes=((smallest[0], smallest[1]), (largest[0], largest[1])),
        digest=boxed.digest(),
        split_digest=split_digest(boxed.ids, boxed.splits.tolist()),
        skipped=boxed.skipped,
    )


def _quantiles(sides: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(round(float(v), 1) for v in np.quantile(sides, QUANTILES))
