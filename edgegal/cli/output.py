"""How verbs print: one table style on stdout."""

from collections.abc import Sequence

__all__ = ["print_table"]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header; cells of numbers are aligned right, long cells fold."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(header):
        cells = [row[i] for row in rows]
        numeric = bool(cells) and all(c[:1].isdigit() or c in ("", "-") or c[:1] in "+-." for c in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A pipe or a log has no width of its own: do not fold to 80 columns there.
    console = Console(markup=False, highlight=False)
    Console(markup=False, highlight=False, width=max(console.width, 160) if not console.is_terminal else None).print(
        table
    )
