"""How the drawings of all reports look: ink on white, in colours that stay apart for colour-blind eyes."""

import textwrap
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BLUE", "FONT", "GREEN", "GREY", "ORANGE", "PALE", "SMALL", "WIDTH", "new_figure", "plain", "short_name"]

WIDTH = 5.0
"""Inches; at this width text of 9 points can still be read on a phone that shows the whole picture."""

FONT, SMALL = 9, 7.5
BLUE, ORANGE, GREEN, GREY, PALE = "#2867b2", "#d97b16", "#2a8c6e", "#8a94a3", "#d9dee6"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def plain(axes: Axes, grid: Literal["", "x", "y", "both"] = "") -> None:
    """Axes with no more lines than needed."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=FONT)
    if grid:
        axes.grid(axis=grid, color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)


def short_name(text: str, width: int = 18) -> str:
    """A name that may not stretch the picture: broken at spaces, cut after two lines; ``$`` is no mathematics."""
    lines = textwrap.wrap(text.replace("_", " "), width, max_lines=2, placeholder="…") or [text]
    return "\n".join(lines).replace("$", r"\$")
