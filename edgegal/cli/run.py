"""`edgegal run`: stream frames through detection, then classification."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.device.session import Summary

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _settings_as_defaults(context: typer.Context, file: Path | None) -> Path | None:
    """Let the settings file say what flags do not."""
    if file is not None:
        from edgegal import settings

        context.default_map = settings.load(file).run.model_dump(mode="json", exclude_none=True)
    return file


@app.command()
def run(
    source: str = typer.Argument(help="Picture, FITS file, video, folder of these, or sim: for a simulated night."),
    bundle: str = typer.Option("galaxies", "--bundle", help="Bundle folder, .edgegal file, or a shipped name."),
    classifier: str | None = typer.Option(
        None, "--classifier", help="Bundle to take the classifier from, such as four-classes; --bundle's by default."
    ),
    out: Path | None = typer.Option(None, "--out", help="Folder for annotated pictures and sightings.jsonl."),
    runtime: str | None = typer.Option(None, "--runtime", help="Runtime; the best installed one by default."),
    precision: str | None = typer.Option(None, "--precision", help="int8, fp16 or fp32; the smallest by default."),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads for inference."),
    score: float | None = typer.Option(
        None, "--score", min=0, max=1, help="Least detection score; the bundle's own by default."
    ),
    abstain_below: float | None = typer.Option(
        None,
        "--abstain-below",
        min=0,
        max=1,
        help="Highest probability below which a galaxy is called uncertain; the bundle's own by default, 0 for never.",
    ),
    min_side: float | None = typer.Option(
        None,
        "--min-side",
        min=0,
        help="Longer side of a box, in pixels, below which it is too small to tell; the bundle's own by default.",
    ),
    stack: int = typer.Option(0, "--stack", min=0, help="Stack up to N registered frames; 0 for none."),
    dark: Path | None = typer.Option(None, "--dark", help="Master dark, or a folder of darks, to subtract."),
    flat: Path | None = typer.Option(None, "--flat", help="Master flat, or a folder of flats, to divide by."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Stop after N frames."),
    web: bool = typer.Option(False, "--web/--no-web", help="Show the run on a page, until Ctrl-C."),
    web_address: str = typer.Option(
        "127.0.0.1:8780", "--web-address", help="HOST:PORT of the page, on this computer only; port 0 for a free one."
    ),
    config: Path | None = typer.Option(
        None,
        "--config",
        is_eager=True,
        callback=_settings_as_defaults,
        help="Settings file (edgegal config show); flags override it.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Stream frames through detection, then classification.

    Ctrl-C or SIGTERM ends the run, keeps what was seen and exits with 130. With --web, the page of a run that came to
    its end stays until then, and the exit code is 0.
    """
    from contextlib import ExitStack

    from edgegal import zoo
    from edgegal.device.calibration import read_calibration
    from edgegal.device.pipeline import Pipeline
    from edgegal.device.session import observe, sigterm_interrupts
    from edgegal.device.sinks import AnnotatedPictures, SightingLog, Sink
    from edgegal.device.sources import open_source
    from edgegal.device.stacking import LiveStack
    from edgegal.device.web import Live, open_page

    sinks: list[Sink] = [AnnotatedPictures(out / "frames"), SightingLog(out)] if out else []
    with sigterm_interrupts(), ExitStack() as held:
        page = None
        if web:
            live = Live(source)
            page = held.enter_context(open_page(live, web_address))
            sinks.append(live)
        with open_source(source) as frames:
            pipeline = Pipeline.from_bundle(
                zoo.resolve(bundle),
                runtime,
                precision,
                threads,
                score,
                read_calibration(dark, flat),
                LiveStack(stack) if stack else None,
                abstain_below,
                min_side,
                zoo.resolve(classifier) if classifier else None,
            )
            if page:
                typer.echo(f"page: {page.url}", err=True)
            summary = observe(frames, pipeline, sinks, limit=limit)
        _show(summary, out, as_json)
        if page and not summary.interrupted:
            typer.echo(f"the run is over; its page stays at {page.url} until Ctrl-C", err=True)
            page.wait()
    raise typer.Exit(130 if summary.interrupted else 0)


def _show(summary: "Summary", out: Path | None, as_json: bool) -> None:
    import json

    from edgegal.cli.output import print_table

    if as_json:
        typer.echo(json.dumps(summary.document()))
        return
    rows = [
        [
            str(s.id),
            f"{s.first_frame}" if s.frames == 1 else f"{s.first_frame}-{s.last_frame}",
            f"{s.agreeing}/{s.frames}",
            " ".join(f"{v:.0f}" for v in s.box),
            s.label,
            "-" if s.refusal else f"{s.confidence:.2f}",
            f"{s.score:.2f}",
        ]
        for s in summary.sightings
    ]
    print_table(["id", "frame", "agreeing", "box x0 y0 x1 y1", "class", "confidence", "score"], rows)
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in summary.latency_ms().items() if ms >= 0.05)
    typer.echo(f"{summary.frames} frames, {len(summary.skipped)} skipped; median ms a frame: {stages}")
    if out:
        typer.echo(f"annotated pictures and sightings.jsonl in {out}")
