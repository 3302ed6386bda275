"""`edgegal export`: trained networks to a bundle of files that small computers run."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@app.command()
def export(
    models: list[Path] = typer.Argument(..., metavar="MODEL_DIR...", help="Folders written by edgegal train."),
    out: Path = typer.Option(..., "--out", help="Bundle folder to write or to extend."),
    name: str = typer.Option("", "--name", help="Name of the bundle; what it has, else the folder's, when left out."),
    formats: str = typer.Option("tflite,onnx,openvino", "--format", help="File formats, by comma."),
    precisions: str = typer.Option("fp32,int8", "--precision", help="fp32, fp16 and int8, by comma."),
    calibration: str = typer.Option(
        "gz2_kaggle_5class",
        "--calibration",
        help="Dataset that ranges are read from (train split) and parity is measured on (val split).",
    ),
    samples: int = typer.Option(256, "--samples", min=1, help="Pictures to draw for each of the two."),
    evaluation: int = typer.Option(
        0, "--evaluation", min=0, help="Simulated cutouts to put into the bundle as its evaluation set; 0 for none."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the draws."),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest."),
) -> None:
    """Quantise and convert trained networks to TFLite, ONNX and OpenVINO, with parity.

    Exit code 1 when a variant differs too much from the float network: nothing is written then.
    """
    from edgegal.cli.output import print_table
    from edgegal.export import Identity, add_simulated_evaluation, export_bundle, plan, prepare

    steps = plan(_listed(formats), _listed(precisions))
    jobs = [prepare(folder, calibration, samples, seed) for folder in models]
    identity = Identity(name) if name else None
    bundle = export_bundle(jobs, steps, out, identity, progress=lambda line: typer.echo(line, err=True))
    if evaluation:
        bundle = add_simulated_evaluation(out, evaluation, seed)
        for stage, content in bundle.manifest.stages.items():
            if content.evaluation is None:
                typer.echo(f"no evaluation set for the {stage}: the simulated sky lacks its classes", err=True)
    if as_json:
        typer.echo(bundle.manifest.model_dump_json(indent=2))
        return
    rows = [
        [
            *(f"{stage} {variant.name}", f"{variant.size / 1000:,.0f} kB"),
            *(f"{parity.agreement:.3f}", f"{parity.max_abs:.2g}", f"{parity.mean_abs:.2g}", f"{parity.cosine:.5f}"),
            *(f"{parity.sqnr_db:.1f}" if parity.sqnr_db is not None else "-", str(parity.samples)),
            f"{parity.measured.runtime} {parity.measured.executed_precision}",
        ]
        for stage, content in bundle.manifest.stages.items()
        for variant in content.variants
        if (parity := variant.parity) is not None
    ]
    header = ["variant", "size", "agrees", "max error", "mean error", "cosine", "SQNR dB", "pictures", "run on"]
    print_table(header, rows)
    typer.echo(f"{bundle.root}: {len(rows)} variants, each checked against the float network")
