"""Talking to systemd through its own programs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgegal.errors import InputError, MissingPartError

__all__ = ["ServiceState", "Systemd", "parse_properties"]

# Stopping may take the 10 s of the unit and starting its 120 s.
_PATIENCE_S = 180.0


@dataclass(frozen=True)
class ServiceState:
    """How a service is doing.

    Attributes
    ----------
    active
        ``active``, ``activating``, ``inactive``, ``failed`` ...
    enabled
        Whether it starts with the computer.
    since
        When it came into this state, in UTC; None when it never ran.
    result
        ``success``, or why it ended: ``exit-code``, ``watchdog``, ``oom-kill`` ...
    exit_code
        Of its last end; None while it runs and before its first end.
    restarts
        How often it was started anew by itself.
    status
        The line that the run itself gives.
    process
        Process number; None when it does not run.
    memory_bytes
        What it holds; None when it does not run or this is not counted here.
    """

    active: str
    enabled: bool
    since: datetime | None
    result: str
    exit_code: int | None
    restarts: int
    status: str
    process: int | None
    memory_bytes: int | None

    @property
    def running(self) -> bool:
        """Whether it runs, or is about to."""
        return self.active in ("active", "activating", "reloading")

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "since": self.since.isoformat() if self.since else None}


_PROPERTIES = (
    *("ActiveState", "UnitFileState", "StateChangeTimestamp", "Result", "ExecMainCode", "ExecMainStatus"),
    *("NRestarts", "StatusText", "MainPID", "MemoryCurrent"),
)


class Systemd:
    """The service manager of the system, or of the user who asks.

    Parameters
    ----------
    personal
        Whether it is the user's own.
    """

    def __init__(self, personal: bool = False) -> None:
        self.personal = personal

    def require(self) -> None:
        """Make sure that systemd runs here.

        Raises
        ------
        MissingPartError
            It does not, or its programs are absent.
        """
        # The test of sd_booted(3).
        if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
            raise MissingPartError(
                "systemd does not run on this computer",
                "start this by your own service manager: edgegal run --config FILE; "
                "edgegal service install --dry-run shows what it should allow",
            )

    def control(self, *words: str) -> None:
        """Run ``systemctl`` with these words.

        Raises
        ------
        InputError
            It failed; the message is its last line.
        """
        done = self._run("systemctl", *words)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise InputError(f"systemctl {' '.join(words)}: {lines[0]}", self._mend(done.stderr))

    def forget_failures(self, service: str) -> None:
        """Let a service start again that failed too often of late."""
        # It fails for a unit that systemd has not looked at yet, which has no failures.
        self._run("systemctl", "reset-failed", service)

    def show(self, service: str) -> ServiceState:
        """How a service is doing."""
        done = self._run(
            "systemctl", "show", "--timestamp=unix", *(f"--property={name}" for name in _PROPERTIES), service
        )
        if done.returncode != 0:
            raise InputError(f"systemctl show {service}: {done.stderr.strip()}", self._mend(done.stderr))
        return parse_properties(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))

    def last_lines(self, service: str, count: int) -> tuple[str, ...]:
        """The newest lines of a service's log, with their times; none where the log may not be read."""
        return self._lines(self.journal(service, "--lines", str(count), "--output", "short-iso", "--quiet"))

    def last_words(self, service: str, count: int) -> tuple[str, ...]:
        """The newest lines that the service itself said; none where the log may not be read."""
        field = f"_SYSTEMD_{'USER_' if self.personal else ''}UNIT={service}"
        return self._lines(["journalctl", field, "--no-pager", "--lines", str(count), "--output", "cat", "--quiet"])

    def _lines(self, words: list[str]) -> tuple[str, ...]:
        done = self._run(*words)
        return tuple(done.stdout.splitlines()) if done.returncode == 0 else ()

    def journal(self, service: str, *options: str) -> list[str]:
        """Words that show a service's log."""
        unit = ("--user", "--user-unit") if self.personal else ("--unit",)
        return ["journalctl", *unit, service, "--no-pager", *options]

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [program, *(("--user",) if self.personal and program == "systemctl" else ()), *words]
        try:
            return subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
                check=False,
                # Messages are read, and shown with ours.
                env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
            )
        except FileNotFoundError:
            raise MissingPartError(f"{program} is not installed", "sudo apt install systemd") from None
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{' '.join(command)} did not end within {_PATIENCE_S:g} s",
                "see what it waits for: systemctl list-jobs",
            ) from None

    def _mend(self, said: str) -> str:
        if "authentication" in said or "Access denied" in said or "Permission denied" in said:
            return "be root: sudo"
        if self.personal and "bus" in said:
            return "log in as that user itself, not by su or sudo, or: export XDG_RUNTIME_DIR=/run/user/$(id -u)"
        return ""


def parse_properties(found: Mapping[str, str]) -> ServiceState:
    """What ``systemctl show`` gives, with time stamps as ``@SECONDS``."""
    active = found.get("ActiveState", "unknown")
    since = found.get("StateChangeTimestamp", "").removeprefix("@")
    ended = found.get("ExecMainCode", "0") != "0"
    memory = found.get("MemoryCurrent", "")
    return ServiceState(
        active=active,
        enabled=found.get("UnitFileState") == "enabled",
        since=datetime.fromtimestamp(int(since), timezone.utc) if since.isdecimal() else None,
        result=found.get("Result", ""),
        exit_code=int(found.get("ExecMainStatus") or 0) if ended else None,
        restarts=int(found.get("NRestarts") or 0),
        status=found.get("StatusText", ""),
        process=int(found.get("MainPID") or 0) or None,
        # A counter that is off gives the largest number.
        memory_bytes=int(memory) if memory.isdecimal() and int(memory) < 2**63 else None,
    )
