"""`edgegal run`: stream frames through detection, then classification."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from edgegal.device.session import Summary

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_INFERENCE, _FRAMES, _SIGHTINGS, _OUTPUT = "Networks", "Frames", "Sightings", "Output"
_MQTT, _WEB, _RUNNING = "Messages", "Page", "Running"


class _Grouped(TyperCommand):
    """Help with the options under headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        shown = [(p, p.get_help_record(ctx)) for p in self.get_params(ctx)]
        for heading, group in groupby(shown, lambda pair: getattr(pair[0], "rich_help_panel", None) or "Options"):
            if records := [record for _, record in group if record is not None]:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _settings_as_defaults(context: typer.Context, file: Path | None) -> Path | None:
    """Let the settings file say what flags do not."""
    if file is not None:
        from edgegal import settings

        context.default_map = settings.load(file).as_flags()
    return file


@app.command(cls=_Grouped)
def run(
    context: typer.Context,
    source: str = typer.Argument(
        help="Picture, FITS file, SER or other video, folder of these, address of a camera such as "
        "indi://localhost:7624/CCD Simulator or v4l2:0, or sim: for a simulated night.",
        rich_help_panel="Source",
    ),
    bundle: str = typer.Option(
        "galaxies", "--bundle", help="Bundle folder, .edgegal file, or a shipped name.", rich_help_panel=_INFERENCE
    ),
    classifier: str | None = typer.Option(
        None,
        "--classifier",
        help="Bundle to take the classifier from, such as four-classes; --bundle's by default.",
        rich_help_panel=_INFERENCE,
    ),
    runtime: str | None = typer.Option(
        None, "--runtime", help="Runtime; the best installed one by default.", rich_help_panel=_INFERENCE
    ),
    precision: str | None = typer.Option(
        None, "--precision", help="int8, fp16 or fp32; the smallest by default.", rich_help_panel=_INFERENCE
    ),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads for inference.", rich_help_panel=_INFERENCE),
    score: float | None = typer.Option(
        None,
        "--score",
        min=0,
        max=1,
        help="Least detection score; the bundle's own by default.",
        rich_help_panel=_INFERENCE,
    ),
    abstain_below: float | None = typer.Option(
        None,
        "--abstain-below",
        min=0,
        max=1,
        help="Highest probability below which a galaxy is called uncertain; the bundle's own by default, 0 for never.",
        rich_help_panel=_INFERENCE,
    ),
    min_side: float | None = typer.Option(
        None,
        "--min-side",
        min=0,
        help="Longer side of a box, in pixels, below which it is too small to tell; the bundle's own by default.",
        rich_help_panel=_INFERENCE,
    ),
    bias: Path | None = typer.Option(
        None,
        "--bias",
        help="Master bias, or a folder of them: the dark is scaled in time then.",
        rich_help_panel=_FRAMES,
    ),
    dark: Path | None = typer.Option(
        None, "--dark", help="Master dark, or a folder of darks, to subtract.", rich_help_panel=_FRAMES
    ),
    flat: Path | None = typer.Option(
        None, "--flat", help="Master flat, or a folder of flats, to divide by.", rich_help_panel=_FRAMES
    ),
    hot_pixels: bool = typer.Option(
        True, "--hot-pixels/--no-hot-pixels", help="Mend hot pixels of raw frames.", rich_help_panel=_FRAMES
    ),
    judge: bool | None = typer.Option(
        None,
        "--judge/--no-judge",
        help="Leave out clouded, blurred and trailed frames; by default where frames are stacked.",
        rich_help_panel=_FRAMES,
    ),
    stack: int = typer.Option(
        0,
        "--stack",
        min=0,
        help="Stack N registered frames, older ones fade; 0 for none, 65535 for all of a night.",
        rich_help_panel=_FRAMES,
    ),
    level_sky: bool = typer.Option(
        False,
        "--level-sky/--no-level-sky",
        help="Subtract gradients of moon and town from linear frames; files of stacks keep them.",
        rich_help_panel=_FRAMES,
    ),
    agree: int = typer.Option(
        1, "--agree", min=1, help="Frames that must agree before a class is told.", rich_help_panel=_SIGHTINGS
    ),
    catalogue: Path | None = typer.Option(
        None, "--catalogue", help="OpenNGC's NGC.csv, to name galaxies by their place.", rich_help_panel=_SIGHTINGS
    ),
    solve: bool = typer.Option(
        False,
        "--solve/--no-solve",
        help="Find out where the stack looks with ASTAP, where headers do not say.",
        rich_help_panel=_SIGHTINGS,
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Folder for the log, the database and pictures of sightings.", rich_help_panel=_OUTPUT
    ),
    keep_pictures_every: float | None = typer.Option(
        None,
        "--keep-pictures-every",
        min=0,
        help="Seconds from one annotated picture to the next, 0 for each frame; by default 60 of a camera, else 0.",
        rich_help_panel=_OUTPUT,
    ),
    keep_news_every: float | None = typer.Option(
        None,
        "--keep-news-every",
        min=0,
        help="The same for frames that show a new sighting; by default as the other, or 10 of a camera.",
        rich_help_panel=_OUTPUT,
    ),
    keep_stacks_every: float = typer.Option(
        600.0,
        "--keep-stacks-every",
        min=1,
        help="Seconds from one FITS file of the stack to the next.",
        rich_help_panel=_OUTPUT,
    ),
    keep_crops_below: float = typer.Option(
        0.7,
        "--keep-crops-below",
        min=0,
        max=1,
        help="Keep pictures of galaxies whose class is less probable, for training; 0 for none.",
        rich_help_panel=_OUTPUT,
    ),
    keep_days: float | None = typer.Option(
        None,
        "--keep-days",
        min=0,
        help="Remove pictures older than so many days; never by default.",
        rich_help_panel=_OUTPUT,
    ),
    keep_free_mb: int = typer.Option(
        500,
        "--keep-free-mb",
        min=0,
        help="Remove pictures, empty and old ones first, to keep so many MB free.",
        rich_help_panel=_OUTPUT,
    ),
    mqtt_broker: str | None = typer.Option(
        None,
        "--mqtt-broker",
        help="Broker to tell: mqtt://[USER@]HOST[:PORT][/PREFIX], mqtts:// for TLS.",
        rich_help_panel=_MQTT,
    ),
    mqtt_authority: Path | None = typer.Option(
        None,
        "--mqtt-authority",
        help="Certificate of the broker's authority; the system's by default.",
        rich_help_panel=_MQTT,
    ),
    mqtt_home_assistant: str = typer.Option(
        "homeassistant",
        "--mqtt-home-assistant",
        help="Topic where Home Assistant looks; empty to leave it out.",
        rich_help_panel=_MQTT,
    ),
    web: bool = typer.Option(
        False, "--web/--no-web", help="Show the run on a page, until Ctrl-C.", rich_help_panel=_WEB
    ),
    web_address: str = typer.Option(
        "127.0.0.1:8780",
        "--web-address",
        help="IP:PORT of the page, port 0 for a free one; 0.0.0.0:8780 for all on the network, with a password.",
        rich_help_panel=_WEB,
    ),
    web_names: list[str] = typer.Option(
        [], "--web-names", help="Further name of this computer that the page answers to.", rich_help_panel=_WEB
    ),
    wait: bool | None = typer.Option(
        None,
        "--wait/--no-wait",
        help="Wait for a camera that does not answer at the start; by default as a service.",
        rich_help_panel=_RUNNING,
    ),
    stall_after: float = typer.Option(
        10.0,
        "--stall-after",
        min=1,
        help="Seconds after which a stuck part is begun anew; thrice the longest step of a frame, if that is more.",
        rich_help_panel=_RUNNING,
    ),
    reopen_after: float | None = typer.Option(
        None,
        "--reopen-after",
        min=1,
        help="Seconds without a frame after which a camera is opened anew, a folder never; its own time by default.",
        rich_help_panel=_RUNNING,
    ),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Stop after N frames.", rich_help_panel=_RUNNING),
    config: Path | None = typer.Option(
        None,
        "--config",
        is_eager=True,
        callback=_settings_as_defaults,
        help="Settings file (edgegal config show); flags override it.",
        rich_help_panel=_RUNNING,
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document.", rich_help_panel=_RUNNING),
) -> None:
    """Stream frames through detection, then classification.

    Ctrl-C or SIGTERM ends the run within five seconds, keeps what was seen and exits with 130; a second one ends it at
    once. With --web, the page of a run that came to its end stays until then, and the exit code is 0. A camera that
    vanishes is waited for; a network or disk that hangs is begun anew, and the exit code is 4 when that does not help.
    """
    from edgegal.device.session import stop_signals
    from edgegal.device.wiring import wired
    from edgegal.settings import Settings

    asked = [
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    with stop_signals(), wired(Settings.of_flags(context.params), asked) as ready:
        page = ready.page
        if page:
            typer.echo(f"page: {page.url}", err=True)
            if page.new_password:
                typer.echo(f"its password, shown this once: {page.new_password}", err=True)
        summary = ready.observe()
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
    dropped = f", {summary.dropped} dropped" if summary.dropped else ""
    typer.echo(f"{summary.frames} frames, {summary.skips} skipped{dropped}; median ms a frame: {stages}")
    for restart in summary.restarts:
        typer.echo(f"begun anew: {restart}")
    if out and out.is_dir():
        typer.echo(f"sightings.jsonl, sightings.sqlite and pictures in {out}")
