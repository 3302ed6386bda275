"""Several methods side by side: mean over seeds or folds, interval, published figure, and a paired test."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.metrics import Band, Interval
from edgegal.reports.figures import RESAMPLES, columns_of, per_picture, statistic, title_of
from edgegal.reports.results import Result

__all__ = ["ComparisonRow", "Run", "RunComparison", "compare_runs"]


@dataclass(frozen=True)
class Run:
    """One method, trained once or several times.

    Attributes
    ----------
    name
        What it is called.
    results
        One for each seed or fold, of one kind and with the same classes or outputs.
    published
        Figures that the published work states, by key.
    """

    name: str
    results: tuple[Result, ...]
    published: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError(f"{self.name}: a run has at least one result")
        if len({(type(r), columns_of(r)) for r in self.results}) > 1:
            raise ValueError(f"{self.name}: its results are not of one kind")


@dataclass(frozen=True)
class RunComparison:
    """A table of runs.

    Attributes
    ----------
    title
        Its heading.
    runs
        In the order of the rows.
    figures
        Keys of its columns: names of `edgegal.reports.figures.TITLES`, those of one class with it: ``f1:spiral``.
    reference
        Name of the run that the others are tested against; no test when empty.
    """

    title: str
    runs: tuple[Run, ...]
    figures: tuple[str, ...] = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")
    reference: str = ""

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.title}: two runs have one name")
        if self.reference and self.reference not in names:
            raise ValueError(f"{self.title}: no run is called {self.reference!r}")
        for key in self.figures:
            title_of(key)


@dataclass(frozen=True)
class ComparisonRow:
    """A run in the table.

    Attributes
    ----------
    name
        Of the run.
    results
        How many seeds or folds its means are over.
    pictures
        Distinct test pictures.
    parameters
        Weights of the network; None where it is not known, or not one number.
    figures
        Mean over results, by key. Its interval covers the choice of pictures and, of several results, of seeds.
    deviations
        Standard deviation over results, by key; None for one result.
    published
        By key.
    differences
        From the reference, by key, paired by picture; None for the reference itself and without one.
    p
        Of the sign-flip test of hits (squared errors of a regression) against the reference, picture by picture; None
        where the two were not tested on the same pictures.
    """

    name: str
    results: int
    pictures: int
    parameters: int | None
    figures: Mapping[str, Interval]
    deviations: Mapping[str, float] | None
    published: Mapping[str, float]
    differences: Mapping[str, Interval] | None
    p: float | None


def compare_runs(comparison: RunComparison, seed: int = 0, resamples: int = RESAMPLES) -> tuple[ComparisonRow, ...]:
    """The rows of a comparison.

    A resample draws test pictures, the same for all results with the same ones, and of each run as many of its results
    as it has: seeds are a sample too. With few seeds the latter understates their share of the interval; the deviation
    over seeds stands beside.

    Parameters
    ----------
    comparison
        Runs and figures.
    seed, resamples
        Of the bootstrap.
    """
    values = [_values(run, comparison.figures) for run in comparison.runs]
    draws = [_draws(run, comparison.figures, (seed, i), resamples) for i, run in enumerate(comparison.runs)]
    names = [run.name for run in comparison.runs]
    against = names.index(comparison.reference) if comparison.reference else None
    rows = []
    for i, run in enumerate(comparison.runs):
        differences = p = None
        if against is not None and i != against:
            band = metrics.percentile_band(
                values[i].mean(axis=0) - values[against].mean(axis=0), draws[i] - draws[against]
            )
            differences = _by_key(comparison.figures, band)
            p = _paired_p(run, comparison.runs[against], seed)
        parameters = {result.parameters for result in run.results}
        rows.append(
            ComparisonRow(
                run.name,
                results=len(run.results),
                pictures=len({name for result in run.results for name in result.ids}),
                parameters=parameters.pop() if len(parameters) == 1 else None,
                figures=_by_key(comparison.figures, metrics.percentile_band(values[i].mean(axis=0), draws[i])),
                deviations=_deviations(comparison.figures, values[i]),
                published=dict(run.published),
                differences=differences,
                p=p,
            )
        )
    return tuple(rows)


def _by_key(keys: Sequence[str], band: Band) -> dict[str, Interval]:
    return {key: band.interval(k) for k, key in enumerate(keys)}


def _deviations(keys: Sequence[str], values: NDArray[np.float64]) -> dict[str, float] | None:
    if len(values) < 2:
        return None
    return dict(zip(keys, values.std(axis=0, ddof=1).tolist(), strict=True))


def _picked(result: Result, keys: Sequence[str], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The figures `keys`, ``(b, keys)``; NaN for one that this kind of result has not."""
    figures, columns = statistic(result)(counts), columns_of(result)
    missing = np.full(len(counts), np.nan)
    picked = []
    for key in keys:
        name, _, column = key.partition(":")
        value = figures.get(name, missing)
        if value.ndim == 2:
            value = value[:, columns.index(column)] if column in columns else missing
        picked.append(value)
    return np.stack(picked, axis=1)


def _values(run: Run, keys: Sequence[str]) -> NDArray[np.float64]:
    """Figures of each result, ``(results, keys)``."""
    return np.stack([_picked(result, keys, np.ones((1, len(result))))[0] for result in run.results])


# Resamples counted at once: bounds memory at some hundred MB for tens of thousands of pictures.
_BLOCK = 250


def _draws(run: Run, keys: Sequence[str], seed: tuple[int, int], resamples: int) -> NDArray[np.float64]:
    """Mean over drawn results of each resample, ``(resamples, keys)``."""
    k = len(run.results)
    of_results = np.random.default_rng((*seed, 1))
    blocks = []
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        each = np.stack(
            [_picked(r, keys, metrics.draw_counts(len(r), size, _picture_rng(r, seed[0], start))) for r in run.results]
        )
        shares = metrics.draw_counts(k, size, of_results).T / k
        blocks.append((each * shares[:, :, None]).sum(axis=0))
    return np.concatenate(blocks)


def _picture_rng(result: Result, seed: int, start: int) -> np.random.Generator:
    """The same draws for results on the same pictures, in whatever run, and others for others."""
    digest = hashlib.sha256("\n".join(result.ids).encode()).digest()
    return np.random.default_rng([seed, start, *np.frombuffer(digest, np.uint32).tolist()])


def _paired_p(run: Run, reference: Run, seed: int) -> float | None:
    ours, theirs = _mean_per_picture(run), _mean_per_picture(reference)
    if ours.keys() != theirs.keys():
        return None
    return metrics.sign_flip_p(np.array([ours[name] - theirs[name] for name in ours]), seed)


def _mean_per_picture(run: Run) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for result in run.results:
        for name, value in zip(result.ids, per_picture(result).tolist(), strict=True):
            sums.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sums.items()}
