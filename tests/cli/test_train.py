"""`edgegal train` interrupted from the keyboard and called again."""

import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.cli import main  # noqa: E402
from edgegal.models.artefact import load_trained  # noqa: E402


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training of seconds, on two classes of blobs."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:48, :48] - 23.5
    for split, count in (("train", 24), ("val", 8)):
        for i in range(count):
            width = (4, 12)[i % 2]
            light = 20 + 200 * np.exp(-(xs**2) / (2 * width**2) - ys**2 / 32) + rng.normal(0, 3, xs.shape)
            path = folder / split / ("small", "wide")[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.clip(np.repeat(light[..., None], 3, axis=2), 0, 255).astype(np.uint8))
    training = ["--architecture", "two-convolution", "--size", "32", "--epochs", "4", "--batch", "8"]
    return ["train", "classifier", "--data", f"folder:{folder}", *training]


def interrupted(words: list[str], at: str) -> tuple[int, list[str]]:
    """Exit code and words of a training in a process of its own that gets Ctrl-C when it says `at`."""
    command = [sys.executable, "-m", "edgegal", *words]
    said = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            said.append(line)
            if line.startswith(at):
                run.send_signal(signal.SIGINT)
    return run.returncode, said


def called(words: list[str]) -> int:
    """Exit code of the command line in this process."""
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


@pytest.mark.slow
def test_an_interrupted_training_called_again_gives_the_same_network(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    code, said = interrupted([*words, "--out", str(out)], "Epoch 3/4")
    assert code == 130, "".join(said)
    assert not any("Traceback" in line for line in said)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [".resume", ".resume/state.npz"]

    assert called([*words, "--seed", "1", "--out", str(out)]) == 2
    wrong, mend = capsys.readouterr().err.splitlines()[-2:]
    assert "state.npz is the state of another training: pictures, first weights differ" in wrong
    assert "to train from the start" in mend

    assert called([*words, "--out", str(out)]) == 0
    epochs = [line.split()[1] for line in capsys.readouterr().err.splitlines() if line.startswith("Epoch ")]
    assert epochs == ["3/4", "4/4"]
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "model.json", "model.keras"]

    assert called([*words, "--out", str(whole)]) == 0
    assert (out / "history.csv").read_text() == (whole / "history.csv").read_text()
    for one, other in zip(*(load_trained(folder)[0].get_weights() for folder in (out, whole)), strict=True):
        np.testing.assert_array_equal(one, other)
