"""How the command line leaves."""

import subprocess
import sys

import pytest

_BUSY = """
import threading
from edgegal.cli import main

threading.Thread(target=threading.Event().wait, name="edgegal-stage", daemon=True).start()
try:
    main({arguments})
finally:
    print("goes on")
"""


@pytest.mark.parametrize(("arguments", "goes_on"), [("['--version']", True), ("", False)])
def test_only_the_command_line_of_the_process_ends_it_with_threads_left(arguments: str, goes_on: bool) -> None:
    command = [sys.executable, "-c", _BUSY.format(arguments=arguments), *([] if arguments else ["--version"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert ("goes on" in done.stdout) is goes_on
