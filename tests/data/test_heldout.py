"""Small shared sets, written as the real ones are, asked for by classifiers of several schemes."""

import logging
import zipfile
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.bundle.manifest import ClassifierDescription, Provenance
from edgegal.data.heldout import common_scheme, held_out, tell_seen
from edgegal.errors import DatasetError, EdgegalError, InputError
from edgegal.labels import SCHEMES
from edgegal.preprocess import Preprocess

pytestmark = pytest.mark.host

SIZE = 32


def classifier(scheme: str, labels: tuple[str, ...] | None = None, source: str = "none") -> ClassifierDescription:
    return ClassifierDescription(
        labels=labels or SCHEMES[scheme].labels,
        scheme=scheme,
        preprocess=Preprocess(SIZE, SIZE, crop_scale=1.5),
        provenance=Provenance(
            architecture="none",
            parameters=0,
            datasets=(source,),
            dataset_sha256="0" * 64,
            seed=0,
            versions={},
            trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
        ),
    )


def galaxy(side: int = 64, radius: int = 5) -> np.ndarray:
    """A bright round spot in the middle of a dark, slightly noisy sky."""
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    light = 180 * np.exp(-(x**2 + y**2) / radius**2)[..., None]
    noise = np.random.default_rng(0).normal(20, 2, (side, side, 3))
    return np.clip(light + noise, 0, 255).astype(np.uint8)


def write_set(root: Path, name: str, rows: list[tuple[str, str, str, str]]) -> None:
    """Rows of file, label, split and the id of the same galaxy in another set."""
    folder = root / name
    folder.mkdir()
    lines = [f"{i}.png,{label},{split},{other}" for i, label, split, other in rows]
    (folder / "labels.csv").write_text("\n".join(["file,label_name,split,dup_other", *lines]) + "\n")
    content = cv2.imencode(".png", galaxy())[1].tobytes()
    with zipfile.ZipFile(folder / "pictures.zip", "w") as zipped:
        for row in rows:
            zipped.writestr(f"{row[0]}.png", content)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEGAL_SHARED_DATA", str(tmp_path))
    write_set(
        tmp_path,
        "gz2_kaggle_5class",
        [
            ("k1", "completely_round_smooth", "test", ""),
            ("k2", "spiral", "test", ""),
            ("k3", "edge-on", "train", ""),
            ("k4", "", "test", ""),
        ],
    )
    write_set(
        tmp_path,
        "gz1_6class",
        [
            ("g1", "elliptical", "test", ""),
            ("g2", "spiral-acw", "test", ""),
            ("g3", "dont-know", "test", ""),
            ("g4", "merger", "test", "k3"),
        ],
    )
    return tmp_path


def named(held) -> list[str]:  # type: ignore[no-untyped-def]
    return [held.scheme.labels[i] for i in held.labels]


def test_a_wider_classifier_is_judged_in_the_classes_of_the_set(shared: Path) -> None:
    held = held_out("gz2_kaggle_5class", classifier("galaxy6"))
    assert (held.name, held.split, held.scheme.name) == ("gz2_kaggle_5class in gz2-5class", "test", "gz2-5class")
    assert named(held) == ["round", "spiral"]
    assert held.pictures.shape == (2, SIZE, SIZE, 3)


def test_the_classes_asked_for_are_taken_and_what_they_lack_is_left_out(shared: Path) -> None:
    for scheme in ("galaxy6", "gz2-5class"):
        assert named(held_out("gz1_6class", classifier(scheme), "h4")) == ["smooth", "spiral", "merger"]
    assert named(held_out("gz2_kaggle_5class", classifier("galaxy6"), "h4")) == ["smooth", "spiral"]


def test_a_coarser_classifier_is_judged_in_its_own_classes(shared: Path) -> None:
    held = held_out("gz1_6class", classifier("h4"))
    assert (held.name, held.scheme.name) == ("gz1_6class", "h4")


def test_where_neither_maps_to_the_other_the_mend_is_what_both_map_to(shared: Path) -> None:
    with pytest.raises(InputError, match="galaxy6, the set's gz1-6class") as caught:
        held_out("gz1_6class", classifier("galaxy6"))
    assert caught.value.mend.startswith("judge in classes that both map to: --scheme h4")
    with pytest.raises(InputError, match="neither") as caught:
        common_scheme(SCHEMES["galaxy"], SCHEMES["h4"])
    assert "--scheme" not in caught.value.mend


@pytest.mark.parametrize(
    ("scheme", "wanted"), [("galaxy6", "gz1-6class"), ("h4", "gz2-5class"), ("galaxy6", "hubble3"), ("galaxy6", "h5")]
)
def test_classes_that_cannot_be_had_are_refused(shared: Path, scheme: str, wanted: str) -> None:
    with pytest.raises(EdgegalError, match="label scheme"):
        held_out("gz1_6class", classifier(scheme), wanted)


def test_galaxies_are_cut_by_their_box_or_taken_whole(shared: Path) -> None:
    box = held_out("gz2_kaggle_5class", classifier("gz2-5class"))
    whole = held_out("gz2_kaggle_5class", classifier("gz2-5class"), framing="whole")
    assert (box.name, whole.name) == ("gz2_kaggle_5class", "gz2_kaggle_5class, whole")
    shrunk = cv2.resize(galaxy()[..., ::-1], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(whole.pictures[0], shrunk)
    # The spot is a small part of the picture: cut by its box it fills more of it.
    assert (box.pictures > 100).mean() > 2 * (whole.pictures > 100).mean()


def test_any_split_or_all_of_it(shared: Path) -> None:
    sizes = {
        split: len(held_out("gz2_kaggle_5class", classifier("gz2-5class"), split=split).labels)
        for split in ("test", "train", "all")
    }
    assert sizes == {"test": 2, "train": 1, "all": 3}
    with pytest.raises(DatasetError, match="no labelled pictures in its val split"):
        held_out("gz2_kaggle_5class", classifier("gz2-5class"), split="val")


def test_classes_of_ones_own_are_read_from_the_folders_names(tmp_path: Path) -> None:
    for label in ("red", "blue"):
        (tmp_path / "test" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "test" / label / "1.png"), galaxy())
    mine = classifier("mine", ("red", "green", "blue"))
    assert named(held_out(f"folder:{tmp_path}", mine)) == ["blue", "red"]
    with pytest.raises(InputError, match="map to no scheme"):
        held_out(f"folder:{tmp_path}", mine, "h4")


def test_a_folder_is_read_in_the_classifiers_classes_or_those_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test" / "spiral").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "test" / "spiral" / "1.png"), galaxy())
    for wanted, scheme in ((None, "galaxy6"), ("h4", "h4")):
        held = held_out(f"folder:{tmp_path}", classifier("galaxy6"), wanted)
        assert (held.scheme.name, named(held)) == (scheme, ["spiral"])


def test_galaxies_that_the_classifier_may_have_seen_are_told_of(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        held_out("gz1_6class", classifier("gz2-5class", source="gz2_kaggle_5class (train, n=1)"), "h4")
    assert "1 test galaxies of gz1_6class stand in the training part of gz2_kaggle_5class" in caplog.text
    caplog.clear()
    held_out("gz1_6class", classifier("gz2-5class", source="simulated cutouts (n=600)"), "h4")
    assert not caplog.records


def test_galaxies_that_a_detector_may_have_seen_are_told_of(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    lent = ("gz2_kaggle_5class (galaxies of its training cutouts)", "simulated sky")
    boxed = ("cutouts:gz2_kaggle_5class (training pictures)",)
    for name, source in (("cutouts:gz1_6class", lent), ("composed:gz1_6class,20", boxed)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            tell_seen(name, source, "detector of mine")
        assert "1 test galaxies of gz1_6class stand in the training part of gz2_kaggle_5class" in caplog.text
        assert "the detector of mine has seen them" in caplog.text
    caplog.clear()
    tell_seen("cutouts:gz2_kaggle_5class", lent, "detector")
    tell_seen("voc:frames", lent, "detector")
    assert not caplog.records


def test_a_classifier_of_a_fold_has_seen_the_test_split(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    of_fold = classifier("gz2-5class", source="gz2_kaggle_5class (fold 2, n=1)")
    with caplog.at_level(logging.WARNING):
        held = held_out("gz2_kaggle_5class", of_fold)
    assert f"{len(held.ids)} of the {len(held.ids)} galaxies judged were among those" in caplog.text
    caplog.clear()
    held_out("gz2_kaggle_5class", of_fold, split="all")
    assert "galaxies judged were among those" in caplog.text
    caplog.clear()
    held_out("gz2_kaggle_5class", classifier("gz2-5class", source="gz2_kaggle_5class (train, n=1)"))
    assert not caplog.records
