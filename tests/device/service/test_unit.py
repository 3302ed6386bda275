"""The unit's text; what systemd makes of it stands in tests/peers."""

import configparser
from pathlib import Path

import pytest

from edgegal.device.provisioning import DeviceSettings, build_payload
from edgegal.device.service.unit import ServiceUnit, command_line, unit_text

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQlSVEEZDqLnXlFMEDJ4o0sUrJgtkXDUwJSxAmXLAQ2 me@desk"


def options(text: str) -> dict[str, list[str]]:
    """Options by name, in order; a unit may give one several times."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def made(**changes: object) -> dict[str, list[str]]:
    return options(unit_text(ServiceUnit(**{"command": "/bin/true", "state": "edgegal", "mark": "m", **changes})))  # type: ignore[arg-type]


def test_the_unit_keeps_what_supervision_asks_for() -> None:
    unit = made(groups=("video", "plugdev"), credentials={"mqtt-password": Path("/etc/x/mqtt-password")})
    expected = {
        "Type": "notify", "WatchdogSec": "60", "Restart": "on-failure", "RestartSec": "5",
        "RestartPreventExitStatus": "2 3", "StateDirectory": "edgegal", "DynamicUser": "yes",
        "SupplementaryGroups": "video plugdev", "ProtectSystem": "strict", "NoNewPrivileges": "yes",
        "PrivateTmp": "yes", "ProtectHome": "read-only", "TimeoutStopSec": "10",
        "LoadCredential": "mqtt-password:/etc/x/mqtt-password", "WantedBy": "multi-user.target",
    }  # fmt: skip
    assert {name: unit[name] for name in expected} == {name: [value] for name, value in expected.items()}


def test_a_named_user_takes_the_place_of_one_that_systemd_makes() -> None:
    unit = made(user="me", writable=(Path("/media/my disk"),))
    assert unit["User"] == ["me"]
    assert "DynamicUser" not in unit
    assert unit["ReadWritePaths"] == ['"/media/my disk"']


def test_a_service_of_a_user_asks_for_nothing_that_only_root_may_give() -> None:
    unit = made(personal=True, state="/home/me/.local/share/edgegal", groups=("video",))
    assert unit["WorkingDirectory"] == ["/home/me/.local/share/edgegal"]
    assert unit["WantedBy"] == ["default.target"]
    assert not {"DynamicUser", "SupplementaryGroups", "StateDirectory", "ProtectSystem", "DeviceAllow"} & set(unit)


def test_every_line_is_an_option_of_a_section() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(unit_text(ServiceUnit("/bin/true", "edgegal", "m", environment_file=Path("/etc/e"))))
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert parser["Service"]["EnvironmentFile"] == "/etc/e"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", '"$$HOME"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("", '""'),
    ],
)
def test_words_are_quoted(word: str, written: str) -> None:
    assert command_line("/bin/true", word) == f"/bin/true {written}"


def test_a_flashed_card_runs_the_same_unit() -> None:
    settings = DeviceSettings(hostname="scope", user="me", public_keys=(KEY,))
    payload = build_payload(settings, "firstrun", b"bundle", {"edgegal-0.1.0-py3-none-any.whl": b"wheel"})
    flashed = options(payload.files["edgegal/edgegal.service"].decode())
    assert flashed["ExecStart"] == [
        "/opt/edgegal/venv/bin/edgegal run ${EDGEGAL_SOURCE} --bundle /opt/edgegal/bundle.edgegal --out night"
    ]
    assert flashed["ConditionPathExists"] == ["/opt/edgegal/installed"]
    differing = {"ExecStart", "SupplementaryGroups", "EnvironmentFile", "ConditionPathExists"}
    assert {k: v for k, v in flashed.items() if k not in differing} == {
        k: v for k, v in made().items() if k != "ExecStart"
    }
