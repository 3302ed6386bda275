"""A comparison on GitHub: the summary of the step, and an annotation for each gate that failed or is in doubt."""

import os
from collections.abc import Iterator
from pathlib import Path

from edgegal.benchmarks.comparison.report import Comparison
from edgegal.errors import InputError

__all__ = ["annotations", "append_summary", "summary_file"]

_VARIABLE = "GITHUB_STEP_SUMMARY"


def summary_file() -> Path:
    """The file that GitHub shows as the summary of the step; `InputError` outside a step."""
    name = os.environ.get(_VARIABLE, "")
    if not name:
        raise InputError(f"--github needs {_VARIABLE}, which is not set", "leave --github out, or name a file with it")
    return Path(name)


def append_summary(path: Path, text: str) -> None:
    """Add Markdown to the summary; what earlier commands of the step wrote stays."""
    with path.open("a", encoding="utf-8") as summary:
        summary.write(text + "\n")


def annotations(comparison: Comparison) -> Iterator[str]:
    """Workflow commands, one line each: an error for each failure, a warning for each doubt."""
    for level, lines in (("error", comparison.failures), ("warning", comparison.doubts)):
        for line in lines:
            yield f"::{level} title={_property(f'edgegal compare {comparison.bundle}')}::{_message(line)}"


def _message(text: str) -> str:
    """A message as the runner reads it back."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The value of a property, which a colon or comma would end."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")
