"""A folder that capture software fills while we look.

The folder is looked through again and again: network shares tell nobody when a file comes.
"""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from pydantic import Field

from edgegal.device.sources.files import Sequence, is_frame_file, natural_key
from edgegal.device.sources.options import Options, parse_options, split_options
from edgegal.errors import InputError
from edgegal.frames import Frame

__all__ = ["WatchSource"]

_log = logging.getLogger(__name__)


class WatchOptions(Options):
    """Options of ``watch:DIR?...``: seconds between looks, folders within the folder, files that are there already."""

    every: float = Field(default=1.0, ge=0.05, le=3600)
    nested: bool = False
    old: bool = False


class WatchSource(Sequence):
    """Each new file of a folder, once, when its size and time of change held still from one look to the next.

    A file that is there at the start is left out, unless ``old`` is asked for; so is one on a share or card that is
    mounted later, with the rest of what is on it then. A folder that vanishes (a share that is not mounted, a card that
    was pulled) is waited for; what was read before is not read again, and what came meanwhile is new. A share may have
    another number in the system when it returns: it is told by a file that was on it, and after an empty one that went
    any other is taken for it.

    Parameters
    ----------
    address
        ``watch:DIR``, with ``?every=SECONDS&nested&old``.

    Raises
    ------
    InputError
        It names no folder, or an option is unknown or out of its range.
    """

    live = True
    keeps = True

    def __init__(self, address: str) -> None:
        self._folder, self._options = self.parse(address)
        super().__init__(f"watch:{self._folder}", self._ready_files())
        self._closing = Event()
        self._seen: set[Path] = set()
        self._there = True
        # A mount point without a share is on one of these.
        self._above: set[int] = set()
        # The files that were there last, by the number of the file system that the folder was on.
        self._known: dict[int, set[Path]] = {self._number(): set()}
        # One that is away is said by whoever looks for it first: `reach`, or the reader.
        if not self._options.old and self._folder.is_dir():
            self._seen.update(self._listed() or ())
            self._known[self._number()] = set(self._seen)

    @staticmethod
    def parse(address: str) -> tuple[Path, WatchOptions]:
        """The folder, and the options."""
        place, text = split_options(address.removeprefix("watch:"))
        options = parse_options(text, WatchOptions, "watch:")
        if not place:
            raise InputError("watch: names no folder", "such as watch:captures, or watch:. for this one")
        return Path(place), options

    def reach(self) -> None:
        if not self._folder.is_dir():
            raise InputError(f"no folder {self._folder}", "mount or make it, then start again")

    def __next__(self) -> Frame:
        if self._closing.is_set():
            self._leave()
            raise StopIteration
        return super().__next__()

    def close(self) -> None:
        # What is open is left to the thread that reads it.
        self._closing.set()

    def _ready_files(self) -> Iterator[Path]:
        before: dict[Path, tuple[int, int]] = {}
        while not self._closing.is_set():
            now = self._look()
            for path in sorted(now, key=lambda path: (path.parent, natural_key(path))):
                # An empty file is one that was just begun, however long ago.
                if before.get(path) == now[path] and now[path][0]:
                    self._seen.add(path)
                    yield path
                    if self._closing.is_set():
                        return
            before = {path: stamp for path, stamp in now.items() if path not in self._seen}
            self._closing.wait(self._options.every)

    def _look(self) -> dict[Path, tuple[int, int]]:
        """Size and time of change of each file that is to be read; empty while the folder is away."""
        # Asked before: of what is mounted while the files are listed, none was there at two looks.
        number = self._number()
        paths = self._listed()
        if paths is None:
            return {}
        if number not in self._known:
            before = self._number_before(paths) if number not in self._above else None
            if before is not None:
                del self._known[before]
            elif paths and not self._options.old:
                _log.warning("%s was mounted; %d files in it are left out, which ?old takes", self.name, len(paths))
                self._seen.update(paths)
        self._known[number] = paths
        return _stamps(paths - self._seen)

    def _number(self) -> int:
        """Of the file system that the folder is on now."""
        above = {_filesystem(parent) for parent in self._folder.absolute().parents}
        number = _filesystem(self._folder)
        self._above |= above - {number}
        return number

    def _number_before(self, paths: set[Path]) -> int | None:
        """What number a share had that returns, told by what is on it; None for one that was never there."""
        shares = {number: known for number, known in self._known.items() if number not in self._above}
        same = [number for number, known in shares.items() if not known.isdisjoint(paths)]
        # What came onto an empty one meanwhile was never there either: it is taken for the same.
        empty = [number for number, known in shares.items() if not known]
        return next(iter(same + empty), None)

    def _listed(self) -> set[Path] | None:
        """The files of frames; None while the folder is away."""
        try:
            paths = list(self._folder.iterdir())
            # Of a folder that is away this would say nothing.
            if self._options.nested:
                paths = list(self._folder.rglob("*"))
        except OSError as error:
            self._say(False, f"{self.name} is away: {error.strerror or error}; waiting for it")
            return None
        self._say(True, f"{self.name} is back")
        return {path for path in paths if is_frame_file(path)}

    def _say(self, there: bool, words: str) -> None:
        if there != self._there:
            _log.warning("%s", words)
            self._there = there


def _stamps(paths: set[Path]) -> dict[Path, tuple[int, int]]:
    stamps = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            # Renamed or removed since the folder was listed.
            continue
        if stat.S_ISREG(status.st_mode):
            stamps[path] = status.st_size, status.st_mtime_ns
    return stamps


def _filesystem(folder: Path) -> int:
    """Number of the file system that a folder is on, or would be if it were made now."""
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            return place.stat().st_dev
        except OSError:
            continue
    return 0
