"""What a long export says while it works."""

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress", "silent"]

Progress: TypeAlias = Callable[[str], None]
"""Takes one line for people."""


def silent(line: str) -> None:
    """Says nothing."""
    del line
