"""`edgegal demo`: the whole main job on the shipped bundle and embedded sky."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def demo(
    out: Path = typer.Option(Path("edgegal-demo"), "--out", help="Folder for pictures, sightings and the report."),
    bundle: str = typer.Option("galaxies", "--bundle", help="Bundle folder, .edgegal file, or a shipped name."),
    runtime: str | None = typer.Option(None, "--runtime", help="Runtime; the best installed one by default."),
    precision: str | None = typer.Option(None, "--precision", help="int8, fp16 or fp32; the smallest by default."),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads for inference."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """The Hubble Deep Field and a simulated night through detection and classification, with one HTML report."""
    import json
    from dataclasses import asdict

    from edgegal import zoo
    from edgegal.cli.output import print_table
    from edgegal.demo import run_demo
    from edgegal.demo.report import write_report

    opened = zoo.resolve(bundle)
    result = run_demo(opened, out, runtime, precision, threads, progress=lambda line: typer.echo(line, err=True))
    report = write_report(result, opened)
    if as_json:
        skies = {e.title: e.summary.document() for e in result.expositions if e.summary}
        document = {
            "report": str(report),
            "skies": skies,
            "night": asdict(result.night),
            "comparison": result.comparison.document(),
            "seconds": round(result.seconds, 1),
        }
        typer.echo(json.dumps(document))
        return
    for exposition in result.expositions:
        if exposition.summary:
            stages = ", ".join(f"{k} {ms:.1f}" for k, ms in exposition.summary.latency_ms().items() if ms >= 0.05)
            typer.echo(
                f"{exposition.title}: {len(exposition.summary.sightings)} sightings; median ms a frame: {stages}"
            )
    night = result.night
    typer.echo(
        f"simulated galaxies of at least 24 px: {night.found} of {night.galaxies} found, {night.named} given their "
        f"class; {night.wrong} sightings where there is none"
    )
    for title, header, rows in result.comparison.tables():
        typer.echo(f"\n{title}")
        print_table(header, rows)
    for stage in result.comparison.stages:
        for name, reason in stage.left_out.items():
            typer.echo(f"left out {stage.stage} {name}: {reason}")
    typer.echo(f"{result.seconds:.0f} s; pictures and sightings.jsonl in {out}; report: {report}")
