"""First-boot payloads on made boot partitions of both generations."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.provisioning import (
    BootPartition,
    DeviceSettings,
    Mechanism,
    Payload,
    WifiSettings,
    build_payload,
    inspect,
    known_mechanism,
    prepare,
    read_public_keys,
    read_wheels,
    wpa_psk,
)
from edgegal.device.provisioning import payload as payload_module
from edgegal.device.provisioning.partition import kernel_command_line
from edgegal.errors import InputError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQlSVEEZDqLnXlFMEDJ4o0sUrJgtkXDUwJSxAmXLAQ2 me@desk"
PSK = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
STOCK_LINE = "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait\n"


def settings(wifi: WifiSettings | None = None, **changes: str) -> DeviceSettings:
    values = {"hostname": "scope", "user": "me", "source": "/srv/edgegal/frames"} | changes
    return DeviceSettings(public_keys=(KEY,), wifi=wifi, **values)


def card(folder: Path, extra: Mapping[str, str]) -> Path:
    """A made boot partition."""
    for name, text in {"config.txt": "arm_64bit=1\n", "cmdline.txt": STOCK_LINE, "kernel8.img": "x", **extra}.items():
        (folder / name).write_text(text)
    return folder


def issue(day: str) -> str:
    return f"Raspberry Pi reference {day}\nGenerated using pi-gen, 0f7d4a3d2bc4, stage2\n"


def made_payload(mechanism: Mechanism, wifi: WifiSettings | None = None, **changes: str) -> Payload:
    return build_payload(settings(wifi, **changes), mechanism, b"bundle", {"edgegal-0.1.0-py3-none-any.whl": b"wheel"})


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("extra", "mechanism"),
    [
        ({"issue.txt": issue("2023-12-05")}, "firstrun"),
        ({"issue.txt": issue("2025-10-01")}, "firstrun"),
        ({"issue.txt": issue("2025-11-24")}, "cloud-init"),
        ({"issue.txt": issue("2024-11-19"), "user-data": "#cloud-config\n"}, "cloud-init"),
        ({"network-config": ""}, "cloud-init"),
        ({"cmdline.txt": STOCK_LINE.strip() + " ds=nocloud;i=rpi-image\n"}, "cloud-init"),
    ],
)
def test_the_mechanism_is_read_from_the_partition(tmp_path: Path, extra: dict[str, str], mechanism: str) -> None:
    partition = inspect(card(tmp_path, extra))
    assert partition.mechanism == mechanism
    assert partition.reason


@pytest.mark.parametrize("said", [{}, {"issue.txt": "no date"}, {"issue.txt": issue("2025-13-41")}])
def test_a_partition_that_shows_no_mechanism_asks_for_one(tmp_path: Path, said: dict[str, str]) -> None:
    folder = card(tmp_path, said)
    with pytest.raises(InputError, match=r"first boot|no date") as caught:
        inspect(folder)
    assert "--mechanism" in caught.value.mend
    assert inspect(folder, "firstrun").mechanism == "firstrun"


@pytest.mark.parametrize("missing", ["config.txt", "cmdline.txt", "kernel8.img"])
def test_a_folder_that_is_no_boot_partition_is_refused(tmp_path: Path, missing: str) -> None:
    (card(tmp_path, {"issue.txt": issue("2024-11-19")}) / missing).unlink()
    with pytest.raises(InputError, match="not a Raspberry Pi boot partition"):
        inspect(tmp_path)


def test_a_missing_folder_and_an_unknown_mechanism_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        inspect(tmp_path / "absent")
    with pytest.raises(InputError, match="ignition"):
        known_mechanism("ignition")


def test_firstrun_goes_onto_the_command_line_and_the_rest_of_it_stays() -> None:
    line = kernel_command_line(STOCK_LINE, "firstrun", "i", "DE")
    assert line == (
        STOCK_LINE.strip() + " cfg80211.ieee80211_regdom=DE systemd.run=/boot/firstrun.sh"
        " systemd.run_success_action=reboot systemd.unit=kernel-command-line.target\n"
    )


@given(
    st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1)),
    st.sampled_from(["firstrun", "cloud-init"]),
    st.sampled_from([None, "DE"]),
)
def test_the_command_line_stays_one_line_and_a_second_time_changes_nothing(
    words: list[str], mechanism: Mechanism, country: str | None
) -> None:
    once = kernel_command_line(" ".join(words), mechanism, "edgegal-1", country)
    assert once.count("\n") == 1
    assert kernel_command_line(once, mechanism, "edgegal-1", country) == once


# IEEE 802.11i, annex H.4: the published test vectors.
@pytest.mark.parametrize(
    ("ssid", "password", "psk"),
    [
        ("IEEE", "password", PSK),
        ("ThisIsASSID", "ThisIsAPassword", "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"),
        ("Z" * 32, "a" * 32, "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"),
    ],
)
def test_the_wifi_key_is_the_standards(ssid: str, password: str, psk: str) -> None:
    assert wpa_psk(ssid, password) == psk


def test_a_key_given_as_such_is_kept() -> None:
    assert wpa_psk("any", PSK.upper()) == PSK


@pytest.mark.parametrize("password", ["short", "x" * 64, "pässword1", "tab\tinside"])
def test_a_password_that_no_network_takes_is_refused(password: str) -> None:
    with pytest.raises(InputError, match="8 to 63"):
        wpa_psk("net", password)


printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(printable, printable)
def test_cloud_init_documents_are_yaml_that_says_what_was_meant(ssid: str, source: str) -> None:
    payload = made_payload("cloud-init", WifiSettings(ssid, "GB", PSK), source=source)
    user = payload.files["user-data"].decode()
    assert user.splitlines()[0] == "#cloud-config"
    document = yaml.safe_load(user)
    assert document["hostname"] == "scope"
    assert document["user"]["name"] == "me"
    assert document["user"]["ssh_authorized_keys"] == [KEY]
    assert "sudo" in document["user"]
    network = yaml.safe_load(payload.files["network-config"].decode())["network"]
    assert network["version"] == 2
    assert network["ethernets"]["eth0"]["dhcp4"] is True
    assert network["wifis"]["wlan0"]["access-points"] == {ssid: {"password": PSK}}
    assert yaml.safe_load(payload.files["meta-data"].decode()) == {"instance-id": payload.instance}


def test_without_wifi_no_radio_is_configured() -> None:
    assert set(payload_module.network_config(None)["network"]) == {"version", "ethernets"}
    assert made_payload("firstrun").country is None


@given(printable, printable)
def test_the_shell_reads_the_variables_as_they_were_meant(ssid: str, source: str) -> None:
    payload = made_payload("firstrun", WifiSettings(ssid, "GB", PSK), source=source)
    both = (payload.files["edgegal/firstrun.env"] + payload.files["edgegal/service.env"]).decode()
    read = dict(line.split("=", 1) for line in shlex.split(both, comments=True))
    assert read["EDGEGAL_SOURCE"] == source
    assert bytes(int(b) for b in read["EDGEGAL_SSID"].split(";") if b).decode() == ssid


def test_the_password_itself_is_nowhere_on_the_card() -> None:
    wifi = WifiSettings("net", "DE", wpa_psk("net", "open sesame"))
    for mechanism in ("firstrun", "cloud-init"):
        assert not [p for p, data in made_payload(mechanism, wifi).files.items() if b"open sesame" in data]


def test_every_script_parses() -> None:
    for path, data in {**made_payload("firstrun").files, **made_payload("cloud-init").files}.items():
        if path.endswith(".sh"):
            subprocess.run(["bash", "-n"], input=data, check=True)


def test_the_identity_changes_with_the_contents_only() -> None:
    assert made_payload("cloud-init").instance == made_payload("cloud-init").instance
    assert made_payload("cloud-init").instance != made_payload("cloud-init", hostname="other").instance


@pytest.mark.parametrize("mechanism", ["firstrun", "cloud-init"])
def test_preparing_a_card_twice_leaves_what_preparing_it_once_does(tmp_path: Path, mechanism: Mechanism) -> None:
    card(tmp_path, {"user-data": "#cloud-config\n# nothing yet\n"} if mechanism == "cloud-init" else {})
    partition = BootPartition(tmp_path, mechanism, "")
    first = prepare(partition, made_payload(mechanism, WifiSettings("net", "DE", PSK)))
    once = contents(tmp_path)
    second = prepare(partition, made_payload(mechanism, WifiSettings("net", "DE", PSK)))
    assert contents(tmp_path) == once
    assert second.backups == ()
    assert "cmdline.txt" in first.backups
    assert once["cmdline.txt.before-edgegal"].decode() == STOCK_LINE
    if mechanism == "cloud-init":
        assert once["user-data.before-edgegal"] == b"#cloud-config\n# nothing yet\n"


def test_a_card_prepared_anew_holds_the_new_wheel_only(tmp_path: Path) -> None:
    partition = BootPartition(card(tmp_path, {}), "firstrun", "")
    prepare(partition, made_payload("firstrun"))
    newer = build_payload(settings(), "firstrun", b"bundle", {"edgegal-0.2.0-py3-none-any.whl": b"newer"})
    prepare(partition, newer)
    assert [p.name for p in (tmp_path / "edgegal/wheels").iterdir()] == ["edgegal-0.2.0-py3-none-any.whl"]


def test_a_dry_run_says_all_and_writes_nothing(tmp_path: Path) -> None:
    partition = BootPartition(card(tmp_path, {}), "firstrun", "")
    before = contents(tmp_path)
    planned = prepare(partition, made_payload("firstrun"), dry_run=True)
    assert contents(tmp_path) == before
    assert planned == prepare(partition, made_payload("firstrun"))
    assert planned.written == {path: len(contents(tmp_path)[path]) for path in planned.written}


def test_an_interrupted_write_leaves_the_card_booting_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = BootPartition(card(tmp_path, {}), "firstrun", "")
    before = contents(tmp_path)
    synced = []

    def full_disk(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match="No space left"):
        prepare(partition, made_payload("firstrun"))
    assert contents(tmp_path) == before
    assert not (tmp_path / "edgegal").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"hostname": "my scope"}, {"hostname": "-x"}, {"hostname": ""}, {"user": "root"}, {"user": "Me"},
        {"source": "a\nb"}, {"source": ""}, {"requirement": "edgegal; rm -rf /"}, {"requirement": "numpy"},
    ],
)  # fmt: skip
def test_settings_that_no_device_takes_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        settings(**changes)
    assert caught.value.mend


@pytest.mark.parametrize(
    ("ssid", "country", "psk"), [("", "DE", PSK), ("é" * 17, "DE", PSK), ("n", "de", PSK), ("n", "DE", "x")]
)
def test_wifi_that_no_radio_takes_is_refused(ssid: str, country: str, psk: str) -> None:
    with pytest.raises(InputError) as caught:
        WifiSettings(ssid, country, psk)
    assert caught.value.mend


def test_public_keys_are_read_with_blank_lines_and_comments_left_out(tmp_path: Path) -> None:
    path = tmp_path / "keys.pub"
    path.write_text(f"# mine\n\n{KEY}\n{KEY} second\n")
    assert read_public_keys(path) == (KEY, f"{KEY} second")


@pytest.mark.parametrize(
    "text",
    [
        "", "hello\n", "ssh-ed25519 not+base64!\n", KEY.replace("ssh-ed25519", "ssh-rsa") + "\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", KEY + "\nrm -rf /\n",
    ],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(InputError, match=str(path)) as caught:
        read_public_keys(path)
    assert caught.value.mend


def test_wheels_must_be_wheels_and_one_of_them_edgegal(tmp_path: Path) -> None:
    (tmp_path / "edgegal-0.1.0-py3-none-any.whl").write_text("no zip")
    with pytest.raises(InputError, match="not a wheel"):
        read_wheels([tmp_path / "edgegal-0.1.0-py3-none-any.whl"])
    with pytest.raises(InputError, match="edgegal's own"):
        read_wheels([])
