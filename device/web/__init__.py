"""The page an observer opens on a phone while `edgegal run` runs.

The web packages are imported by `open_page` and nothing before it: a device that shows no page needs none of them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgegal.device.web.live import Live
from edgegal.errors import MissingPartError

if TYPE_CHECKING:
    from edgegal.device.web.server import Page

__all__ = ["Live", "open_page"]


def open_page(live: Live, address: str, state: Path | None = None, names: Iterable[str] = ()) -> "Page":
    """Serve the page of `live` until the returned context manager closes.

    Where others can connect the page has a password: the secret ``web-password``, else a random one, made once and kept
    as a hash in `state`. On an address of this computer itself it has one only where that secret is set.

    Parameters
    ----------
    live
        What is shown; also a sink of the run.
    address
        ``IP:PORT`` to listen at, such as ``127.0.0.1:8780``, or ``0.0.0.0:8780`` for everybody on the network; port 0
        takes a free one.
    state
        Folder for a random password's hash; without, only the secret will do.
    names
        Names of this computer that are answered to, beside its own and those of loopback.

    Raises
    ------
    MissingPartError
        The web packages are not installed.
    InputError
        The address is none, is open to others without a password, or is taken; a name is none; the password is too
        short or cannot be kept.
    """
    try:
        from edgegal.device.web.server import Page
    except ModuleNotFoundError as error:
        raise MissingPartError(f"the page needs {error.name}", "pip install 'edgegal[device]'") from error
    return Page(live, address, state, names)
