"""One picture or FITS file, or a folder of them."""

import re
from collections.abc import Callable
from pathlib import Path

from edgegal.device.sources import fits, pictures
from edgegal.device.sources.base import Source
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame

__all__ = ["FileSource", "FolderSource", "reader_of"]

Reader = Callable[[Path, int], Frame]

_READERS: tuple[tuple[tuple[str, ...], Reader], ...] = (
    (pictures.SUFFIXES, pictures.read_picture),
    (fits.SUFFIXES, fits.read_fits),
)
# Names that synchronising and capture programs use while they still write.
_UNFINISHED = (".", "~", "tmp")


def reader_of(path: Path) -> Reader | None:
    """What reads a file of this name; None when nothing does."""
    name = path.name.lower()
    for suffixes, reader in _READERS:
        if name.endswith(suffixes):
            return reader
    return None


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key by which ``frame_10`` follows ``frame_9``."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name.lower()) if part
    ]


class FileSource(Source):
    """A single picture or FITS file: a stream of one frame.

    Parameters
    ----------
    path
        An existing file.
    reader
        What reads it.
    """

    stream = False

    def __init__(self, path: Path, reader: Reader) -> None:
        self.name = str(path)
        self._path = path
        self._reader = reader
        self._done = False

    def __next__(self) -> Frame:
        if self._done:
            raise StopIteration
        self._done = True
        return _read(self._reader, self._path, 0)


class FolderSource(Source):
    """Every picture and FITS file directly in a folder, in natural order of their names.

    Raises
    ------
    InputError
        The folder holds no file of a known kind.
    """

    stream = True

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        candidates = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith(_UNFINISHED))
        found = [(p, reader) for p in candidates if (reader := reader_of(p)) is not None]
        if not found:
            raise InputError(
                f"no picture or FITS file in {folder}",
                f"looked for {' '.join(suffix for suffixes, _ in _READERS for suffix in suffixes)}",
            )
        found.sort(key=lambda pair: natural_key(pair[0]))
        self._files = enumerate(found)

    def __next__(self) -> Frame:
        index, (path, reader) = next(self._files)
        return _read(reader, path, index)


def _read(reader: Reader, path: Path, index: int) -> Frame:
    try:
        return reader(path, index)
    except OSError as error:
        raise FrameError(f"{path} cannot be read: {error.strerror or error}") from error
