"""`edgegal calibrate`: make master bias, dark and flat frames."""

from enum import Enum
from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

# By which a run knows the master again.
_ENDINGS = (".fits", ".fit", ".fts")


class _Kind(str, Enum):
    BIAS = "bias"
    DARK = "dark"
    FLAT = "flat"


@app.command()
def calibrate(
    kind: _Kind = typer.Argument(help="What the exposures are."),
    frames: list[Path] = typer.Argument(metavar="FRAMES...", help="Files, or folders of files; at least 3 exposures."),
    out: Path = typer.Option(..., "--out", help="FITS file to write, such as dark-10s.fits."),
    bias: Path | None = typer.Option(
        None, "--bias", help="Master bias, or a folder of them, to subtract: a dark without bias scales with time."
    ),
    dark: Path | None = typer.Option(None, "--dark", help="Master dark, or a folder of darks, to subtract from flats."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Make a master of many exposures: their sigma-clipped mean, as FITS with what it was made of.

    Exposures of mixed size, exposure time, temperature or gain, saturated and too dark flats and light frames given as
    darks are refused by name.
    """
    import json

    from rich.console import Console

    from edgegal.device.masters import make_master, read_master, write_master
    from edgegal.errors import InputError

    if out.suffix.lower() not in _ENDINGS:
        raise InputError(f"{out} is no name of a FITS file", f"end it in one of: {' '.join(_ENDINGS)}")
    if dark is not None and kind is not _Kind.FLAT:
        raise InputError(f"--dark is for flats, not for a {kind.value}", "leave it out")
    if bias is not None and kind is _Kind.BIAS:
        raise InputError("--bias is for darks and flats, not for a bias", "leave it out")
    with Console(stderr=True).status("") as status:
        master = make_master(
            kind.value,
            frames,
            read_master("bias", bias) if bias else None,
            read_master("dark", dark) if dark else None,
            lambda count: status.update(f"exposure {count}"),
        )
    write_master(out, master)
    if as_json:
        document = {
            "file": str(out),
            "kind": master.kind,
            "frames": master.frames,
            "shape": list(master.pixels.shape),
            "exposure_s": master.exposure_s,
            "temperature_c": master.temperature_c,
            "gain": master.gain,
            "bayer": master.bayer,
            "subtracted": list(master.subtracted),
            "rejected": master.rejected,
        }
        typer.echo(json.dumps(document))
        return
    without = f", without {' and '.join(master.subtracted)}" if master.subtracted else ""
    typer.echo(f"{out}: master {master.kind} of {master.frames} exposures{without}; {master.rejected:.3%} left out")
