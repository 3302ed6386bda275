"""One picture, FITS file or SER video, or a folder of them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from edgegal.device.sources import fits, pictures, ser
from edgegal.device.sources.base import Source
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame

__all__ = [
    "SUFFIXES",
    "FileSource",
    "FolderSource",
    "Sequence",
    "is_frame_file",
    "natural_key",
    "open_file",
    "read_still",
]

Reader = Callable[[Path, int], Frame]

_READERS: tuple[tuple[tuple[str, ...], Reader], ...] = (
    (pictures.SUFFIXES, pictures.read_picture),
    (fits.SUFFIXES, fits.read_fits),
)
SUFFIXES = (*pictures.SUFFIXES, *fits.SUFFIXES, *ser.SUFFIXES)
# Names that synchronising and capture programs use while they still write.
_UNFINISHED = (".", "~", "tmp")


def is_frame_file(path: Path) -> bool:
    """Whether a file of this name holds frames, and is not one that some program still writes."""
    name = path.name.lower()
    return name.endswith(SUFFIXES) and not name.startswith(_UNFINISHED)


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
        try:
            return self._reader(self._path, 0)
        except OSError as error:
            raise FrameError(f"{self.name} cannot be read: {error.strerror or error}", "may you read it?") from error


def open_file(path: Path) -> Source:
    """Open a file that `is_frame_file` knows.

    Raises
    ------
    FrameError
        It is a SER video that cannot be read.
    """
    reader = _reader(path)
    return ser.SerSource(path) if reader is None else FileSource(path, reader)


def read_still(path: Path, index: int = 0) -> Frame:
    """Read a file that holds one frame: a picture or a FITS file.

    Parameters
    ----------
    path
        The file.
    index
        Number of the frame.

    Raises
    ------
    FrameError
        It is neither, or damaged.
    OSError
        It cannot be opened.
    """
    reader = _reader(path)
    if reader is None:
        raise FrameError(
            f"{path} is neither a picture nor a FITS file",
            f"looked for {' '.join((*pictures.SUFFIXES, *fits.SUFFIXES))}",
        )
    return reader(path, index)


def _reader(path: Path) -> Reader | None:
    """What reads a file of such a name as one frame."""
    return next((reader for suffixes, reader in _READERS if path.name.lower().endswith(suffixes)), None)


class Sequence(Source):
    """The frames of file after file, counted through.

    Parameters
    ----------
    name
        Where the files lie.
    files
        The files, maybe not known yet.
    """

    stream = True

    def __init__(self, name: str, files: Iterator[Path]) -> None:
        self.name = name
        self._files = files
        self._path = Path()
        self._current: Source | None = None
        self._index = 0
        self._missing: FrameError | None = None

    def __next__(self) -> Frame:
        if self._missing is not None:
            missing, self._missing = self._missing, None
            self._index += 1
            raise missing
        while True:
            if self._current is None:
                self._path = next(self._files)
                if self.live:
                    self.arrived = perf_counter()
            try:
                if self._current is None:
                    self._current = open_file(self._path)
                frame = replace(next(self._current), index=self._index)
            except StopIteration:
                self._leave()
                continue
            except FrameError:
                if self._current is not None and not self._current.stream:
                    self._current = None
                self._index += 1
                raise
            except Exception as error:
                # A defect. Whoever goes on with the next all the same is told first that this one is missing.
                self._missing = FrameError(f"{self._path} broke what reads it: {error}", "copy it again")
                raise
            self._index += 1
            return frame

    def _leave(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None

    def close(self) -> None:
        self._leave()


class FolderSource(Sequence):
    """Every picture, FITS file and SER video directly in a folder, in natural order of their names.

    Raises
    ------
    InputError
        The folder holds no file of a known kind.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted((p for p in folder.iterdir() if p.is_file() and is_frame_file(p)), key=natural_key)
        if not found:
            raise InputError(f"no picture, FITS file or SER video in {folder}", f"looked for {' '.join(SUFFIXES)}")
        super().__init__(str(folder), iter(found))
