"""Networks out of bundles: they answer as the bundle does, and learn as those they were exported from."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal import zoo  # noqa: E402
from edgegal.bundle import Bundle  # noqa: E402
from edgegal.bundle.evaluation import read_classifier_set, read_detector_set  # noqa: E402
from edgegal.bundle.manifest import ClassifierDescription  # noqa: E402
from edgegal.cli.training import averaged, begun_from, teachers  # noqa: E402
from edgegal.errors import BundleError, InputError, MissingPartError  # noqa: E402
from edgegal.inference import open_classifier, open_detector, tempered  # noqa: E402
from edgegal.labels import scheme  # noqa: E402
from edgegal.models.artefact import save_trained  # noqa: E402
from edgegal.models.classifier import compact_network  # noqa: E402
from edgegal.models.detector import build_detector  # noqa: E402
from edgegal.training.classifier import built_like  # noqa: E402
from edgegal.training.restored import restore  # noqa: E402

TOPDOWN = "ssdlite-mobilenet-v2-topdown"


def restored_detector(bundle: Bundle, **choices: Any) -> Any:
    stage = bundle.manifest.detector
    assert stage is not None
    model = build_detector(**{"name": TOPDOWN, **choices})
    restore(model, bundle, stage)
    return model


@pytest.fixture(scope="module")
def galaxies() -> Bundle:
    return zoo.resolve("galaxies")


@pytest.fixture(scope="module")
def detector(galaxies: Bundle) -> Any:
    return restored_detector(galaxies)


def pictures_of(bundle: Bundle) -> np.ndarray:
    return read_detector_set(bundle)[0].astype(np.float32)


def test_a_detector_answers_as_the_bundle_does(galaxies: Bundle, detector: Any) -> None:
    bundled = open_detector(galaxies, runtime="onnxruntime", precision="fp32")
    for picture in read_detector_set(galaxies)[0][:4]:
        answers, expected = detector(picture[None].astype(np.float32), training=False), bundled.raw(picture)
        for role in ("boxes", "scores"):
            np.testing.assert_allclose(answers[role], expected[role], atol=1e-4, rtol=1e-4)


def test_it_answers_nearly_the_same_while_it_learns(galaxies: Bundle, detector: Any) -> None:
    """The statistics in it are those of pictures, so that the first step of training does not start from elsewhere."""
    pictures = pictures_of(galaxies)
    still, learning = (np.asarray(detector(pictures, training=t)["scores"]).ravel() for t in (False, True))
    assert np.corrcoef(still, learning)[0, 1] > 0.98


def test_what_is_normalised_has_a_spread_of_one(galaxies: Bundle) -> None:
    for layer in restored_detector(galaxies).get_layer("backbone").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            variance = keras.ops.convert_to_numpy(layer.moving_variance)
            assert variance.max() < 1.001
            assert np.median(variance) > 0.999


def test_a_classifier_answers_as_the_bundle_does() -> None:
    """Its depthwise convolutions are followed by a factor and an offset, not folded."""
    for name in zoo.names():
        bundle = zoo.resolve(name)
        stage = bundle.manifest.classifier
        assert stage is not None
        model = built_like(stage)
        restore(model, bundle, stage)
        pictures = read_classifier_set(bundle)[0][:8]
        calibrated = open_classifier(bundle, runtime="onnxruntime", precision="fp32")(pictures)
        raw = keras.ops.convert_to_numpy(model(pictures.astype(np.float32), training=False)["probabilities"])
        np.testing.assert_allclose(tempered(raw, stage.temperature), calibrated, atol=1e-4)


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"name": "ssdlite-mobilenet-v2"}, "more layers"),
        ({"alpha": 0.5}, "there, not"),
        ({"classes": 2}, "there, not"),
        ({"mono": True}, "answers with other"),
        ({"name": "ssd-mobilenet-v2"}, "no layer"),
    ],
)
def test_another_network_is_refused(galaxies: Bundle, choices: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        restored_detector(galaxies, **choices)
    assert f"{TOPDOWN}, alpha 0.35" in str(refused.value)


def test_what_cannot_be_found_again_is_refused(galaxies: Bundle) -> None:
    """What maps share is written once for each of them."""
    stage = galaxies.manifest.classifier
    assert stage is not None
    shared = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.SeparableConv2D(4, 3)])
    with pytest.raises(InputError, match="cannot be taken out of a bundle") as refused:
        restore(shared, galaxies, stage)
    assert "folder of the trained network" in refused.value.mend


def test_a_bundle_without_float_weights_is_refused(galaxies: Bundle) -> None:
    stage = galaxies.manifest.detector
    assert stage is not None
    others = stage.model_copy(update={"variants": tuple(v for v in stage.variants if v.name != "onnx-fp32")})
    bundle = replace(galaxies, manifest=galaxies.manifest.model_copy(update={"detector": others}))
    with pytest.raises(InputError, match="no float ONNX variant") as refused:
        restored_detector(bundle)
    assert "--format onnx" in refused.value.mend


def test_a_changed_file_is_refused(galaxies: Bundle, tmp_path: Path) -> None:
    bundle = replace(galaxies, root=shutil.copytree(galaxies.root, tmp_path / "changed"))
    file = bundle.root / "detector" / "detector-fp32.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError):
        restored_detector(bundle)


def test_without_onnx_it_says_what_to_install(galaxies: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPartError, match="onnx") as missing:
        restored_detector(galaxies)
    assert "pip install" in missing.value.mend


def test_a_start_is_a_trained_network_or_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in (Path("four-classes"), zoo.resolve("four-classes").root):
        model, description = begun_from(start, "classifier", built_like)
        assert (description.scheme, model.output["probabilities"].shape[1]) == ("h4", 4)
    plain = description.model_dump(include=set(ClassifierDescription.model_fields))
    save_trained(model, ClassifierDescription.model_validate(plain), tmp_path / "trained")
    again, _ = begun_from(tmp_path / "trained", "classifier", built_like)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    (tmp_path / "four-classes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert begun_from(Path("four-classes"), "classifier", built_like)[1].scheme == "h4"
    with pytest.raises(InputError, match=r"no model\.json"):
        begun_from(tmp_path, "detector", built_like)
    with pytest.raises(InputError, match="no detector"):
        begun_from(Path("four-classes"), "detector", built_like)


def test_what_a_bundle_was_trained_as_is_read_from_its_title() -> None:
    stage = zoo.resolve("four-classes").manifest.classifier
    assert stage is not None
    titles = {
        "compact separable CNN, 48 px, taught by 2 networks": compact_network(4, 48),
        "compact separable CNN, 48 px, looking at 1x 1.25x 1.5x, taught by 1 network": compact_network(
            4, 48, zooms=(1.25, 1.5)
        ),
        "compact separable CNN, 48 px, looking at 1x 1.5x and mirrored": compact_network(
            4, 48, zooms=(1.5,), mirrored=True
        ),
    }
    for title, alike in titles.items():
        said = stage.provenance.model_copy(update={"architecture": title})
        size = replace(stage.preprocess, width=48, height=48)
        model = built_like(stage.model_copy(update={"provenance": said, "preprocess": size}))
        assert [op.name.rstrip("_0123456789") for op in model.operations] == [
            op.name.rstrip("_0123456789") for op in alike.operations
        ]
    with pytest.raises(InputError, match="nothing here builds"):
        built_like(stage.model_copy(update={"provenance": said.model_copy(update={"architecture": "another, 48 px"})}))


def test_several_starts_are_averaged() -> None:
    """Their mean, weight by weight; networks of other classes or layers have none."""
    described = zoo.resolve("four-classes").manifest.classifier
    other = zoo.resolve("galaxies").manifest.classifier
    assert described is not None
    assert other is not None
    networks = [(compact_network(4, 32), described) for _ in range(3)]
    wanted = [np.mean(same, axis=0) for same in zip(*(m.get_weights() for m, _ in networks), strict=True)]
    model, said = averaged(networks)
    assert said.labels == described.labels
    assert said.provenance.architecture.endswith(", mean of 3 networks")
    for one, mean in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(one, mean, atol=1e-6)
    with pytest.raises(InputError, match="different classes"):
        averaged([networks[0], (compact_network(6, 32), other)])
    elsewhere = described.provenance.model_copy(update={"datasets": ("others (train, n=5)",)})
    with pytest.raises(InputError, match="learned from different data"):
        averaged([networks[0], (networks[1][0], described.model_copy(update={"provenance": elsewhere}))])
    with pytest.raises(InputError, match="differ in their layers"):
        averaged([networks[0], (compact_network(4, 32, repeats=2), described)])


def test_a_bundle_teaches() -> None:
    (teacher,) = teachers([Path("four-classes")], scheme("h4"))
    bundle = zoo.resolve("four-classes")
    stage = bundle.manifest.classifier
    assert stage is not None
    assert (teacher.scheme.name, teacher.crop_scale) == ("h4", stage.preprocess.crop_scale)
    pictures = read_classifier_set(bundle)[0][:4]
    calibrated = open_classifier(bundle, runtime="onnxruntime", precision="fp32")(pictures)
    raw = keras.ops.convert_to_numpy(teacher.model(pictures.astype(np.float32), training=False)["probabilities"])
    np.testing.assert_allclose(tempered(raw, stage.temperature), calibrated, atol=1e-4)
    with pytest.raises(InputError, match="cannot teach gz2-5class"):
        teachers([Path("four-classes")], scheme("gz2-5class"))


@pytest.mark.slow
def test_training_goes_on_from_the_shipped_detector(tmp_path: Path) -> None:
    """A few steps at a low rate do not undo it."""
    from edgegal.cli import main
    from edgegal.models.artefact import load_trained

    words = ["train", "detector", "--start", "galaxies", "--architecture", TOPDOWN, "--telescope", "none"]
    words += ["--fields", "32", "--epochs", "1", "--batch", "8", "--rate", "1e-5", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code
    model, description = load_trained(tmp_path / "out")
    galaxies = zoo.resolve("galaxies")
    start = open_detector(galaxies, runtime="onnxruntime", precision="fp32")
    pictures = read_detector_set(galaxies)[0][:4]
    before = np.concatenate([start.raw(p)["scores"].ravel() for p in pictures])
    after = np.asarray(model(pictures.astype(np.float32), training=False)["scores"]).ravel()
    assert np.corrcoef(before, after)[0, 1] > 0.95
    assert 0.1 <= description.score_threshold <= 0.9
