"""Settings: one TOML file with typed sections, and where secrets come from.

Every field has a title and a default, so a file names only what differs and `edgegal config show` prints the rest.
Flags of the command line override the file. Relative paths are relative to the working directory, as in flags.
"""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgegal.bundle.manifest import Precision
from edgegal.errors import InputError
from edgegal.runtimes import RUNTIMES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = ["RunSettings", "Settings", "as_toml", "load", "secret"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSettings(_Section):
    """What `edgegal run` does; a field is the flag of the same name."""

    source: str | None = Field(
        default=None, title="Picture, FITS file, video, folder of these, or sim: for a simulated night"
    )
    bundle: str = Field(default="galaxies", title="Bundle folder, .edgegal file, or the name of a shipped bundle")
    classifier: str | None = Field(
        default=None, title="Bundle to take the classifier from; the same as the detector when not set"
    )
    out: Path | None = Field(default=None, title="Folder for annotated pictures and sightings.jsonl")
    runtime: str | None = Field(default=None, title="Runtime; the best installed one when not set")
    precision: Precision | None = Field(default=None, title="Precision; the smallest in the bundle when not set")
    threads: int = Field(default=1, ge=1, title="Threads for inference")
    score: float | None = Field(default=None, ge=0, le=1, title="Least detection score; the bundle's own when not set")
    abstain_below: float | None = Field(
        default=None,
        ge=0,
        le=1,
        title="Highest probability below which a galaxy is called uncertain; the bundle's own when not set",
    )
    min_side: float | None = Field(
        default=None,
        ge=0,
        title="Longer side of a box, in pixels, below which it is too small to tell; the bundle's own when not set",
    )
    stack: int = Field(default=0, ge=0, title="Stack up to so many registered frames; 0 for none")
    dark: Path | None = Field(default=None, title="Master dark, or a folder of darks, to subtract")
    flat: Path | None = Field(default=None, title="Master flat, or a folder of flats, to divide by")
    limit: int | None = Field(default=None, ge=1, title="Stop after so many frames")
    web: bool = Field(default=False, title="Show the run on a page for a browser")
    web_address: str = Field(default="127.0.0.1:8780", title="HOST:PORT of that page, on this computer only")

    @field_validator("runtime")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in RUNTIMES:
            raise ValueError(f"unknown runtime {name!r}, use one of: {', '.join(RUNTIMES)}")
        return name


class Settings(_Section):
    """The whole file."""

    run: RunSettings = Field(default=RunSettings(), title="edgegal run")


def load(path: Path) -> Settings:
    """Read a settings file.

    Raises
    ------
    InputError
        The file is missing, is not TOML, or holds an unknown key or an unfit value; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no settings file {path}", "write one: edgegal config show > FILE") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8: {error.reason}") from None
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where, line = first["loc"], _line_of(text, first["loc"])
        place = f"{path}, line {line}" if line else str(path)
        name = ".".join(str(part) for part in where)
        if first["type"] == "extra_forbidden":
            raise InputError(f"{place}: unknown setting {name}", _nearest(where)) from None
        raise InputError(f"{place}: {name}: {first['msg'].removeprefix('Value error, ')}") from None


def _nearest(where: tuple[int | str, ...]) -> str:
    """What an unknown name may have meant, and the names there are."""
    section: Any = Settings
    for part in where[:-1]:
        section = section.model_fields[part].annotation
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(where[-1]), known, n=1)
    return f"did you mean {close[0]}?" if close else f"use one of: {', '.join(known)}"


def _line_of(text: str, where: tuple[int | str, ...]) -> int | None:
    """Line, from 1, that sets a key, or else opens its section; TOML readers do not tell."""
    section, opened = "", None
    wanted = ".".join(str(part) for part in where)
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            section = re.sub(r"[\s\"']", "", header[1])
            if section == wanted:
                return number
            if wanted.startswith(f"{section}."):
                opened = number
        elif key := re.match(r"\s*([\w.\"' -]+?)\s*=", line):
            name = re.sub(r"[\s\"']", "", key[1])
            full = f"{section}.{name}" if section else name
            if full == wanted or wanted.startswith(f"{full}."):
                return number
    return opened


def as_toml(settings: Settings) -> str:
    """The settings as a file that `load` reads back: every field with its title; those not set as comments."""
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: Settings) -> Iterator[str]:
    for number, (name, info) in enumerate(Settings.model_fields.items()):
        section: _Section = getattr(settings, name)
        if number:
            yield ""
        yield f"# {info.title}"
        yield f"[{name}]"
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            yield f"# {field.title}"
            yield f"# {key} is not set" if value is None else f"{key} = {_value(value)}"


def _value(value: str | Path | int | float) -> str:
    if isinstance(value, str | Path):
        # A JSON string is a TOML string but for this one character.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    # Numbers and true and false are written as in JSON.
    return json.dumps(value)


def secret(name: str) -> str | None:
    """A password or key; never from the settings file, which people show each other.

    Parameters
    ----------
    name
        Such as ``mqtt-password``: read from the file of that name in ``CREDENTIALS_DIRECTORY`` (systemd's
        LoadCredential), else from the environment, here ``EDGEGAL_MQTT_PASSWORD``.

    Returns
    -------
    str or None
        Without the line break at its end; None when neither has it.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (path := Path(folder) / name).is_file():
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    return os.environ.get("EDGEGAL_" + name.upper().replace("-", "_"))
