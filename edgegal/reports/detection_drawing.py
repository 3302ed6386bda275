"""The pictures of a detection report: every curve with all detectors in it."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.metrics import Band, Completeness
from edgegal.reports.detection_figures import LEVELS, DetectionMeasures
from edgegal.reports.style import BLUE, FONT, GREEN, GREY, ORANGE, SMALL, WIDTH, new_figure, plain, short_name

__all__ = ["draw_completeness", "draw_confidence", "draw_false_detections", "draw_precision_recall"]

_COLOURS = (BLUE, ORANGE, GREEN, "#9b4f96", "#b5485d", "#5f6b7a")

_BESIDE = 0.035
"""Inches between the bars of two detectors."""

Named = Sequence[tuple[str, DetectionMeasures]]


def _coloured(measures: Named) -> Iterator[tuple[str, str, DetectionMeasures]]:
    for k, (name, measure) in enumerate(measures):
        yield _COLOURS[k % len(_COLOURS)], short_name(name, 24), measure


def _curve(axes: Axes, x: NDArray[np.float64], band: Band, colour: str, label: str = "") -> None:
    axes.plot(x, band.value, color=colour, linewidth=1.5, label=label)
    axes.fill_between(x, band.low, band.high, color=colour, alpha=0.18, linewidth=0)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=FONT, frameon=False)


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    plain(axes, "both")


def draw_precision_recall(measures: Named) -> Figure:
    """Precision against recall, with the interval of precision at each recall; the name has the area (AP)."""
    figure = new_figure(WIDTH, WIDTH)
    axes = figure.add_subplot()
    for colour, name, measure in _coloured(measures):
        area = measure.coco["ap50"].interval()
        figures = f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}]" if np.isfinite(area.value) else "n/a"
        _curve(axes, metrics.RECALLS, measure.precision, colour, f"{name}\nAP {figures}")
    _unit_square(axes)
    axes.set_xlabel("recall", fontsize=FONT)
    axes.set_ylabel("precision", fontsize=FONT)
    _legend(figure, axes)
    return figure


def draw_confidence(measures: Named) -> Figure:
    """Precision, recall and F1 against confidence; a dot where the detector is deployed."""
    figure = new_figure(1.5 * WIDTH, 0.65 * WIDTH)
    panels = figure.subplots(1, 3, sharey=True)
    for key, title, axes in zip(("precision", "recall", "f1"), ("precision", "recall", "F1"), panels, strict=True):
        for colour, name, measure in _coloured(measures):
            _curve(axes, metrics.THRESHOLDS, measure.curves[key], colour, name)
            axes.plot(measure.threshold, measure.at_threshold[key].value, "o", color=colour, markersize=5)
        axes.set_title(title, fontsize=FONT)
        _unit_square(axes)
        axes.set_xticks([0, 0.5, 1])
    figure.supxlabel("least confidence", fontsize=FONT)
    _legend(figure, panels[0])
    return figure


def draw_false_detections(measures: Named) -> Figure:
    """False detections against confidence, on a logarithmic scale; a dot where the detector is deployed."""
    figure = new_figure(WIDTH, 0.8 * WIDTH)
    axes = figure.add_subplot()
    for colour, name, measure in _coloured(measures):
        band = measure.curves["false"]
        # Nothing has no place on a logarithmic scale: the curve ends with the last false detection.
        positive = np.where(band.value > 0, band.value, np.nan)
        floor = np.nanmin(positive) / 2 if np.isfinite(positive).any() else 1.0
        high = np.where(band.value > 0, band.high, np.nan)
        _curve(axes, metrics.THRESHOLDS, Band(positive, np.maximum(band.low, floor), high), colour, name)
        if measure.at_threshold["false"].value > 0:
            axes.plot(measure.threshold, measure.at_threshold["false"].value, "o", color=colour, markersize=5)
    if any((m.curves["false"].value > 0).any() for _, m in measures):
        axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_xlabel("least confidence", fontsize=FONT)
    unit = "square degree" if measures[0][1].per_degree else "picture"
    axes.set_ylabel(f"false detections a {unit}", fontsize=FONT)
    plain(axes, "both")
    _legend(figure, axes)
    return figure


def draw_completeness(
    measures: Named, of: Callable[[DetectionMeasures], Completeness | None], label: str, octaves: bool = False
) -> Figure:
    """Share of the galaxies found, bin by bin with its Wilson interval, and below how many galaxies a bin holds.

    Parameters
    ----------
    measures
        The detectors; one without such completeness is left out.
    of
        Which completeness of each.
    label
        What the bins are of.
    octaves
        A logarithmic axis.
    """
    figure = new_figure(WIDTH, WIDTH)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    most = 0
    for k, (colour, name, measure) in enumerate(_coloured(measures)):
        bins = of(measure)
        if bins is None:
            continue
        # Bars of several detectors on the same galaxies stand beside each other.
        beside = ScaledTranslation(k * _BESIDE, 0, figure.dpi_scale_trans)
        used = bins.truths > 0
        share = bins.share
        axes.errorbar(
            bins.means[used],
            share.value[used],
            yerr=np.abs(np.stack([share.value - share.low, share.high - share.value])[:, used]),
            color=colour,
            marker="o",
            markersize=4,
            linewidth=1.2,
            elinewidth=0.9,
            capsize=2,
            label=name,
            transform=axes.transData + beside,
        )
        below.stairs(bins.truths, _finite(bins), color=colour)
        most = max(most, int(bins.truths.max()))
    for level in LEVELS:
        axes.axhline(level, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share found", fontsize=FONT)
    plain(axes, "both")
    below.set_ylim(0, 1.1 * max(most, 1))
    below.set_ylabel("galaxies", fontsize=FONT)
    below.set_xlabel(label, fontsize=FONT)
    plain(below, "y")
    if octaves:
        _octaves(below, [bins for _, m in measures if (bins := of(m)) is not None])
    _legend(figure, axes)
    return figure


def _finite(bins: Completeness) -> NDArray[np.float64]:
    """Edges that can be drawn: an open bin ends a little beyond its mean."""
    edges = bins.edges.copy()
    if not np.isfinite(edges[-1]):
        edges[-1] = 1.3 * (bins.means[-1] if bins.truths[-1] else edges[-2])
    return edges


def _octaves(axes: Axes, all_bins: Sequence[Completeness]) -> None:
    """Powers of two as ticks, from the first bin with a galaxy to the last."""
    axes.set_xscale("log", base=2)
    used = [b.means[b.truths > 0] for b in all_bins]
    means = np.concatenate(used)
    ticks = 2.0 ** np.arange(2, 12)
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks], fontsize=SMALL)
    axes.minorticks_off()
    if len(means):
        axes.set_xlim(means.min() / 1.4, means.max() * 1.4)
