"""What the doctor says of one thing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "State", "can_infer"]

State: TypeAlias = Literal["fine", "note", "trouble"]
"""``fine`` works, ``note`` is absent or worth knowing, ``trouble`` is broken and has a mend."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    topic
        Section of the report: ``software``, ``runtime``, ``accelerator``, ``camera``, ``system``.
    name
        What was looked at.
    state
        How it is.
    detail
        What was seen, or the reason why nothing was.
    mend
        What to do about it; empty when nothing is to be done.
    """

    topic: str
    name: str
    state: State
    detail: str
    mend: str = ""


def can_infer(findings: Iterable[Finding]) -> bool:
    """Whether the device path works: numpy and OpenCV do, and a runtime inferred (keras is the workstation's)."""
    findings = list(findings)
    sound = not any(f.state == "trouble" for f in findings if f.topic == "software" and f.name in ("numpy", "opencv"))
    return sound and any(f.topic == "runtime" and f.state == "fine" and f.name != "keras" for f in findings)
