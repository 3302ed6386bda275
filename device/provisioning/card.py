"""Writing onto the boot partition so that the card boots at every moment of it."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegal.device.provisioning.partition import BootPartition, kernel_command_line
from edgegal.device.provisioning.payload import FOLDER, MARK, Payload
from edgegal.errors import InputError

__all__ = ["Prepared", "prepare"]

_COMMAND_LINE = "cmdline.txt"
_BACKUP = ".before-edgegal"


@dataclass(frozen=True)
class Prepared:
    """What was written, or would be.

    Attributes
    ----------
    written
        Path below the partition to size in bytes, in the order written.
    backups
        Files that stood there before and were kept under a second name.
    """

    written: dict[str, int]
    backups: tuple[str, ...]


def prepare(partition: BootPartition, payload: Payload, dry_run: bool = False) -> Prepared:
    """Write a payload, then the command line that starts it.

    Every file is written under a temporary name and renamed, the command line last: interrupted, the card boots as it
    did before. Files of the image that are replaced are kept beside as ``NAME.before-edgegal``, the first state
    winning, so preparing a card twice changes nothing more.

    Raises
    ------
    InputError
        The partition is too small or cannot be written.
    """
    line = (partition.folder / _COMMAND_LINE).read_text(errors="surrogateescape")
    edited = kernel_command_line(line, payload.mechanism, payload.instance, payload.country)
    files = dict(payload.files) | {_COMMAND_LINE: edited.encode(errors="surrogateescape")}
    backups = tuple(path for path in files if _needs_backup(partition.folder, path))
    prepared = Prepared({path: len(data) for path, data in files.items()}, backups)
    if dry_run:
        return prepared
    free = shutil.disk_usage(partition.folder).free
    if sum(prepared.written.values()) > free:
        raise InputError(
            f"{partition.folder} has {free // 1000} kB free, {sum(prepared.written.values()) // 1000} needed",
            "remove what was put there, or write the card anew",
        )
    _write_all(partition.folder, files, backups)
    return prepared


def _needs_backup(folder: Path, path: str) -> bool:
    if path.startswith(f"{FOLDER}/") or not (folder / path).is_file():
        return False
    return not (folder / (path + _BACKUP)).exists() and MARK.encode() not in (folder / path).read_bytes()


def _write_all(folder: Path, files: Mapping[str, bytes], backups: tuple[str, ...]) -> None:
    """Stage everything under temporary names, then rename in order; temporary files never stay."""
    staged: list[tuple[Path, Path]] = []
    try:
        for path in backups:
            staged.append(_stage(folder / (path + _BACKUP), (folder / path).read_bytes()))
        for path, data in files.items():
            staged.append(_stage(folder / path, data))
        for temporary, final in staged:
            temporary.replace(final)
        for old in (folder / FOLDER / "wheels").glob("*.whl"):
            if f"{FOLDER}/wheels/{old.name}" not in files:
                old.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write: {error.strerror or error}", "mount it writable") from error
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
        for own in (folder / FOLDER / "wheels", folder / FOLDER):
            with contextlib.suppress(OSError):  # not empty: something was written
                own.rmdir()
    _sync(folder)


def _stage(final: Path, data: bytes) -> tuple[Path, Path]:
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary, final


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
