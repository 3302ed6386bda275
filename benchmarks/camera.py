"""What a camera's frame costs from reading to sightings: rows, and the figures they are asked for.

How the samples were taken is the business of whoever hands them over: here they get their names and their meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.benchmarks.statistics import Statistics
from edgegal.benchmarks.storage import Benchmark

__all__ = ["ASKED_BESIDE_NETWORKS_S", "ASKED_OVERHEAD", "ASKED_PEAK_BYTES", "CameraSamples", "camera_rows", "verdict"]

ASKED_BESIDE_NETWORKS_S = 0.120
"""Seconds that all but the networks may take of a frame."""

ASKED_OVERHEAD = 0.10
"""What a run may add to its parts, as a share of them."""

ASKED_PEAK_BYTES = 200 * 10**6
"""Memory that a run may hold."""

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class CameraSamples:
    """Seconds of each frame, and of the processor alone where the name says so.

    Attributes
    ----------
    stages
        By name of the stage, in the order they run.
    alone_s, alone_cpu_s
        All stages that make sightings, one after another.
    beside_networks_s, beside_networks_cpu_s
        The same without the networks.
    run_s, run_cpu_s
        From one frame to the next in a run.
    """

    stages: Mapping[str, Samples]
    alone_s: Samples
    alone_cpu_s: Samples
    beside_networks_s: Samples
    beside_networks_cpu_s: Samples
    run_s: Samples
    run_cpu_s: Samples

    @property
    def overhead(self) -> float:
        """What the median frame of a run takes of the processor beyond the median of its parts, as a share of these."""
        return float(np.median(self.run_cpu_s) / np.median(self.alone_cpu_s) - 1)


def camera_rows(samples: CameraSamples, frame: str) -> tuple[Benchmark, ...]:
    """A row for each stage, then one for each sum.

    Parameters
    ----------
    samples
        What was measured.
    frame
        What the frames are, for people: ``1920x1080``.
    """
    sums = {
        "beside-networks": (samples.beside_networks_s, samples.beside_networks_cpu_s),
        "all-stages": (samples.alone_s, samples.alone_cpu_s),
        "run": (samples.run_s, samples.run_cpu_s),
    }
    rows = [_row(name, taken, {"frame": frame}) for name, taken in samples.stages.items()]
    for name, (wall, cpu) in sums.items():
        rows.append(_row(name, wall, {"frame": frame}))
        rows.append(_row(f"{name}-cpu", cpu, {"frame": frame}))
    return tuple(rows)


def _row(step: str, taken: Samples, extra: Mapping[str, str]) -> Benchmark:
    params = {"stage": "camera", "step": step, "variant": None, "runtime": None, "threads": 1}
    return Benchmark(f"camera/{step}", params, extra, Statistics(taken))


def verdict(samples: CameraSamples, peak_bytes: int | None) -> tuple[str, ...]:
    """A line for each figure that is asked for: what it is, and whether that is within."""
    beside, cpu = Statistics(samples.beside_networks_s), Statistics(samples.beside_networks_cpu_s)
    lines = [
        f"beside the networks: {beside.median * 1e3:.0f} ms, {cpu.median * 1e3:.0f} ms of the processor; "
        f"asked {ASKED_BESIDE_NETWORKS_S * 1e3:.0f} ms: {_within(beside.median <= ASKED_BESIDE_NETWORKS_S)}",
        f"a run adds {samples.overhead:+.1%} of the processor to its parts; asked {ASKED_OVERHEAD:.0%}: "
        f"{_within(samples.overhead <= ASKED_OVERHEAD)}",
    ]
    if peak_bytes is not None:
        lines.append(
            f"peak memory {peak_bytes / 1e6:.0f} MB; asked {ASKED_PEAK_BYTES / 1e6:.0f} MB: "
            f"{_within(peak_bytes <= ASKED_PEAK_BYTES)}"
        )
    return tuple(lines)


def _within(held: bool) -> str:
    return "held" if held else "missed"
