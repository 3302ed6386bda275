"""Downloads of public sets: checked by hash, resumed where they broke off."""

import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegal import __version__
from edgegal.data.registry import Dataset, RemoteFile
from edgegal.errors import DatasetError, MissingPartError

__all__ = ["Fetched", "Progress", "fetch"]

_LOG = logging.getLogger(__name__)

# What a breaking connection loses at most.
_CHUNK_BYTES = 1 << 16
_CONNECT_S, _READ_S = 10, 60

Progress = Callable[[str, int, int | None], None]
"""Told the file's name, the bytes that are here, and how many there will be, None when the server does not say."""


@dataclass(frozen=True)
class Fetched:
    """What became of one file.

    Attributes
    ----------
    path
        Where it lies.
    new
        Whether it was downloaded now.
    checksum
        ``sha256:...`` or ``md5:...`` it agrees with; its own sha256 where its makers publish none.
    """

    path: Path
    new: bool
    checksum: str


def fetch(dataset: Dataset, mirror: str | None = None, progress: Progress | None = None) -> tuple[Fetched, ...]:
    """Download what is missing of a set.

    Parameters
    ----------
    dataset
        The set.
    mirror
        Address to get the files from instead: of the folder that holds them, or of the one file.
    progress
        Told how far it is.

    Returns
    -------
    tuple
        One for each file; none when the set was put there by hand.

    Raises
    ------
    DatasetError
        The set cannot be fetched, the network or the disk gave up (what came is kept), or a checksum is wrong (what
        came is removed).
    MissingPartError
        pooch is not installed.
    """
    if not dataset.files:
        if dataset.present:
            return ()
        where = "EDGEGAL_SHARED_DATA to the folder that holds it" if dataset.shared else ""
        raise DatasetError(
            f"{dataset.name} cannot be fetched by a program",
            f"set {where}" if where else f"{dataset.by_hand}; put it in {dataset.folder}: {', '.join(dataset.missing)}",
        )
    return tuple(_fetch_file(file, dataset.folder, _address(file, mirror), progress) for file in dataset.files)


def _address(file: RemoteFile, mirror: str | None) -> str:
    if not mirror:
        return file.url
    return mirror if mirror.rsplit("/", 1)[-1] == file.name else f"{mirror.rstrip('/')}/{file.name}"


def _fetch_file(file: RemoteFile, folder: Path, url: str, progress: Progress | None) -> Fetched:
    try:
        import pooch
        import requests
    except ImportError as error:
        raise MissingPartError(f"downloads need pooch: {error}", "pip install 'edgegal[train]'") from None
    pooch.get_logger().setLevel(logging.WARNING)
    part = folder / f"{file.name}.part"
    download = _Download(part, resume=file.checksum is not None, progress=progress)
    cache = pooch.create(path=folder, base_url="", registry={file.name: file.checksum}, urls={file.name: url})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(cache.fetch(file.name, downloader=download))
    except requests.RequestException as error:
        kept = f"{part.stat().st_size:,} bytes are kept; " if file.checksum and part.exists() else ""
        raise DatasetError(
            f"{url}: {_reason(error)}", f"{kept}check the network and run again, or give another address with --url"
        ) from None
    except OSError as error:
        raise DatasetError(
            f"{folder}: {error.strerror or error}", "make room there, or set EDGEGAL_DATA to a folder with room"
        ) from None
    except ValueError:
        # What pooch raises for a wrong checksum, after it has removed the file.
        raise DatasetError(
            f"{url} is not the file that its makers describe: its checksum is not {file.checksum}; it was removed",
            "run again, or give another address with --url",
        ) from None
    checksum = file.checksum or f"sha256:{pooch.file_hash(str(path))}"
    if download.ran:
        _LOG.info("%s: %s", path, checksum)
    return Fetched(path, download.ran, checksum)


def _reason(error: Exception) -> str:
    """The last, plainest part of what requests says."""
    text = str(error)
    found = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", text)
    return found[-1] if found else text.splitlines()[0][:200] or type(error).__name__


class _Download:
    """A downloader for pooch that goes on with a ``.part`` file.

    Attributes
    ----------
    ran
        Whether pooch called it.
    """

    def __init__(self, part: Path, resume: bool, progress: Progress | None) -> None:
        self.ran = False
        self._part, self._resume, self._progress = part, resume, progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        self.ran = True
        if not self._resume:
            # Nothing would tell two halves of different files from one whole.
            self._part.unlink(missing_ok=True)
        self._get(url)
        self._part.replace(output_file)

    def _get(self, url: str) -> None:
        import requests

        start = self._part.stat().st_size if self._part.exists() else 0
        headers = {"User-Agent": f"edgegal/{__version__}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with requests.get(url, headers=headers, stream=True, timeout=(_CONNECT_S, _READ_S)) as response:
            if start and not self._continues(response, start):
                if response.status_code != requests.codes.ok:
                    self._part.unlink()
                    self._get(url)
                    return
                start = 0
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdigit() else None
            self._check_room(start, total)
            done = self._write(response, start, total)
        if total is not None and done != total:
            raise requests.ConnectionError(f"the connection broke off at {done:,} of {total:,} bytes")

    def _continues(self, response: Any, start: int) -> bool:
        """Whether the answer is the rest from `start` on, and of one file whose length is said."""
        said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
        if response.status_code != 206 or said is None:
            return False
        first, last, size = map(int, said.groups())
        return first == start and last == size - 1

    def _check_room(self, start: int, total: int | None) -> None:
        folder = self._part.parent
        free = shutil.disk_usage(folder).free
        if total is not None and total - start > free:
            raise DatasetError(
                f"{folder} has {free / 1e9:.1f} GB free, {self._part.stem} needs {(total - start) / 1e9:.1f} GB more",
                "make room there, or set EDGEGAL_DATA to a folder with room",
            )

    def _write(self, response: Any, start: int, total: int | None) -> int:
        done = start
        with self._part.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if self._progress:
                    self._progress(self._part.stem, done, total)
        return done
