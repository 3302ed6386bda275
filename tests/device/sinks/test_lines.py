import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgegal.device.sinks.lines import LineFile


def test_lines_are_appended(tmp_path: Path) -> None:
    for text in ("a\nb\n", "c\n"):
        file = LineFile(tmp_path / "new/log")
        file.append(text)
        file.close()
    assert (tmp_path / "new/log").read_text() == "a\nb\nc\n"


def test_after_a_cut_line_the_next_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("whole\ncut sh")
    file = LineFile(path)
    assert path.read_text() == "whole\ncut sh"
    file.append("next\n")
    file.append("last\n")
    assert path.read_text() == "whole\ncut sh\nnext\nlast\n"


def test_on_a_full_disk_nothing_of_the_line_stays(filler: Any, tiny_disk: Path) -> None:
    file = LineFile(tiny_disk / "log")
    file.append("first\n")
    filler.fill()
    # The line before lies in a block with room for some of this one.
    with pytest.raises(OSError, match="No space"):
        file.append("x" * 100_000 + "\n")
    assert (tiny_disk / "log").read_text() == "first\n"
    filler.go()
    file.append("second\n")
    assert (tiny_disk / "log").read_text() == "first\nsecond\n"


_LIMITED = """
import resource, sys
from pathlib import Path
from edgegal.device.sinks.lines import LineFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
file, written = LineFile(Path(sys.argv[1])), 0
for number in range(100):
    try:
        file.append(f"{number} {'x' * 90}\\n")
        written += 1
    except OSError as error:
        print(written, error.strerror)
        break
"""


def test_at_a_limit_of_the_file_size_the_last_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"10 {os.strerror(27)}\n"
    lines = path.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(10)]
    assert path.read_text().endswith("x\n")
