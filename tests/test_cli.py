"""The command line as a person meets it: real processes, exit codes, one clear line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgegal import __version__
from edgegal.cli import VERBS


def edgegal(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegal", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_version_is_printed(tmp_path: Path) -> None:
    done = edgegal("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"edgegal {__version__}\n")


def test_help_names_every_verb(tmp_path: Path) -> None:
    done = edgegal("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert [verb for verb in VERBS if verb not in done.stdout] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, tmp_path: Path) -> None:
    done = edgegal(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of bad input."""
    (tmp_path / "text.fits").write_text("no frame at all\n")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["no-such-verb"], 2),
        (["run"], 2),
        (["run", "absent.fits", "--out", "out"], 2),
        (["run", "text.fits", "--out", "out"], 2),
        (["run", "cut.jpg", "--out", "out"], 2),
        (["run", "sim:", "--bundle", "absent", "--out", "out"], 2),
        (["run", "sim:", "--bundle", "empty", "--out", "out"], 2),
        (["run", "sim:", "--runtime", "abacus", "--out", "out"], 2),
        (["bundle", "info", "absent"], 2),
        (["bundle", "verify", "text.fits"], 2),
        (["flash", "--boot", "empty", "--hostname", "scope", "--user", "me", "--ssh-key", "k.pub"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_bad_input_gets_one_clear_line_and_leaves_nothing(words: list[str], code: int, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = edgegal(*words, cwd=folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before


def test_an_error_shows_its_traceback_when_asked(folder: Path) -> None:
    done = edgegal("bundle", "info", "absent", cwd=folder, EDGEGAL_DEBUG="1")
    assert "Traceback" in done.stderr
