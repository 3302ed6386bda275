"""Programs that are asked now and then, and may hang in a driver where no signal reaches them."""

import contextlib
import os
import shutil
import signal
import subprocess

from edgegal.device.health.reading import Reading

__all__ = ["Command"]

# What a signal can end is gone by then.
_ENDING_S = 1.0


class Command:
    """A program and its arguments, asked again and again.

    One that does not answer is killed, and hardly waited for. While it is still there, no second one is started: a
    firmware that hangs would otherwise collect a process a minute.

    Parameters
    ----------
    name, arguments
        As on a shell's line.
    patience_s
        How long an answer may take.
    """

    def __init__(self, name: str, *arguments: str, patience_s: float = 5.0) -> None:
        self._name = name
        self._arguments = arguments
        self._patience_s = patience_s
        self._hung: subprocess.Popen[str] | None = None

    def __str__(self) -> str:
        return " ".join((self._name, *self._arguments))

    def ask(self) -> Reading[str]:
        """What the program prints, or why it says nothing."""
        if self._hung is not None and self._hung.poll() is None:
            return Reading(None, f"{self} hangs")
        self._hung = None
        program = shutil.which(self._name)
        if program is None:
            return Reading(None, f"{self._name} is not installed")
        try:
            process = subprocess.Popen(
                [program, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # A group of its own, so that its children can be ended with it, and Ctrl-C does not reach it.
                start_new_session=True,
            )
        except OSError as error:
            return Reading(None, f"{self}: {error.strerror or error}")
        return self._answer(process)

    def _answer(self, process: subprocess.Popen[str]) -> Reading[str]:
        try:
            said, _ = process.communicate(timeout=self._patience_s)
        except subprocess.TimeoutExpired:
            self._leave(process)
            return Reading(None, f"{self} did not answer within {self._patience_s:g} s")
        if process.returncode != 0:
            lines = said.strip().splitlines()
            return Reading(None, f"{self} failed ({process.returncode}): {lines[-1] if lines else 'it says nothing'}")
        return Reading(said.strip())

    def _leave(self, process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._hung = process
