"""The twelve figures of COCO's detection challenge (Lin et al. 2014, arXiv:1405.0312), with any ranges of sizes.

Equal to what pycocotools says of the same boxes, with the area of a box where COCO has that of an outline.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from edgegal.detections import Detections
from edgegal.metrics.detection import ALL_SIDES, COCO_IOUS, PictureMatch, match_pictures, precision_at_recalls
from edgegal.metrics.intervals import RESAMPLES, Band, bootstrap_bands

__all__ = ["COCO_SIZES", "DetectionFigures", "Sizes", "Statistic", "coco_bands", "coco_statistic", "coco_summary"]

Sizes = Mapping[str, tuple[float, float]]
"""Ranges of sizes by name: least and greatest side in pixels, the square root of a box's area, ends included."""

COCO_SIZES: Sizes = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, math.inf)}
"""COCO's areas of up to 32², up to 96² and above."""

_LIMITS = (1, 10, 100)
_AT_50, _AT_75 = 0, 5

Statistic = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
"""Maps how often each of ``n`` pictures counts, ``(b, n)``, to figures by name, ``(b,)`` each."""


@dataclass(frozen=True)
class DetectionFigures:
    """COCO's summary of a detector; NaN where there is nothing to find.

    Attributes
    ----------
    ap, ap50, ap75
        Average precision: mean over overlaps .5, .55 .. .95, at .5, and at .75.
    ar1, ar10, ar100
        Average recall of the 1, 10 and 100 best detections a picture and class, mean over those overlaps.
    ap_by_size, ar_by_size
        `ap` of each range of sizes, and `ar1`, `ar10` and `ar100` of each by their names.
    truths_by_size
        Number of true boxes in each range.
    pictures, truths
        Number of pictures, and of true boxes in them.
    """

    ap: float
    ap50: float
    ap75: float
    ar1: float
    ar10: float
    ar100: float
    ap_by_size: Mapping[str, float]
    ar_by_size: Mapping[str, Mapping[str, float]]
    truths_by_size: Mapping[str, int]
    pictures: int
    truths: int


def coco_summary(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.floating]] | None = None,
    sizes: Sizes = COCO_SIZES,
) -> DetectionFigures:
    """Figures of the detections of a set of pictures.

    Parameters
    ----------
    found, truth
        Detections, down to low scores, and true boxes of each picture. Means are over the classes that have a true box.
    ignore
        ``(k, 4)`` regions of each picture that count neither way.
    sizes
        Ranges that precision and recall are given of.
    """
    matches = _match(found, truth, ignore, sizes)
    values = {name: float(value[0]) for name, value in _figures(matches, np.ones((1, len(truth)))).items()}
    truths = {name: sum(m.truths for m in chain(*by_class)) for name, by_class in matches.items()}
    return DetectionFigures(
        **{name: values[name] for name in ("ap", "ap50", "ap75", "ar1", "ar10", "ar100")},
        ap_by_size={name: values[f"ap:{name}"] for name in sizes},
        ar_by_size={ar: {name: values[f"{ar}:{name}"] for name in sizes} for ar in ("ar1", "ar10", "ar100")},
        truths_by_size={name: truths[name] for name in sizes},
        pictures=len(truth),
        truths=truths[""],
    )


def coco_bands(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.floating]] | None = None,
    sizes: Sizes = COCO_SIZES,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Band]:
    """The same figures with their 95 % bootstrap intervals over pictures, by the names of `coco_statistic`."""
    return bootstrap_bands(len(truth), coco_statistic(found, truth, ignore, sizes), seed, resamples)


def coco_statistic(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.floating]] | None = None,
    sizes: Sizes = COCO_SIZES,
) -> Statistic:
    """The figures as a function of how often each picture counts: ``(b, n)`` to ``(b,)`` each.

    By the names of the fields of `DetectionFigures`, and ``ap:small``, ``ar1:small``, ``ar10:small``, ``ar100:small``
    for a range of sizes. Matching is done here, once; the function only counts.
    """
    matches = _match(found, truth, ignore, sizes)
    return lambda counts: _figures(matches, counts)


_Matches = Mapping[str, Sequence[Sequence[PictureMatch]]]
"""By name of the range of sizes (the empty one is all): for each class, the matches of each picture."""


def _match(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.floating]] | None,
    sizes: Sizes,
) -> _Matches:
    classes = sorted({int(c) for t in truth for c in t.classes})
    return {
        name: [match_pictures(found, truth, COCO_IOUS, c, max(_LIMITS), ignore, sides) for c in classes]
        for name, sides in {"": ALL_SIDES, **sizes}.items()
    }


def _figures(matches: _Matches, counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    whole = _precisions(matches[""], counts)
    figures = {
        "ap": _mean(whole),
        "ap50": _mean(whole[:, _AT_50]),
        "ap75": _mean(whole[:, _AT_75]),
        **{f"ar{limit}": _mean(_recalls(matches[""], counts, limit)) for limit in _LIMITS},
    }
    for name in filter(None, matches):
        figures[f"ap:{name}"] = _mean(_precisions(matches[name], counts))
        figures |= {f"ar{limit}:{name}": _mean(_recalls(matches[name], counts, limit)) for limit in _LIMITS}
    return figures


def _precisions(by_class: Sequence[Sequence[PictureMatch]], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision ``(classes, overlaps, b)``."""
    columns = range(len(COCO_IOUS))
    values = [[precision_at_recalls(m, column, counts).mean(axis=-1) for column in columns] for m in by_class]
    return np.array(values).reshape(-1, len(COCO_IOUS), len(counts))


def _recalls(
    by_class: Sequence[Sequence[PictureMatch]], counts: NDArray[np.float64], limit: int
) -> NDArray[np.float64]:
    """Recall ``(classes, overlaps, b)`` of the `limit` best detections a picture."""
    return np.array([_recall(m, counts, limit) for m in by_class]).reshape(-1, len(COCO_IOUS), len(counts))


def _recall(matches: Iterable[PictureMatch], counts: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    best = [m.best(limit) for m in matches]
    hits = counts @ np.array([m.hits.sum(axis=0) for m in best], np.float64)
    truths = (counts @ np.array([m.truths for m in best], np.float64))[:, None]
    return np.divide(hits, truths, out=np.full(hits.shape, np.nan), where=truths > 0).T


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean ``(b,)`` of what is a number; NaN where nothing is."""
    values = values.reshape(-1, values.shape[-1])
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))
