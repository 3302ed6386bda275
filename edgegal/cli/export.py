"""`edgegal export`: trained networks to a bundle of files that small computers run."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.bundle import Manifest, Variant

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@app.command()
def export(
    models: list[Path] = typer.Argument(..., metavar="MODEL...", help="Folders written by edgegal train."),
    out: Path = typer.Option(..., "--out", help="Bundle folder to write or to extend."),
    name: str = typer.Option("", "--name", help="Name of the bundle; what it has, else the folder's, when left out."),
    formats: str = typer.Option("tflite,onnx,openvino", "--format", help="File formats, by comma."),
    precisions: str = typer.Option(
        "fp32,int8", "--precision", help="fp32, fp16, dynamic, int8 and int16x8, by comma, where a format has them."
    ),
    calibration: str | None = typer.Option(
        None,
        "--calibration",
        metavar="SET[@SPLIT]",
        help="Pictures that int8 and int16x8 read their ranges from: a dataset, folder:DIR (labels or none), csv:FILE, "
        "voc:DIR, coco:FILE, yolo:DIR, simulated:DIR, frames:FILE, or simulated for the sky drawn here. The train "
        "split by default.",
    ),
    parity: str | None = typer.Option(
        None,
        "--parity",
        metavar="SET[@SPLIT]",
        help="Pictures that each file is compared with float on: the val split of the calibration set by default, the "
        "simulated sky where there is none.",
    ),
    samples: int = typer.Option(256, "--samples", min=1, help="Pictures to draw for each of the two."),
    integer_io: bool = typer.Option(
        False, "--integer-io", help="TFLite int8 takes and gives integers: variant tflite-int8-io."
    ),
    keep_float: list[str] = typer.Option(
        [], "--keep-float", metavar="FORMAT:NAME", help="Operation to leave in float in integer files. Repeatable."
    ),
    fallback: bool = typer.Option(
        True,
        "--fallback/--no-fallback",
        help="Keep the worst layers of an int8 file that misses its gate in float, as few as it takes.",
    ),
    evaluation: int = typer.Option(
        0, "--evaluation", min=0, help="Simulated cutouts to put into the bundle as its evaluation set; 0 for none."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the draws."),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest."),
) -> None:
    """Quantise and convert trained networks to TFLite, ONNX and OpenVINO, with parity.

    Exit code 1 when a variant differs too much from the float network: it is left out, those that pass are written.
    """
    from edgegal.device.sources.files import read_still
    from edgegal.export import (
        Identity,
        Options,
        Sources,
        VariantsFailedError,
        add_simulated_evaluation,
        check_goal,
        export_bundle,
        plan,
        prepare,
    )

    def say(line: str) -> None:
        typer.echo(line, err=True)

    steps = plan(_listed(formats), _listed(precisions))
    for lacking in sorted(_lacking(_listed(formats), _listed(precisions), {(e.format, p) for e, p in steps})):
        say(f"{lacking}: there is no such file, left out")
    options = Options(integer_io, _kept(keep_float), fallback)
    sources = Sources.named(calibration, parity, [precision for _, precision in steps])
    if calibration is None and parity is None:
        say("parity is measured on the simulated sky: name pictures like those it will see with --parity")
    identity = Identity(name) if name else None
    check_goal(steps, out, identity, options)
    jobs = [prepare(model, sources, samples, seed, read_still, say) for model in models]
    failed: VariantsFailedError | None = None
    try:
        bundle = export_bundle(jobs, steps, out, identity, say, options)
    except VariantsFailedError as error:
        if error.bundle is None:
            raise
        bundle, failed = error.bundle, error
    if evaluation:
        bundle = add_simulated_evaluation(out, evaluation, seed)
        for stage, content in bundle.manifest.stages.items():
            if content.evaluation is None:
                say(f"no evaluation set for the {stage}: the simulated sky lacks its classes")
    if as_json:
        typer.echo(bundle.manifest.model_dump_json(indent=2))
    else:
        _print(bundle.manifest)
        typer.echo(f"{bundle.root}: each variant was checked against the float network")
    if failed is not None:
        raise failed


def _lacking(formats: list[str], precisions: list[str], written: set[tuple[str, str]]) -> set[str]:
    asked = {(format, precision) for format in formats for precision in precisions}
    return {"-".join(pair) for pair in asked - written}


def _kept(entries: list[str]) -> dict[str, tuple[str, ...]]:
    """Names by format of entries ``FORMAT:NAME``."""
    from edgegal.errors import InputError

    kept: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        format, _, name = entry.partition(":")
        if not format or not name:
            raise InputError(f"{entry!r} is no operation to keep in float", "give FORMAT:NAME, as onnx:conv_3")
        kept[format] = (*kept.get(format, ()), name)
    return kept


def _print(manifest: "Manifest") -> None:
    from edgegal.cli.output import print_table

    rows = [
        [
            *(f"{stage} {variant.name}", f"{variant.size / 1000:,.0f} kB", _share_of_float(variant, content.variants)),
            *(f"{parity.agreement:.3f}", f"{parity.max_abs:.2g}", f"{parity.mean_abs:.2g}", f"{parity.cosine:.5f}"),
            *(f"{parity.sqnr_db:.1f}" if parity.sqnr_db is not None else "-", str(parity.samples)),
            *(parity.measured.runtime, parity.measured.executed_precision, _in_float(variant)),
        ]
        for stage, content in manifest.stages.items()
        for variant in content.variants
        if (parity := variant.parity) is not None
    ]
    header = ["variant", "size", "of fp32", "agrees", "max error", "mean error", "cosine", "SQNR dB", "pictures"]
    print_table([*header, "run on", "runs in", "kept float"], rows)


def _share_of_float(variant: "Variant", variants: "tuple[Variant, ...]") -> str:
    """Size over that of the fp32 file of the format, which is the only fair measure of what quantising saved."""
    whole = [v.size for v in variants if v.format == variant.format and v.precision == "fp32"]
    return f"{variant.size / whole[0]:.2f}" if whole else "-"


def _in_float(variant: "Variant") -> str:
    kept = variant.quantization.kept_float if variant.quantization else ()
    return str(len(kept)) if kept else "-"
