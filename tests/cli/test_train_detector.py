"""`edgegal train detector` from its options to a network."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host

pytest.importorskip("keras", reason="training needs the host environment")

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
        ("--anchor", "8:9,12"),
        ("--telescope", "hubble"),
        ("--scheme", "nothing"),
        ("--scheme", "h4"),
        ("--telescope", "all"),
        ("--size", "100"),
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
