"""The files that make a fresh card install edgegal at first boot.

The scripts and the unit that installs are shipped as they are; the service is the one of `edgegal service install`.
What differs between devices stands in two files of shell variables and, for cloud-init, in its own three files. Those
are written as JSON, which is YAML without its quoting traps.
"""

import hashlib
import importlib.resources
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegal.device.provisioning.partition import Mechanism
from edgegal.device.provisioning.settings import DeviceSettings, WifiSettings
from edgegal.device.service.unit import ServiceUnit, command_line, unit_text

__all__ = ["FOLDER", "MARK", "Payload", "build_payload", "network_config", "user_data"]

FOLDER = "edgegal"
"""Folder of the boot partition that holds everything of edgegal's own."""

MARK = "Written by edgegal flash."
"""Stands in every text file of the payload."""

_SHARED = ("setup.sh", "install.sh", "edgegal-install.service")
_HOME = Path("/opt/edgegal")


@dataclass(frozen=True)
class Payload:
    """What to put on a boot partition.

    Attributes
    ----------
    mechanism
        What is to read it at first boot.
    files
        Path below the boot partition to contents, the kernel's command line excepted.
    instance
        Identity made of the contents: cloud-init acts when it has not seen it before.
    country
        Where the radio is used; None without Wi-Fi.
    """

    mechanism: Mechanism
    files: Mapping[str, bytes]
    instance: str
    country: str | None


def build_payload(
    settings: DeviceSettings, mechanism: Mechanism, bundle: bytes, wheels: Mapping[str, bytes], pins: bytes = b""
) -> Payload:
    """The payload that makes a card with this mechanism become the device.

    Parameters
    ----------
    settings
        The device to be.
    mechanism
        What the image does at first boot.
    bundle
        A ``.edgegal`` file.
    wheels
        File name to contents: edgegal's own wheel, and any to be had without a network.
    pins
        Constraints for pip.
    """
    files = {f"{FOLDER}/{name}": _template(name) for name in _SHARED}
    files[f"{FOLDER}/edgegal.service"] = unit_text(_unit()).encode()
    files[f"{FOLDER}/bundle.edgegal"] = bundle
    files[f"{FOLDER}/constraints.txt"] = pins
    files[f"{FOLDER}/service.env"] = _variables(
        EDGEGAL_SOURCE=settings.source, EDGEGAL_REQUIREMENT=settings.requirement
    )
    files |= {f"{FOLDER}/wheels/{name}": wheel for name, wheel in wheels.items()}
    files |= _firstrun_files(settings) if mechanism == "firstrun" else _cloud_init_files(settings)
    instance = _instance(files)
    if mechanism == "cloud-init":
        files["meta-data"] = _document(f"# {MARK}\n", {"instance-id": instance})
    return Payload(mechanism, files, instance, settings.wifi.country if settings.wifi else None)


def _unit() -> ServiceUnit:
    before = command_line(str(_HOME / "venv/bin/edgegal"), "run")
    after = command_line("--bundle", str(_HOME / "bundle.edgegal"), "--out", "night")
    return ServiceUnit(
        # systemd itself puts in the variable, as one word.
        command=f"{before} ${{EDGEGAL_SOURCE}} {after}",
        state="edgegal",
        mark=MARK,
        # Those of Raspberry Pi OS.
        groups=("video", "plugdev", "render"),
        environment_file=Path("/etc/edgegal/service.env"),
        condition=_HOME / "installed",
    )


def _firstrun_files(settings: DeviceSettings) -> dict[str, bytes]:
    return {
        "firstrun.sh": _template("firstrun.sh"),
        f"{FOLDER}/authorized_keys": ("\n".join(settings.public_keys) + "\n").encode(),
        f"{FOLDER}/firstrun.env": _variables(
            EDGEGAL_HOSTNAME=settings.hostname, EDGEGAL_USER=settings.user, **_wifi_variables(settings.wifi)
        ),
    }


def _cloud_init_files(settings: DeviceSettings) -> dict[str, bytes]:
    return {
        "user-data": _document(f"#cloud-config\n# {MARK}\n", user_data(settings)),
        "network-config": _document(f"# {MARK}\n", network_config(settings.wifi)),
    }


def _instance(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{len(files[path])}\0".encode() + files[path])
    return f"edgegal-{digest.hexdigest()[:16]}"


def user_data(settings: DeviceSettings) -> dict[str, Any]:
    """cloud-init's ``user-data``."""
    return {
        "hostname": settings.hostname,
        "manage_etc_hosts": True,
        # Singular: this user in the image's default groups, instead of the default user.
        "user": {
            "name": settings.user,
            "shell": "/bin/bash",
            "lock_passwd": True,
            # Said, not inherited: without a password there is no other way to administer.
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": list(settings.public_keys),
        },
        "ssh_pwauth": False,
        "runcmd": [["bash", f"/boot/firmware/{FOLDER}/setup.sh", "now"]],
    }


def network_config(wifi: WifiSettings | None) -> dict[str, Any]:
    """cloud-init's ``network-config``, netplan version 2. The cable stays configured beside the radio."""
    config: dict[str, Any] = {
        "version": 2,
        "ethernets": {"eth0": {"dhcp4": True, "dhcp6": True, "optional": True}},
    }
    if wifi is not None:
        config["wifis"] = {
            "wlan0": {
                "dhcp4": True,
                "dhcp6": True,
                "optional": True,
                "regulatory-domain": wifi.country,
                "access-points": {wifi.ssid: {"password": wifi.psk}},
            }
        }
    return {"network": config}


def _wifi_variables(wifi: WifiSettings | None) -> dict[str, str]:
    if wifi is None:
        return {"EDGEGAL_SSID": "", "EDGEGAL_PSK": ""}
    # NetworkManager's key files take a name as bytes, which spares its quoting rules.
    return {"EDGEGAL_SSID": "".join(f"{byte};" for byte in wifi.ssid.encode()), "EDGEGAL_PSK": wifi.psk}


def _variables(**values: str) -> bytes:
    lines = [f"# {MARK}", *(f"{name}={shlex.quote(value)}" for name, value in values.items())]
    return ("\n".join(lines) + "\n").encode()


def _document(head: str, document: dict[str, Any]) -> bytes:
    return (head + json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _template(name: str) -> bytes:
    return (importlib.resources.files("edgegal.device.provisioning") / "templates" / name).read_bytes()
