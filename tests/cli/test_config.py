"""`edgegal config`, and how its file reaches `edgegal run`."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edgegal.cli import config, run
from edgegal.errors import EdgegalError, InputError
from edgegal.settings import Settings, flag_names, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "night.toml"
    path.write_text('[run]\nsource = "sim:frames=1"\nbundle = "nowhere"\nthreads = 3\n')
    return path


def _refused(app: typer.Typer, *words: object) -> EdgegalError:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, EdgegalError), result.output
    return result.exception


def test_show_prints_a_file_that_holds_the_settings_in_effect(file: Path) -> None:
    shown = CliRunner().invoke(config.app, ["show", str(file)]).stdout
    assert "threads = 3\n" in shown
    expected = load(file)
    file.write_text(shown)
    assert load(file) == expected
    document = json.loads(CliRunner().invoke(config.app, ["show", "--json"]).stdout)
    assert Settings.model_validate(document) == Settings()


def test_check_says_sound_or_what_is_wrong_in_which_line(file: Path) -> None:
    assert CliRunner().invoke(config.app, ["check", str(file)]).stdout == f"{file}: sound\n"
    file.write_text("[run]\nthreds = 3\n")
    result = CliRunner().invoke(config.app, ["check", str(file), "--json"])
    document = json.loads(result.stdout)
    assert (document["sound"], document["mend"]) == (False, "did you mean threads?")
    assert "line 2" in document["problem"]
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2


def test_run_takes_its_settings_from_the_file_and_flags_override_it(file: Path) -> None:
    assert "nowhere" in _refused(run.app, "--config", file).message
    assert "elsewhere" in _refused(run.app, "--bundle", "elsewhere", "--config", file).message
    assert "no-such-picture" in _refused(run.app, "no-such-picture", "--config", file).message
    file.write_text("[run]\nthreads = 0\n")
    assert "line 2" in _refused(run.app, "sim:frames=1", "--config", file).message


def test_flags_of_run_and_fields_of_the_file_are_the_same() -> None:
    command = typer.main.get_command(run.app)
    flags = {p.name: p for p in command.params if p.name not in ("as_json", "config", "help")}
    names = flag_names()
    assert set(flags) == {flag for section in names.values() for flag in section.values()}
    for section, fields in names.items():
        for key, flag in fields.items():
            field = getattr(Settings(), section)
            if flag != "source":
                default = flags[flag].default
                assert (tuple(default) if isinstance(default, list) else default) == getattr(field, key), flag


def test_help_of_run_puts_its_flags_under_headings() -> None:
    shown = CliRunner().invoke(run.app, ["--help"]).stdout
    headings = ["Networks:", "Frames:", "Sightings:", "Output:", "Messages:", "Page:", "Running:"]
    places = [shown.index(f"\n{heading}\n") for heading in headings]
    assert places == sorted(places)
    assert places[1] < shown.index("--stack") < places[2]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("sim:frames=0", "line 4: run.source: sim: frames='0'"),
        ("watch:captures?often=1", "line 4: run.source: watch: has no option 'often'"),
        ("rstp://camera/live", "line 4: run.source: no source has the scheme rstp:"),
        ("indi://localhost", "line 4: run.source: indi://localhost names no device"),
    ],
)
def test_check_judges_the_address_of_a_source_without_opening_it(file: Path, source: str, problem: str) -> None:
    file.write_text(f'# a night\n[run]\nthreads = 2\nsource = "{source}"\n')
    error = _refused(config.app, "check", file)
    assert problem in error.message
    assert str(file) in error.message
    assert error.mend
    file.write_text('[run]\nsource = "indi://nowhere.invalid/CCD?exposure=2"\n')
    assert CliRunner().invoke(config.app, ["check", str(file)]).stdout == f"{file}: sound\n"


def test_check_warns_of_settings_without_effect(file: Path) -> None:
    file.write_text("[sightings]\nsolve = true\n")
    words = "sightings.solve has no effect: what ASTAP solves is the stack (add --stack N, or leave it out)"
    result = CliRunner().invoke(config.app, ["check", str(file)])
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{file}: sound\n", f"{file}: {words}\n")
    document = json.loads(CliRunner().invoke(config.app, ["check", str(file), "--json"]).stdout)
    assert document == {"file": str(file), "sound": True, "warnings": [words]}


def test_a_flag_without_effect_is_refused_and_a_setting_of_the_file_is_not(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = "sim:frames=1,width=256,height=256"
    assert "--solve has no effect" in _refused(run.app, source, "--solve").message
    file.write_text("[sightings]\nsolve = true\n[watch]\nreopen_after = 60\n")
    result = CliRunner().invoke(run.app, [source, "--config", str(file)])
    assert result.exit_code == 0, result.output
    assert "sightings.solve has no effect" in caplog.text
    assert "watch.reopen_after has no effect" in caplog.text
    # A flag of the same name is one that somebody gave.
    assert "--reopen-after has no effect" in _refused(run.app, source, "--config", file, "--reopen-after", 5).message
