"""Benchmark runs on disk: JSON in the layout of pytest-benchmark, so that its tools and CI actions read it.

Times are seconds. Beside what pytest-benchmark writes, every benchmark carries the interval of its median, and the run
how hot and how fast the machine was before and after.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgegal import __version__
from edgegal.benchmarks.statistics import Statistics
from edgegal.errors import InputError
from edgegal.machine import HealthStamp, Machine

__all__ = ["Benchmark", "Run", "Stored", "commit", "document", "load", "save", "write_text"]


@dataclass(frozen=True)
class Benchmark:
    """One row: what was timed, how, and the samples.

    Attributes
    ----------
    name
        Unique in a run and equal between runs of the same thing: ``classifier/infer/onnx-int8/onnxruntime``.
    params
        What the name is made of, by key: stage, step, variant, runtime, threads.
    extra
        What else was seen: provider, executed precision, load time, bytes.
    statistics
        The samples.
    """

    name: str
    params: Mapping[str, Any]
    extra: Mapping[str, Any]
    statistics: Statistics


@dataclass(frozen=True)
class Run:
    """All rows of one call of the benchmark, and where they were taken.

    Attributes
    ----------
    machine, versions
        As `edgegal.machine` tells.
    before, after
        HealthStamp at the start and the end.
    benchmarks
        The rows.
    left_out
        What was not measured, by name, and why.
    peak_rss_bytes
        The most memory the process ever held, all variants together; None where the system does not tell.
    """

    machine: Machine
    versions: Mapping[str, str]
    before: HealthStamp
    after: HealthStamp
    benchmarks: tuple[Benchmark, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    peak_rss_bytes: int | None = None


def commit(package: Path = Path(__file__).parent) -> dict[str, Any]:
    """Commit of the checkout the code runs from; id None when it is installed from a wheel."""
    unknown = {"id": None, "dirty": None, "version": __version__}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # A wheel unpacked below somebody's checkout is not that checkout's code.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return {**unknown, "id": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return unknown


def _health(health: HealthStamp) -> dict[str, Any]:
    return {**asdict(health), "time": health.time.isoformat()}


def _outliers(statistics: Statistics) -> dict[str, Any]:
    """How many samples lie far out, as pytest-benchmark counts them; its table needs the keys. None is dropped."""
    samples = statistics.samples
    beyond_deviation = int(np.sum(np.abs(samples - statistics.mean) > statistics.stddev))
    fence_low, fence_high = statistics.q1 - 1.5 * statistics.iqr, statistics.q3 + 1.5 * statistics.iqr
    within = samples[(samples >= fence_low) & (samples <= fence_high)]
    beyond_fences = len(samples) - len(within)
    return {
        "stddev_outliers": beyond_deviation,
        "iqr_outliers": beyond_fences,
        "outliers": f"{beyond_deviation};{beyond_fences}",
        "ld15iqr": float(within.min()),
        "hd15iqr": float(within.max()),
    }


def _stats(statistics: Statistics) -> dict[str, Any]:
    interval = statistics.median_interval
    return {
        "min": statistics.min,
        "max": statistics.max,
        "mean": statistics.mean,
        "stddev": statistics.stddev,
        "rounds": len(statistics),
        "median": statistics.median,
        "median_low": interval.low,
        "median_high": interval.high,
        "iqr": statistics.iqr,
        "q1": statistics.q1,
        "q3": statistics.q3,
        "p90": statistics.p90,
        "p99": statistics.p99,
        **_outliers(statistics),
        "ops": 1 / statistics.mean,
        "total": statistics.total,
        "iterations": 1,
        "data": statistics.samples.tolist(),
    }


def document(run: Run) -> dict[str, Any]:
    """The run as one JSON document."""
    return {
        "machine_info": {
            **asdict(run.machine),
            # pytest-benchmark's own keys, for tools that group by them.
            "machine": run.machine.architecture,
            "processor": run.machine.cpu,
            "system": run.machine.os,
            "python_version": run.machine.python,
            "packages": dict(run.versions),
            "health": {"before": _health(run.before), "after": _health(run.after)},
        },
        "commit_info": commit(),
        "benchmarks": [
            {
                "group": row.params["step"],
                "name": row.name,
                "fullname": row.name,
                "params": dict(row.params),
                "param": None,
                "extra_info": dict(row.extra),
                "options": {"timer": "perf_counter", "warmup": True},
                "stats": _stats(row.statistics),
            }
            for row in run.benchmarks
        ],
        "left_out": dict(run.left_out),
        "peak_rss_bytes": run.peak_rss_bytes,
        "datetime": run.before.time.isoformat(),
        "version": __version__,
    }


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all; its folder is made when absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def save(run: Run, folder: Path) -> Path:
    """Write the run into `folder`, named after its time: an older run is never overwritten."""
    path = folder / f"bench-{run.before.time:%Y%m%dT%H%M%S.%fZ}.json"
    return write_text(path, json.dumps(document(run), indent=1) + "\n")


class _Stats(BaseModel):
    data: list[float] = Field(min_length=1)


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    stats: _Stats


class _MachineInfo(BaseModel):
    processor: str = ""


class _Document(BaseModel):
    machine_info: _MachineInfo
    benchmarks: list[_Row]


@dataclass(frozen=True)
class Stored:
    """What of an earlier run later ones are compared with.

    Attributes
    ----------
    processor
        Model of the processor it ran on; empty when not said.
    statistics
        By name of the benchmark.
    """

    processor: str
    statistics: Mapping[str, Statistics]


def load(path: Path) -> Stored:
    """Read a run back from its raw samples.

    Raises
    ------
    InputError
        The file is missing, or is no benchmark with raw samples.
    """
    try:
        parsed = _Document.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"no benchmark file {path}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is no benchmark file: {where or 'document'}: {first['msg']}", "make one: edgegal bench --out DIR"
        ) from error
    return Stored(
        parsed.machine_info.processor, {row.name: Statistics(np.array(row.stats.data)) for row in parsed.benchmarks}
    )
