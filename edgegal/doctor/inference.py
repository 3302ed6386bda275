"""Which runtimes really infer: one process each, because a broken one may take its process with it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgegal.doctor.findings import Finding

__all__ = ["Attempt", "attempts_as_findings", "explain_death", "start_attempts"]

_TIMEOUT_S = 120

_NUMPY_1 = (
    "was built for numpy 1 and meets numpy 2",
    "pip install 'numpy>=1.26.4,<2', or use litert: pip install 'edgegal[tflite]'",
)


@dataclass(frozen=True)
class Attempt:
    """A running process that tries one runtime.

    Attributes
    ----------
    runtime
        Name of the runtime; the float reference ``keras`` is no part of the device path.
    process
        ``python -m edgegal.doctor.probe``.
    """

    runtime: str
    process: "subprocess.Popen[str]"


def start_attempts() -> tuple[list[Attempt], list[Finding]]:
    """Start one process per installed runtime; the second list says which are not installed."""
    try:
        from edgegal import runtimes
    except ImportError:
        return [], []  # numpy itself is broken, which the look at the software says

    installed = runtimes.installed()
    missing = [
        Finding("runtime", entry.name, "note", "not installed", f"if wanted: {entry.install}")
        for entry in runtimes.RUNTIMES.values()
        if entry not in installed
    ]
    return [_start(entry.name) for entry in installed], missing


def _start(runtime: str) -> Attempt:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgegal.doctor.probe", runtime],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    return Attempt(runtime, process)


def attempts_as_findings(attempts: Iterable[Attempt], timeout_s: float = _TIMEOUT_S) -> Iterator[Finding]:
    """What became of each attempt, in their order; a process still running after `timeout_s` is ended."""
    deadline = time.monotonic() + timeout_s
    for attempt in attempts:
        try:
            out, err = attempt.process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            attempt.process.kill()
            attempt.process.communicate()
            yield Finding(
                "runtime", attempt.runtime, "trouble", f"gave no answer in {timeout_s:.0f} s", "reinstall the runtime"
            )
            continue
        yield _finding(attempt.runtime, attempt.process.returncode, out, err)


def _finding(runtime: str, code: int, out: str, err: str) -> Finding:
    if code != 0:
        reason, mend = explain_death(code, err)
        return Finding("runtime", runtime, "trouble", reason, mend)
    answer = json.loads(out.splitlines()[-1])
    if "error" in answer:
        # numpy says on stderr what the runtime itself only fails of.
        reason, mend = _NUMPY_1 if _meets_numpy_2(err) else (answer["error"], answer["mend"])
        return Finding("runtime", runtime, "trouble", reason, mend)
    stages = "; ".join(f"{name} {s['variant']} {s['ms']:.1f} ms" for name, s in answer["stages"].items())
    return Finding("runtime", runtime, "fine", f"{answer['version']} infers on {answer['provider']}: {stages}")


def _meets_numpy_2(err: str) -> bool:
    return "_ARRAY_API" in err or "compiled using NumPy 1" in err


def explain_death(code: int, err: str) -> tuple[str, str]:
    """Why a process that tried a runtime died, and the mend.

    Parameters
    ----------
    code
        Its return code; negative for a signal, as `subprocess` gives it.
    err
        What it wrote to stderr.
    """
    if _meets_numpy_2(err):
        return _NUMPY_1
    last = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "no word")
    if code >= 0:
        return f"failed: {last}", "reinstall the runtime"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGILL":
        return (
            "crashed (SIGILL): its build needs instructions that this processor lacks",
            "use another runtime, or a build for this processor",
        )
    if name == "SIGKILL":
        return "was killed (SIGKILL): out of memory?", "close other programs, or add swap"
    return f"crashed ({name}): {last}", "reinstall the runtime, or use another"
