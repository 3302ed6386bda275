"""First-boot payloads before the programs that will read them."""

import os
import subprocess
from pathlib import Path

import pytest

from edgegal.device.provisioning import DeviceSettings, Payload, WifiSettings, build_payload, wpa_psk

pytestmark = pytest.mark.peers

ROOT = Path(__file__).resolve().parents[2]
CLOUD_INIT = ROOT / "build" / "peers" / "cloud-init" / "usr" / "lib" / "python3" / "dist-packages"
SSID = 'Stéphane\'s "net": #1'


def cloud_init(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Debian's cloud-init from where tests/peers/install unpacked it."""
    return subprocess.run(
        ["/usr/bin/python3", "-m", "cloudinit.cmd.main", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CLOUD_INIT), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def payload() -> Payload:
    settings = DeviceSettings(
        hostname="scope",
        user="me",
        public_keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQlSVEEZDqLnXlFMEDJ4o0sUrJgtkXDUwJSxAmXLAQ2",),
        wifi=WifiSettings(SSID, "FR", wpa_psk(SSID, "open sesame")),
    )
    return build_payload(settings, "cloud-init", b"bundle", {"edgegal-0.1.0-py3-none-any.whl": b"wheel"})


def test_cloud_init_accepts_the_user_data(payload: Payload, tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_bytes(payload.files["user-data"])
    done = cloud_init("schema", "--config-file", path)
    assert done.returncode == 0, done.stderr
    assert "Valid cloud-config" in done.stdout


def test_cloud_init_would_refuse_a_wrong_key(payload: Payload, tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_bytes(payload.files["user-data"].replace(b'"runcmd": [', b'"runcmd": [7, '))
    assert cloud_init("schema", "--config-file", path).returncode != 0


def test_cloud_init_hands_the_network_on_to_netplan(payload: Payload, tmp_path: Path) -> None:
    path = tmp_path / "network-config"
    path.write_bytes(payload.files["network-config"])
    out = tmp_path / "root"
    convert = ("devel", "net-convert", "--network-data", path, "--kind", "yaml", "--directory", out)
    done = cloud_init(*convert, "--distro", "debian", "--output-kind", "netplan")
    assert done.returncode == 0, done.stderr
    (rendered,) = out.rglob("*.yaml")
    text = rendered.read_text()
    assert "regulatory-domain: FR" in text
    assert wpa_psk(SSID, "open sesame") in text


def test_shellcheck_finds_nothing() -> None:
    scripts = sorted((ROOT / "device/provisioning/templates").glob("*.sh"))
    assert scripts
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
