"""`edgegal flash`: prepare a Raspberry Pi boot partition that installs edgegal at first boot."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.device.provisioning import WifiSettings

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_PASSWORD = "EDGEGAL_WIFI_PASSWORD"


@app.command()
def flash(
    boot: Path = typer.Option(..., "--boot", help="Where the card's first partition (bootfs) is mounted."),
    hostname: str = typer.Option(..., "--hostname", help="Name of the device on the network."),
    user: str = typer.Option(..., "--user", help="Login name; logs in by SSH key only."),
    ssh_key: Path = typer.Option(..., "--ssh-key", help="Your public key, e.g. ~/.ssh/id_ed25519.pub."),
    wifi_ssid: str | None = typer.Option(
        None, "--wifi-ssid", help=f"Wi-Fi name; the password is asked for, or taken from {_PASSWORD}."
    ),
    wifi_country: str | None = typer.Option(None, "--wifi-country", help="Two-letter country of the Wi-Fi."),
    bundle: str = typer.Option("galaxies", "--bundle", help="Bundle folder, .edgegal file, or a shipped name."),
    wheel: list[Path] = typer.Option(
        [], "--wheel", help="edgegal's wheel, and others to install without a network; built from this checkout else."
    ),
    source: str = typer.Option("/srv/edgegal/frames", "--source", help="What the device watches for frames."),
    requirement: str = typer.Option("edgegal[tflite,device]", "--requirement", help="edgegal with its extras."),
    mechanism: str | None = typer.Option(
        None, "--mechanism", help="firstrun or cloud-init; read from the partition by default."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="List what would be written."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Write onto a freshly flashed card what makes it install edgegal at its first boot."""
    import json

    from edgegal import zoo
    from edgegal.cli.output import print_table
    from edgegal.device import provisioning

    # Whatever can be wrong is found before a password is asked for or a wheel built.
    partition = provisioning.inspect(boot, provisioning.known_mechanism(mechanism))
    opened = zoo.resolve(bundle)
    settings = provisioning.DeviceSettings(
        hostname=hostname,
        user=user,
        public_keys=provisioning.read_public_keys(ssh_key),
        wifi=_wifi(wifi_ssid, wifi_country),
        source=source,
        requirement=requirement,
    )
    payload = provisioning.assemble(settings, partition.mechanism, opened, wheel)
    prepared = provisioning.prepare(partition, payload, dry_run)
    if as_json:
        document = {
            "boot": str(partition.folder),
            "mechanism": partition.mechanism,
            "reason": partition.reason,
            "dry_run": dry_run,
            "files": prepared.written,
            "backups": prepared.backups,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"{partition.folder}: first boot by {partition.mechanism}: {partition.reason}")
    print_table(["file", "bytes"], [[path, f"{size:,}"] for path, size in prepared.written.items()])
    if prepared.backups:
        typer.echo(f"kept as NAME.before-edgegal: {', '.join(prepared.backups)}")
    typer.echo("nothing was written" if dry_run else f"written; start the card, then: ssh {user}@{hostname}.local")


def _wifi(ssid: str | None, country: str | None) -> "WifiSettings | None":
    """Wi-Fi settings with the password from the environment or a prompt, never from a flag that others can read."""
    import os
    import sys

    from edgegal.device.provisioning import WifiSettings, wpa_psk
    from edgegal.errors import InputError

    if ssid is None:
        return None
    if country is None:
        raise InputError("Wi-Fi stays off without a country", "add e.g. --wifi-country DE")
    password = os.environ.get(_PASSWORD)
    if password is None:
        if not sys.stdin.isatty():
            raise InputError("no Wi-Fi password", f"set it in the environment as {_PASSWORD}")
        password = typer.prompt(f"Password of {ssid}", hide_input=True, err=True)
    return WifiSettings(ssid, country, wpa_psk(ssid, password))
