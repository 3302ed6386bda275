"""Files of lines that survive pulled plugs and full disks."""

import os
from pathlib import Path

__all__ = ["LineFile"]


class LineFile:
    """A file that whole lines are appended to.

    What was appended is on the card when `append` returns. Where a line cannot be written to its end, nothing of it
    stays. A line that a pulled plug cut short before is closed first, so that the next begins on a line of its own.

    Parameters
    ----------
    path
        The file; it and its folder are created when missing.

    Raises
    ------
    OSError
        The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._cut = self._last_line_is_cut()

    def append(self, text: str) -> None:
        """Write whole lines and have them on the card; the file is as before on `OSError`."""
        left = memoryview((b"\n" if self._cut else b"") + text.encode())
        size = os.fstat(self._descriptor).st_size
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise
        self._cut = False

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _last_line_is_cut(self) -> bool:
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
