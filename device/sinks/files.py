"""Files that are there whole or not at all."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from edgegal.device.supervision import beat

__all__ = ["TEMPORARY", "file_name", "write_whole"]

TEMPORARY = ".part"
"""Suffix of a file that is still being written; one that stays behind after a power cut is refuse."""


def write_whole(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file, or its pieces in order, under a temporary name and rename it; `OSError` leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            for piece in [content] if isinstance(content, bytes) else content:
                file.write(piece)
                # A slow card takes longer for a large stack than a stall does.
                beat()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_name(text: str) -> str:
    """What is left of a text, such as a path or a target's name, as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", text)[:60]
