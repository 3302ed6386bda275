"""A folder that capture software fills while we look.

The folder is looked through again and again: network shares tell nobody when a file comes.
"""

import logging
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

    A file that is there at the start is left out, unless ``old`` is asked for. A folder that vanishes (a share that is
    not mounted, a card that was pulled) is waited for; what was read before is not read again.

    Parameters
    ----------
    address
        ``watch:DIR``, with ``?every=SECONDS&nested&old``.

    Raises
    ------
    InputError
        An option is unknown.
    """

    live = True
    keeps = True

    def __init__(self, address: str) -> None:
        place, text = split_options(address.removeprefix("watch:"))
        super().__init__(f"watch:{place}", self._ready_files())
        self._options = parse_options(text, WatchOptions, "watch:")
        self._folder = Path(place)
        self._closing = Event()
        self._seen: set[Path] = set()
        self._there = True
        # One that is away is said by whoever looks for it first: `reach`, or the reader.
        if not self._options.old and self._folder.is_dir():
            self._seen.update(self._stamps())

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
            now = self._stamps()
            for path in sorted(now, key=lambda path: (path.parent, natural_key(path))):
                # An empty file is one that was just begun, however long ago.
                if before.get(path) == now[path] and now[path][0]:
                    self._seen.add(path)
                    yield path
                    if self._closing.is_set():
                        return
            before = {path: stamp for path, stamp in now.items() if path not in self._seen}
            self._closing.wait(self._options.every)

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        """Size and time of change of each file not yet read; empty while the folder is away."""
        try:
            paths = list(self._folder.iterdir())
            if self._options.nested:
                paths = list(self._folder.rglob("*"))
        except OSError as error:
            self._say(False, f"{self.name} is away: {error.strerror or error}; waiting for it")
            return {}
        self._say(True, f"{self.name} is back")
        stamps = {}
        for path in paths:
            if path in self._seen or not is_frame_file(path):
                continue
            try:
                status = path.stat()
            except OSError:
                # Renamed or removed since the folder was listed.
                continue
            if path.is_file():
                stamps[path] = status.st_size, status.st_mtime_ns
        return stamps

    def _say(self, there: bool, words: str) -> None:
        if there != self._there:
            _log.warning("%s", words)
            self._there = there
