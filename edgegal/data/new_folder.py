"""Folders that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgegal.errors import InputError

__all__ = ["new_folder"]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, that becomes `folder` when all went well and vanishes when not.

    Raises
    ------
    InputError
        `folder` is a file, holds something, or cannot be made there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not an empty folder", "give another --out, or empty it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        # The system names the temporary folder, which says nothing to whoever asked for another.
        raise InputError(
            f"{folder} cannot be made: {error.strerror}", "give an --out where you may write, on a disk with room"
        ) from error
    try:
        yield unfinished
        # A temporary folder is private; what it becomes is not.
        unfinished.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
