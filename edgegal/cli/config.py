"""`edgegal config`: show or check the settings file."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Show or check the settings file."
)

_JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.command()
def show(
    file: Path | None = typer.Argument(None, help="Settings file; the defaults when none is given."),
    as_json: bool = _JSON,
) -> None:
    """Print the settings in effect as a settings file, every field with what it means."""
    from edgegal import settings

    found = settings.load(file) if file else settings.Settings()
    typer.echo(found.model_dump_json() if as_json else settings.as_toml(found), nl=as_json)


@app.command()
def check(file: Path = typer.Argument(help="Settings file."), as_json: bool = _JSON) -> None:
    """Read a settings file; exit 2 naming the line of the first problem, and warn of settings without effect.

    The address of a source is judged without opening it: a camera or folder may be on another computer.
    """
    import json

    from edgegal import settings
    from edgegal.device.effects import idle_settings
    from edgegal.device.sources import check_address
    from edgegal.errors import InputError

    try:
        found = settings.load(file)
        if found.run.source is not None:
            with settings.located(file, "run", "source"):
                check_address(found.run.source)
    except InputError as error:
        if as_json:
            typer.echo(json.dumps({"file": str(file), "sound": False, "problem": error.message, "mend": error.mend}))
        raise
    warnings = [idle.words for idle in idle_settings(found)]
    if as_json:
        typer.echo(json.dumps({"file": str(file), "sound": True, "warnings": warnings}))
        return
    for warning in warnings:
        typer.echo(f"{file}: {warning}", err=True)
    typer.echo(f"{file}: sound")
