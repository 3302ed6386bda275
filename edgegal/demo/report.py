"""The demonstration's report: one HTML file with its pictures inside."""

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import cv2

from edgegal import __version__
from edgegal.bundle import Bundle
from edgegal.demo.sky import DemoResult
from edgegal.frames import View
from edgegal.machine import this_machine
from edgegal.reports.page import data_uri, render_page, write_file

__all__ = ["write_report"]


def _inline(picture: View) -> str:
    """A view as a data URI (JPEG, quality 90)."""
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return data_uri(coded.tobytes(), "image/jpeg")


def write_report(result: DemoResult, bundle: Bundle) -> Path:
    """Write ``report.html`` into the demonstration's folder, through a temporary name.

    Raises
    ------
    MissingPartError
        Jinja2 is not installed.
    """
    values = {
        "result": result,
        "manifest": bundle.manifest,
        "machine": asdict(this_machine()),
        "version": __version__,
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "latencies": [
            (e.title, e.summary.latency_ms(), e.summary.latency_ms(0.95)) for e in result.expositions if e.summary
        ],
    }
    html = render_page("edgegal.demo", "report.html.j2", {"inline": _inline}, values)
    return write_file(result.out / "report.html", html.encode())
