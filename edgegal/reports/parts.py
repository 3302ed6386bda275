"""What reports are made of: drawings as files, figures as text, values as JSON has them."""

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegal.reports.page import data_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "as_json", "as_picture", "figure_text", "paragraphs", "signed_text", "slug"]

_DPI = 150


@dataclass(frozen=True)
class Picture:
    """A drawing of the report."""

    file: str
    caption: str
    png: bytes
    broad: bool

    @property
    def uri(self) -> str:
        """As part of the page."""
        return data_uri(self.png, "image/png")


def figure_text(value: float) -> str:
    """Four digits after the point; ``n/a`` for what there is no figure of."""
    # Adding 0 turns a rounded -0 into 0.
    return f"{round(value, 4) + 0.0:.4f}" if math.isfinite(value) else "n/a"


def signed_text(value: float) -> str:
    """The same with a sign."""
    return f"{round(value, 4) + 0.0:+.4f}" if math.isfinite(value) else "n/a"


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "run"


def as_picture(file: str, caption: str, figure: "Figure") -> Picture:
    """A drawing as PNG."""
    return Picture(file, caption, _png(figure), broad=figure.get_figwidth() > 5.5)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    # Neither time nor version inside: equal figures give equal files.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def as_json(value: Any) -> Any:
    """As JSON has it: arrays are lists, what is not a number is null."""
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def paragraphs(text: str) -> list[str]:
    """Plain text by its paragraphs, which empty lines part."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
