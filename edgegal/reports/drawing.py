"""The pictures of a report, drawn with matplotlib's objects: no window system, no state shared between threads.

The page turns their colours over for dark screens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.metrics import Band
from edgegal.reports.comparison import ComparisonRow
from edgegal.reports.figures import RATES, RELIABILITY_BINS, title_of
from edgegal.reports.results import ClassificationResult, RegressionResult
from edgegal.reports.style import BLUE, FONT, GREEN, GREY, ORANGE, PALE, SMALL, WIDTH, new_figure, plain, short_name

__all__ = [
    "draw_comparison",
    "draw_confusion",
    "draw_history",
    "draw_regression",
    "draw_reliability",
    "draw_roc",
    "draw_scores",
]


MOST_WITH_INTERVALS = 6
"""Classes in a confusion matrix that has room for the interval of every share."""


def draw_confusion(result: ClassificationResult, bands: Mapping[str, Band]) -> Figure:
    """Counts of each true class (row) and answer (column), shaded by their share of the row.

    The interval of the share stands with it where there is room.
    """
    classes = len(result.labels)
    counts = metrics.confusion_matrix(result.truth, result.predicted, classes)
    support = counts.sum(axis=1, keepdims=True)
    band = bands["confusion_shares"]
    shares = np.nan_to_num(band.value)
    side = max(WIDTH, 1.8 + 0.5 * classes)
    figure = new_figure(side, side * 0.92)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [short_name(label, 22) for label in result.labels]
    axes.set_xticks(range(classes), names, fontsize=FONT, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), [f"{n}\n({s})" for n, s in zip(names, support[:, 0], strict=True)], fontsize=FONT)
    axes.set_xlabel("answer", fontsize=FONT)
    axes.set_ylabel("true class (pictures)", fontsize=FONT)
    for row, column in np.ndindex(counts.shape):
        ink = "white" if shares[row, column] > 0.55 else "#1b2430"
        text = f"{counts[row, column]}\n{100 * shares[row, column]:.0f} %" if support[row, 0] else "n/a"
        if support[row, 0] and classes <= MOST_WITH_INTERVALS:
            text += f"\n[{100 * band.low[row, column]:.0f}, {100 * band.high[row, column]:.0f}]"
        if not counts[row, column] and support[row, 0]:
            text, ink = "0", GREY
        font = FONT if classes <= MOST_WITH_INTERVALS else SMALL
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=font)
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_roc(result: ClassificationResult, curves: Sequence[Band], auc: Band) -> Figure:
    """One panel a class: the curve against the rest, its interval, and those of the other classes in grey."""
    columns = 2 if len(curves) <= 4 else 3 if len(curves) <= 6 else 4
    rows = -(-len(curves) // columns)
    width = WIDTH if len(curves) <= 6 else 1.3 * WIDTH
    figure = new_figure(width, 0.3 + rows * (width / columns + 0.25))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for c, axes in enumerate(panels):
        if c >= len(curves):
            axes.set_visible(False)
            continue
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=1)
        for other in curves:
            axes.plot(RATES, other.value, color=PALE, linewidth=0.8)
        axes.fill_between(RATES, curves[c].low, curves[c].high, color=BLUE, alpha=0.25, linewidth=0)
        # A curve leaves (0, 0) upright; its heights begin at the top of that.
        axes.plot([0, *RATES], [0, *curves[c].value], color=BLUE, linewidth=1.5)
        area = auc.interval(c)
        figures = f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}]" if np.isfinite(area.value) else "n/a"
        axes.set_title(f"{short_name(result.labels[c])}\n{figures}", fontsize=FONT if columns == 2 else SMALL)
        axes.set_aspect("equal")
        axes.set_xlim(-0.01, 1)
        axes.set_ylim(0, 1.01)
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        plain(axes, "both")
        # The lowest panel of each column has the numbers, also where the last row is not full.
        axes.tick_params(labelbottom=c + columns >= len(curves))
    figure.supxlabel("false-positive rate", fontsize=FONT)
    figure.supylabel("true-positive rate", fontsize=FONT)
    return figure


def draw_scores(result: ClassificationResult, bands: Mapping[str, Band]) -> Figure:
    """Precision, recall and F1 of each class with their intervals."""
    classes = len(result.labels)
    figure = new_figure(WIDTH, 0.9 + 0.55 * classes)
    axes = figure.add_subplot()
    places = np.arange(classes)
    for k, (key, colour) in enumerate((("precision", ORANGE), ("recall", BLUE), ("f1", GREEN))):
        _bars(axes, places + 0.26 * (k - 1), bands[key], 0.24, colour, title_of(key))
    support = np.bincount(result.truth, minlength=classes)
    axes.set_yticks(
        places, [f"{short_name(n)}\n({s})" for n, s in zip(result.labels, support, strict=True)], fontsize=FONT
    )
    axes.set_ylim(classes - 0.45, -0.55)
    axes.set_xlim(0, 1)
    plain(axes, "x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=FONT, frameon=False)
    return figure


def _bars(axes: Axes, places: NDArray[np.floating], band: Band, height: float, colour: str, label: str) -> None:
    value = np.nan_to_num(band.value)
    axes.barh(places, value, height, color=colour, label=label)
    known = np.isfinite(band.value)
    axes.errorbar(
        value[known],
        places[known],
        xerr=np.abs(np.stack([band.value - band.low, band.high - band.value])[:, known]),
        fmt="none",
        ecolor="#1b2430",
        elinewidth=0.9,
        capsize=1.5,
    )
    for place in places[~known]:
        axes.text(0.01, place, "n/a", va="center", fontsize=SMALL, color=GREY)


def draw_reliability(result: ClassificationResult, bands: Mapping[str, Band]) -> Figure:
    """Share of right answers against confidence, bin by bin, and below how many pictures each bin holds."""
    bins = metrics.reliability(result.truth, result.probabilities, RELIABILITY_BINS)
    used = bins.counts > 0
    figure = new_figure(WIDTH, WIDTH)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="calibrated")
    share = bands["bin_accuracy"]
    ends = np.abs(np.stack([share.value - share.low, share.high - share.value]))[:, used]
    axes.errorbar(
        bins.confidence[used],
        bins.accuracy[used],
        yerr=np.nan_to_num(ends),
        color=BLUE,
        marker="o",
        markersize=4,
        linewidth=1.2,
        elinewidth=0.9,
        capsize=2,
        label="this network",
    )
    axes.set_ylabel("share of right answers", fontsize=FONT)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    axes.legend(fontsize=FONT, frameon=False, loc="upper left")
    plain(axes, "both")
    middles = (bins.edges[1:] + bins.edges[:-1]) / 2
    drawn = below.bar(middles, bins.counts, 0.9 / RELIABILITY_BINS, color=BLUE)
    below.bar_label(
        drawn, [f"{c:.0f}" if c else "" for c in bins.counts], fontsize=SMALL - 1, color="#1b2430", padding=1
    )
    below.set_ylim(0, bins.counts.max() * 1.25)
    below.set_xlabel("confidence: probability of the answer", fontsize=FONT)
    below.set_ylabel("pictures", fontsize=FONT)
    plain(below)
    return figure


def draw_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """A panel for each column of the training log, its validation column beside it."""
    names = [name for name in history if not (name.startswith("val_") and name.removeprefix("val_") in history)]
    columns = 2 if len(names) > 1 else 1
    rows = -(-len(names) // columns)
    width = WIDTH if len(names) < 5 else 1.3 * WIDTH
    figure = new_figure(width, 0.3 + 1.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for name, axes in zip(names, panels[: len(names)], strict=True):
        for column, colour, label in ((name, BLUE, "training"), (f"val_{name}", ORANGE, "validation")):
            values = np.asarray(history.get(column, ()), np.float64)
            if name.startswith("val_"):
                colour, label = ORANGE, "validation"
            if len(values):
                # A single epoch makes no line.
                axes.plot(
                    range(1, len(values) + 1), values, color=colour, label=label, marker="o" if len(values) < 4 else ""
                )
        known = np.asarray(history[name], np.float64)
        if name.endswith("learning_rate") and (known > 0).all() and len(known):
            axes.set_yscale("log")
        axes.set_title(short_name(name.removeprefix("val_")), fontsize=FONT)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.02)
        plain(axes, "y")
        axes.tick_params(labelsize=SMALL)
    handles: dict[str, Any] = {}
    for axes in panels[: len(names)]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2, fontsize=FONT, frameon=False)
    figure.supxlabel("epoch", fontsize=FONT)
    return figure


def draw_regression(result: RegressionResult, bands: Mapping[str, Band]) -> Figure:
    """Predicted against true value, a panel an output."""
    columns = min(2, len(result.outputs))
    rows = -(-len(result.outputs) // columns)
    figure = new_figure(WIDTH, 0.3 + rows * (WIDTH / columns + 0.2))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(result.outputs) :]:
        axes.set_visible(False)
    for k, axes in enumerate(panels[: len(result.outputs)]):
        truth, predicted = result.truth[:, k], result.predicted[:, k]
        low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
        axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        # Points fade as they grow many.
        opacity = float(np.clip(60 / len(truth) ** 0.75, 0.08, 0.8))
        axes.scatter(truth, predicted, s=7, color=BLUE, alpha=opacity, linewidths=0)
        r2 = bands["r2"].interval(k)
        figures = f"R² {r2.value:.3f} [{r2.low:.3f}, {r2.high:.3f}]" if np.isfinite(r2.value) else "R² n/a"
        axes.set_title(f"{short_name(result.outputs[k], 26)}\n{figures}", fontsize=FONT)
        plain(axes, "both")
        axes.tick_params(labelsize=SMALL)
    figure.supxlabel("true", fontsize=FONT)
    figure.supylabel("predicted", fontsize=FONT)
    return figure


def draw_comparison(rows: Sequence[ComparisonRow], keys: Sequence[str]) -> Figure:
    """A panel a figure: each run's mean with its interval, and what was published."""
    columns = 2 if len(keys) > 1 else 1
    across = -(-len(keys) // columns)
    names = [short_name(row.name, 22) for row in rows]
    figure = new_figure(WIDTH * (1.3 if columns > 1 else 1), 0.5 + across * (0.55 + 0.33 * len(rows)))
    panels = figure.subplots(across, columns, sharey=True, squeeze=False).ravel()
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    places = np.arange(len(rows))
    for key, axes in zip(keys, panels[: len(keys)], strict=True):
        figures = [row.figures[key] for row in rows]
        values = np.array([f.value for f in figures])
        ends = np.abs([[f.value - f.low for f in figures], [f.high - f.value for f in figures]])
        axes.errorbar(
            values, places, xerr=np.nan_to_num(ends), fmt="o", color=BLUE, markersize=5, capsize=2, label="this run"
        )
        published = np.array([row.published.get(key, np.nan) for row in rows])
        if np.isfinite(published).any():
            axes.plot(published, places, "D", color=ORANGE, markersize=5, markerfacecolor="none", label="published")
        axes.set_title(short_name(title_of(key), 26), fontsize=FONT)
        axes.set_yticks(places, names, fontsize=FONT)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.margins(x=0.08)
        plain(axes, "both")
        axes.tick_params(axis="x", labelsize=SMALL)
        axes.locator_params(axis="x", nbins=5)
    handles: dict[str, Any] = {}
    for axes in panels[: len(keys)]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2, fontsize=FONT, frameon=False)
    return figure
