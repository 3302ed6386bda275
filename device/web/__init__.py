"""The page an observer opens on a phone while `edgegal run` runs.

The web packages are imported by `open_page` and nothing before it: a device that shows no page needs none of them.
"""

from typing import TYPE_CHECKING

from edgegal.device.web.live import Live
from edgegal.errors import MissingPartError

if TYPE_CHECKING:
    from edgegal.device.web.server import Page

__all__ = ["Live", "open_page"]


def open_page(live: Live, address: str) -> "Page":
    """Serve the page of `live` until the returned context manager closes.

    Parameters
    ----------
    live
        What is shown; also a sink of the run.
    address
        ``HOST:PORT`` of this computer itself, such as ``127.0.0.1:8780``; port 0 takes a free one.

    Raises
    ------
    MissingPartError
        The web packages are not installed.
    InputError
        The address is none, is open to others, or is taken.
    """
    try:
        from edgegal.device.web.server import Page
    except ModuleNotFoundError as error:
        raise MissingPartError(f"the page needs {error.name}", "pip install 'edgegal[device]'") from error
    return Page(live, address)
