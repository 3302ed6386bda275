"""Files that are there whole or not at all."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgegal.device.supervision import beat

__all__ = ["TEMPORARY", "file_name", "whole", "write_whole"]

TEMPORARY = ".part"
"""What the name of a file that is still being written has before its suffix; one that stays behind is refuse."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under, which then gets its own; an error leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{TEMPORARY}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file, or its pieces in order; `OSError` leaves nothing behind."""
    with whole(path) as temporary, temporary.open("wb") as file:
        for piece in [content] if isinstance(content, bytes) else content:
            file.write(piece)
            # A slow card takes longer for a large stack than a stall does.
            beat()


def file_name(text: str) -> str:
    """What is left of a text, such as a path or a target's name, as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", text)[:60]
