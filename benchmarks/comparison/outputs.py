"""Where a comparison is written to: checked before the work, written whole after it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgegal.benchmarks.comparison import github
from edgegal.benchmarks.comparison.junit import junit_xml
from edgegal.benchmarks.comparison.page import html_page
from edgegal.benchmarks.comparison.report import Comparison
from edgegal.benchmarks.storage import write_text
from edgegal.errors import InputError

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """The files that are wanted of a comparison; None for one that is not.

    Attributes
    ----------
    markdown, junit, html
        Paths to write to; folders are made when absent.
    summary
        File of GitHub's step summary to append to.
    """

    markdown: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    summary: Path | None = None

    def _paths(self) -> Iterator[Path]:
        yield from filter(None, (self.markdown, self.junit, self.html, self.summary))

    def check(self) -> None:
        """Raise `InputError` for a path that nothing can be written to, or that two outputs share."""
        paths = [path.resolve() for path in self._paths()]
        for path in paths:
            if paths.count(path) > 1:
                raise InputError(f"{path}: two outputs would go into one file", "give each a name of its own")
            if path.exists() and not path.is_file():
                raise InputError(f"{path} is no file", "name a file to write to")
            folder = next(parent for parent in path.parents if parent.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                raise InputError(f"{path} cannot be written: {folder} takes no files", "write somewhere else")

    def write(self, comparison: Comparison) -> None:
        """Write all of them, by temporary name; the summary is appended to."""
        if self.markdown is not None:
            write_text(self.markdown, comparison.markdown())
        if self.junit is not None:
            write_text(self.junit, junit_xml(comparison))
        if self.html is not None:
            write_text(self.html, html_page(comparison))
        if self.summary is not None:
            github.append_summary(self.summary, comparison.markdown())
