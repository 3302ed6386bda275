"""`edgegal run` from the outside: the shipped bundle in a process of its own."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal import zoo

# Says which packages its process loaded, on the last line of stderr.
_WATCHED = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr))
from edgegal.cli import main
main(sys.argv[1:])
"""
_NEVER = {"tensorflow", "keras", "sklearn", "matplotlib", "scipy"}
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WATCHED, "run", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def loaded(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(done.stderr.splitlines()[-1].removeprefix("loaded: ").split())


def words_of(done: subprocess.CompletedProcess[str]) -> str:
    """What the user saw on stderr, without the line that TensorFlow Lite writes by itself."""
    return "\n".join(
        line for line in done.stderr.splitlines() if not line.startswith(("loaded:", "INFO: Created Tens"))
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    picture = np.clip(rng.normal(25, 3, (260, 320, 3)), 0, 255).astype(np.uint8)
    path = tmp_path / "sky.png"
    cv2.imwrite(str(path), picture)
    return path


def test_a_simulated_night_gives_sightings_pictures_and_a_log(tmp_path: Path) -> None:
    done = run("sim:seed=3,frames=4", "--out", "out", "--json", cwd=tmp_path)
    summary = document(done)
    assert summary["frames"] == 4
    assert summary["sightings"]
    assert max(s["frames"] for s in summary["sightings"]) == 4
    assert summary["latency_ms"]["median"]["detect"] > 0
    assert (summary["skips"], summary["dropped"], summary["restarts"]) == (0, 0, [])
    assert len(list((tmp_path / "out/frames").glob("*.png"))) == 4
    with closing(sqlite3.connect(tmp_path / "out/sightings.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM frames").fetchone() == (4,)
    log = [json.loads(line) for line in (tmp_path / "out/sightings.jsonl").read_text().splitlines()]
    assert {line["id"] for line in log} == {s["id"] for s in summary["sightings"]}
    assert not loaded(done) & (_NEVER | {"fastapi", "uvicorn"})


def test_a_picture_needs_no_astropy_and_a_fits_file_does(tmp_path: Path, sky: Path) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(np.random.default_rng(1).normal(900, 9, (260, 300)).astype(np.uint16)).writeto(tmp_path / "a.fits")
    plain, scientific = run(sky, cwd=tmp_path), run("a.fits", cwd=tmp_path)
    assert (plain.returncode, scientific.returncode) == (0, 0), plain.stderr + scientific.stderr
    assert "astropy" not in loaded(plain)
    assert "astropy" in loaded(scientific)
    assert not (loaded(plain) | loaded(scientific)) & _NEVER
    assert "median ms" in scientific.stdout


def test_stacking_calibration_and_limits_are_wired(tmp_path: Path) -> None:
    for kind, level in (("dark", 100), ("flat", 20000)):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "1.png"), np.full((320, 480, 3), level, np.uint16))
    options = ["--stack", 3, "--dark", "dark", "--flat", "flat", "--limit", 2, "--score", 0.9, "--threads", 2]
    options += ["--judge", "--level-sky", "--agree", 2, "--out", "out", "--no-hot-pixels"]
    summary = document(run("sim:frames=5,width=480,height=320", *options, "--json", cwd=tmp_path))
    assert summary["frames"] == 2
    assert len(list((tmp_path / "out/stacks").glob("*.fits"))) == 1
    assert all(summary["latency_ms"]["median"][stage] > 0 for stage in ("calibrate", "judge", "stack", "background"))
    assert all(s["score"] >= 0.9 for s in summary["sightings"])


def test_flags_make_the_answers_more_careful(tmp_path: Path) -> None:
    sky = ["sim:seed=3,frames=1", "--json"]
    free, careful, large = (
        document(run(*sky, *flags, cwd=tmp_path))["sightings"]
        for flags in (
            ["--abstain-below", 0, "--min-side", 0],
            ["--abstain-below", 1, "--min-side", 0],
            ["--abstain-below", 0, "--min-side", 10_000],
        )
    )
    assert {s["refusal"] for s in free} == {None}
    assert {(s["class"], s["refusal"]) for s in careful} == {(None, "uncertain")}
    assert {(s["class"], s["refusal"]) for s in large} == {(None, "too small")}
    assert [s["probabilities"] for s in free] == [s["probabilities"] for s in careful]


def write_bad(folder: Path, sky: Path) -> None:
    (folder / "notes.fits").write_text("clear sky\n" * 400)
    whole = cv2.imencode(".jpg", cv2.imread(str(sky)))[1].tobytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty").mkdir()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["missing.png"], 2, "no file or folder missing.png"),
        (["notes.fits"], 2, "notes.fits is not a whole FITS file"),
        (["cut.jpg"], 2, "cut.jpg is cut short"),
        (["empty"], 2, "no picture, FITS file or SER video in empty"),
        (["sky.png", "--runtime", "abacus"], 2, "unknown runtime 'abacus'"),
        (["sky.png", "--precision", "int3"], 2, "--precision: "),
        (["sky.png", "--bundle", "nowhere"], 2, "no bundle at nowhere"),
        (["sky.png", "--dark", "nowhere"], 2, "no file or folder nowhere"),
        (["sky.png", "--catalogue", "nowhere"], 2, "no catalogue nowhere"),
        (["sky.png", "--solve"], 2, "--solve has no effect"),
        (["sky.png", "--mqtt-broker", "http://x"], 2, "no address of a broker"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, sky: Path, words: list[str], code: int, says: str
) -> None:
    write_bad(tmp_path, sky)
    before = sorted(tmp_path.rglob("*"))
    done = run(*words, "--out", "out", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    complaint, *mend = words_of(done).splitlines()
    assert says in complaint
    assert len(mend) <= 1
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_changed_model_is_never_run(tmp_path: Path, sky: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(zoo.resolve(zoo.DEFAULT).root, bundle)
    for file in (bundle / "detector").iterdir():
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    done = run(sky, "--bundle", "bundle", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "was changed" in words_of(done)
    assert not (tmp_path / "out").exists()


def test_one_bad_frame_of_a_folder_is_skipped_and_reported(tmp_path: Path, sky: Path) -> None:
    write_bad(tmp_path, sky)
    shutil.rmtree(tmp_path / "empty")
    done = run(tmp_path, "--json", cwd=tmp_path)
    summary = document(done)
    assert summary["frames"] == 1
    assert len(summary["skipped"]) == 2
    assert "cut.jpg" in words_of(done)
    assert "notes.fits" in words_of(done)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_whole_output_and_its_exit_code(tmp_path: Path, kind: signal.Signals) -> None:
    command = [sys.executable, "-c", _WATCHED, "run", "sim:frames=400,width=480,height=320", "--out", "out", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        # With the second picture begun, the first frame is through all stages.
        while len(list(tmp_path.glob("out/frames/*.png"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(kind)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    summary = json.loads(output)
    assert summary["interrupted"]
    assert 0 < summary["frames"] < 400
    for path in (tmp_path / "out/frames").iterdir():
        assert path.suffix == ".png"
        assert cv2.imread(str(path)) is not None
    log = [json.loads(line) for line in (tmp_path / "out/sightings.jsonl").read_text().splitlines()]
    assert {line["id"] for line in log if line["event"] == "end"} == {s["id"] for s in summary["sightings"]}


# A step that no stop waits for, in a library that lets other threads go on meanwhile.
_STUCK = """
import sys, time
import cv2
import numpy as np
from edgegal.device.pipeline import Pipeline

process = Pipeline.__call__
large = np.zeros((3000, 4000, 3), np.uint8)

def slow(self, frame):
    result = process(self, frame)
    if frame.index == 1:
        print("stuck", file=sys.stderr, flush=True)
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            cv2.GaussianBlur(large, (0, 0), 5)
    return result

Pipeline.__call__ = slow
from edgegal.cli import main
main()
"""


@pytest.mark.slow
def test_what_is_left_behind_in_a_library_does_not_bring_the_process_down(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _STUCK, "run", "sim:frames=40,width=300,height=260", "--out", "out", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while process.stderr.readline().strip() != "stuck":
            assert process.poll() is None
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "left behind" in errors
    assert time.monotonic() - asked < 25
    assert json.loads(output)["frames"] == 1
    assert (tmp_path / "out/sightings.sqlite").exists()


def test_the_classifier_may_come_from_another_bundle(tmp_path: Path) -> None:
    found = document(run("sim:seed=7,frames=1", "--classifier", "four-classes", "--json", cwd=tmp_path))
    assert found["sightings"]
    assert all(set(s["probabilities"]) == {"smooth", "spiral", "edge-on", "merger"} for s in found["sightings"])


def test_a_bundle_without_a_detector_is_named(tmp_path: Path) -> None:
    done = run("sim:frames=1", "--bundle", "four-classes", cwd=tmp_path)
    assert done.returncode == 2
    assert "bundle four-classes has no detector" in words_of(done)
