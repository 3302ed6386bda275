"""`edgegal run --web` from the outside, in a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "EDGEGAL_WEB_PASSWORD"}
_ENVIRONMENT["OMP_NUM_THREADS"] = "1"
_RUN = "from edgegal.cli import main; import sys; main(['run', *sys.argv[1:]])"
_BARE = f"import sys; sys.modules['fastapi'] = None; {_RUN}"


def run(*words: object, cwd: Path, program: str = _RUN) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def test_a_page_that_others_could_open_without_a_password_is_refused(tmp_path: Path) -> None:
    done = run("sim:", "--web", "--web-address", "0.0.0.0:8780", cwd=tmp_path)
    assert done.returncode == 2
    complaint, mend = done.stderr.splitlines()
    assert "no password" in complaint
    assert "--out DIR" in mend
    assert "ssh -L" in mend


@pytest.mark.slow
def test_the_first_password_is_shown_once_and_opens_the_page(tmp_path: Path) -> None:
    for is_first in (True, False):
        with running("sim:frames=400,width=480,height=320", "--out", "out", cwd=tmp_path, host="0.0.0.0") as (
            process,
            url,
        ):
            if is_first:
                told = said(process, r"its password, shown this once: (\S+)\n")[1]
            with httpx.Client(base_url=url, trust_env=False) as browser:
                assert browser.get("/api/state").status_code == 401
                assert browser.post("/api/login", json={"password": told}).status_code == 204
                assert browser.get("/api/state").json()["locked"]


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("sim:", "--web", "--web-address", f"127.0.0.1:{port}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr.splitlines()[0]


def test_without_the_web_packages_it_says_how_to_install_them(tmp_path: Path) -> None:
    done = run("sim:", "--web", "--web-address", "127.0.0.1:0", cwd=tmp_path, program=_BARE)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "edgegal: error: the page needs fastapi",
        "  mend: pip install 'edgegal[device]'",
    ]


def said(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line on stderr that is as wanted; runtimes have words of their own between."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        if found := re.fullmatch(pattern, line):
            return found
        lines.append(line)
    raise AssertionError(f"no line like {pattern} in: {''.join(lines)}")


@contextmanager
def running(*words: object, cwd: Path, host: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run with a page, and the page's address."""
    command = [sys.executable, "-c", _RUN, *map(str, words), "--web", "--web-address", f"{host}:0"]
    with subprocess.Popen(
        command, cwd=cwd, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        # Reading would wait for ever for a line that does not come.
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            yield process, said(process, r"page: (http://127\.0\.0\.1:\d+)\n")[1]
        finally:
            watchdog.cancel()
            process.kill()


def state_when(url: str, **wanted: object) -> dict[str, Any]:
    """The state once it is as wanted."""
    deadline = time.monotonic() + 60
    while True:
        state: dict[str, Any] = httpx.get(f"{url}/api/state", timeout=30, trust_env=False).json()
        if all(state[name] == value for name, value in wanted.items()):
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def test_the_page_of_a_finished_run_stays_until_ctrl_c(tmp_path: Path) -> None:
    with running("sim:seed=3,frames=2,width=480,height=320", "--json", cwd=tmp_path) as (process, url):
        state = state_when(url, status="over")
        assert state["frames"] == 2
        assert httpx.get(f"{url}/view.jpg", trust_env=False).content.startswith(b"\xff\xd8")
        said(process, f"the run is over; its page stays at {url} until Ctrl-C\n")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (0, False)
    assert [s["id"] for s in json.loads(output)["sightings"]] == [s["id"] for s in state["sightings"]]


def test_ctrl_c_during_the_run_ends_run_and_page(tmp_path: Path) -> None:
    with running("sim:frames=400,width=480,height=320", "--json", cwd=tmp_path) as (process, url):
        state_when(url, status="running")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    assert json.loads(output)["interrupted"]
