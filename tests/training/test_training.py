"""Losses, batches and whole small trainings, on TensorFlow and on JAX."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal import zoo  # noqa: E402
from edgegal.data import PictureSet, open_dataset  # noqa: E402
from edgegal.data.fields import Field, compose_fields  # noqa: E402
from edgegal.data.mixture import Ingredients  # noqa: E402
from edgegal.errors import InputError  # noqa: E402
from edgegal.labels import scheme  # noqa: E402
from edgegal.models.classifier import compact_network, separable_network  # noqa: E402
from edgegal.models.course import two_convolution_network  # noqa: E402
from edgegal.models.detector import ANCHORS, DETECTORS, build_detector  # noqa: E402
from edgegal.preprocess import Stretch  # noqa: E402
from edgegal.training import classifier, detector, losses  # noqa: E402
from edgegal.training.matching import PUBLISHED_MATCHING, SMALL_GALAXY_MATCHING  # noqa: E402


def test_focal_loss_by_hand() -> None:
    target = np.array([[[1, 0.5], [0, 0.5], [0, 0.0]]], np.float32)
    score = np.array([[[0.8], [0.3], [0.9]]], np.float32)
    by_hand = 0.5 * (-0.75 * 0.2**2 * np.log(0.8)) + 0.5 * (-0.25 * 0.3**2 * np.log(0.7))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(losses.focal_loss(target, score)), [by_hand], rtol=1e-5)


def test_box_loss_by_hand() -> None:
    target = np.array([[[1, 1, 1, 1, 0.5], [9, 9, 9, 9, 0.0]]], np.float32)
    codes = np.array([[[1, 1.5, 3, 1], [0, 0, 0, 0]]], np.float32)
    by_hand = 0.5 * (0.5 * 0.5**2 + (2 - 0.5)) / 4
    np.testing.assert_allclose(keras.ops.convert_to_numpy(losses.box_loss(target, codes)), [by_hand], rtol=1e-6)


def test_a_detector_learns_from_no_galaxy_that_another_set_tests_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    for i in range(6):
        cv2.imwrite(str(tmp_path / "one" / f"{i}.png"), np.full((32, 32, 3), i, np.uint8))
    name = f"folder:{tmp_path}"
    one = open_dataset(name).with_splits(np.array(["train"] * 6))
    other = replace(one.with_splits(np.array(["test", *["train"] * 5])), name="other")
    lent = []

    def caught(sets: list[PictureSet], *rest: object) -> None:
        lent.extend(sets)
        raise InterruptedError

    monkeypatch.setattr(detector.Ingredients, "of", caught)
    with pytest.raises(InterruptedError):
        detector.train_detector([one, other], 8, detector.DetectorSettings(size=64))
    assert [part.ids for part in lent] == [one.ids[1:], one.ids[1:]]


def test_boxes_turn_with_their_picture() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[4:9, 10:22] = 255
    field = Field(picture, np.array([[10, 4, 22, 9]], np.float32), np.zeros((0, 4), np.float32))
    for seed in range(24):
        turned = detector.turned(field, np.random.default_rng(seed))
        ys, xs = np.nonzero(turned.picture[..., 0])
        assert turned.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_temperature_is_recovered() -> None:
    """Labels drawn from known probabilities, then sharpened: the fitted temperature undoes the sharpening."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=p) for p in true], np.int32)
    sharp = true**2 / (true**2).sum(axis=1, keepdims=True)
    assert classifier.fit_temperature(sharp.astype(np.float32), labels) == pytest.approx(2.0, rel=0.1)


def test_networks_have_the_shapes_they_state() -> None:
    from edgegal.anchors import anchor_count

    small = separable_network(4, 64)
    assert {k: v.shape for k, v in small.output.items()} == {"probabilities": (None, 4)}
    assert small.inputs[0].name == "image"
    finder = build_detector(size=128)
    count = anchor_count(ANCHORS, 128, 128)
    assert {k: v.shape for k, v in finder.output.items()} == {"boxes": (None, count, 4), "scores": (None, count, 1)}
    with pytest.raises(InputError, match="multiple of 64"):
        build_detector(size=100)


def test_scores_start_at_the_prior() -> None:
    finder = build_detector(size=128)
    scores = finder.predict(np.zeros((1, 128, 128, 3), np.float32), verbose=0)["scores"]
    assert float(scores.mean()) == pytest.approx(0.01, abs=0.003)


def test_head_and_anchors_agree_on_order() -> None:
    """A code map whose value names its cell comes out in the order of the anchors' centres."""
    from edgegal.anchors import generate

    finder = build_detector(size=128)
    for layer in finder.layers:
        if layer.name.startswith("boxes") and isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([np.zeros_like(layer.get_weights()[0]), np.zeros_like(layer.get_weights()[1])])
    tap = keras.Model(finder.inputs, [finder.get_layer(f"boxes{lv.stride}").output for lv in ANCHORS.levels])
    shapes = [t.shape[1:3] for t in tap.outputs]
    assert shapes == [(128 // lv.stride, 128 // lv.stride) for lv in ANCHORS.levels]
    grid = generate(ANCHORS, 128, 128)
    start = 0
    for (rows, columns), level in zip(shapes, ANCHORS.levels, strict=True):
        per_cell = len(level.sizes) * len(ANCHORS.ratios)
        block = grid[start : start + rows * columns * per_cell].reshape(rows, columns, per_cell, 4)
        assert (block[1:, :, 0, 1] > block[:-1, :, 0, 1]).all()
        assert (block[:, 1:, 0, 0] > block[:, :-1, 0, 0]).all()
        start += rows * columns * per_cell
    assert start == len(grid)


@pytest.mark.slow
def test_a_detector_learns_one_field() -> None:
    """Overfitting a single field with one galaxy: its loss must fall far below the start."""
    keras.utils.set_random_seed(0)
    field = next(f for f in compose_fields(20, 0, 64, Stretch()) if len(f.boxes))
    model = build_detector(size=64)
    held = detector.FieldBatches([field] * 4, ANCHORS, 4, 0, augment=False)
    model.compile(keras.optimizers.Adam(2e-3), loss={"boxes": losses.box_loss, "scores": losses.focal_loss})
    history = model.fit(held, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize(
    ("architecture", "alpha", "gamma"),
    [
        ("ssdlite-mobilenet-v2", 0.75, 2.0),
        ("ssd-mobilenet-v2-fpnlite", 0.25, 2.0),
        ("efficientdet-lite0", 0.25, 1.5),
    ],
)
def test_scores_are_taught_by_the_loss_of_the_recipe(architecture: str, alpha: float, gamma: float) -> None:
    loss = detector.DetectorSettings(architecture).score_loss
    assert isinstance(loss, losses.FocalLoss)
    config = loss.get_config()
    assert (config["alpha"], config["gamma"]) == (alpha, gamma)
    hard = detector.DetectorSettings(architecture, loss="hard-negative").score_loss
    assert isinstance(hard, losses.HardNegativeLoss)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", DETECTORS)
def test_every_architecture_is_trained_by_a_step(architecture: str) -> None:
    kind = DETECTORS[architecture]
    size = -(-64 // kind.multiple) * kind.multiple
    fields = [f for f in compose_fields(20, 0, size, Stretch()) if len(f.boxes)][:2]
    settings = detector.DetectorSettings(architecture, size=size, epochs=1, batch=2)
    model = build_detector(architecture, size=size)
    before = model.get_weights()
    log = detector.fit_detector(model, fields, fields, settings)
    assert np.isfinite(log["loss"]).all()
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.usefixtures("eagerly")
def test_a_detector_is_fitted_with_its_architectures_matching() -> None:
    """What it says of its validation fields is its loss against the targets of that matching, and of no other."""
    fields = [f for f in compose_fields(20, 0, 64, Stretch()) if len(f.boxes)][:4]
    settings = detector.DetectorSettings("ssdlite-mobilenet-v2-topdown", size=64, epochs=1, batch=4, rate=1e-9)
    model = build_detector(settings.architecture, size=64)
    said = detector.fit_detector(model, fields, fields, settings)["val_scores_loss"][-1]
    loss = {
        matching: model.evaluate(
            detector.FieldBatches(fields, settings.anchors, 4, 0, augment=False, matching=matching),
            return_dict=True,
            verbose=0,
        )["scores_loss"]
        for matching in (SMALL_GALAXY_MATCHING, PUBLISHED_MATCHING)
    }
    assert said == pytest.approx(loss[SMALL_GALAXY_MATCHING], rel=1e-4)
    assert said != pytest.approx(loss[PUBLISHED_MATCHING], rel=1e-2)


@pytest.mark.usefixtures("eagerly")
def test_a_detector_learns_and_is_validated_on_hard_fields_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def drawn(count: int, seed: int, size: int, stretch: Stretch, of: Ingredients, processes: int) -> list[Field]:
        asked.append(of.hard)
        return compose_fields(4, seed, size, stretch)

    monkeypatch.setattr(detector, "mixed_fields", drawn)
    detector.train_detector([], 4, detector.DetectorSettings(size=64, epochs=1, batch=4))
    assert asked == [True, True]


@pytest.mark.usefixtures("eagerly")
def test_a_classifier_learns_and_is_saved(tmp_path: Path) -> None:
    from edgegal.data import open_dataset
    from edgegal.data.simulated import simulate_cutouts
    from edgegal.labels import SCHEMES
    from edgegal.models.artefact import load_trained, save_trained

    pictures, labels = simulate_cutouts(60, 0, 48, Stretch(), 1.4)
    scheme = SCHEMES["gz2-5class"]
    for split, chosen in (("train", range(40)), ("val", range(40, 50)), ("test", range(50, 60))):
        for i in chosen:
            folder = tmp_path / "set" / split / scheme.labels[labels[i]]
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{i}.png"), pictures[i][..., ::-1])
    data = open_dataset(f"folder:{tmp_path / 'set'}", "gz2-5class")
    settings = classifier.ClassifierSettings(size=32, epochs=2, batch=10, simulated=10)
    model, description, history = classifier.train_classifier([data], scheme, settings)
    assert len(history["loss"]) == 2
    assert description.labels == scheme.labels
    assert description.temperature > 0
    folder = save_trained(model, description, tmp_path / "model", history)
    assert sorted(p.name for p in folder.iterdir()) == ["history.csv", "model.json", "model.keras"]
    again, read = load_trained(folder)
    assert read == description
    crops = pictures[:3, :32, :32]
    np.testing.assert_allclose(classifier.predict(again, crops), classifier.predict(model, crops), atol=1e-6)


def test_calibration_undoes_overconfidence_and_finds_where_to_abstain() -> None:
    """A network that knows one thing, how red a picture is, and is twice too sure of it."""
    rng = np.random.default_rng(0)
    red = rng.integers(0, 256, 3000)
    pictures = np.zeros((3000, 32, 32, 3), np.uint8)
    pictures[..., 0] = red[:, None, None]
    logit = (red - 127.5) / 30
    labels = (rng.random(3000) < 1 / (1 + np.exp(-logit))).astype(np.int32)
    image = keras.Input((32, 32, 3), name="image")
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, {"probabilities": keras.layers.Softmax(name="probabilities")(logits)})
    steep = np.zeros((3, 2), np.float32)
    steep[0] = -1 / 30, 1 / 30
    model.get_layer("logits").set_weights([steep, np.array([127.5, -127.5], np.float32) / 30])
    found = classifier.calibrated(model, pictures, np.eye(2, dtype=np.float32)[labels], 1.4)
    assert found["temperature"] == pytest.approx(2.0, rel=0.15)
    sure = 1 / (1 + np.exp(-np.abs(logit)))
    answered = sure >= found["abstain_below"]
    right = (labels == (logit > 0))[answered]
    assert 0.55 < found["abstain_below"] < 0.9
    assert right.mean() > 0.89 > (labels == (logit > 0)).mean()


def test_opinions_of_teachers_and_blended_pairs_are_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgegal.data import open_dataset
    from edgegal.labels import SCHEMES
    from edgegal.training.distillation import Teacher

    galaxy6 = SCHEMES["galaxy6"]
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in galaxy6.labels:
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for i in range(2):
                cv2.imwrite(str(folder / f"{i}.png"), rng.normal(90, 30, (48, 48, 3)).clip(0, 255).astype(np.uint8))
    data = open_dataset(f"folder:{tmp_path}", "galaxy6")
    learned = []

    def recorded(
        model: object, train: tuple[np.ndarray, np.ndarray], *_: object, **__: object
    ) -> dict[str, list[float]]:
        learned.append(train)
        return {}

    monkeypatch.setattr(classifier, "fit_classifier", recorded)
    teacher = Teacher(separable_network(6, 32), 1.4, galaxy6)
    settings = classifier.ClassifierSettings("separable", size=32, epochs=1, pairs=5)
    for teachers in ([], [teacher]):
        classifier.train_classifier([data], galaxy6, settings, teachers)
    (plain_views, plain), (views, taught) = learned
    np.testing.assert_array_equal(views, plain_views)
    assert len(plain) == 12 + 5
    merger = galaxy6.index("merger")
    for targets in (plain, taught):
        np.testing.assert_array_equal(targets[12:], np.tile(np.eye(6, dtype=np.float32)[merger], (5, 1)))
    assert set(np.unique(plain[:12])) == {0, 1}
    assert (taught[:12].argmax(axis=1) == plain[:12].argmax(axis=1)).all()
    assert ((taught[:12] > 0) & (taught[:12] < 1)).all()
    np.testing.assert_allclose(taught.sum(axis=1), 1, atol=1e-5)


def test_a_teacher_of_fewer_classes_says_nothing_of_pictures_without_a_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would call none of them a merger."""
    from edgegal.data import open_dataset
    from edgegal.labels import SCHEMES
    from edgegal.training.distillation import Teacher

    rows = [("train", label) for label in (*SCHEMES["galaxy6"].labels, "")] + [("val", "round")]
    rng = np.random.default_rng(0)
    for i in range(len(rows)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.normal(90, 30, (48, 48, 3)).clip(0, 255).astype(np.uint8))
    lines = [f"{i}.png,{label},{split}" for i, (split, label) in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *lines]))
    data = open_dataset(f"csv:{tmp_path / 'labels.csv'}", "galaxy6")
    learned = {}
    settings = classifier.ClassifierSettings("separable", size=32, epochs=1)
    for name in ("gz2-5class", "galaxy6"):
        monkeypatch.setattr(
            classifier,
            "fit_classifier",
            lambda model, train, *_, name=name, **__: learned.update({name: train[1]}) or {},
        )
        teacher = Teacher(separable_network(len(SCHEMES[name].labels), 32), 1.4, SCHEMES[name])
        classifier.train_classifier([data], SCHEMES["galaxy6"], settings, [teacher])
    five, six = learned["gz2-5class"], learned["galaxy6"]
    assert (len(five), len(six)) == (6, 7)
    np.testing.assert_array_equal(five[5], [0, 0, 0, 0, 0, 1])
    assert 0 < six[5, 5] < 1


def test_a_trained_network_is_given_looks_without_training(tmp_path: Path) -> None:
    from edgegal.data import open_dataset

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in scheme("h4").labels:
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / "0.png"), rng.normal(90, 30, (48, 48, 3)).clip(0, 255).astype(np.uint8))
    data = open_dataset(f"folder:{tmp_path}", "h4")
    start = compact_network(4, 32)
    settings = classifier.ClassifierSettings(size=48, epochs=0, zooms=(1.5,))
    begun_as = zoo.resolve("four-classes").manifest.classifier
    assert begun_as is not None
    named = begun_as.provenance.model_copy(
        update={"architecture": "compact separable CNN, 32 px, taught by 2 networks"}
    )
    model, description, _ = classifier.train_classifier(
        [data],
        data.scheme,
        settings,
        start=start,
        crop_scale=2.4,
        start_as=begun_as.model_copy(update={"provenance": named}),
    )
    said = "compact separable CNN, 48 px, looking at 1x 1.5x, taught by 2 networks"
    assert description.provenance == named.model_copy(update={"architecture": said})
    assert (description.preprocess.width, description.preprocess.crop_scale) == (48, 2.4)
    for layer in start.layers:
        for one, two in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_lost_looks_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """The shipped classifier looks three times, at 64 pixels each."""
    shipped = zoo.resolve("galaxies").manifest.classifier
    assert shipped is not None
    kept = classifier.ClassifierSettings(size=96, epochs=0, zooms=(1.2, 1.5))
    with caplog.at_level(logging.WARNING):
        classifier._tell_of_lost_looks(96, kept, shipped)
        classifier._tell_of_lost_looks(96, replace(kept, mirrored=True), shipped)
    assert not caplog.text
    for size, changed in ((96, replace(kept, zooms=())), (64, replace(kept, zooms=())), (144, kept)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            classifier._tell_of_lost_looks(size, changed, shipped)
        assert "at 1.8 times the box: name its --size, --crop-scale and --zoom" in caplog.text


def test_a_class_that_no_teacher_knows_is_not_taught() -> None:
    """However much their opinions are evened out."""
    from edgegal.training.distillation import Teacher

    galaxy6 = scheme("galaxy6")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3)).astype(np.uint8)
    allowed = np.eye(6, dtype=np.float32)[[0, 1, 2, 4]]
    cutouts = classifier._Cutouts(pictures, pictures[:0], allowed, "four pictures")
    teacher = Teacher(separable_network(5, 32), 1.4, scheme("gz2-5class"))
    known = np.array([True] * 5 + [False])
    settings = classifier.ClassifierSettings(even=1.0)
    taught = classifier._taught([cutouts], [teacher], known, galaxy6, settings, 1.4)
    assert taught[:, 5].max() < 1e-5
    assert taught[:, :5].min() > 1e-3


def test_other_networks_look_once() -> None:
    with pytest.raises(InputError, match="looks at a picture once") as error:
        classifier.ARCHITECTURES["separable"].network(3, 48, (1.5,))
    assert "compact, compact-excite" in str(error.value.mend)


def test_the_layer_that_tells_classes_is_kept_for_the_same_classes_alone() -> None:
    """As many classes are not the same classes."""
    first, other, anew = (separable_network(3, 32) for _ in range(3))
    layers = [layer for layer in first.layers if layer.weights]
    before = anew.get_layer("logits").get_weights()
    classifier._take_weights(other, first, same_classes=True)
    classifier._take_weights(anew, first, same_classes=False)
    for layer in layers:
        for one, two in zip(layer.get_weights(), other.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(anew.get_layer("logits").get_weights()[0], before[0])
    np.testing.assert_array_equal(anew.get_layer(layers[0].name).get_weights()[0], layers[0].get_weights()[0])
    with pytest.raises(InputError, match="is another than") as error:
        classifier._take_weights(separable_network(3, 32), two_convolution_network(3, 32), same_classes=True)
    assert "--size" in str(error.value.mend)


@pytest.mark.parametrize(
    ("asked", "started", "problem"),
    [
        ({"epochs": 0}, False, "no starting network"),
        ({"keep": 0.5}, False, "no starting network"),
        ({"epochs": 0}, True, "other classes"),
        ({"keep": 0.5}, True, "other classes"),
        ({"even": 0.5}, True, "no teachers"),
        ({"epochs": 0, "pairs": 5}, None, "nothing is learned"),
    ],
)
def test_what_a_training_could_not_do_is_refused(asked: dict[str, float], started: bool | None, problem: str) -> None:
    """A start of other classes, none, or, where None, one of the same."""
    settings = classifier.ClassifierSettings(size=32, **asked)  # type: ignore[arg-type]
    start = None if started is False else separable_network(6, 32)
    begun_as = zoo.resolve("galaxies" if started is None else "four-classes").manifest.classifier
    with pytest.raises(InputError, match=problem):
        classifier.train_classifier([], scheme("galaxy6"), settings, start=start, start_as=begun_as)


@pytest.mark.slow
def test_two_seeds_are_one_method_in_the_report(tmp_path: Path) -> None:
    """One network learns three classes, one goes on from it with two; judged where both can be."""
    from edgegal.data import open_dataset
    from edgegal.data.simulated import simulate_cutouts
    from edgegal.labels import SCHEMES
    from edgegal.models.artefact import load_trained, save_trained
    from edgegal.training.evaluation import report_trained

    pictures, labels = simulate_cutouts(45, 0, 48, Stretch(), 1.4)
    names = SCHEMES["gz2-5class"].labels
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        folder = tmp_path / "set" / ("train", "val", "test")[i // 15] / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{i}.png"), picture[..., ::-1])
    name = f"folder:{tmp_path / 'set'}"
    data = open_dataset(name, "gz2-5class")
    folders, start = [], None
    for seed in (0, 1):
        settings = classifier.ClassifierSettings(size=32, epochs=1, batch=5, seed=seed)
        model, description, history = classifier.train_classifier([data], data.scheme, settings, start=start)
        folders.append(save_trained(model, description, tmp_path / f"model{seed}", history))
        start = load_trained(folders[0])[0]
    page = report_trained(folders, [name], tmp_path / "report", "h4")
    (run,) = json.loads(page.with_suffix(".json").read_text())["comparison"]["runs"]
    assert run["results"] == 2
    assert run["parameters"] > 10_000
    assert set(run["figures"]) >= {"accuracy", "balanced_accuracy"}
    with pytest.raises(InputError, match="with seed 0"):
        report_trained([folders[0], folders[0]], [name], tmp_path / "twice", "h4")


def test_classes_of_ones_own_are_judged_wherever_the_pictures_lie(tmp_path: Path) -> None:
    from edgegal.data import open_dataset
    from edgegal.models.artefact import save_trained
    from edgegal.training.evaluation import report_trained

    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label, level in (("dim", 30), ("lit", 200)):
            folder = tmp_path / "mine" / split / label
            folder.mkdir(parents=True)
            for i in range(4):
                cv2.imwrite(str(folder / f"{i}.png"), rng.normal(level, 5, (40, 40, 3)).clip(0, 255).astype(np.uint8))
    data = open_dataset(f"folder:{tmp_path / 'mine'}")
    settings = classifier.ClassifierSettings(size=32, epochs=1, batch=4)
    trained = save_trained(*classifier.train_classifier([data], data.scheme, settings)[:2], tmp_path / "model")
    (tmp_path / "mine").rename(tmp_path / "moved")
    page = report_trained([trained], [f"folder:{tmp_path / 'moved'}"], tmp_path / "report")
    (run,) = json.loads(page.with_suffix(".json").read_text())["comparison"]["runs"]
    assert run["results"] == 1


@pytest.mark.slow
def test_one_step_on_jax(tmp_path: Path) -> None:
    """Models and losses are backend-neutral: one training step of each network in a process of its own.

    What was trained there predicts, and can be saved after it has. The tests above train both on TensorFlow.
    """
    script = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)
# As on a machine without TensorFlow.
sys.meta_path.insert(0, Absent())
import numpy as np
from edgegal.data.fields import compose_fields
from edgegal.models.classifier import separable_network
from edgegal.models.detector import build_detector
from edgegal.preprocess import Stretch
from edgegal.training.classifier import ClassifierSettings, fit_classifier, predict
from edgegal.training.detector import DetectorSettings, fit_detector
import keras
fields = compose_fields(2, 0, 64, Stretch())
log = fit_detector(build_detector(size=64), fields, fields, DetectorSettings(size=64, epochs=1, batch=2))
assert np.isfinite(log["loss"]).all()
pictures = np.zeros((4, 64, 64, 3), np.uint8)
targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
held = pictures[:, :32, :32]
settings = ClassifierSettings(epochs=1, batch=4)
model = separable_network(2, 32)
log = fit_classifier(model, (pictures, targets), (held, targets), np.ones(4, np.float32), settings)
assert np.isfinite(log["loss"]).all()
before = predict(model, held)
model.save(sys.argv[1])
assert np.array_equal(predict(keras.saving.load_model(sys.argv[1], compile=False), held), before)
print(keras.backend.backend())
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-c", script, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "jax"


def test_what_was_known_before_is_kept_in_part() -> None:
    model = separable_network(3, 32, widths=(8, 8), repeats=1)
    first = model.get_weights()
    model.set_weights([weights + 1 for weights in first])
    classifier._mix_weights(model, first, 0.25)
    for found, was in zip(model.get_weights(), first, strict=True):
        np.testing.assert_allclose(found, was + 0.75, rtol=1e-6)


def test_nothing_is_kept_of_no_network() -> None:
    settings = classifier.ClassifierSettings(size=32, keep=0.5)
    with pytest.raises(InputError, match=r"no starting network.*--start"):
        classifier.train_classifier([], scheme("h4"), settings)


def test_adjusting_divides_the_frequencies_out() -> None:
    model = separable_network(3, 32, widths=(8, 8), repeats=1)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    before = classifier.predict(model, pictures)
    frequencies = np.array([0.5, 0.4, 0.1], np.float32)
    classifier._adjust(model, frequencies, 1.0)
    wanted = before / frequencies
    np.testing.assert_allclose(
        classifier.predict(model, pictures), wanted / wanted.sum(axis=1, keepdims=True), rtol=1e-4
    )
