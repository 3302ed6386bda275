"""The unit that systemd runs edgegal by: the one text behind `edgegal service install` and `edgegal flash`.

Options: systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.resource-control(5), of version 247 or later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ServiceUnit", "command_line", "unit_text"]


@dataclass(frozen=True)
class ServiceUnit:
    """What differs between units.

    Attributes
    ----------
    command
        As systemd reads it; see `command_line`.
    state
        Folder for data and working directory: its name below ``/var/lib``, or its path for a service of a user.
    mark
        Comment of the first line, which says who wrote the unit.
    user
        Who runs it: a name; None for a user that systemd makes for it.
    personal
        Whether it is run by a user's own service manager, which may do less.
    groups
        Of devices, for a service of the system; each must exist where it runs.
    writable
        Folders outside `state` that it writes to.
    credentials
        Secrets by name, each in a file that only root reads.
    environment_file
        File of variables for `command`.
    condition
        Path without which it does not start.
    """

    command: str
    state: str
    mark: str
    user: str | None = None
    personal: bool = False
    groups: tuple[str, ...] = ()
    writable: tuple[Path, ...] = ()
    credentials: Mapping[str, Path] = field(default_factory=dict)
    environment_file: Path | None = None
    condition: Path | None = None


_HEAD = """\
# {mark}
[Unit]
Description=Galaxies seen by this telescope
Documentation=man:systemd.service(5)
# Not waited for being online: there may be no network at all, and sources come back by themselves.
After=network.target
StartLimitIntervalSec=60
StartLimitBurst=5
"""

_SERVICE = """\
[Service]
Type=notify
NotifyAccess=main
WatchdogSec=60
TimeoutStartSec=120
TimeoutStopSec=10
KillMode=mixed
# Stopped by SIGTERM, a run closes its files and says that it was interrupted.
SuccessExitStatus=130
Restart=on-failure
RestartSec=5
# Bad input and missing parts need a person, not another try.
RestartPreventExitStatus=2 3
MemoryMax=75%
UMask=0027
"""

# What a user's own service manager can enforce too: all by seccomp.
_CONFINED = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Netlink: libraries of cameras listen there for devices that come and go.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
# Reading the kernel's bound of the clock's error is two calls outside the set; setting it takes a capability.
SystemCallFilter=@system-service adjtimex clock_adjtime
SystemCallErrorNumber=EPERM
"""

# MemoryDenyWriteExecute is left out: OpenVINO writes its kernels at run time.
_SANDBOX = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
RemoveIPC=yes
KeyringMode=private
# Cameras of Video for Linux, libcamera and USB, and a Raspberry Pi's firmware, which knows of undervoltage. Serial
# ports are left to the drivers of mounts.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-usb_device rw
DeviceAllow=char-dma_heap rw
DeviceAllow=char-drm rw
DeviceAllow=/dev/vcio rw
"""


def unit_text(unit: ServiceUnit) -> str:
    """The unit's file."""
    lines = [_HEAD.format(mark=unit.mark).rstrip()]
    if unit.condition:
        lines.append(f"ConditionPathExists={_path(unit.condition)}")
    lines += ["", _SERVICE.rstrip()]
    if unit.environment_file:
        lines.append(f"EnvironmentFile={_path(unit.environment_file)}")
    lines.append(f"ExecStart={unit.command}")
    lines += [f"LoadCredential={name}:{_path(path)}" for name, path in sorted(unit.credentials.items())]
    lines += _personal(unit) if unit.personal else _system(unit)
    lines += ["", "[Install]", f"WantedBy={'default' if unit.personal else 'multi-user'}.target"]
    return "\n".join(lines) + "\n"


def _personal(unit: ServiceUnit) -> list[str]:
    # StateDirectory of a user's manager is in another place in every few versions of systemd.
    return [f"WorkingDirectory={_path(Path(unit.state))}", _CONFINED.rstrip()]


def _system(unit: ServiceUnit) -> list[str]:
    lines = [f"StateDirectory={unit.state}", f"WorkingDirectory=/var/lib/{unit.state}"]
    lines.append(f"User={unit.user}" if unit.user else "DynamicUser=yes")
    if unit.groups:
        lines.append(f"SupplementaryGroups={' '.join(unit.groups)}")
    lines += [f"ReadWritePaths={_quoted(str(path))}" for path in unit.writable]
    return [*lines, _CONFINED.rstrip(), _SANDBOX.rstrip()]


def command_line(*words: str) -> str:
    """Words as ``ExecStart=`` reads them back: quoted where needed, without expansion of ``%`` and ``$``."""
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@")


def _quoted(word: str) -> str:
    word = word.replace("%", "%%")
    if word and set(word) <= _PLAIN | {"%"}:
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _path(path: Path) -> str:
    """A path where systemd takes the rest of the line as it stands, but for ``%``."""
    return str(path).replace("%", "%%")
