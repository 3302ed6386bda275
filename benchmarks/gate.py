"""Whether a run is slower than an earlier one, by more than chance and more than a margin."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from edgegal.benchmarks.statistics import Statistics
from edgegal.errors import GateFailedError, InputError

__all__ = ["Slower", "check", "slower"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slower:
    """A benchmark that got slower; medians in seconds."""

    name: str
    median: float
    baseline: float

    def __str__(self) -> str:
        growth = self.median / self.baseline - 1
        return f"{self.name} {self.baseline * 1e3:.3g} -> {self.median * 1e3:.3g} ms (+{growth:.0%})"


def slower(
    now: Mapping[str, Statistics], baseline: Mapping[str, Statistics], max_slowdown: float
) -> tuple[Slower, ...]:
    """The benchmarks whose whole interval of the median lies above the baseline's, raised by the margin.

    Parameters
    ----------
    now, baseline
        Statistics by name; names in only one of them are not compared.
    max_slowdown
        Margin as a share: .1 lets a median grow by a tenth.
    """
    return tuple(
        Slower(name, statistics.median, baseline[name].median)
        for name, statistics in now.items()
        if name in baseline
        and statistics.median_interval.low > baseline[name].median_interval.high * (1 + max_slowdown)
    )


def check(now: Mapping[str, Statistics], baseline: Mapping[str, Statistics], max_slowdown: float) -> None:
    """Raise when something got slower.

    Raises
    ------
    GateFailedError
        Naming every benchmark that got slower.
    InputError
        The two runs have no benchmark in common.
    """
    common = now.keys() & baseline.keys()
    if not common:
        raise InputError("the baseline measured nothing that this run did", "compare runs of the same bundle")
    for name in sorted(baseline.keys() - now.keys()):
        _LOG.warning("the baseline's %s was not measured now", name)
    found = slower(now, baseline, max_slowdown)
    if found:
        raise GateFailedError(
            f"slower than the baseline by more than {max_slowdown:.0%}: {'; '.join(map(str, found))}",
            "look at temperature, clock and load in both files before the code",
        )
