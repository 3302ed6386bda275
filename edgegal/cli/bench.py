"""`edgegal bench`: measure latency on this machine."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.benchmarks.storage import Run

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class _Scenario(str, Enum):
    latency = "latency"
    camera = "camera"


@app.command()
def bench(
    bundle: str = typer.Argument("galaxies", help="Bundle folder, .edgegal file, or the name of a shipped bundle."),
    scenario: _Scenario = typer.Option(
        _Scenario.latency,
        "--scenario",
        help="latency of each file and runtime, or a camera's raw frame from reading to sightings, on one core, with "
        "what a run adds and the memory it holds.",
    ),
    runtime: str | None = typer.Option(None, "--runtime", help="Only this runtime; every installed one otherwise."),
    precision: str | None = typer.Option(None, "--precision", help="Only this precision: fp32, int8 ..."),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads a runtime may use."),
    samples: int = typer.Option(64, "--samples", min=1, help="Least samples a row; 64 give a sure 90th percentile."),
    seconds: float = typer.Option(1.0, "--seconds", min=0.0, help="Least time the samples of a row cover."),
    frames: int = typer.Option(8, "--frames", min=1, help="Least samples of rows that handle a whole frame."),
    out: Path = typer.Option(Path("out/bench"), "--out", help="Folder the JSON with every sample is written to."),
    baseline: Path | None = typer.Option(None, "--baseline", help="An earlier JSON to be no slower than."),
    max_slowdown: float = typer.Option(
        0.10,
        "--max-slowdown",
        min=0.0,
        help="Share a median may grow over the baseline's. A row fails when the low end of its median's 95 % interval "
        "lies above the high end of the baseline's by more than this.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the JSON document instead of the table."),
) -> None:
    """Measure latency per stage, format, precision and runtime on this machine; exit 1 when slower than --baseline."""
    import json

    from edgegal import zoo
    from edgegal.benchmarks import gate, storage
    from edgegal.benchmarks.latency import SingleStream
    from edgegal.benchmarks.suite import Suite, measure
    from edgegal.benchmarks.table import HEADER, table_rows
    from edgegal.cli.output import print_table
    from edgegal.errors import InputError

    if out.exists() and not out.is_dir():
        # Said before the measurements, not after.
        raise InputError(f"{out} is not a folder", "give another --out")
    earlier = storage.load(baseline) if baseline else None
    lines: tuple[str, ...] = ()
    if scenario is _Scenario.camera:
        run, lines = _camera(bundle, runtime, precision, frames)
    else:
        suite = Suite(runtime, precision, threads, SingleStream(samples, seconds), frames)
        run = measure(zoo.resolve(bundle), suite, _say)
    path = storage.save(run, out)
    if as_json:
        typer.echo(json.dumps(storage.document(run)))
    else:
        typer.echo(f"{run.machine}, {run.machine.cores} cores, {threads} threads")
        print_table(HEADER, table_rows(run.benchmarks))
        for name, reason in run.left_out.items():
            typer.echo(f"left out {name}: {reason}")
        for line in lines:
            typer.echo(line)
        typer.echo(str(path))
    if earlier is not None:
        if earlier.processor != run.machine.cpu:
            typer.echo(f"the baseline was taken on {earlier.processor or 'an unnamed processor'}", err=True)
        gate.check({row.name: row.statistics for row in run.benchmarks}, earlier.statistics, max_slowdown)


def _camera(bundle: str, runtime: str | None, precision: str | None, frames: int) -> "tuple[Run, tuple[str, ...]]":
    from dataclasses import asdict

    from edgegal.benchmarks.camera import CameraSamples, camera_rows, verdict
    from edgegal.benchmarks.storage import Run
    from edgegal.device.rehearsal import FRAME_SIZE, Rehearsal, rehearse
    from edgegal.machine import package_versions, stamp_health, this_machine

    before = stamp_health()
    told = asdict(rehearse(Rehearsal(bundle, runtime, precision, frames), lambda what: typer.echo(what, err=True)))
    peak_bytes = told.pop("peak_bytes")
    samples = CameraSamples(**told)
    rows = camera_rows(samples, f"{FRAME_SIZE[0]}x{FRAME_SIZE[1]}")
    run = Run(this_machine(), package_versions(), before, stamp_health(), rows, peak_rss_bytes=peak_bytes)
    return run, verdict(samples, peak_bytes)


def _say(done: int, rows: int, name: str) -> None:
    # A line a row, and no live bar: its refreshing thread would take time from what is timed.
    typer.echo(f"{done + 1} of {rows}: {name}", err=True)
