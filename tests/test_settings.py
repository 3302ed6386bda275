"""The settings file and the secrets that stay out of it."""

import contextlib
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.errors import InputError
from edgegal.runtimes import RUNTIMES
from edgegal.settings import (
    FrameSettings,
    KeepSettings,
    RunSettings,
    Settings,
    WebSettings,
    as_toml,
    flag_names,
    load,
    secret,
)

# What a path or name may hold: any text without the two characters no file name has.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1)

SETTINGS = st.builds(
    Settings,
    run=st.builds(
        RunSettings,
        source=st.none() | TEXT,
        bundle=TEXT,
        classifier=st.none() | TEXT,
        out=st.none() | TEXT.map(Path),
        runtime=st.none() | st.sampled_from(sorted(RUNTIMES)),
        precision=st.none() | st.sampled_from(["int8", "fp16", "fp32"]),
        threads=st.integers(1, 64),
        score=st.none() | st.floats(0, 1),
        abstain_below=st.none() | st.floats(0, 1),
        min_side=st.none() | st.floats(0, 1e4),
        limit=st.none() | st.integers(1, 10**6),
        web=st.booleans(),
    ),
    frames=st.builds(
        FrameSettings,
        stack=st.integers(0, 100),
        dark=st.none() | TEXT.map(Path),
        flat=st.none() | TEXT.map(Path),
        judge=st.none() | st.booleans(),
    ),
    keep=st.builds(KeepSettings, days=st.none() | st.floats(0, 1000), free_mb=st.integers(0, 10**6)),
    web=st.builds(WebSettings, address=TEXT, names=st.lists(TEXT, max_size=3).map(tuple)),
)


def _written(folder: Path, text: str) -> Path:
    path = folder / "edgegal.toml"
    path.write_text(text, encoding="utf-8")
    return path


@given(SETTINGS)
def test_what_is_shown_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> None:
    assert load(_written(tmp_path_factory.getbasetemp(), as_toml(settings))) == settings


def test_an_empty_file_is_the_defaults_and_every_field_says_what_it_is(tmp_path: Path) -> None:
    assert load(_written(tmp_path, "")) == Settings()
    shown = as_toml(Settings())
    for name, section in Settings.model_fields.items():
        assert section.title
        assert f"[{name}]" in shown
        kind = type(getattr(Settings(), name))
        for key, field in kind.model_fields.items():
            assert field.title, key
            assert field.title in shown
            assert f"{key} = " in shown or f"# {key} is not set" in shown


def test_flags_have_names_of_their_own_and_make_settings() -> None:
    flags = [flag for names in flag_names().values() for flag in names.values()]
    assert len(flags) == len(set(flags))
    settings = Settings.of_flags({"source": "sim:", "stack": 9, "web_address": "[::1]:1", "as_json": True})
    assert (settings.run.source, settings.frames.stack, settings.web.address) == ("sim:", 9, "[::1]:1")
    assert Settings.of_flags(settings.as_flags()) == settings
    with pytest.raises(InputError, match="--keep-free-mb: "):
        Settings.of_flags({"keep_free_mb": -1})


@pytest.mark.parametrize(
    ("text", "message", "mend"),
    [
        ("[run]\nbundle = 'b'\n\nthread = 2\n", "line 4: unknown setting run.thread", "did you mean threads?"),
        ("[run]\nzzz = 2\n", "line 2: unknown setting run.zzz", "source, bundle, classifier, out, runtime"),
        ("\n[rnu]\nthreads = 2\n", "line 2: unknown setting rnu", "did you mean run?"),
        ("[frames]\nstacks = 2\n", "line 2: unknown setting frames.stacks", "did you mean stack?"),
        ("[mqtt]\n\nbroker = 1\n", "line 3: mqtt.broker: ", ""),
        ("# x\n[run]\nthreads = 0\n", "line 3: run.threads: ", ""),
        ("run.score = 1.5", "line 1: run.score: ", ""),
        ("run = { threads = 1, limit = 'many' }", "line 1: run.limit: ", ""),
        ("[run]\nruntime = 'fastest'\n", "line 2: run.runtime: unknown runtime 'fastest', use one of: litert", ""),
        ("[run]\nprecision = 'int4'\n", "line 2: run.precision: ", ""),
        ("[run]\nthreads = \n", "is not TOML", ""),
        ("[run]\nthreads = 1\nthreads = 2\n", "is not TOML", ""),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_line_and_setting(
    tmp_path: Path, text: str, message: str, mend: str
) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert mend in caught.value.mend
    assert caught.value.mend
    assert "\n" not in caught.value.message


def test_the_line_is_that_of_the_right_section(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 4: unknown setting other"):
        load(_written(tmp_path, "[run]\nthreads = 2\n\n[other]\nthreads = 0\n"))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no settings file"):
        load(tmp_path / "none.toml")
    (tmp_path / "picture.toml").write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="not a text file") as caught:
        load(tmp_path / "picture.toml")
    assert caught.value.mend
    with pytest.raises(InputError, match="cannot be read: Is a directory") as caught:
        load(tmp_path)
    assert caught.value.mend


@given(st.text(string.printable, max_size=60))
def test_any_text_is_settings_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = _written(tmp_path_factory.getbasetemp(), f"[run]\n{text}")
    with contextlib.suppress(InputError):
        assert isinstance(load(path).run.threads, int)


def test_a_secret_comes_from_credentials_then_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert secret("mqtt-password") is None
    monkeypatch.setenv("EDGEGAL_MQTT_PASSWORD", "from the environment")
    assert secret("mqtt-password") == "from the environment"
    (tmp_path / "mqtt-password").write_text(" from a file \n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret("mqtt-password") == " from a file "
