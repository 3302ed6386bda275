"""The demonstration's report: one HTML file with its pictures inside."""

import base64
import os
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path

import cv2

from edgegal import __version__
from edgegal.bundle import Bundle
from edgegal.demo.sky import DemoResult
from edgegal.errors import MissingPartError
from edgegal.frames import View
from edgegal.machine import this_machine

__all__ = ["write_report"]


def _inline(picture: View) -> str:
    """A view as a data URI (JPEG, quality 90)."""
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")


def write_report(result: DemoResult, bundle: Bundle) -> Path:
    """Write ``report.html`` into the demonstration's folder, through a temporary name.

    Raises
    ------
    MissingPartError
        Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingPartError(f"the report needs Jinja2: {error}", "pip install 'edgegal[demo]'") from None
    source = resources.files("edgegal.demo").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["inline"] = _inline
    html = environment.from_string(source).render(
        result=result,
        manifest=bundle.manifest,
        machine=asdict(this_machine()),
        version=__version__,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        latencies=[
            (e.title, e.summary.latency_ms(), e.summary.latency_ms(0.95)) for e in result.expositions if e.summary
        ],
    )
    path = result.out / "report.html"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
