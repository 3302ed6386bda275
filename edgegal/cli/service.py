"""`edgegal service`: a run that starts with the computer, as a service of systemd."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="A run that starts with the computer: install, status, logs, uninstall.",
)

_NAME = typer.Option("edgegal", "--name", help="Name of the service, where several run.")
_USER = typer.Option(
    False, "--user", help="A service of your own: no root, less confined, runs while you are logged in."
)
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.command()
def install(
    config: Path | None = typer.Option(
        None, "--config", help="Settings file; /etc/edgegal/NAME.toml by default, or ~/.config/edgegal with --user."
    ),
    name: str = _NAME,
    user: bool = _USER,
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the unit that would be written."),
    as_json: bool = _JSON,
) -> None:
    """Write the unit, start it now and with the computer; again, it brings an installed one up to date."""
    import getpass
    import json

    from edgegal.device.service.installation import install as carry_out
    from edgegal.device.service.installation import make_plan, place_of
    from edgegal.device.service.systemd import Systemd

    place = place_of(name, user)
    plan = make_plan(place, config)
    done = False if dry_run else carry_out(plan, Systemd(user))
    if as_json:
        document = {
            "service": place.service,
            "unit": str(place.unit),
            "text": plan.text,
            "user": plan.user,
            "data": str(place.data),
            "changed": plan.changed,
            "dry_run": dry_run,
        }
        typer.echo(json.dumps(document))
        return
    if dry_run:
        typer.echo(plan.text, nl=False)
        typer.echo(f"{place.unit}: {'would be written' if plan.changed else 'is as it would be'}", err=True)
        return
    if not done:
        typer.echo(f"{place.service} runs as it should; nothing to do")
        return
    typer.echo(f"{place.service} runs as {plan.user}, now and from the next start on")
    typer.echo(f"unit {place.unit}, data {place.data}")
    if user and not Path("/var/lib/systemd/linger", getpass.getuser()).exists():
        typer.echo("it ends when you log out; to run it from the start on: sudo loginctl enable-linger $USER")


@app.command()
def status(
    name: str = _NAME,
    user: bool = _USER,
    lines: int = typer.Option(5, "--lines", min=0, help="Newest lines of the log to show."),
    as_json: bool = _JSON,
) -> None:
    """How the service is doing; exit 1 when it does not run."""
    import json

    from edgegal.cli.output import print_table
    from edgegal.device.service.installation import place_of, require_installed
    from edgegal.device.service.systemd import Systemd

    place = place_of(name, user)
    systemd = Systemd(user)
    systemd.require()
    require_installed(place)
    state = systemd.show(place.service)
    newest = systemd.last_lines(place.service, lines) if lines else ()
    if as_json:
        typer.echo(json.dumps({"service": place.service, **state.document(), "lines": list(newest)}))
    else:
        since = f" since {state.since:%Y-%m-%d %H:%M:%S} UTC" if state.since else ""
        rows = [
            ["state", state.active + since],
            ["says", state.status or "-"],
            ["starts with the computer", "yes" if state.enabled else "no"],
            ["started anew", f"{state.restarts} times"],
            ["memory", f"{state.memory_bytes / 2**20:.0f} MiB" if state.memory_bytes is not None else "-"],
        ]
        if not state.running:
            code = f", exit code {state.exit_code}" if state.exit_code is not None else ""
            rows.insert(1, ["ended by", f"{state.result}{code}"])
        print_table([place.service, ""], rows)
        for line in newest:
            typer.echo(line)
    raise typer.Exit(0 if state.running else 1)


@app.command()
def logs(
    name: str = _NAME,
    user: bool = _USER,
    lines: int = typer.Option(100, "--lines", min=1, help="Newest lines to show."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on with what is added, until Ctrl-C."),
) -> None:
    """What the service said, as journalctl shows it."""
    import os

    from edgegal.device.service.installation import place_of, require_installed
    from edgegal.device.service.systemd import Systemd

    place = place_of(name, user)
    systemd = Systemd(user)
    systemd.require()
    require_installed(place)
    words = systemd.journal(place.service, "--lines", str(lines), *(["--follow"] if follow else []))
    # In this place, so that Ctrl-C and the exit code are journalctl's own.
    os.execvp(words[0], words)


@app.command()
def uninstall(name: str = _NAME, user: bool = _USER, as_json: bool = _JSON) -> None:
    """Stop the service and remove its unit; settings and data stay."""
    import json

    from edgegal.device.service.installation import place_of
    from edgegal.device.service.installation import uninstall as carry_out
    from edgegal.device.service.systemd import Systemd

    place = place_of(name, user)
    removed = carry_out(place, Systemd(user))
    if as_json:
        typer.echo(json.dumps({"service": place.service, "removed": removed, "data": str(place.data)}))
        return
    typer.echo(f"{place.service} is removed" if removed else f"{place.service} is not installed; nothing to do")
    if place.data.exists():
        typer.echo(f"its data stay in {place.data}")
