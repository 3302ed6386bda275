"""Nights of `edgegal run` in a process of its own: what it holds, and what it keeps when things go wrong.

A camera that vanishes and an INDI server that is started again are among the tests on real programs, in tests/peers.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from edgegal.sky import Night

pytestmark = pytest.mark.night

# A frame every ten seconds, as the simulated camera takes them.
FRAMES_A_DAY = 8640
GROWTH_MEANT_BYTES = 2e6
KILLS = 20
FULL_DISK_BYTES = 6 * 2**20
_WIDTH, _HEIGHT = 320, 256
# Of Student's t with 8 degrees of freedom: ten means, a line through them.
_BLOCKS, _T95 = 10, 2.306
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

_Galaxy = tuple[str, int]


def start(*words: object, folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "edgegal", "run", *map(str, words), "--json"]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("ab") as err:
        return subprocess.Popen(command, cwd=folder, env=_ENVIRONMENT, stdout=out, stderr=err)


def summary(process: "subprocess.Popen[bytes]", folder: Path) -> dict[str, Any]:
    assert process.wait() == 0, (folder / "stderr").read_text()[-2000:]
    document: dict[str, Any] = json.loads((folder / "stdout").read_text())
    return document


def ask(out: Path, question: str) -> list[tuple[Any, ...]]:
    """An answer of the database while somebody else writes it; empty before it has tables."""
    try:
        with closing(sqlite3.connect(f"file:{out}/sightings.sqlite?mode=ro", uri=True)) as database:
            return database.execute(question).fetchall()
    except sqlite3.OperationalError:
        return []


def is_sound(out: Path) -> bool:
    with closing(sqlite3.connect(out / "sightings.sqlite")) as database:
        answers = database.execute("PRAGMA integrity_check").fetchall()
        return answers == [("ok",)] and not database.execute("PRAGMA foreign_key_check").fetchall()


def in_database(out: Path) -> set[_Galaxy]:
    return {(run, number) for run, number in ask(out, "SELECT run, id FROM galaxies")}


def in_log(out: Path) -> set[_Galaxy]:
    """Of lines that are whole: the last one may be in the writing, and one that a kill cut short says nothing."""
    found = set()
    path = out / "sightings.jsonl"
    for line in path.read_text().split("\n")[:-1] if path.exists() else []:
        try:
            document = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.add((document["run"], document["id"]))
    return found


@contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Whatever happens, the process is gone afterwards."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


def memory_by_frame(process: "subprocess.Popen[bytes]", out: Path) -> NDArray[np.float64]:
    """``(n, 2)`` frames written so far and bytes held, a second apart, until the process ends."""
    told = []
    while process.poll() is None:
        time.sleep(1)
        answer = ask(out, "SELECT count(*) FROM frames")
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            # It ended a moment ago.
            break
        if answer and pages:
            told.append((answer[0][0], pages * os.sysconf("SC_PAGE_SIZE")))
    return np.array(told, np.float64)


def slope(told: NDArray[np.float64]) -> tuple[float, float]:
    """Bytes a frame and half of its 95 % interval, of a line through the means of ten parts in a row.

    What a process holds wanders slowly: single samples would seem far surer than they are.
    """
    x, y = np.array([part.mean(axis=0) for part in np.array_split(told, _BLOCKS)]).T
    x = x - x.mean()
    steepness = float(x @ y / (x @ x))
    rest = y - y.mean() - steepness * x
    return steepness, _T95 * float(np.sqrt(rest @ rest / (_BLOCKS - 2) / (x @ x)))


def test_a_day_of_frames_is_all_there_and_memory_does_not_grow(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    address = f"sim:frames={FRAMES_A_DAY},width={_WIDTH},height={_HEIGHT},drift=0"
    process = start(
        *(address, "--stack", 100_000, "--judge", "--out", "out", "--keep-pictures-every", 2),
        *("--keep-stacks-every", 5),
        folder=tmp_path,
    )
    with ended(process):
        told = memory_by_frame(process, tmp_path / "out")
        done = summary(process, tmp_path)
    assert done["frames"] + done["skips"] == FRAMES_A_DAY
    assert done["dropped"] == 0
    assert not done["restarts"]
    assert len(ask(tmp_path / "out", "SELECT 1 FROM frames")) == FRAMES_A_DAY
    assert is_sound(tmp_path / "out")
    assert {number for _, number in in_database(tmp_path / "out")} >= {s["id"] for s in done["sightings"]}
    # Until then networks warm up, and caches and the page cache of the database fill.
    settled = told[told[:, 0] > FRAMES_A_DAY / 5]
    steepness, half = slope(settled)
    record_property("growth_bytes_a_day", f"{steepness * FRAMES_A_DAY:.0f} +- {half * FRAMES_A_DAY:.0f}")
    assert (steepness - half) * FRAMES_A_DAY < GROWTH_MEANT_BYTES


def write_frame(path: Path, pixels: NDArray[np.uint16], whole: bool = True) -> None:
    """As capture software does: under another name first."""
    hidden = path.with_suffix(".part")
    fits.PrimaryHDU(pixels).writeto(hidden, overwrite=True)
    if not whole:
        os.truncate(hidden, hidden.stat().st_size // 2)
    hidden.rename(path)


@contextmanager
def capturing(folder: Path, seconds: float) -> Iterator[None]:
    """Frames arrive in a folder, the field another one every twelve, every tenth frame cut short."""
    stopped = threading.Event()

    def capture() -> None:
        for number in count():
            if number % 12 == 0:
                night = Night(seed=number, width=_WIDTH, height=_HEIGHT, frames=12, drift=(0.0, 0.0))
            write_frame(folder / f"{number:05d}.fits", night.frame(number % 12).pixels[..., 1], number % 10 != 9)
            if stopped.wait(seconds):
                return

    thread = threading.Thread(target=capture, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def watch_until(process: "subprocess.Popen[bytes]", out: Path, until: float, known: set[_Galaxy]) -> set[_Galaxy]:
    """What the database and the log both say in the meantime; at least one sighting more than was known."""
    told: set[_Galaxy] = set()
    while time.monotonic() < until or not told - known:
        assert process.poll() is None, (out.parent / "stderr").read_text()[-2000:]
        told |= in_database(out) & in_log(out)
        time.sleep(0.02)
    return told


def test_kills_at_random_moments_lose_nothing_that_was_written(tmp_path: Path) -> None:
    chance = random.Random(3)
    out, frames = tmp_path / "out", tmp_path / "frames"
    frames.mkdir()
    told: set[_Galaxy] = set()
    with capturing(frames, 0.2):
        for number in range(KILLS):
            stacks = ("--stack", 12, "--keep-stacks-every", 1) if number % 2 else ()
            words = ("watch:frames?every=0.05", "--out", "out", "--keep-pictures-every", 1, *stacks)
            process = start(*words, folder=tmp_path)
            with ended(process):
                told |= watch_until(process, out, time.monotonic() + chance.uniform(0, 4), told)
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert told <= in_database(out)
            assert told <= in_log(out)
            assert is_sound(out)
    assert len({run for run, _ in told}) == KILLS
    broken = ask(out, "SELECT fault FROM frames WHERE fault IS NOT NULL")
    assert broken
    # Where frames are stacked, those of another field are left out until there are three.
    assert all("not a whole FITS file" in fault or "does not register" in fault for (fault,) in broken)
    written = [path for path in (out / "stacks").iterdir() if not path.name.startswith(".")]
    assert written
    assert all(np.isfinite(fits.getdata(path)).any() for path in written)


def test_every_tenth_frame_cut_short_costs_these_frames_and_no_more(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    night = Night(width=_WIDTH, height=_HEIGHT, frames=200, drift=(0.0, 0.0))
    for frame in night:
        write_frame(frames / f"{frame.index:05d}.fits", frame.pixels[..., 1], frame.index % 10 != 9)
    process = start("frames", "--out", "out", "--keep-pictures-every", 3600, folder=tmp_path)
    with ended(process):
        done = summary(process, tmp_path)
    assert (done["frames"], done["skips"], done["restarts"]) == (180, 20, [])
    faults = ask(tmp_path / "out", "SELECT count(*) FROM frames WHERE fault IS NOT NULL")
    assert faults == [(20,)]
    assert is_sound(tmp_path / "out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes, in memory."""
    place = tmp_path / "out"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL_DISK_BYTES}", "tmpfs", str(place)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all room there is."""
    path = disk / "somebody else's"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
    return path


def test_a_disk_that_is_full_for_a_while_costs_no_sighting(tmp_path: Path, small_disk: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    words = ("watch:frames?every=0.05", "--out", "out", "--keep-pictures-every", 1, "--keep-free-mb", 0)
    process = start(*words, folder=tmp_path)
    with ended(process), capturing(frames, 0.1):
        before = watch_until(process, small_disk, 0, set())
        filler = fill(small_disk)
        time.sleep(15)
        assert process.poll() is None
        filler.unlink()
        watch_until(process, small_disk, time.monotonic() + 5, before)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 130
    words_said = (tmp_path / "stderr").read_text()
    assert "cannot be written" in words_said
    assert "can be written again" in words_said
    seen = {sighting["id"] for sighting in json.loads((tmp_path / "stdout").read_text())["sightings"]}
    assert seen == {number for _, number in in_database(small_disk)}
    assert seen == {number for _, number in in_log(small_disk)}
    assert is_sound(small_disk)
