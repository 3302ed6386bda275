"""A Raspberry Pi boot partition: whether a folder is one, and which first-boot mechanism its image supports."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias

from edgegal.errors import InputError

__all__ = ["BootPartition", "Mechanism", "inspect", "kernel_command_line", "known_mechanism"]

Mechanism: TypeAlias = Literal["firstrun", "cloud-init"]
"""``firstrun``: systemd runs a script named on the kernel's command line. ``cloud-init``: NoCloud files are read."""

# Raspberry Pi OS images up to this date run firstrun.sh, later ones cloud-init.
_LAST_FIRSTRUN = date(2025, 10, 1)
_FIRMWARE = ("kernel*.img", "start*.elf", "bcm2*.dtb", "vmlinuz*")
_CLOUD_INIT_FILES = ("user-data", "meta-data", "network-config")

# What either mechanism, of whichever tool, leaves on the kernel's command line, and the radio's country.
_ADDED = re.compile(r"(systemd\.run(_success_action)?|systemd\.unit|ds|cfg80211\.ieee80211_regdom)=.*")


@dataclass(frozen=True)
class BootPartition:
    """A folder where a boot partition is mounted.

    Attributes
    ----------
    folder
        The mount point.
    mechanism
        What its image does at first boot.
    reason
        What in the folder says so.
    """

    folder: Path
    mechanism: Mechanism
    reason: str


def known_mechanism(name: str | None) -> Mechanism | None:
    """The mechanism called `name`; `InputError` when there is none of that name."""
    if name is None:
        return None
    if name == "firstrun":
        return "firstrun"
    if name == "cloud-init":
        return "cloud-init"
    raise InputError(f"unknown first-boot mechanism {name!r}", "use one of: firstrun, cloud-init")


def inspect(folder: Path, mechanism: Mechanism | None = None) -> BootPartition:
    """Look at a folder.

    Parameters
    ----------
    folder
        Where the first partition of a freshly written card is mounted.
    mechanism
        Use this one, whatever the folder says.

    Raises
    ------
    InputError
        It is no Raspberry Pi boot partition, or does not show which mechanism its image supports.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}", "mount the card's first partition, named bootfs")
    missing = [name for name in ("config.txt", "cmdline.txt") if not (folder / name).is_file()]
    if missing or not any(any(folder.glob(pattern)) for pattern in _FIRMWARE):
        what = f"it has no {' and no '.join(missing)}" if missing else "it has no kernel and no firmware"
        raise InputError(f"{folder} is not a Raspberry Pi boot partition: {what}", "mount the card's first partition")
    if mechanism is not None:
        return BootPartition(folder, mechanism, "asked for")
    return BootPartition(folder, *_mechanism(folder))


def _mechanism(folder: Path) -> tuple[Mechanism, str]:
    present = [name for name in _CLOUD_INIT_FILES if (folder / name).exists()]
    if present:
        return "cloud-init", f"the image carries {', '.join(present)}"
    if "ds=nocloud" in (folder / "cmdline.txt").read_text(errors="replace"):
        return "cloud-init", "cmdline.txt names a cloud-init data source"
    issue = folder / "issue.txt"
    said = re.search(r"\b(20\d\d)-(\d\d)-(\d\d)\b", issue.read_text(errors="replace")) if issue.is_file() else None
    if said is None:
        raise InputError(
            f"{folder} does not show what its image does at first boot: no cloud-init files, no dated issue.txt",
            "say --mechanism firstrun (images up to 2025-10-01) or --mechanism cloud-init (later ones)",
        )
    try:
        made = date(*map(int, said.groups()))
    except ValueError:
        raise InputError(f"{issue}: {said.group()} is no date", "say --mechanism firstrun or cloud-init") from None
    return ("cloud-init" if made > _LAST_FIRSTRUN else "firstrun"), f"issue.txt is of {made}"


def kernel_command_line(line: str, mechanism: Mechanism, instance: str, country: str | None) -> str:
    """The kernel's command line that starts the first-boot mechanism: one line, whatever an earlier run added replaced.

    Parameters
    ----------
    line
        Contents of ``cmdline.txt``.
    mechanism
        What to start.
    instance
        Identity of this payload; cloud-init acts when it has not seen it before.
    country
        Where the radio is used; None without Wi-Fi.
    """
    words = [word for word in line.split() if not _ADDED.fullmatch(word)]
    if country is not None:
        words.append(f"cfg80211.ieee80211_regdom={country}")
    if mechanism == "firstrun":
        words += [
            "systemd.run=/boot/firstrun.sh",
            "systemd.run_success_action=reboot",
            "systemd.unit=kernel-command-line.target",
        ]
    else:
        words.append(f"ds=nocloud;i={instance}")
    return " ".join(words) + "\n"
