"""Who a service of the system runs as: a user that systemd makes for it, wherever that one can reach all it needs."""

import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from edgegal.errors import InputError

__all__ = ["is_open_to_all", "runner_of"]

_ROOT = "root"


def runner_of(read: Iterable[Path], written: Iterable[Path]) -> str | None:
    """The user to run as.

    Parameters
    ----------
    read
        Files and folders that the service reads.
    written
        Folders outside its own that it writes to.

    Returns
    -------
    str or None
        None for a user of systemd's making, which reads what everybody may and writes to nothing else; otherwise the
        one to whom belongs what is not open to everybody.

    Raises
    ------
    InputError
        Something is missing, or belongs to root or to different users: a service never runs as root.
    """
    owners = {path: _owner(_closed_place(path) or path) for path in read if not is_open_to_all(path)}
    if _ROOT in owners.values():
        path = next(path for path, owner in owners.items() if owner == _ROOT)
        raise InputError(
            f"only root may use {path}, and a service does not run as root",
            f"move it, or: chmod o+rX {_closed_place(path)}",
        )
    for path in written:
        if not path.exists():
            raise InputError(f"there is no folder {path}", "make it, owned by the user who shall run the service")
        owners[path] = _owner(path)
        if owners[path] == _ROOT:
            raise InputError(
                f"{path} belongs to root, and a service does not run as root",
                f"sudo chown USER {path}, or leave out unset",
            )
    if len(set(owners.values())) > 1:
        shown = ", ".join(f"{path} ({owner})" for path, owner in owners.items())
        raise InputError(f"no one user may use all of these: {shown}", "give all of them to one user")
    return next(iter(owners.values()), None)


def is_open_to_all(path: Path) -> bool:
    """Whether everybody may read a file or folder, by every way to it."""
    return _closed_place(path) is None


def _closed_place(path: Path) -> Path | None:
    """The file, or the folder on the way to it or to what it links to, that is not open to everybody."""
    for end in (path.absolute(), path.resolve()):
        for place in (*reversed(end.parents), end):
            needed = stat.S_IROTH if place == end else stat.S_IXOTH
            if not place.stat().st_mode & needed:
                return place
    return None


def _owner(place: Path) -> str:
    uid = place.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise InputError(f"{place} belongs to no user of this computer ({uid})", f"sudo chown USER {place}") from None
