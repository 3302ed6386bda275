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
