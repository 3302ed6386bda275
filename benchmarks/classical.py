"""The classical way to find galaxies, to measure a network against: extraction and a star-galaxy cut.

Objects are what rises above the sky, extracted by sep (Barbary 2016, JOSS 1, 58), the library of SExtractor (Bertin &
Arnouts 1996, A&AS 117, 393). Which of them are galaxies is told as SExtractor's ``CLASS_STAR`` tells it, from isophotal
areas, the peak, and how wide the stars of the frame are; by a linear discriminant instead of its small network, fitted
on composed fields that no figure is taken from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgegal.benchmarks.rejection import false_boxes
from edgegal.benchmarks.statistics import Statistics
from edgegal.detections import Detections, contained
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import View
from edgegal.metrics import Interval, bootstrap, match_picture
from edgegal.preprocess import Stretch, measure_sky

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "FEATURES",
    "FITTED",
    "Agreement",
    "ClassicalDetector",
    "Discriminant",
    "Objects",
    "SideBySide",
    "TruthField",
    "extract_objects",
    "fit_discriminant",
    "side_by_side",
]

_MESH_PX = 256
"""Galaxies to be found are up to half of that: in a finer mesh they would pass for sky."""
_THRESHOLD_SIGMA = 3.0
_LARGEST_NOISE = 2.0
"""A galaxy that fills the frame passes for noise to the mesh, not to differences between pixels: at most so many times
theirs."""
_SMALLEST_AREA_PX = 12
_DEBLEND_CONTRAST = 0.05

_STAR_QUANTILE = 0.25
"""Most objects are stars, and blends and galaxies are wider: the first quartile of the widths is that of stars."""

FEATURES = (
    "isophotal area",
    "area above half the peak, over that of stars",
    "area above a quarter of the peak over that above half",
    "area above an eighth of the peak over that above half",
    "area of the displayed core over that above half the peak",
    "elongation",
    "peak over the noise",
    "share of the box that is filled",
)
"""What the discriminant weighs: logarithms of these."""

_CENTRE_PX = 3.0
"""Centres nearer than this are the same place, however small the galaxy."""


@dataclass(frozen=True, eq=False)
class Objects:
    """What rises above the sky.

    Attributes
    ----------
    boxes
        ``(n, 4)`` float32 x0, y0, x1, y1 in pixels, continuous coordinates.
    features
        ``(n, f)`` float64, a column for each of the discriminant's weights: logarithms of areas and of their ratios.
    """

    boxes: NDArray[np.float32]
    features: NDArray[np.float64]


def _sep() -> "ModuleType":
    try:
        import sep
    except ImportError:
        raise MissingPartError("the classical baseline needs sep", "pip install sep") from None
    return sep


def _extract(sep: "ModuleType", data: NDArray[np.float32], threshold: float) -> tuple[Any, NDArray[np.int32]]:
    """sep's objects and segments; a frame it finds too crowded to deblend is taken without deblending."""
    # A frame of nebula or noise may be above the threshold all over.
    sep.set_extract_pixstack(max(sep.get_extract_pixstack(), data.size))
    settings: dict[str, Any] = {"minarea": _SMALLEST_AREA_PX, "segmentation_map": True}
    try:
        return sep.extract(data, threshold, deblend_cont=_DEBLEND_CONTRAST, **settings)
    except Exception as error:  # sep has no type of its own.
        if "deblending overflow" not in str(error):
            raise
    return sep.extract(data, threshold, deblend_cont=1.0, deblend_nthresh=1, **settings)


def extract_objects(view: View, stretch: Stretch) -> Objects:
    """Extract objects at least 12 pixels large that rise 3 sigma above the sky, and measure them.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB, any size and memory layout.
    stretch
        What made the view from linear pixels: widths are measured in linear light, where a star's does not depend on
        how bright it is.

    Raises
    ------
    MissingPartError
        sep is not installed.
    """
    sep = _sep()
    # A new array in C order and of the machine's byte order, which is all that sep takes.
    grey = np.ascontiguousarray(view.mean(axis=2, dtype=np.float32))
    sky = sep.Background(grey, bw=_MESH_PX, bh=_MESH_PX)
    # A frame of one colour has no noise: one grey level is the least of 8 bits.
    noise = max(1.0, min(float(sky.globalrms), _LARGEST_NOISE * measure_sky(grey).sigma))
    above = grey - sky.back(dtype=np.float32)
    found, segments = _extract(sep, above, _THRESHOLD_SIGMA * noise)
    # sep's limits are the indices of the first and the last pixel.
    boxes = np.stack([found["xmin"], found["ymin"], found["xmax"] + 1, found["ymax"] + 1], axis=1).astype(np.float32)
    if not len(found):
        return Objects(boxes, np.zeros((0, len(FEATURES))))
    linear = np.sinh(grey * np.float32(np.arcsinh(stretch.white_sigma / stretch.soft_sigma) / 255))
    linear -= np.median(linear)
    return Objects(boxes, _features(found, segments, above / np.float32(noise), linear))


def _features(
    found: Any, segments: NDArray[np.int32], above: NDArray[np.float32], linear: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Columns of `FEATURES` of sep's objects; `above` in sigmas of the view's noise, `linear` in any unit."""
    member = segments > 0
    owner = segments[member] - 1

    def peaks(image: NDArray[np.float32]) -> NDArray[np.float32]:
        highest = np.full(len(found), 1e-3, np.float32)
        np.maximum.at(highest, owner, image[member])
        return highest

    def area(image: NDArray[np.float32], share: float) -> NDArray[np.float64]:
        """Pixels of each object above a share of its peak."""
        return np.maximum(np.bincount(owner, image[member] > share * peaks(image)[owner], len(found)), 1.0)

    isophotal = np.maximum(np.bincount(owner, minlength=len(found)), 1.0)
    box_area = (found["xmax"] + 1 - found["xmin"]) * (found["ymax"] + 1 - found["ymin"])
    half = area(linear, 0.5)
    columns = [
        isophotal,
        half / np.quantile(half, _STAR_QUANTILE),
        area(linear, 0.25) / half,
        area(linear, 0.125) / half,
        area(above, 0.9) / half,
        found["a"] / np.maximum(found["b"], 0.1),
        peaks(above),
        isophotal / box_area,
    ]
    return np.log(np.stack(columns, axis=1).astype(np.float64))


@dataclass(frozen=True)
class Discriminant:
    """Tells galaxies from stars by the logistic function of a weighted sum.

    Attributes
    ----------
    weights
        One for each of `FEATURES`.
    bias
        Added to the sum.
    threshold
        Probability of being a galaxy from which on an object is reported.
    """

    weights: tuple[float, ...]
    bias: float
    threshold: float

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """``(n,)`` of features ``(n, f)``."""
        logit = features @ np.array(self.weights) + self.bias
        found: NDArray[np.float32] = (1 / (1 + np.exp(-np.clip(logit, -50, 50)))).astype(np.float32)
        return found


FITTED = Discriminant((0.99, 0.9, 0.01, 2.01, -1.07, 1.66, 0.58, 3.77), -13.4, 0.22)
"""By `fit_discriminant` on 300 fields composed with validation galaxies of Galaxy Zoo 2 (`edgegal.data.mixture`, all
telescopes, no whole cutouts, seed 8,000,000): a kind of sky that is in its figures, galaxies that are not."""


def fit_discriminant(fields: "Sequence[TruthField]", stretch: Stretch = Stretch()) -> Discriminant:
    """Fit weights by logistic regression on fields with known galaxies, and the threshold with the best F1 on them.

    An object is a galaxy when its box overlaps a true one by half of their union; what lies on what a field ignores is
    left out. A weak ridge keeps the weights finite where the features tell all apart.
    """
    rows, truths, wanted = [], [], 0
    for field in fields:
        objects = extract_objects(field.picture, stretch)
        boxes = Detections(
            objects.boxes, objects.features[:, 0].astype(np.float32), np.zeros(len(objects.boxes), np.int32)
        )
        galaxies = _galaxies(field.truth)
        match = match_picture(boxes, galaxies, (0.5,), 0, max(len(boxes), 1), field.ignore)
        order = np.argsort(-boxes.scores, kind="stable")
        counted = match.hits[:, 0] | match.false[:, 0]
        rows.append(objects.features[order][counted])
        truths.append(match.hits[:, 0][counted])
        wanted += match.truths
    features, galaxy = np.concatenate(rows), np.concatenate(truths).astype(np.float64)
    weights, bias = _logistic_regression(features, galaxy)
    unfinished = Discriminant(tuple(weights.round(2).tolist()), round(bias, 2), 0.5)
    found = unfinished.probabilities(features)
    grid = np.round(np.arange(0.02, 0.99, 0.01), 2)
    kept = found[None] >= grid[:, None]
    f1 = 2 * (kept & (galaxy > 0)).sum(axis=1) / np.maximum(kept.sum(axis=1) + wanted, 1)
    return replace(unfinished, threshold=float(grid[int(f1.argmax())]))


_RIDGE = 1.0


def _logistic_regression(
    features: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weights and bias by Newton's method on standardised features, the weights with a ridge."""
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    columns = np.concatenate([(features - middle) / spread, np.ones((len(features), 1))], axis=1)
    penalty = np.append(np.full(features.shape[1], _RIDGE), 0.0)
    solution = np.zeros(columns.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(columns @ solution, -30, 30)))
        slope = columns.T @ (p - truth) + penalty * solution
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(penalty + 1e-9)
        solution -= np.linalg.solve(curvature, slope)
    weights = solution[:-1] / spread
    return weights, float(solution[-1] - weights @ middle)


@dataclass(frozen=True)
class ClassicalDetector:
    """Extraction and the star-galaxy cut: callable on a view of any size.

    Attributes
    ----------
    stretch
        What made the views.
    discriminant
        Tells galaxies from stars.
    """

    stretch: Stretch = Stretch()
    discriminant: Discriminant = FITTED

    def __call__(self, view: View) -> Detections:
        """Galaxies, best first, in pixels of the view; errors as `extract_objects`.

        The score is the discriminant's probability, which grows with extent, signal to noise and elongation alike.
        """
        objects = extract_objects(view, self.stretch)
        scores = self.discriminant.probabilities(objects.features)
        found = Detections(objects.boxes, scores, np.zeros(len(scores), np.int32)).above(self.discriminant.threshold)
        return found.select(np.argsort(-found.scores, kind="stable"))


class TruthField(Protocol):
    """A picture with its true boxes, as `edgegal.data.fields.Field` is; class 0 is galaxy."""

    @property
    def picture(self) -> View: ...

    @property
    def ignore(self) -> NDArray[np.float32]: ...

    @property
    def truth(self) -> Detections: ...


@dataclass(frozen=True)
class Agreement:
    """How boxes agree with the truth, over all fields; intervals are of a bootstrap over fields."""

    f1: Interval
    precision: Interval
    recall: Interval
    false: Interval
    """False boxes a field, with the interval of `edgegal.benchmarks.rejection.Rejection`."""

    @classmethod
    def of(cls, counts: NDArray[np.int64], seed: int = 0) -> "Agreement":
        """From hits, false boxes and missed galaxies of each field, ``(fields, 3)``; NaN where nothing is to divide."""

        def ratio(hits: int, of: int) -> float:
            return hits / of if of else float("nan")

        def interval(weights: tuple[int, int, int]) -> Interval:
            def statistic(drawn: NDArray[np.int64]) -> float:
                hits, *_ = total = counts[drawn].sum(axis=0)
                return ratio(weights[0] * int(hits), int(np.dot(weights, total)))

            return bootstrap(len(counts), statistic, seed)

        return cls(
            f1=interval((2, 1, 1)),
            precision=interval((1, 1, 0)),
            recall=interval((1, 0, 1)),
            false=false_boxes(counts[:, 1], seed),
        )


@dataclass(frozen=True)
class SideBySide:
    """One detector on the fields of a comparison.

    Attributes
    ----------
    detector
        Its name.
    fields, galaxies
        How many it was shown.
    overlap
        Agreement of boxes that overlap by half of their union.
    place
        Agreement of boxes whose centres are within half the galaxy's shorter side, or 3 pixels.
    seconds
        Time of each field. Detectors take turns field by field, so what else the machine does falls on all alike.
    """

    detector: str
    fields: int
    galaxies: int
    overlap: Agreement
    place: Agreement
    seconds: Statistics


def _count_by_overlap(found: Detections, truth: Detections, ignore: NDArray[np.float32]) -> list[int]:
    match = match_picture(found, truth, (0.5,), 0, max(len(found), 1), ignore)
    hits = int(match.hits.sum())
    return [hits, int(match.false.sum()), match.truths - hits]


def _count_by_place(found: Detections, truth: Detections, ignore: NDArray[np.float32]) -> list[int]:
    """Best first, each box takes the nearest free galaxy in reach."""
    distance = np.linalg.norm(found.centres[:, None] - truth.centres[None], axis=2)
    reach = np.maximum(truth.sizes.min(axis=1, initial=np.inf) / 2, _CENTRE_PX)
    distance[distance > reach] = np.inf
    false = np.ones(len(found), bool)
    for i in np.argsort(-found.scores, kind="stable"):
        if len(truth) and np.isfinite(distance[i].min()):
            distance[:, int(distance[i].argmin())] = np.inf
            false[i] = False
    hits = int((~false).sum())
    false &= ~(contained(found.boxes, ignore) > 0.5).any(axis=1)
    return [hits, int(false.sum()), len(truth) - hits]


def _galaxies(detections: Detections) -> Detections:
    return detections.select(detections.classes == 0)


def side_by_side(
    detectors: Mapping[str, Callable[[View], Detections]], fields: Sequence[TruthField], seed: int = 0
) -> list[SideBySide]:
    """Compare detectors on the same fields, in one run.

    Parameters
    ----------
    detectors
        By name. Of what they find only class 0 counts.
    fields
        Pictures with their truth.
    seed
        Of the bootstraps.

    Returns
    -------
    list of SideBySide
        One a detector, in order.

    Raises
    ------
    InputError
        There are no fields.
    """
    if not fields:
        raise InputError("no pictures to measure detectors on", "choose another split")
    counts: dict[str, list[tuple[list[int], list[int]]]] = {name: [] for name in detectors}
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for detect in detectors.values():
        # The first call loads what later ones find loaded.
        detect(fields[0].picture)
    for field in fields:
        truth = _galaxies(field.truth)
        for name, detect in detectors.items():
            start = perf_counter()
            found = detect(field.picture)
            seconds[name].append(perf_counter() - start)
            seen = _galaxies(found)
            counts[name].append(
                (_count_by_overlap(seen, truth, field.ignore), _count_by_place(seen, truth, field.ignore))
            )
    galaxies = sum(len(_galaxies(field.truth)) for field in fields)
    return [
        SideBySide(
            name,
            len(fields),
            galaxies,
            Agreement.of(np.array([overlap for overlap, _ in counts[name]], np.int64), seed),
            Agreement.of(np.array([place for _, place in counts[name]], np.int64), seed),
            Statistics(np.array(seconds[name])),
        )
        for name in detectors
    ]
