"""Where the pictures of a set lie: a folder, a zip, a tar, an HDF5 file or an array.

A store gives pixels by name. It never unpacks an archive, and one damaged picture costs that picture only.
"""

import struct
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError, MissingPartError
from edgegal.frames import View

__all__ = ["SUFFIXES", "ArrayStore", "FolderStore", "Hdf5Store", "Store", "TarStore", "ZipStore", "decode"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

# No picture of a survey comes near; a file that claims more is damaged or means harm.
_MOST_BYTES = 64 << 20
_MOST_PIXELS = 64 << 20
_LARGEST_SIDE = 4096
# Rows of one compressed chunk share it: without room for all chunks of a row each would be unpacked again and again.
_CHUNK_CACHE_BYTES = 192 << 20
_CHUNK_CACHE_SLOTS = 100_003


class Store(Protocol):
    """Where the files of a set lie."""

    @property
    def path(self) -> Path:
        """The archive, array file or folder."""

    def names(self) -> set[str]:
        """All pictures that are there."""

    def missing(self, files: Sequence[str]) -> set[str]:
        """Those of `files` that are not there."""

    def pixels(self, files: Sequence[str]) -> Iterator[tuple[int, View | None]]:
        """Index into `files` and pixels ``(h, w, 3)`` uint8 RGB of each, None for one that cannot be read.

        The order is the store's own: whatever is cheapest to read.
        """

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        """CRC-32 of the bytes of each file, or of its pixels where it has no file, in order; 0 when unreadable."""


class _Listed:
    """What is missing, for stores that list all they have."""

    def names(self) -> set[str]:
        raise NotImplementedError

    def missing(self, files: Sequence[str]) -> set[str]:
        return set(files) - self.names()


class _Encoded(_Listed):
    """What stores of picture files share; `_contents` gives their bytes."""

    def _contents(self, files: Sequence[str]) -> Iterator[tuple[int, bytes | None]]:
        raise NotImplementedError

    def pixels(self, files: Sequence[str]) -> Iterator[tuple[int, View | None]]:
        for index, content in self._contents(files):
            yield index, decode(content)

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        found = {index: zlib.crc32(content or b"") for index, content in self._contents(files)}
        return (found[index] for index in range(len(files)))


@dataclass(frozen=True)
class FolderStore(_Encoded):
    """Files under a folder."""

    path: Path

    def names(self) -> set[str]:
        found = (p for p in self.path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        return {p.relative_to(self.path).as_posix() for p in found}

    def missing(self, files: Sequence[str]) -> set[str]:
        return {file for file in files if not (self.path / file).is_file()}

    def _contents(self, files: Sequence[str]) -> Iterator[tuple[int, bytes | None]]:
        for index, file in enumerate(files):
            path = self.path / file
            try:
                yield index, path.read_bytes() if path.stat().st_size <= _MOST_BYTES else None
            except (OSError, ValueError):
                yield index, None


@dataclass(frozen=True)
class ZipStore(_Encoded):
    """Members of a zip file; read in memory, never unpacked.

    Attributes
    ----------
    path
        The zip.
    prefix
        Folder inside the zip that the names are relative to, with its slash; empty for the top.
    """

    path: Path
    prefix: str = ""

    @classmethod
    def open(cls, path: Path) -> "ZipStore":
        """A zip whose pictures lie at the top or all in one folder; `DatasetError` when it is no sound zip."""
        with _opened(path) as archive:
            return cls(path, _common_folder(archive.namelist()))

    def names(self) -> set[str]:
        with _opened(self.path) as archive:
            return {name.removeprefix(self.prefix) for name in archive.namelist() if _is_picture(name)}

    def _contents(self, files: Sequence[str]) -> Iterator[tuple[int, bytes | None]]:
        with _opened(self.path) as archive:
            for index, file in enumerate(files):
                try:
                    member = archive.getinfo(self.prefix + file)
                    yield index, archive.read(member) if member.file_size <= _MOST_BYTES else None
                except (KeyError, zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError):
                    yield index, None

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        with _opened(self.path) as archive:
            for file in files:
                yield archive.getinfo(self.prefix + file).CRC


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "put the zip of the pictures beside the CSV") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{path} is not a readable zip: {error}", "get the file again") from None


def _is_picture(name: str) -> bool:
    """Whether an archive member is a picture and not what a Mac leaves beside each."""
    folder, _, file = name.rpartition("/")
    suffix = f".{file.rpartition('.')[2].lower()}"
    return suffix in SUFFIXES and not file.startswith("._") and "__MACOSX" not in folder.split("/")


def _common_folder(names: Sequence[str]) -> str:
    """The one folder, with its slash, that holds all pictures; empty when there is none."""
    tops = {name.split("/", 1)[0] if "/" in name else "" for name in names if _is_picture(name)}
    top = tops.pop() if len(tops) == 1 else ""
    return f"{top}/" if top else ""


@dataclass(frozen=True)
class TarStore(_Encoded):
    """Members of a tar, compressed or not, by the last part of their names; read from end to end, never unpacked."""

    path: Path

    def names(self) -> set[str]:
        return {PurePosixPath(member.name).name for _, member in self._members()}

    def _members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    if member.isfile() and _is_picture(member.name):
                        yield archive, member
        except FileNotFoundError:
            raise DatasetError(f"{self.path} is missing", "put the archive of the pictures there") from None
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise DatasetError(f"{self.path} is not a readable tar: {error}", "get the file again") from None

    def _contents(self, files: Sequence[str]) -> Iterator[tuple[int, bytes | None]]:
        wanted = defaultdict(list)
        for index, file in enumerate(files):
            wanted[file].append(index)
        for archive, member in self._members():
            asked = wanted.pop(PurePosixPath(member.name).name, ())
            if asked:
                source = archive.extractfile(member) if member.size <= _MOST_BYTES else None
                content = source.read() if source else None
                yield from ((index, content) for index in asked)
        for indices in wanted.values():
            yield from ((index, None) for index in indices)


@dataclass(frozen=True)
class Hdf5Store(_Listed):
    """Rows of an HDF5 dataset ``(n, h, w, 3)`` uint8 RGB; names are row numbers.

    Attributes
    ----------
    path
        The HDF5 file.
    dataset
        Name of the dataset in it.
    """

    path: Path
    dataset: str = "images"

    def names(self) -> set[str]:
        with open_hdf5(self.path) as file:
            return set(map(str, range(len(hdf5_array(file, self.dataset, 4)))))

    def pixels(self, files: Sequence[str]) -> Iterator[tuple[int, View | None]]:
        with open_hdf5(self.path) as file:
            rows = hdf5_array(file, self.dataset, 4)
            # Rising order reads each compressed chunk once.
            for index in np.argsort(np.array(files, np.int64), kind="stable"):
                try:
                    yield int(index), np.ascontiguousarray(rows[int(files[index])])
                except (OSError, RuntimeError):
                    yield int(index), None

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        found = {i: 0 if pixels is None else zlib.crc32(pixels.tobytes()) for i, pixels in self.pixels(files)}
        return (found[index] for index in range(len(files)))


def open_hdf5(path: Path) -> Any:
    """An ``h5py.File`` open for reading.

    Raises
    ------
    DatasetError
        The file is absent, cut off or no HDF5.
    MissingPartError
        h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingPartError(f"reading HDF5 needs h5py: {error}", "pip install 'edgegal[train]'") from None
    try:
        return h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES, rdcc_nslots=_CHUNK_CACHE_SLOTS)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "fetch the set again") from None
    except OSError as error:
        raise DatasetError(f"{path} is not a whole HDF5 file: {error}", "delete it and fetch it again") from None


def hdf5_array(file: Any, name: str, dimensions: int) -> Any:
    """Dataset `name` of an open file, its values in this very file.

    Raises
    ------
    DatasetError
        There is none of so many dimensions, pictures are not uint8 RGB of at most 4096 pixels a side, or the values
        would come from other files.
    """
    import h5py

    link = file.get(name, getlink=True)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.ndim != dimensions or found.external or found.is_virtual:
        raise DatasetError(f"{file.filename} has no array {name!r} of {dimensions} dimensions", "fetch the set again")
    if dimensions == 4 and (found.dtype != np.uint8 or found.shape[3] != 3 or max(found.shape[1:3]) > _LARGEST_SIDE):
        raise DatasetError(
            f"{file.filename}: {name} is {found.dtype} {found.shape}, not uint8 pictures of RGB", "fetch the set again"
        )
    return found


@dataclass(frozen=True, eq=False)
class ArrayStore(_Listed):
    """Pictures in memory, ``(n, h, w)`` grey or ``(n, h, w, 3)`` RGB uint8; names are row numbers."""

    path: Path
    array: NDArray[np.uint8]

    def names(self) -> set[str]:
        return set(map(str, range(len(self.array))))

    def pixels(self, files: Sequence[str]) -> Iterator[tuple[int, View | None]]:
        for index, file in enumerate(files):
            picture = self.array[int(file)]
            yield index, cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        return (zlib.crc32(self.array[int(file)].tobytes()) for file in files)


def decode(content: bytes | None) -> View | None:
    """Pixels ``(h, w, 3)`` RGB of an encoded picture, None when it is damaged, huge or no picture."""
    if not content or _stated_pixels(content) > _MOST_PIXELS:
        return None
    # The decoder fills what a cut-off JPEG lacks with grey and says nothing; its end marker is missing then.
    if content.startswith(b"\xff\xd8") and b"\xff\xd9" not in content[-256:]:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if bgr is None:
        return None
    rgb: View = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb


def _stated_pixels(content: bytes) -> int:
    """Pixels that a PNG's header promises, the format whose few bytes can grow most; 0 for others."""
    if not content.startswith(b"\x89PNG") or len(content) < 24:
        return 0
    width, height = struct.unpack(">II", content[16:24])
    return int(width * height)
