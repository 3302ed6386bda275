"""`edgegal train detector` from its options to a network."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host

pytest.importorskip("keras", reason="training needs the host environment")

from edgegal import zoo  # noqa: E402
from edgegal.cli import main  # noqa: E402
from edgegal.cli.training import anchors_asked  # noqa: E402
from edgegal.data.boxed.annotations import Annotation  # noqa: E402
from edgegal.data.boxed.voc import write_voc  # noqa: E402
from edgegal.errors import InputError  # noqa: E402
from edgegal.models.artefact import load_trained  # noqa: E402
from edgegal.models.detector import ANCHORS  # noqa: E402


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


@pytest.fixture
def frames(tmp_path: Path) -> str:
    """Annotated frames of blobs, of a class of their own."""
    folder = tmp_path / "frames"
    annotations = []
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        for i in range(4):
            picture = np.random.default_rng(i).normal(12, 2, (90, 120, 3)).clip(0, 255).astype(np.uint8)
            cv2.ellipse(picture, (30 + 15 * i, 40), (14, 8), 0, 0, 360, (200, 190, 180), -1)
            cv2.imwrite(str(folder / split / f"{i}.png"), picture)
            box = np.array([[16 + 15 * i, 32, 45 + 15 * i, 49]], np.float64)
            file = f"{split}/{i}.png"
            annotations.append(Annotation(file, box, ("nebula",), np.zeros(1, bool), (120, 90), file, split))
    write_voc(folder, ("nebula",), annotations)
    return f"voc:{folder}"


SMALL = ("--fields", "8", "--epochs", "1", "--batch", "4", "--size", "64", "--telescope", "none")


@pytest.mark.slow
def test_own_frames_anchors_and_classes_reach_the_network(frames: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    anchors = ("--anchor", "8:8,12", "--anchor", "16:20", "--anchor", "32:40", "--anchor", "64:60")
    words = ("train", "detector", "--data", frames, "--scheme", "celestial", "--out", str(out), *SMALL, *anchors)
    assert called(*words, "--mono", "--loss", "hard-negative") == 0
    model, description = load_trained(out)
    assert description.labels == ("galaxy", "star cluster", "nebula", "planetary nebula", "star trail")
    assert [level.sizes for level in description.anchors.levels] == [(8, 12), (20,), (40,), (60,)]
    assert model.output["scores"].shape[2] == 5
    assert "mono" in description.provenance.architecture
    assert any("(training pictures)" in name for name in description.provenance.datasets)
    assert called("train", "detector", "--start", str(out), "--out", str(tmp_path / "again"), *SMALL) == 2


def test_classes_that_the_detector_lacks_are_refused(
    frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "detector", "--data", frames, "--out", str(tmp_path / "out"), *SMALL)
    assert called(*words, "--class-map", "cluster=galaxy") == 2
    assert "no set has a class 'cluster' to map" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--loss", "l2"),
        ("--architecture", "yolo"),
        ("--anchor", "8"),
        ("--anchor", "8:0"),
        ("--anchor", "8:nan"),
        ("--anchor", "8:inf"),
        ("--anchor", "8:65", "--anchor", "16:20", "--anchor", "32:40", "--anchor", "64:60"),
        ("--anchor", "8:9,12"),
        ("--telescope", "hubble"),
        ("--scheme", "nothing"),
        ("--scheme", "h4"),
        ("--telescope", "all"),
        ("--size", "100"),
        ("--seed", "-1"),
        ("--class-map", "a=galaxy"),
        ("--unannotated-empty",),
        ("--scheme", "celestial"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_work(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("train", "detector", "--out", str(tmp_path / "out"), *SMALL, *words) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_anchors_are_replaced_level_by_level() -> None:
    assert anchors_asked([], "ssdlite-mobilenet-v2", 256) is None
    asked = anchors_asked(["16:30", "8:8,10"], "ssdlite-mobilenet-v2", 256)
    assert asked is not None
    assert [(level.stride, level.sizes) for level in asked.levels] == [(8, (8.0, 10.0)), (16, (30.0,))]
    assert asked.ratios == ANCHORS.ratios
    with pytest.raises(InputError, match="names no anchors"):
        anchors_asked(["8"], "ssdlite-mobilenet-v2", 256)


def test_a_detector_goes_on_from_trained_weights() -> None:
    from edgegal.training.detector import DetectorSettings, begun

    settings = DetectorSettings(size=64)
    first, other = begun(settings, 1, None), begun(settings, 1, None)
    assert any((a != b).any() for a, b in zip(first.get_weights(), other.get_weights(), strict=True))
    again = begun(settings, 1, first)
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(InputError, match="cannot go on from that network"):
        begun(settings, 2, first)


def test_other_anchors_than_a_network_was_trained_with_are_refused() -> None:
    """As many of them as it has would be taken, and every box be another."""
    from edgegal.training.detector import DetectorSettings, check_start

    words = ["8:15,22", "16:34,52", "32:78,118", "64:165,220"]
    other = DetectorSettings(anchor_spec=anchors_asked(words, "ssdlite-mobilenet-v2", 256))
    description = zoo.resolve(zoo.DEFAULT).manifest.detector
    assert description is not None
    assert description.anchors == ANCHORS
    check_start(DetectorSettings(), description)
    with pytest.raises(InputError, match="other anchors"):
        check_start(other, description)


def _begun(**choices: Any) -> Any:
    from edgegal.training.detector import DetectorSettings, begun

    start = choices.pop("start", None)
    return begun(DetectorSettings(size=64, **choices), 1, start)


def _heard(model: Any, pictures: np.ndarray) -> dict[str, np.ndarray]:
    return {role: np.asarray(values) for role, values in model(pictures, training=False).items()}


@pytest.fixture(scope="module")
def taught() -> Any:
    """The plain network with weights of which no output is small beside another."""
    import keras

    keras.utils.set_random_seed(0)
    model = _begun()
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith(("boxes", "scores")):
            layer.set_weights([rng.normal(0, 300, weight.shape) for weight in layer.get_weights()])
    return model


PICTURES = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
TOPDOWN = "ssdlite-mobilenet-v2-topdown"


def test_a_detector_goes_on_from_one_that_is_a_part_of_it(taught: Any) -> None:
    """What it has beside adds nothing at first: it says what the part says."""
    larger = _begun(architecture=TOPDOWN, start=taught)
    assert larger.count_params() > taught.count_params()
    expected, said = _heard(taught, PICTURES), _heard(larger, PICTURES)
    for role, values in expected.items():
        assert values.std() > 0.01
        np.testing.assert_allclose(said[role], values, rtol=1e-5, atol=1e-5 * values.std())


@pytest.mark.parametrize("added", ["context8", "detail8", "refine8_first", "refine8_second"])
def test_each_of_the_added_parts_changes_the_finest_map_alone(taught: Any, added: str) -> None:
    larger = _begun(architecture=TOPDOWN, start=taught)
    layer = larger.get_layer(added)
    layer.set_weights([np.random.default_rng(2).normal(0, 1, weight.shape) for weight in layer.get_weights()])
    finest = 8 * 8 * 10
    expected, said = _heard(taught, PICTURES), _heard(larger, PICTURES)
    for role, values in expected.items():
        assert np.abs(said[role] - values)[:, :finest].max() > 1e-3
        np.testing.assert_allclose(said[role][:, finest:], values[:, finest:], rtol=1e-5, atol=1e-5 * values.std())


def test_nothing_that_was_learned_is_dropped_without_a_word(taught: Any) -> None:
    import keras

    alien = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1, name="elsewhere")])
    larger = _begun(architecture=TOPDOWN, start=taught)
    of_other_pixels = _begun(start=taught)
    of_other_pixels.get_layer("rescale").scale *= 2
    for choices in (
        {"start": larger},
        {"start": alien},
        {"start": of_other_pixels},
        {"start": taught, "architecture": "efficientdet-lite0"},
        {"start": taught, "architecture": "ssd-mobilenet-v2-fpnlite"},
        {"start": taught, "architecture": TOPDOWN, "alpha": 0.5},
    ):
        with pytest.raises(InputError, match="cannot go on from that network"):
            _begun(**choices)


def test_the_help_names_every_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    from edgegal.models.detector import DETECTORS

    assert called("train", "detector", "--help") == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert all(name in "".join(said.replace("│", "").split()) for name in DETECTORS)
