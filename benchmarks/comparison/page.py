"""A comparison as one page to read: gates, figures, drawings, and the pictures that float and variants differ on."""

import cv2

from edgegal import __version__
from edgegal.benchmarks.comparison import tables
from edgegal.benchmarks.comparison.charts import drop_chart, layer_chart, reliability_charts
from edgegal.benchmarks.comparison.disagreements import BoxDisagreement, ClassDisagreement, Disagreement
from edgegal.benchmarks.comparison.report import Comparison
from edgegal.frames import View
from edgegal.machine import this_machine
from edgegal.reports.page import data_uri, render_page

__all__ = ["html_page"]

_PLOT, _SQUARE, _BARS = 760.0, 150.0, (960.0, 130.0)
"""Sides of the drawings in units of the page."""

_CROP, _FIELD = 144, 400
"""Longer sides of the pictures of one galaxy and of whole fields, pixels."""


def html_page(comparison: Comparison) -> str:
    """The page, with everything it shows inside.

    Raises
    ------
    MissingPartError
        Jinja2 is not installed.
    """
    charts = ((stage, drop_chart(stage, comparison.gate, _PLOT)) for stage in comparison.stages)
    values = {
        "comparison": comparison,
        "version": __version__,
        "machine": this_machine(),
        "drops": [(stage, chart) for stage, chart in charts if chart],
        "reliability": [reliability_charts(stage, _SQUARE) for stage in comparison.stages],
        "layers": [(layer_chart(report, *_BARS), tables.layers(report)) for report in comparison.layers],
        "square": _SQUARE,
        "bars": _BARS,
        "plot": _PLOT,
    }
    filters = {"inline": _inline, "words": _words, "tick": lambda value: f"{value:g}"}
    return render_page("edgegal.benchmarks.comparison", "templates/comparison.html.j2", filters, values)


def _inline(each: Disagreement) -> str:
    drawn: View = each.drawn(_CROP if isinstance(each, ClassDisagreement) else _FIELD)
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return data_uri(coded.tobytes(), "image/jpeg")


def _words(each: Disagreement) -> str:
    """What float and the variant say of a picture."""
    if isinstance(each, BoxDisagreement):
        alone = (int(each.only_float.sum()), int(each.only_variant.sum()))
        return f"picture {each.index}: float alone {alone[0]}, variant alone {alone[1]}"
    return (
        f"true {each.truth}; float {each.expected} {each.expected_probability:.2f}; "
        f"variant {each.obtained} {each.obtained_probability:.2f}"
    )
