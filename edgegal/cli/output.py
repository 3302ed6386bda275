"""How verbs print: one table style on stdout."""

import re
import sys
from collections.abc import Sequence

__all__ = ["print_table"]

_NUMBER = re.compile(r"[-+]?\.?\d|-?$")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# A pipe or a log has no width of its own: every row stays one line there, however long.
_UNFOLDED = 100_000


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header; columns of numbers (or gaps, ``-``) stand right, long cells fold in a terminal.

    Cells are text: markup is not read, and control characters of whatever named a file or a class are left out.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, name in enumerate(header):
        numeric = bool(rows) and all(_NUMBER.match(row[i]) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_CONTROL.sub("", cell) for cell in row))
    width = None if sys.stdout.isatty() else _UNFOLDED
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)
