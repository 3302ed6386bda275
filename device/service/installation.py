"""Installing and removing the service: what is checked, what is written, and in which order."""

import grp
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

import edgegal
from edgegal import settings
from edgegal.device.service.identity import runner_of
from edgegal.device.service.systemd import Systemd
from edgegal.device.service.unit import ServiceUnit, command_line, unit_text
from edgegal.errors import InputError

__all__ = ["Place", "Plan", "install", "make_plan", "place_of", "require_installed", "uninstall"]

_MARK = "Written by edgegal service install."
_SECRETS = ("mqtt-password", "web-password")
# Who may use cameras; a unit that names a group which is not there does not start.
_GROUPS = ("video", "plugdev", "render")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_NIGHT = "night"


@dataclass(frozen=True)
class Place:
    """Where a service's files are.

    Attributes
    ----------
    service
        Its name to systemd.
    unit
        Its unit file.
    config
        Where its settings are looked for when no other file is given.
    data
        Folder of what it writes.
    personal
        Whether it is run by the user's own service manager.
    """

    service: str
    unit: Path
    config: Path
    data: Path
    personal: bool


@dataclass(frozen=True)
class Plan:
    """What to write.

    Attributes
    ----------
    place
        Where.
    text
        Of the unit file.
    user
        Who will run it, for people.
    changed
        Whether the file there is another one, or absent.
    """

    place: Place
    text: str
    user: str
    changed: bool


def place_of(name: str = "edgegal", personal: bool = False) -> Place:
    """Where the files of a service are; any name but ``edgegal`` gets ``edgegal-`` before it.

    Raises
    ------
    InputError
        The name is none for a unit.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name for a service", "use letters a-z, digits and hyphens")
    full = name if name == "edgegal" else f"edgegal-{name.removeprefix('edgegal-')}"
    service = f"{full}.service"
    if not personal:
        system = Path("/etc/systemd/system") / service
        return Place(service, system, Path(f"/etc/edgegal/{full}.toml"), Path(f"/var/lib/{full}"), False)
    config = _own_folder("XDG_CONFIG_HOME", ".config")
    data = _own_folder("XDG_DATA_HOME", ".local/share") / full
    return Place(service, config / "systemd/user" / service, config / f"edgegal/{full}.toml", data, True)


def _own_folder(variable: str, usual: str) -> Path:
    # Of the freedesktop.org base directory specification: what is not absolute is to be ignored.
    said = Path(os.environ.get(variable, ""))
    return said if said.is_absolute() else Path.home() / usual


def make_plan(place: Place, config: Path | None = None) -> Plan:
    """What installing would write.

    Parameters
    ----------
    place
        Where.
    config
        Settings file; the place's own when None.

    Raises
    ------
    InputError
        The settings are not sound, leave open what to watch, or say what a service cannot do; or the file there was
        written by someone else.
    """
    file = _settings_file(place, config)
    chosen = settings.load(file)
    source = chosen.run.source
    if not source:
        raise InputError(f"{file} does not say what to watch", 'in its section [run]: source = "..."')
    _refuse_relative(file, chosen, source)
    words = [sys.executable, "-I", "-m", "edgegal", "run", "--config", str(file)]
    if chosen.run.out is None:
        words += ["--out", _NIGHT]
    outside = _outside(place, chosen.run.out)
    read = [Path(sys.executable), Path(edgegal.__file__).parent, file, *_named_files(chosen, source)]
    user = None if place.personal else runner_of(read, outside)
    unit = ServiceUnit(
        # Isolated: modules are not looked for in the folder that the run writes to.
        command=command_line(*words),
        state=str(place.data) if place.personal else place.data.name,
        mark=_MARK,
        user=user,
        personal=place.personal,
        groups=tuple(name for name in _GROUPS if _is_group(name)),
        writable=outside,
        credentials={name: path for name in _SECRETS if (path := file.parent / "credentials" / name).is_file()},
    )
    text = unit_text(unit)
    runner = "you" if place.personal else f"the user {user}" if user else "a user of its own"
    return Plan(place, text, runner, _present(place) != text)


def install(plan: Plan, systemd: Systemd) -> bool:
    """Write the unit, enable it and start it; whether anything was to be done.

    Raises
    ------
    InputError
        It cannot be written, or the service does not start.
    MissingPartError
        There is no systemd here.
    """
    systemd.require()
    _require_rights(plan.place)
    service = plan.place.service
    if not plan.changed and (state := systemd.show(service)).active == "active" and state.enabled:
        return False
    if plan.place.personal:
        plan.place.data.mkdir(parents=True, exist_ok=True)
    _write(plan.place.unit, plan.text)
    systemd.control("daemon-reload")
    systemd.control("enable", service)
    systemd.forget_failures(service)
    try:
        systemd.control("restart", service)
    except InputError as error:
        state = systemd.show(service)
        said = " ".join(line.strip() for line in systemd.last_words(service, 2))
        reason = f"{state.result}, exit code {state.exit_code}" if state.exit_code is not None else state.result
        raise InputError(
            f"{service} is installed but does not start: {reason}{': ' if said else ''}{said}",
            "see edgegal service logs, mend it, and install again",
        ) from error
    return True


def uninstall(place: Place, systemd: Systemd) -> bool:
    """Stop the service and remove its unit; whether there was one. Data and settings stay.

    Raises
    ------
    InputError
        The unit was written by someone else, or may not be removed.
    MissingPartError
        There is no systemd here.
    """
    systemd.require()
    if _present(place) is None:
        return False
    _require_rights(place)
    systemd.control("disable", "--now", place.service)
    systemd.forget_failures(place.service)
    place.unit.unlink()
    systemd.control("daemon-reload")
    return True


def require_installed(place: Place) -> None:
    """Make sure that there is a unit, by whomever.

    Raises
    ------
    InputError
        There is none.
    """
    if not place.unit.exists():
        option = " --user" if place.personal else ""
        raise InputError(f"{place.service} is not installed", f"edgegal service install{option}")


def _settings_file(place: Place, config: Path | None) -> Path:
    file = (config or place.config).absolute()
    if config is None and not file.exists():
        raise InputError(
            f"there are no settings {file}", f"write them there (edgegal config show > {file}), or give --config FILE"
        )
    return file


def _refuse_relative(file: Path, chosen: settings.Settings, source: str) -> None:
    """A service starts in a folder of its own, where no other file is."""
    relative = [(name, str(path)) for name, path in _paths(chosen) if name != "run.out" and not path.is_absolute()]
    if ":" not in source and not Path(source).is_absolute():
        relative.append(("run.source", source))
    if relative:
        name, value = relative[0]
        raise InputError(f"{file}: {name} = {value!r} is relative to a folder", "write the whole path, from / on")


def _paths(section: BaseModel, before: str = "") -> Iterator[tuple[str, Path]]:
    """All paths among the settings, with the names of their fields."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _paths(value, f"{before}{name}.")
        elif isinstance(value, Path):
            yield f"{before}{name}", value


def _named_files(chosen: settings.Settings, source: str) -> list[Path]:
    """What the settings name that is there and will be read."""
    named = [path for name, path in _paths(chosen) if name != "run.out"]
    named += [Path(bundle) for bundle in (chosen.run.bundle, chosen.run.classifier) if bundle]
    named.append(Path(re.sub(r"^(watch|ser):|\?.*$", "", source)))
    return [path for path in named if path.is_absolute() and path.exists()]


def _outside(place: Place, out: Path | None) -> tuple[Path, ...]:
    """The output folder, where it is not in the service's own."""
    if out is None or not out.is_absolute() or out.is_relative_to(place.data):
        return ()
    return (out,)


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _present(place: Place) -> str | None:
    """The unit that is there; None when there is none."""
    try:
        text = place.unit.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if not text.startswith(f"# {_MARK}"):
        raise InputError(
            f"{place.unit} was not written by edgegal service install, and stays",
            f"give another --name, or remove it: sudo systemctl disable --now {place.service}; sudo rm {place.unit}",
        )
    return text


def _require_rights(place: Place) -> None:
    if not place.personal and os.geteuid() != 0:
        raise InputError(
            "a service of the system is for root to change",
            f"sudo {sys.executable} -m edgegal service ..., or --user for a service of your own",
        )


def _write(unit: Path, text: str) -> None:
    unit.parent.mkdir(parents=True, exist_ok=True)
    temporary = unit.with_name(f".{unit.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(unit)
    finally:
        temporary.unlink(missing_ok=True)
