"""Benchmark rows for people."""

from collections.abc import Sequence

from edgegal.benchmarks.storage import Benchmark

__all__ = ["HEADER", "table_rows"]

HEADER = (
    "stage",
    "step",
    "variant",
    "runtime",
    "executed",
    "median ms",
    "[95 % interval]",
    "p90 ms",
    "samples",
    "load ms",
    "size kB",
)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def table_rows(benchmarks: Sequence[Benchmark]) -> list[list[str]]:
    """One row of cells a benchmark, under `HEADER`; a dash where a column does not apply."""
    rows = []
    for row in benchmarks:
        statistics, interval = row.statistics, row.statistics.median_interval
        load, size = row.extra.get("load_s"), row.extra.get("bytes")
        rows.append(
            [
                str(row.params["stage"]),
                str(row.params["step"]),
                str(row.params["variant"] or "-"),
                str(row.params["runtime"] or "-"),
                str(row.extra.get("executed_precision", "-")),
                _milliseconds(statistics.median),
                f"[{_milliseconds(interval.low)}, {_milliseconds(interval.high)}]",
                _milliseconds(statistics.p90),
                str(len(statistics)),
                _milliseconds(load) if load is not None else "-",
                f"{size / 1000:.0f}" if size is not None else "-",
            ]
        )
    return rows
