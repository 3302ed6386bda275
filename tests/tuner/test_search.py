"""A real search on a few drawn pictures: interrupted, resumed, extended, limited."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.data import PictureSet, open_dataset
from edgegal.data.framing import framed
from edgegal.errors import DatasetError, GateFailedError, InputError
from edgegal.models.artefact import load_trained
from edgegal.tuner import space
from edgegal.tuner.objective import network_cost
from edgegal.tuner.search import Epoch, SearchResult, SearchSettings, search

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("eagerly")]

# All but the first trial are proposed by the Gaussian process.
SETTINGS = SearchSettings(trials=2, epochs=1, size=16, learning_rate=1e-3, random_trials=1, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of discs and streaks on noise, in folders for split and class."""
    root = tmp_path_factory.mktemp("drawn")
    random = np.random.default_rng(5)
    for split, count in (("train", 20), ("val", 10)):
        for label in ("disc", "streak"):
            target = root / split / label
            target.mkdir(parents=True)
            for i in range(count):
                picture = random.integers(0, 60, (24, 24, 3)).astype(np.uint8)
                x, y = (int(v) for v in random.integers(9, 15, 2))
                axes = (5, 5) if label == "disc" else (9, 1)
                cv2.ellipse(picture, (x, y), axes, float(random.uniform(0, 180)), 0, 360, (200, 210, 220), -1)
                cv2.imwrite(str(target / f"{i}.png"), picture)
    return root


@pytest.fixture(scope="module")
def drawn(folder: Path) -> PictureSet:
    return open_dataset(f"folder:{folder}")


def _interrupt_in(trial: int) -> Callable[[Epoch], None]:
    def told(epoch: Epoch) -> None:
        if epoch.trial == trial:
            raise KeyboardInterrupt

    return told


@pytest.fixture(scope="module")
def whole(drawn: PictureSet, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """Three trials in one go."""
    return search(drawn, replace(SETTINGS, trials=3), tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_interrupted_resumed_and_extended_is_the_search_in_one_go(
    drawn: PictureSet, whole: SearchResult, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(drawn, SETTINGS, tmp_path, _interrupt_in(1))
    left = json.loads((tmp_path / "trials.json").read_text())
    assert [t["number"] for t in left["trials"]] == [0]
    assert load_trained(tmp_path / "best")[1].labels == ("disc", "streak")

    resumed = search(drawn, SETTINGS, tmp_path)
    assert [t.number for t in resumed.trials] == [0, 1]
    extended = search(drawn, replace(SETTINGS, trials=3), tmp_path)

    assert [t.hyperparameters for t in extended.trials] == [t.hyperparameters for t in whole.trials]
    assert [t.val_loss for t in extended.trials] == pytest.approx([t.val_loss for t in whole.trials], rel=1e-3)
    points = {json.dumps(t.hyperparameters) for t in whole.trials}
    assert len(points) == 3


def test_the_best_network_is_the_one_the_table_tells_of(drawn: PictureSet, whole: SearchResult) -> None:
    assert whole.best.val_loss == min(t.val_loss for t in whole.trials)
    model, description = load_trained(whole.folder)
    assert description.provenance.parameters == whole.best.parameters == model.count_params()
    assert description.provenance.dataset_sha256 == drawn.digest()
    val = drawn.subset("val")
    pictures = framed(val.pictures(), description.preprocess.crop_scale, 16)
    outputs = model(pictures.astype(np.float32), training=False)
    probabilities = keras.ops.convert_to_numpy(outputs["probabilities"])
    loss = -np.log(probabilities[np.arange(len(val)), val.labels]).mean()
    assert loss == pytest.approx(whole.best.val_loss, rel=1e-3)
    assert (probabilities.argmax(axis=1) == val.labels).mean() == pytest.approx(whole.best.val_accuracy)


def test_more_networks_too_large_than_keras_tuner_forgives(
    drawn: PictureSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    least = network_cost(space.network(space.smallest(), 2, 16)).parameters
    tight = replace(SETTINGS, trials=5, max_parameters=least)
    with pytest.raises(GateFailedError, match="none of 5 trials"):
        search(drawn, tight, tmp_path)
    trials = json.loads((tmp_path / "trials.json").read_text())["trials"]
    assert [t["status"] for t in trials] == ["too large"] * 5
    assert all(t["epochs"] == 0 and t["parameters"] > least and t["val_accuracy"] is None for t in trials)
    # The oracle is told which is worse.
    losses = [t["val_loss"] for t in sorted(trials, key=lambda t: t["parameters"])]
    assert losses == sorted(losses)
    assert not (tmp_path / "best").exists()
    # Keras Tuner prints; standard output is for results.
    assert capsys.readouterr().out == ""


def test_a_limit_below_the_whole_space_is_refused_at_once(drawn: PictureSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no network of the space"):
        search(drawn, replace(SETTINGS, max_parameters=100), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_training_that_diverges_is_told_from_training_that_does_not(drawn: PictureSet, tmp_path: Path) -> None:
    wild = replace(SETTINGS, trials=1, batch_size=8, learning_rate=3e38)
    with pytest.raises(GateFailedError, match="diverged"):
        search(drawn, wild, tmp_path)


def test_a_folder_of_another_search_is_refused(drawn: PictureSet, tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no search"):
        search(drawn, SETTINGS, tmp_path / "search")
    with pytest.raises(KeyboardInterrupt):
        search(drawn, SETTINGS, tmp_path / "other", _interrupt_in(0))
    with pytest.raises(InputError, match="with size 16, not 20"):
        search(drawn, replace(SETTINGS, size=20), tmp_path / "other")


def test_pictures_without_a_validation_split_are_refused(drawn: PictureSet, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="val split"):
        search(drawn.subset("train"), SETTINGS, tmp_path)


def test_command_prints_one_document(folder: Path, tmp_path: Path) -> None:
    from edgegal.cli.tune import app

    words = ["--data", f"folder:{folder}", "--out", str(tmp_path / "s"), "--trials", "1", "--epochs", "1"]
    result = CliRunner().invoke(app, [*words, "--size", "16", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["best"] == 0
    assert Path(document["folder"], "model.keras").is_file()
    assert set(document["trials"][0]) >= {
        "hyperparameters",
        "val_loss",
        "val_accuracy",
        "parameters",
        "macs",
        "seconds",
    }
