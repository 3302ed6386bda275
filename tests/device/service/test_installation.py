"""What would be installed, and why not; installing for real stands in tests/peers."""

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgegal.cli import app
from edgegal.device.service.installation import make_plan, place_of
from edgegal.device.service.systemd import Systemd, parse_properties
from edgegal.errors import InputError, MissingPartError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with settings of the default name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return write(tmp_path / ".config/edgegal/edgegal.toml", 'source = "watch:/srv/sky"').parents[2]


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["[run]", *lines]) + "\n")
    return path


def test_a_users_service_is_planned_from_the_users_settings(home: Path) -> None:
    plan = make_plan(place_of(personal=True))
    assert plan.place.unit == home / ".config/systemd/user/edgegal.service"
    assert plan.changed
    command = f"ExecStart={sys.executable} -I -m edgegal run --config {home}/.config/edgegal/edgegal.toml --out night"
    assert command in plan.text
    assert f"WorkingDirectory={home}/.local/share/edgegal" in plan.text


def test_a_unit_that_is_there_already_is_no_change(home: Path) -> None:
    plan = make_plan(place_of(personal=True))
    plan.place.unit.parent.mkdir(parents=True)
    plan.place.unit.write_text(plan.text)
    assert not make_plan(place_of(personal=True)).changed


def test_the_settings_own_output_folder_is_kept(home: Path) -> None:
    config = write(home / "my.toml", 'source = "sim:"', 'out = "/media/nights"')
    assert "--out" not in make_plan(place_of(personal=True), config).text


def test_secrets_beside_the_settings_become_credentials(home: Path) -> None:
    folder = home / ".config/edgegal/credentials"
    folder.mkdir()
    (folder / "web-password").write_text("open sesame")
    text = make_plan(place_of(personal=True)).text
    assert f"LoadCredential=web-password:{folder}/web-password" in text
    assert "mqtt-password" not in text
    assert "open sesame" not in text


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], "source"),
        (['source = "lights"'], "run.source"),
        (['source = "sim:"', "[frames]", 'dark = "masters/dark.fits"'], "frames.dark"),
        (['source = "sim:"', 'sauce = "x"'], "sauce"),
    ],
)
def test_settings_that_cannot_serve_are_refused_by_name(home: Path, lines: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make_plan(place_of(personal=True), write(home / "my.toml", *lines))


def test_missing_settings_say_where_they_belong(home: Path) -> None:
    with pytest.raises(InputError, match=r"edgegal-second\.toml") as caught:
        make_plan(place_of("second", personal=True))
    assert "edgegal config show" in caught.value.mend


@pytest.mark.parametrize("name", ["", "Scope", "a/b", "../x", "a b", "x" * 40])
def test_names_that_no_unit_has_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no name"):
        place_of(name)


@pytest.mark.parametrize("name", ["edgegal", "second", "edgegal-second"])
def test_no_name_reaches_the_unit_of_another_program(name: str) -> None:
    assert place_of(name).unit.name in ("edgegal.service", "edgegal-second.service")


def test_a_dry_run_shows_the_unit_and_writes_nothing(home: Path) -> None:
    before = sorted(home.rglob("*"))
    done = CliRunner().invoke(app, ["service", "install", "--user", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "[Service]\nType=notify" in done.stdout
    shown = CliRunner().invoke(app, ["service", "install", "--user", "--dry-run", "--json"])
    document = json.loads(shown.stdout)
    assert (document["changed"], document["dry_run"]) == (True, True)
    assert document["text"] in done.stdout
    assert sorted(home.rglob("*")) == before


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here")
@pytest.mark.parametrize("verb", ["install", "status", "logs", "uninstall"])
@pytest.mark.usefixtures("home")
def test_without_systemd_it_says_so(verb: str) -> None:
    done = CliRunner().invoke(app, ["service", verb, "--user"])
    assert isinstance(done.exception, MissingPartError)
    assert "systemd does not run" in done.exception.message
    assert done.exception.exit_code == 3


@pytest.mark.usefixtures("home")
def test_without_rights_it_says_so(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    from edgegal.device.service import installation

    monkeypatch.setattr(Systemd, "require", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    plan = make_plan(place_of(personal=True))
    system = installation.Plan(place_of(), plan.text, plan.user, True)
    with pytest.raises(InputError, match="root") as caught:
        installation.install(system, Systemd())
    assert "sudo" in caught.value.mend
    assert "--user" in caught.value.mend


RUNNING = """Type=notify
MainPID=713
NRestarts=2
Result=success
StatusText=12 frames, 0 skipped
ExecMainCode=0
ExecMainStatus=0
MemoryCurrent=84541440
ActiveState=active
UnitFileState=enabled
StateChangeTimestamp=@1795715349
"""
FAILED = """MainPID=0
NRestarts=0
Result=exit-code
StatusText=
ExecMainCode=1
ExecMainStatus=2
MemoryCurrent=18446744073709551615
ActiveState=failed
UnitFileState=disabled
StateChangeTimestamp=@1795715349
"""


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_what_systemd_shows_of_a_service_that_runs() -> None:
    state = parse_properties(properties(RUNNING))
    assert (state.active, state.enabled, state.running, state.exit_code) == ("active", True, True, None)
    assert state.since == datetime.fromtimestamp(1795715349, timezone.utc)
    assert (state.restarts, state.process, state.memory_bytes) == (2, 713, 84541440)
    assert json.loads(json.dumps(state.document()))["status"] == "12 frames, 0 skipped"


def test_what_systemd_shows_of_a_service_that_failed() -> None:
    state = parse_properties(properties(FAILED))
    assert (state.active, state.enabled, state.running) == ("failed", False, False)
    assert (state.result, state.exit_code, state.process, state.memory_bytes) == ("exit-code", 2, None, None)


def test_what_an_old_systemd_does_not_show_is_none() -> None:
    state = parse_properties({"ActiveState": "inactive", "MemoryCurrent": "[not set]"})
    assert (state.since, state.memory_bytes, state.restarts) == (None, None, 0)
