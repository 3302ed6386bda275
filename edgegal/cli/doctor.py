"""`edgegal doctor`: what is installed, what really infers, what is plugged in, and what to do about the rest."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.doctor import Finding

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(as_json: bool = typer.Option(False, "--json", help="Print one JSON document.")) -> None:
    """Look at packages, runtimes, accelerators, cameras and the machine; exit 3 when nothing here can infer."""
    import dataclasses
    import json
    import platform

    from edgegal import __version__
    from edgegal import doctor as examine
    from edgegal.errors import MissingPartError

    if not as_json:
        typer.echo(f"edgegal {__version__}, Python {platform.python_version()}, {platform.machine()}")
    findings: list[Finding] = []

    def report(title: str, found: "list[Finding]") -> None:
        findings.extend(found)
        if not as_json:
            _print_section(title, found)

    # The runtimes start first and are heard last: they take seconds, the rest does not.
    attempts, missing = examine.start_attempts()
    report("Software", list(examine.look_at_software()))
    report("Machine", list(examine.look_at_system()))
    report("Accelerators and cameras", list(examine.look_at_hardware()))
    tried = list(examine.attempts_as_findings(attempts))
    report("Runtimes, each tried on the shipped bundle", tried + missing)

    able = examine.can_infer(findings)
    if as_json:
        document = {
            "edgegal": __version__,
            "can_infer": able,
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        typer.echo(json.dumps(document, indent=2))
    if not able:
        broken = next((f for f in findings if f.state == "trouble" and f.topic in ("runtime", "software")), None)
        raise MissingPartError("no runtime infers here", (broken and broken.mend) or "pip install 'edgegal[tflite]'")


def _print_section(title: str, found: "list[Finding]") -> None:
    from edgegal.cli.output import print_table

    typer.echo(f"\n{title}")
    print_table(["state", "part", "seen", "mend"], [[f.state, f.name, f.detail, f.mend] for f in found])
