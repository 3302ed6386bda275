"""Settings: one TOML file with typed sections, and where secrets come from.

Every field has a title and a default, so a file names only what differs and `edgegal config show` prints the rest.
A field is the flag of `edgegal run` of the same name, in some sections with the section's name before it; flags
override the file. Relative paths are relative to the working directory, as in flags.
"""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import Self

from edgegal.bundle.manifest import Precision
from edgegal.errors import InputError
from edgegal.runtimes import RUNTIMES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = [
    "FrameSettings",
    "KeepSettings",
    "MqttSettings",
    "RunSettings",
    "Settings",
    "SightingSettings",
    "WatchSettings",
    "WebSettings",
    "as_toml",
    "flag_names",
    "load",
    "located",
    "secret",
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: ClassVar[str] = ""
    """What the flags of the section begin with."""


class RunSettings(_Section):
    """Frames in, sightings out."""

    source: str | None = Field(
        default=None, title="Picture, FITS file, video, folder of these, address of a camera, or sim: for a simulation"
    )
    bundle: str = Field(default="galaxies", title="Bundle folder, .edgegal file, or the name of a shipped bundle")
    classifier: str | None = Field(
        default=None, title="Bundle to take the classifier from; the same as the detector when not set"
    )
    out: Path | None = Field(default=None, title="Folder for the log, the database and pictures of sightings")
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
    limit: int | None = Field(default=None, ge=1, title="Stop after so many frames")
    web: bool = Field(default=False, title="Show the run on a page for a browser")

    @field_validator("runtime")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in RUNTIMES:
            raise ValueError(f"unknown runtime {name!r}, use one of: {', '.join(RUNTIMES)}")
        return name


class FrameSettings(_Section):
    """What is done to frames before anybody looks for galaxies."""

    bias: Path | None = Field(default=None, title="Master bias, or a folder of them: the dark is scaled in time then")
    dark: Path | None = Field(default=None, title="Master dark, or a folder of darks, to subtract")
    flat: Path | None = Field(default=None, title="Master flat, or a folder of flats, to divide by")
    hot_pixels: bool = Field(default=True, title="Mend hot pixels of raw frames")
    judge: bool | None = Field(
        default=None, title="Leave out clouded, blurred and trailed frames; when not set, where frames are stacked"
    )
    stack: int = Field(
        default=0, ge=0, title="Stack so many registered frames, older ones fade; 0 for none, 65535 for all of a night"
    )
    level_sky: bool = Field(
        default=False, title="Subtract gradients of moon and town from linear frames; files of stacks keep them"
    )


class SightingSettings(_Section):
    """What is said of galaxies."""

    agree: int = Field(default=1, ge=1, title="Frames that must agree before a class is told")
    catalogue: Path | None = Field(default=None, title="OpenNGC's NGC.csv, to name galaxies by their place")
    solve: bool = Field(default=False, title="Find out where the stack looks with ASTAP, where headers do not say")


class KeepSettings(_Section):
    """What is kept in the output folder."""

    prefix: ClassVar[str] = "keep_"

    pictures_every: float | None = Field(
        default=None,
        ge=0,
        title="Seconds from one annotated picture to the next, 0 for each frame; when not set, 60 of a camera, else 0",
    )
    news_every: float | None = Field(
        default=None,
        ge=0,
        title="The same for frames that show a new sighting; when not set, as pictures_every, or 10 of a camera",
    )
    stacks_every: float = Field(default=600.0, ge=1, title="Seconds from one FITS file of the stack to the next")
    crops_below: float = Field(
        default=0.7,
        ge=0,
        le=1,
        title="Keep pictures of galaxies whose class is less probable, for training; 0 for none",
    )
    days: float | None = Field(default=None, ge=0, title="Remove pictures older than so many days; never when not set")
    free_mb: int = Field(default=500, ge=0, title="Remove pictures, empty and old ones first, to keep so many MB free")


class MqttSettings(_Section):
    """Messages to a broker; its password is the secret mqtt-password."""

    prefix: ClassVar[str] = "mqtt_"

    broker: str | None = Field(
        default=None, title="Broker to tell: mqtt://[USER@]HOST[:PORT][/PREFIX], mqtts:// for TLS"
    )
    authority: Path | None = Field(
        default=None, title="Certificate of the broker's authority; the system's when not set"
    )
    home_assistant: str = Field(
        default="homeassistant", title="Topic where Home Assistant looks; empty to leave it out"
    )


class WebSettings(_Section):
    """The page; its password is the secret web-password."""

    prefix: ClassVar[str] = "web_"

    address: str = Field(
        default="127.0.0.1:8780", title="IP:PORT of the page; 0.0.0.0:8780 for all on the network, with a password"
    )
    names: tuple[str, ...] = Field(default=(), title="Further names of this computer that the page answers to")


class WatchSettings(_Section):
    """When a part of the run counts as stuck."""

    wait: bool | None = Field(
        default=None, title="Wait for a camera that does not answer at the start; when not set, as a service"
    )
    stall_after: float = Field(
        default=10.0,
        ge=1,
        title="Seconds after which a stuck part is begun anew; thrice the longest step of a frame, if that is more",
    )
    reopen_after: float | None = Field(
        default=None,
        ge=1,
        title="Seconds without a frame after which a camera is opened anew, a folder never; its own time when not set",
    )


class Settings(_Section):
    """The whole file."""

    run: RunSettings = Field(default=RunSettings(), title="edgegal run: frames in, sightings out")
    frames: FrameSettings = Field(default=FrameSettings(), title="What is done to frames")
    sightings: SightingSettings = Field(default=SightingSettings(), title="What is said of galaxies")
    keep: KeepSettings = Field(default=KeepSettings(), title="What is kept in the output folder; flags --keep-...")
    mqtt: MqttSettings = Field(default=MqttSettings(), title="Messages to an MQTT broker; flags --mqtt-...")
    web: WebSettings = Field(default=WebSettings(), title="The page of edgegal run --web; flags --web-...")
    watch: WatchSettings = Field(default=WatchSettings(), title="When a part of a run counts as stuck")

    @classmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> Self:
        """Settings from values by the names of flags, with underscores; other names are passed over.

        Raises
        ------
        InputError
            A value is unfit; the message names the flag.
        """
        values = {
            section: {key: flags[flag] for key, flag in names.items() if flag in flags}
            for section, names in flag_names().items()
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            flag = flag_names()[str(first["loc"][0])][str(first["loc"][1])]
            said = f"--{flag.replace('_', '-')}: {first['msg'].removeprefix('Value error, ')}"
            raise InputError(said, "what it takes: edgegal run --help") from None

    def as_flags(self) -> dict[str, Any]:
        """The values that are set, as plain JSON values by the names of flags."""
        found = self.model_dump(mode="json", exclude_none=True)
        return {
            flag: found[section][key]
            for section, names in flag_names().items()
            for key, flag in names.items()
            if key in found[section]
        }


def flag_names() -> dict[str, dict[str, str]]:
    """The flag of each field, by section."""
    sections: dict[str, Any] = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: {key: kind.prefix + key for key in kind.model_fields} for name, kind in sections.items()}


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
        raise InputError(f"{path} is not a text file in UTF-8: {error.reason}", "save it as UTF-8") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}", "give a file that you may read"
        ) from error
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}", _TOML) from None
    except ValidationError as error:
        first = error.errors()[0]
        where, line = first["loc"], _line_of(text, first["loc"])
        place = f"{path}, line {line}" if line else str(path)
        name = ".".join(str(part) for part in where)
        if first["type"] == "extra_forbidden":
            raise InputError(f"{place}: unknown setting {name}", _nearest(where)) from None
        said = f"{place}: {name}: {first['msg'].removeprefix('Value error, ')}"
        raise InputError(said, "what it takes: edgegal run --help") from None


_TOML = "write [section] and name = value lines, texts in quotes, as edgegal config show does"


@contextmanager
def located(path: Path, *where: str) -> Iterator[None]:
    """Have an `InputError` about the value of a setting name the file and the line that sets it."""
    try:
        yield
    except InputError as error:
        line = _line_of(path.read_text(encoding="utf-8"), where)
        place = f"{path}, line {line}" if line else str(path)
        raise InputError(f"{place}: {'.'.join(where)}: {error.message}", error.mend) from error


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


def _value(value: str | Path | int | float | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_value(part) for part in value)}]"
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
