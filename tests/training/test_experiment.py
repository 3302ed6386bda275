"""Whole recipes on a handful of simulated galaxies: every family of methods, going on, and the report."""

import csv
import errno
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("eagerly")]

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.data.simulated import simulate_cutouts  # noqa: E402
from edgegal.data.votes import ANSWERS  # noqa: E402
from edgegal.errors import DatasetError, InputError  # noqa: E402
from edgegal.labels import SCHEMES  # noqa: E402
from edgegal.models.artefact import load_network, load_trained, save_trained  # noqa: E402
from edgegal.preprocess import Stretch  # noqa: E402
from edgegal.reports import ClassificationResult, RegressionResult  # noqa: E402
from edgegal.reports.page import write_file  # noqa: E402
from edgegal.training import recipe_run  # noqa: E402
from edgegal.training.experiment import Experiment, carry_out_recipe  # noqa: E402
from edgegal.training.recipe import BASELINE, Challenge, Data, Recipe  # noqa: E402
from edgegal.training.recipe_data import folded, prepare  # noqa: E402
from edgegal.training.recipe_report import introduction, write_recipe_report  # noqa: E402
from edgegal.training.recipe_run import carry_out  # noqa: E402

SCHEME = SCHEMES["gz2-5class"]
PARTS = {"train": range(40), "val": range(40, 60), "test": range(60, 80)}


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder set of 80 simulated galaxies of five classes."""
    folder = tmp_path_factory.mktemp("galaxies")
    pictures, labels = simulate_cutouts(80, 0, 48, Stretch(), 1.4)
    for split, rows in PARTS.items():
        for i in rows:
            place = folder / split / SCHEME.labels[labels[i]]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{i}.png"), pictures[i][..., ::-1])
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The challenge's layout with simulated galaxies, their votes nearly all for what they are."""
    root = tmp_path_factory.mktemp("public")
    folder = root / "gz_challenge" / "images_training_rev1"
    folder.mkdir(parents=True)
    pictures, labels = simulate_cutouts(60, 1, 48, Stretch(), 1.4)
    rng = np.random.default_rng(0)
    with (folder.parent / "training_solutions_rev1.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["GalaxyID", *ANSWERS])
        for i, label in enumerate(labels):
            cv2.imwrite(str(folder / f"{100 + i}.jpg"), pictures[i][..., ::-1])
            table.writerow([100 + i, *(f"{votes(int(label), rng)[answer]:.6f}" for answer in ANSWERS)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGAL_DATA", str(root))
        yield


def votes(kind: int, rng: np.random.Generator) -> dict[str, float]:
    """Vote fractions of a galaxy of `SCHEME`, second-level answers weighted by the first as the challenge does."""
    sure = float(rng.uniform(0.85, 0.95))
    featured = sure if kind >= 3 else 1 - sure
    shape = np.full(3, 0.05)
    shape[min(kind, 2)] = 0.9
    edge_on = 0.9 if kind == 3 else 0.1
    return dict.fromkeys(ANSWERS, 0.0) | {
        "Class1.1": 1 - featured,
        "Class1.2": featured,
        "Class2.1": featured * edge_on,
        "Class2.2": featured * (1 - edge_on),
        **{f"Class7.{k + 1}": (1 - featured) * float(shape[k]) for k in range(3)},
    }


TWO_RUNS = {
    "title": "two runs",
    "reproduces": "Nothing but itself.",
    "seeds": [0],
    "network": {"kind": "scratch", "filters": [4, 4], "dense": 8},
    "training": {"epochs": 2, "batch": 16, "stop_after": 5, "reduce_after": 1},
    "evaluation": {"resamples": 100},
    "runs": [
        {"name": "weights", "training": {"imbalance": "weights"}, "published": {"accuracy": 0.7}},
        {"name": "in part", "training": {"imbalance": "in part", "augmentation": "course", "monitor": "val_auc"}},
    ],
    "ensembles": [{"name": "both", "members": ["weights", "in part"]}],
}


def recipe(galaxies: str, **changes: Any) -> Recipe:
    return Recipe.model_validate(TWO_RUNS | {"data": {"set": galaxies, "scheme": "gz2-5class", "size": 24}} | changes)


@pytest.fixture(scope="module")
def carried_out(galaxies: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    out = tmp_path_factory.mktemp("two") / "out"
    return carry_out_recipe(recipe(galaxies), out), out


def answers_of(experiment: Experiment, name: str) -> list[Any]:
    return [outcome.test for outcome in experiment.outcomes[name]]


def test_the_baseline_stands_beside_every_run(carried_out: tuple[Experiment, Path]) -> None:
    experiment, out = carried_out
    assert list(experiment.outcomes) == ["weights", "in part", BASELINE]
    for name in experiment.outcomes:
        (test,) = answers_of(experiment, name)
        assert isinstance(test, ClassificationResult)
        assert (len(test), test.labels) == (20, SCHEME.labels)
    network, description = load_trained(out / "runs" / "two-convolution-course-network" / "seed0")
    assert network.name == "two_convolution"
    assert description.labels == SCHEME.labels
    assert description.preprocess.height == 24


def test_a_saved_network_gives_the_answers_of_the_report(carried_out: tuple[Experiment, Path], galaxies: str) -> None:
    experiment, out = carried_out
    network, description = load_trained(out / "runs" / "in-part" / "seed0")
    held = prepare(Data(set=galaxies, scheme="gz2-5class", size=24)).parts["test"]
    answers = network.predict(held.pictures.astype(np.float32), verbose=0)["probabilities"]
    (test,) = answers_of(experiment, "in part")
    assert test.ids == held.ids
    np.testing.assert_allclose(test.probabilities, answers, atol=1e-6)
    assert description.provenance.parameters == test.parameters == network.count_params()


def test_the_ensemble_mixes_the_members(carried_out: tuple[Experiment, Path]) -> None:
    experiment, _ = carried_out
    (ensemble,) = experiment.ensembles
    (weights,) = ensemble.weights
    members = [answers_of(experiment, name)[0].probabilities for name in ("weights", "in part")]
    mixed = weights[0] * members[0] + weights[1] * members[1]
    np.testing.assert_allclose(ensemble.tests[0].probabilities, mixed, atol=1e-6)


def test_the_report_has_all_rows_beside_the_published(carried_out: tuple[Experiment, Path], tmp_path: Path) -> None:
    experiment, _ = carried_out
    page = write_recipe_report(experiment, tmp_path, "fewer pictures")
    document = json.loads((tmp_path / "report.json").read_bytes())
    rows = {row["name"]: row for row in document["comparison"]["runs"]}
    assert list(rows) == ["weights", "in part", BASELINE, "both"]
    assert rows["weights"]["published"] == {"accuracy": 0.7}
    assert document["comparison"]["reference"] == BASELINE
    assert rows["weights"]["p"] is not None
    test = answers_of(experiment, "weights")[0]
    assert rows["weights"]["figures"]["accuracy"]["value"] == pytest.approx((test.predicted == test.truth).mean())
    text = page.read_text()
    assert "fewer pictures" in text
    assert "weights found on the validation pictures" in text


def test_a_second_call_trains_only_what_has_changed(carried_out: tuple[Experiment, Path], galaxies: str) -> None:
    before, out = carried_out

    def made() -> dict[str, int]:
        return {p.parent.parent.name: p.stat().st_mtime_ns for p in out.glob("runs/*/seed0/run.json")}

    times = made()
    again = carry_out_recipe(recipe(galaxies), out)
    assert made() == times
    np.testing.assert_array_equal(
        answers_of(again, "weights")[0].probabilities, answers_of(before, "weights")[0].probabilities
    )
    assert again.outcomes["weights"][0].test.history == before.outcomes["weights"][0].test.history
    runs = [TWO_RUNS["runs"][0], {"name": "in part", "training": {"imbalance": "rebalanced", "epochs": 1}}]  # type: ignore[index]
    carry_out_recipe(recipe(galaxies, runs=runs), out)
    assert {name for name, time in made().items() if time != times[name]} == {"in-part"}


def test_an_interrupted_run_goes_on_and_ends_the_same(
    carried_out: tuple[Experiment, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = carried_out[0].outcomes["weights"][0]
    trial = replace(whole.trial, folder=tmp_path / "run")
    prepared = prepare(trial.run.data)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # Trained, but not yet saved.
        patch.setattr(recipe_run, "save_trained", interrupted)
        with pytest.raises(KeyboardInterrupt):
            carry_out(trial, prepared)
    with caplog.at_level(logging.WARNING):
        resumed = carry_out(trial, prepared)
    assert "going on after epoch 2 of 2" in caplog.text
    assert isinstance(resumed.test, ClassificationResult)
    assert isinstance(whole.test, ClassificationResult)
    np.testing.assert_array_equal(resumed.test.probabilities, whole.test.probabilities)
    assert not (tmp_path / "run" / "state").exists()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failing", ["save_trained", "write_file", "_replace"])
def test_a_finished_run_stays_until_its_replacement_is_whole(
    carried_out: tuple[Experiment, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    whole = carried_out[0].outcomes["weights"][0]
    folder = tmp_path / "run"
    shutil.copytree(whole.trial.folder, folder)
    before = files_of(folder)
    shorter = whole.trial.run.training.model_copy(update={"epochs": 1})
    trial = replace(whole.trial, folder=folder, run=whole.trial.run.model_copy(update={"training": shorter}))
    prepared = prepare(trial.run.data)
    with monkeypatch.context() as patch:
        patch.setattr(recipe_run, failing, no_space)
        with pytest.raises((InputError, OSError), match="No space left"):
            carry_out(trial, prepared)
    assert files_of(folder) == before
    done = carry_out(trial, prepared)
    assert len(done.test.history["loss"]) == 1  # type: ignore[index]
    assert files_of(folder)["run.json"] != before["run.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (folder / "state").exists()


def test_a_replacement_cut_off_between_its_two_renames_loses_nothing(
    carried_out: tuple[Experiment, Path], tmp_path: Path
) -> None:
    whole = carried_out[0].outcomes["weights"][0]
    shutil.copytree(whole.trial.folder, tmp_path / ".run.old")
    before = files_of(tmp_path / ".run.old")
    carry_out(replace(whole.trial, folder=tmp_path / "run"), prepare(whole.trial.run.data))
    assert files_of(tmp_path / "run") == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("failing", ["model", "text"])
def test_a_network_that_cannot_be_written_leaves_the_earlier_one(
    carried_out: tuple[Experiment, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    model, description = load_trained(carried_out[1] / "runs" / "weights" / "seed0")
    folder = save_trained(model, description, tmp_path / "model", {"loss": [1.0]})
    before = files_of(folder)

    def half_written(path: Path) -> None:
        path.write_bytes(b"half")
        no_space()

    with monkeypatch.context() as patch:
        if failing == "model":
            patch.setattr(model, "save", half_written)
        else:
            patch.setattr(Path, "write_bytes", no_space)
        with pytest.raises(InputError, match="cannot be written: No space left on device") as error:
            save_trained(model, description, folder, {"loss": [2.0]})
    assert str(folder) in error.value.message
    assert error.value.mend.startswith("free space")
    assert files_of(folder) == before


def test_a_file_in_the_place_of_a_folder_is_one_line(carried_out: tuple[Experiment, Path], tmp_path: Path) -> None:
    model, description = load_trained(carried_out[1] / "runs" / "weights" / "seed0")
    path = write_file(tmp_path / "taken", b"")
    with pytest.raises(InputError, match="taken"):
        save_trained(model, description, path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("imbalance", ["none", "in part"])
@pytest.mark.parametrize("gone", [SCHEME.labels[:1], SCHEME.labels[3:]])
def test_a_class_without_training_pictures_is_named_before_anything_is_trained(
    galaxies: str, tmp_path: Path, imbalance: str, gone: tuple[str, ...]
) -> None:
    shutil.copytree(galaxies.removeprefix("folder:"), tmp_path / "set")
    for label in gone:
        shutil.rmtree(tmp_path / "set" / "train" / label)
    less = {"set": f"folder:{tmp_path / 'set'}", "scheme": "gz2-5class", "size": 24}
    runs = [
        {"name": "sound", "training": {"imbalance": imbalance}},
        {"name": "gap", "data": less, "training": {"imbalance": imbalance}},
    ]
    with pytest.raises(DatasetError) as error:
        carry_out_recipe(recipe(galaxies, runs=runs, ensembles=[]), tmp_path / "out")
    assert error.value.message.startswith("gap: ")
    for label in gone:
        assert repr(label) in error.value.message
        assert f"--leave-out {label}" in error.value.mend
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(galaxies: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(InputError, match="holds no recipe"):
        carry_out_recipe(recipe(galaxies), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_another_recipe_is_refused(carried_out: tuple[Experiment, Path], galaxies: str) -> None:
    with pytest.raises(InputError, match="holds another recipe, 'two runs'"):
        carry_out_recipe(recipe(galaxies, title="three runs"), carried_out[1])


def test_what_cannot_be_built_is_said_before_anything_is_trained(galaxies: str, tmp_path: Path) -> None:
    wrong = recipe(galaxies, runs=[TWO_RUNS["runs"][0], {"name": "b", "network": {"kind": "challenge"}}], ensembles=[])  # type: ignore[index]
    with pytest.raises(InputError, match="two classes, not 5"):
        carry_out_recipe(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_transfer_from_vote_fractions_starts_with_a_new_head(challenge: None, tmp_path: Path) -> None:
    data = {"set": "gz_challenge", "scheme": "gz-second-level-4", "confidence": 0.5, "size": 24, "split": [60, 20, 20]}
    from_fractions = Recipe.model_validate(
        {
            "title": "from fractions",
            "reproduces": "Nothing.",
            "seeds": [0],
            "data": data,
            "network": {"kind": "four-convolution", "dense": 8},
            "training": {"epochs": 1, "batch": 16},
            "pretraining": [{"name": "votes", "data": {"estimate": "vote fractions"}}],
            "runs": [{"name": "classes", "start": "votes", "tune": "none"}],
        }
    )
    (outcome,) = carry_out_recipe(from_fractions, tmp_path / "out").outcomes["classes"]
    assert (outcome.trainable, outcome.new_head) == (8 * 4 + 4, True)


@pytest.mark.slow
def test_transfer_freezes_what_it_says(galaxies: str, tmp_path: Path) -> None:
    """From the same five classes as it is; from four of them, with a new last layer on frozen ones."""
    four = recipe(
        galaxies,
        network={"kind": "four-convolution", "dense": 8},
        pretraining=[{"name": "same"}, {"name": "fewer", "data": {"leave_out": ["spiral"]}}],
        runs=[
            {"name": "as it is", "start": "same", "tune": "none"},
            {"name": "new head", "start": "fewer", "tune": "none"},
        ],
        ensembles=[],
        training={"epochs": 1, "batch": 16, "optimizer": "adamax", "augmentation": "thesis"},
    )
    experiment = carry_out_recipe(four, tmp_path / "out")
    as_it_is, new_head = (experiment.outcomes[name][0] for name in ("as it is", "new head"))
    assert (as_it_is.trainable, as_it_is.new_head) == (0, False)
    source, _ = load_trained(tmp_path / "out" / "pretraining" / "same" / "seed0")
    copied, _ = load_trained(tmp_path / "out" / "runs" / "as-it-is" / "seed0")
    for ours, theirs in zip(copied.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (new_head.trainable, new_head.new_head) == (8 * 5 + 5, True)
    _, fewer = load_trained(tmp_path / "out" / "pretraining" / "fewer" / "seed0")
    assert fewer.labels == tuple(label for label in SCHEME.labels if label != "spiral")


@pytest.mark.slow
def test_folds_test_every_picture_once_and_the_report_is_honest(galaxies: str, tmp_path: Path) -> None:
    two = recipe(galaxies, runs=[TWO_RUNS["runs"][0]], ensembles=[], evaluation={"folds": 2, "resamples": 100})  # type: ignore[index]
    experiment = carry_out_recipe(two, tmp_path / "out")
    for name in experiment.outcomes:
        ids = [i for test in answers_of(experiment, name) for i in test.ids]
        assert len(ids) == len(set(ids)) == 80
    text = " ".join(introduction(experiment))
    assert f"weights against {BASELINE}: accuracy p = " in text
    assert "The smallest two-sided p-value that 2 folds can give is 0.5000" in text
    assert "cannot show in it" in text


def test_vote_fractions_are_estimated_from_votes(
    challenge: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fractions = Recipe.model_validate(
        {
            "title": "fractions",
            "reproduces": "Nothing.",
            "seeds": [0],
            "data": {
                "set": "gz_challenge",
                "scheme": "gz-second-level-4",
                "confidence": 0.5,
                "estimate": "vote fractions",
                "size": 24,
                "centre": 0.8,
                "split": [60, 20, 20],
            },
            "network": {"kind": "challenge", "dense": [8, 4], "dropout": 0.3},
            "training": {"epochs": 1, "batch": 8, "augmentation": "challenge"},
            "runs": [{"name": "both"}],
        }
    )
    experiment = carry_out_recipe(fractions, tmp_path / "out")
    for name in ("both", BASELINE):
        (test,) = answers_of(experiment, name)
        assert isinstance(test, RegressionResult)
        assert test.outputs == SCHEMES["gz-second-level-4"].labels
        np.testing.assert_allclose(test.truth.sum(axis=1), 1, atol=1e-5)
    for name in ("both", "two-convolution-course-network"):
        folder = tmp_path / "out" / "runs" / name / "seed0"
        assert not (folder / "model.json").exists()
        assert load_network(folder).output["probabilities"].shape == (None, 4)
        with pytest.raises(InputError, match="a network of vote fractions, which is no classifier"):
            load_trained(folder)
    with monkeypatch.context() as patch:
        patch.setattr(recipe_run, "fit", None)
        again = carry_out_recipe(fractions, tmp_path / "out")
    np.testing.assert_array_equal(answers_of(again, "both")[0].predicted, answers_of(experiment, "both")[0].predicted)
    # Cigars are no answer of the four: their top answer leaves them out.
    assert 40 <= len({i for part in ("train", "val", "test") for i in prepare(fractions.data).parts[part].ids}) <= 48


def test_fractions_have_no_classes_to_balance(challenge: None, tmp_path: Path) -> None:
    data = {"set": "gz_challenge", "scheme": "gz-second-level-4", "estimate": "vote fractions", "size": 24}
    runs = [{"name": "a", "network": {"kind": "challenge"}, "training": {"imbalance": "weights"}}]
    weighted = Recipe.model_validate({"title": "", "reproduces": "", "data": data, "runs": runs})
    with pytest.raises(InputError, match="no classes to balance"):
        carry_out_recipe(weighted, tmp_path / "out")


def test_smooth_or_featured_comes_of_the_votes(challenge: None) -> None:
    found = prepare(Data(set="gz_challenge", scheme="gz-smooth-featured", confidence=0.8, size=24))
    assert found.scheme.labels == ("smooth", "featured")
    assert not found.fractions
    assert set(found.parts["train"].classes.tolist()) == {0, 1}
    network = recipe_run.build_network(Challenge(kind="challenge"), 2, 24, found.fractions)
    assert network.name == "challenge_binary"


def test_a_limit_keeps_classes_in_proportion_and_none_empty(galaxies: str) -> None:
    data = Data(set=galaxies, scheme="gz2-5class", size=24)
    limited = prepare(data, limit=10).parts
    assert {split: len(part.ids) for split, part in limited.items()} == {"train": 10, "val": 10, "test": 10}
    assert np.bincount(limited["train"].classes).tolist() == [2] * 5
    assert set(limited["train"].ids) <= set(prepare(data).parts["train"].ids)


def test_a_part_of_the_centre_is_the_centre_of_the_whole(galaxies: str) -> None:
    whole, part = (
        prepare(Data(set=galaxies, scheme="gz2-5class", size=size, centre=centre), limit=5).parts["test"].pictures
        for size, centre in ((48, 1.0), (24, 0.5))
    )
    np.testing.assert_array_equal(part, whole[:, 12:36, 12:36])


def test_a_smaller_crop_is_said_to_the_device(galaxies: str) -> None:
    """What the network saw is measured in galaxies, so that the device cuts the same."""
    whole, part = (
        prepare(Data(set=galaxies, scheme="gz2-5class", size=24, centre=c), limit=20).crop_scale for c in (1.0, 0.5)
    )
    assert part == pytest.approx(whole / 2)
    assert 1 < whole < 3


def test_folds_of_prepared_pictures_are_disjoint(galaxies: str) -> None:
    first, second = folded(prepare(Data(set=galaxies, scheme="gz2-5class", size=24)), 2, seed=0)
    assert not set(first.parts["test"].ids) & set(second.parts["test"].ids)
    assert first.digest != second.digest


def test_folds_are_by_object(tmp_path: Path) -> None:
    """Each galaxy was taken twice; the last rows name no object and show their own."""
    rows = ["file,label,split,object"]
    for i in range(70):
        cv2.imwrite(str(tmp_path / f"p{i}.png"), np.full((32, 32, 3), i, np.uint8))
        name = f"g{i // 2}" if i < 60 else ""
        rows.append(f"p{i}.png,{SCHEME.labels[i // 2 % 5]},{('train', 'val', 'test')[i % 3]},{name}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    prepared = prepare(Data(set=f"csv:{tmp_path / 'labels.csv'}", scheme="gz2-5class", size=24))
    folds = folded(prepared, 3, seed=0)
    assert sorted(i for fold in folds for i in fold.parts["test"].ids) == sorted(f"p{i}" for i in range(70))
    for fold in folds:
        train, val, test = (set(fold.parts[split].objects) for split in ("train", "val", "test"))
        assert not train & val
        assert not (train | val) & test
    assert len({name for fold in folds for name in fold.parts["test"].objects}) == 40


def test_an_empty_split_and_missing_votes_are_one_line(galaxies: str) -> None:
    with pytest.raises(DatasetError, match="no vote fractions of the classes"):
        prepare(Data(set=galaxies, scheme="gz2-5class", estimate="vote fractions"))
    with pytest.raises(DatasetError, match="no pictures to use in its train split"):
        prepare(Data(set=galaxies, scheme="gz2-5class", leave_out=SCHEME.labels))


def test_pretraining_never_sees_a_galaxy_that_is_tested_on_later(galaxies: str, tmp_path: Path) -> None:
    """Half of the other set's training pictures are galaxies of this one's test part, by name."""
    target = prepare(Data(set=galaxies, scheme="gz2-5class", size=24))
    tested = target.parts["test"].ids
    rows = ["file,label,split,dup_other"]
    for i in range(60):
        name = f"p{i}.png"
        picture = np.random.default_rng(i).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / name), picture)
        split = "train" if i < 40 else "val" if i < 50 else "test"
        rows.append(f"{name},{SCHEME.labels[i % 5]},{split},{tested[i] if i < 20 else ''}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    source = Data(set=f"csv:{tmp_path / 'labels.csv'}", scheme="gz2-5class", size=24)
    assert len(prepare(source).parts["train"].ids) == 40
    clean = prepare(source, tested=[target.source])
    assert (len(clean.parts["train"].ids), clean.leaked) == (20, 20)
