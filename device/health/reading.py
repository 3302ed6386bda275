"""A value that was read, or the reason why there is none."""

from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

__all__ = ["Reading"]

Value = TypeVar("Value", default=float)


@dataclass(frozen=True)
class Reading(Generic[Value]):
    """A measured value, or the reason why there is none.

    Attributes
    ----------
    value
        The value in the unit its holder names; None when it could not be read.
    reason
        Why not; empty when it could.
    """

    value: Value | None
    reason: str = ""
