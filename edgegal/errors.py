"""Typed errors: what went wrong, what to do about it, and the exit code it means.

Every error a user can cause or mend derives from `EdgegalError`. The command line prints the message and the mend
on one line each and leaves with `exit_code`; anything else is a defect and shows its traceback.
"""

from typing import ClassVar

__all__ = [
    "BundleError",
    "DatasetError",
    "EdgegalError",
    "FrameError",
    "GateFailedError",
    "InputError",
    "MissingPartError",
]


class EdgegalError(Exception):
    """An error with a mend.

    Parameters
    ----------
    message
        What is wrong, naming the file or value.
    mend
        What the user can do about it, in the imperative; empty when the message says it all.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message} ({self.mend})" if self.mend else self.message


class GateFailedError(EdgegalError):
    """A gate on accuracy, speed or parity failed."""

    exit_code = 1


class InputError(EdgegalError):
    """The command was given something it cannot use."""


class FrameError(InputError):
    """One frame cannot be read or holds nothing to see; a stream goes on with the next."""


class BundleError(InputError):
    """A bundle is damaged, unsafe, or of another schema."""


class DatasetError(InputError):
    """A dataset is missing, damaged or labelled in an unknown way."""


class MissingPartError(EdgegalError):
    """A package, runtime or device that the command needs is absent; the mend names how to get it."""

    exit_code = 3
