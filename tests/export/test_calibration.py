"""Calibration pictures: where they come from, and what is refused."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.data import shared_root
from edgegal.data.splits import write_split
from edgegal.device.sources.fits import read_fits
from edgegal.errors import DatasetError, InputError
from edgegal.export import Calibration, Job, PictureSource, Sources, calibrate, draw
from edgegal.export.calibration import MIN_SAMPLES
from edgegal.export.overlap import equal_pictures, parts_tested_on, without_test_galaxies
from edgegal.export.picture_source import open_cutouts

pytestmark = pytest.mark.host


def _noise(n=MIN_SAMPLES, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), np.uint8)


def _write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def test_the_hash_is_that_of_the_pixels():
    one, same, other = (Calibration(_noise(seed=s), "noise", "train", 0) for s in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    assert len(one.sha256) == 64


def test_batches_are_single_network_inputs():
    calibration = Calibration(_noise(), "noise", "train", 0)
    batches = calibration.batches()
    assert len(batches) == len(calibration) == MIN_SAMPLES
    assert {(b.shape, b.dtype.name) for b in batches} == {((1, 8, 8, 3), "float32")}
    np.testing.assert_array_equal(batches[3][0], calibration.pictures[3])


@pytest.mark.parametrize(
    ("pictures", "match"),
    [
        (np.full((20, 8, 8, 3), np.nan, np.float32), "NaN"),
        (np.zeros((20, 8, 8, 3), np.float32), "float32, not uint8"),
        (np.zeros((20, 8, 8), np.uint8), "not \\(n, h, w, 3\\)"),
        (_noise(MIN_SAMPLES - 1), "15 calibration pictures.*too few.*at least 16"),
        (np.zeros((0, 8, 8, 3), np.uint8), "too few"),
        (np.full((20, 8, 8, 3), 7, np.uint8), "20 of them of one value"),
        (np.concatenate([_noise(MIN_SAMPLES - 1), np.zeros((5, 8, 8, 3), np.uint8)]), "20 .* 5 of them of one value"),
    ],
)
def test_pictures_that_show_no_range_are_refused(pictures, match):
    with pytest.raises(InputError, match=match):
        Calibration(pictures, "noise", "train", 0)


def test_blank_pictures_among_enough_others_are_no_fault():
    assert len(Calibration(np.concatenate([_noise(), np.zeros((5, 8, 8, 3), np.uint8)]), "noise", "train", 0)) == 21


def test_the_test_split_is_refused():
    with pytest.raises(InputError, match="test split"):
        Calibration(_noise(), "noise", "test", 0)
    with pytest.raises(InputError, match="test pictures are for the final figures"):
        PictureSource.parse("galaxies@test", "train")


@pytest.mark.parametrize(
    ("text", "name", "split"),
    [
        ("gz1_6class", "gz1_6class", "train"),
        ("gz1_6class@val", "gz1_6class", "val"),
        ("folder:a@b/c", "folder:a@b/c", "train"),
        ("folder:a@val/c@train", "folder:a@val/c", "train"),
        ("@val", "@val", "train"),
    ],
)
def test_a_source_may_name_its_split(text, name, split):
    assert PictureSource.parse(text, "train") == PictureSource(name, split)


def test_calibration_is_asked_for_by_the_precisions_that_need_it_and_no_other():
    with pytest.raises(InputError, match="int8 and int16x8 need pictures") as caught:
        Sources.named(None, None, ["fp32", "int8", "int8", "dynamic", "int16x8"])
    assert "--calibration" in caught.value.mend
    assert Sources.named(None, None, ["fp32", "dynamic"]) == Sources(None, PictureSource("simulated", "val"))
    assert Sources.named("a", None, ["fp16"]) == Sources(None, PictureSource("a", "val"))
    assert Sources.named("a", None, ["int8"]) == Sources(PictureSource("a", "train"), PictureSource("a", "val"))
    assert Sources.named("a", "b@train", ["int8"]).parity == PictureSource("b", "train")


@pytest.mark.parametrize(("calibration", "parity"), [("a", "a@train"), ("a@val", None), ("a@val", "a")])
def test_the_same_pictures_for_both_are_refused(calibration, parity):
    with pytest.raises(InputError, match="calibration and parity are both on a"):
        Sources.named(calibration, parity, ["int8"])


def test_a_picture_in_both_is_refused(classifier, make_sky):
    pictures = make_sky(20, 3)
    shared = np.concatenate([make_sky(4, 4), pictures[:2]])
    with pytest.raises(InputError, match="2 pictures of calibration are also among"):
        Job(classifier, shared, Calibration(pictures, "sky", "train", 3))


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 10))
def test_equal_pictures_are_counted_wherever_they_stand(start, second, length):
    pictures = _noise(12)
    first = pictures[start : start + length]
    overlap = set(range(start, min(start + length, 12))) & set(range(second, 12))
    assert equal_pictures(first, pictures[second:]) == len(overlap)


@pytest.fixture(scope="module")
def galaxies(write_pictures, tmp_path_factory):
    """Simulated galaxies in folders ``train`` and ``val``."""
    return f"folder:{write_pictures(tmp_path_factory.mktemp('set') / 'set')}"


def test_classifiers_calibrate_on_the_train_split_only(classifier, galaxies):
    lines = []
    source = PictureSource(galaxies, "train")
    calibration = calibrate(classifier.description, source, 1000, 5, progress=lines.append)
    assert len(calibration) == len(open_cutouts(galaxies).subset("train", labelled=False)) == 40
    assert calibration.pictures.shape[1:] == (64, 64, 3)
    assert (calibration.dataset, calibration.split, calibration.seed) == (galaxies, "train", 5)
    assert lines == [f"{galaxies} train has 40 pictures, fewer than the 1000 asked for: all are taken"]
    fewer = calibrate(classifier.description, source, 17, 5)
    assert len(fewer) == 17
    assert fewer.sha256 == calibrate(classifier.description, source, 17, 5).sha256
    assert fewer.sha256 != calibrate(classifier.description, source, 17, 6).sha256


def test_detectors_calibrate_on_composed_fields(detector, galaxies):
    calibration = calibrate(detector.description, PictureSource(galaxies, "train"), 20, 5)
    assert calibration.pictures.shape == (20, 64, 64, 3)
    assert calibration.dataset == f"fields composed with {galaxies}"
    others = draw(detector.description, PictureSource(galaxies, "val"), 20, 5)
    assert not equal_pictures(calibration.pictures, others.pictures)


def test_own_pictures_without_labels_do(classifier, detector, make_sky, tmp_path):
    for number, picture in enumerate(make_sky(30, 40)):
        _write(tmp_path / f"{number}.png", picture)
    name = f"folder:{tmp_path}"
    drawn = {s: draw(classifier.description, PictureSource(name, s), 100, 0).pictures for s in ("train", "val")}
    assert {s: len(p) for s, p in drawn.items()} == {"train": 21, "val": 5}
    assert not equal_pictures(drawn["train"], drawn["val"])
    assert draw(detector.description, PictureSource(name, "train"), 4, 0).pictures.shape == (4, 64, 64, 3)


def test_the_simulated_sky_needs_no_set(classifier, detector):
    for network in (classifier, detector):
        splits = [draw(network.description, PictureSource("simulated", s), 6, 1) for s in ("train", "val")]
        assert all(d.pictures.shape == (6, 64, 64, 3) for d in splits)
        assert splits[1].source == "simulated sky val"
        assert not equal_pictures(splits[0].pictures, splits[1].pictures)


def _yolo(folder, pictures, splits):
    """The frames of each split, with a box around the middle of each."""
    for split, rows in splits.items():
        for row in rows:
            _write(folder / "images" / split / f"{row}.png", np.tile(pictures[row], (2, 2, 1)))
            label = folder / "labels" / split / f"{row}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.25 0.2\n")
    (folder / "data.yaml").write_text("names: [galaxy]\n" + "".join(f"{s}: images/{s}\n" for s in splits))
    return f"yolo:{folder / 'data.yaml'}"


def test_frames_with_boxes_give_windows_and_crops(classifier, detector, make_sky, tmp_path):
    pytest.importorskip("yaml")
    name = _yolo(tmp_path, make_sky(5, 41), {"train": [0, 1], "val": [2], "test": [3, 4]})
    windows = draw(detector.description, PictureSource(name, "train"), 7, 0).pictures
    assert windows.shape == (7, 64, 64, 3)
    assert not equal_pictures(windows[:1], windows[1:])
    lines = []
    crops = draw(classifier.description, PictureSource(name, "train"), 7, 0, progress=lines.append).pictures
    assert crops.shape == (2, 64, 64, 3)
    assert "has 2 pictures, fewer than the 7 asked for" in lines[0]


def test_a_frame_that_is_tested_on_is_refused_under_another_name(detector, make_sky, tmp_path):
    pytest.importorskip("yaml")
    name = _yolo(tmp_path, make_sky(5, 41), {"train": [0, 1], "val": [2], "test": [3]})
    shutil.copy(tmp_path / "images/test/3.png", tmp_path / "images/train/1.png")
    with pytest.raises(InputError, match=r"1\.png of train is .*3.png of its test split"):
        draw(detector.description, PictureSource(name, "train"), 4, 0)


def test_a_simulated_night_gives_windows_of_its_frames(detector, tmp_path):
    pytest.importorskip("astropy")
    from edgegal.data.simulation import write_night
    from edgegal.sky import Night

    write_night(Night(width=320, height=256, frames=2, seed=1), tmp_path)
    source = PictureSource(f"simulated:{tmp_path}", "train")
    assert draw(detector.description, source, 5, 0, read_fits).pictures.shape == (5, 64, 64, 3)
    with pytest.raises(InputError, match="no pictures in its val split"):
        draw(detector.description, PictureSource(source.name, "val"), 5, 0, read_fits)


def test_pictures_of_a_test_split_are_refused_under_other_names(classifier, write_pictures, make_sky, tmp_path):
    """By the pictures themselves: one is scaled, and stored anew."""
    folder = write_pictures(tmp_path / "set")
    tested = make_sky(3, 50)
    for number, picture in enumerate(tested):
        _write(folder / "test" / "round" / f"t{number}.png", picture)
    source = PictureSource(f"folder:{folder}", "train")
    assert len(calibrate(classifier.description, source, 100, 0)) == 40
    _write(folder / "train" / "round" / "stranger.png", cv2.resize(tested[1], (96, 96)))
    with pytest.raises(InputError, match=r"1 pictures .* train/round/stranger.png is test/round/t1.png"):
        calibrate(classifier.description, source, 100, 0)


def test_pictures_that_the_training_sets_test_on_are_refused(classifier, write_pictures, make_sky, tmp_path):
    learned = write_pictures(tmp_path / "learned")
    tested = make_sky(2, 51)
    _write(learned / "test" / "round" / "t.png", tested[0])
    own = write_pictures(tmp_path / "own")
    _write(own / "train" / "round" / "stranger.png", tested[0])
    provenance = classifier.description.provenance.model_copy(update={"datasets": (f"folder:{learned} (train, n=20)",)})
    taught = classifier.description.model_copy(update={"provenance": provenance})
    source = PictureSource(f"folder:{own}", "train")
    with pytest.raises(InputError, match=r"stranger\.png is test"):
        draw(taught, source, 100, 0)
    assert len(draw(classifier.description, source, 100, 0).pictures) == 41


def test_a_training_set_that_is_not_here_is_told(classifier, galaxies, tmp_path):
    gone = (f"folder:{tmp_path / 'gone'} (train, n=20)", "simulated sky", "blended pairs of these (n=5)")
    provenance = classifier.description.provenance.model_copy(update={"datasets": gone})
    description = classifier.description.model_copy(update={"provenance": provenance})
    lines = []
    draw(description, PictureSource(galaxies, "train"), 16, 0, progress=lines.append)
    assert len(lines) == 1
    assert "overlap with the test pictures of folder:" in lines[0]


def test_known_galaxies_of_a_test_split_are_left_out(galaxies):
    """As training does: sets that name each other's galaxies are not refused for a few of them."""
    part = open_cutouts(galaxies).subset("train")
    other = replace(
        part.select(np.arange(3)),
        name="other",
        duplicates=(part.ids[4], "", part.ids[9]),
        ids=("a", "b", "c"),
        files=("a.png", "b.png", "c.png"),
    )
    lines = []
    kept = without_test_galaxies(part, [other], lines.append)
    assert set(part.ids) - set(kept.ids) == {part.ids[4], part.ids[9]}
    assert lines == [f"left out 2 pictures of {galaxies}: galaxies that other tests on"]


def test_what_a_split_named_with_the_set_tests_on_is_left_out(classifier, galaxies, tmp_path):
    dataset = open_cutouts(galaxies)
    turned = {"train": "test", "test": "train", "val": "val"}
    write_split(tmp_path / "turned.json", galaxies, dataset.ids, [turned[str(split)] for split in dataset.splits])
    sources = (f"{galaxies}@{tmp_path / 'turned.json'} (train, n=4)",)
    provenance = classifier.description.provenance.model_copy(update={"datasets": sources})
    description = classifier.description.model_copy(update={"provenance": provenance})
    tests = parts_tested_on(description, dataset, print)
    assert [t.name for t in tests] == [f"{galaxies}@{tmp_path / 'turned.json'}"]
    assert not len(without_test_galaxies(dataset.subset("train", labelled=False), tests, print))


def test_a_split_without_pictures_is_refused(classifier, galaxies, tmp_path):
    shutil.copytree(galaxies.removeprefix("folder:"), tmp_path / "set")
    shutil.rmtree(tmp_path / "set" / "val")
    with pytest.raises(InputError, match="no pictures in its val split"):
        draw(classifier.description, PictureSource(f"folder:{tmp_path / 'set'}", "val"), 4, 0)


@pytest.mark.parametrize("name", ["nowhere", "folder:nowhere", "csv:nowhere.csv", "coco:nowhere.json"])
def test_a_set_that_is_not_there_is_refused(classifier, name):
    with pytest.raises(DatasetError):
        draw(classifier.description, PictureSource(name, "train"), 4, 0)


@pytest.mark.realsky
@pytest.mark.skipif(not (shared_root() / "gz2_kaggle_5class").is_dir(), reason="gz2_kaggle_5class is not here")
def test_real_galaxies_at_network_size(classifier, detector):
    source = PictureSource("gz2_kaggle_5class", "train")
    crops = calibrate(classifier.description, source, 20, 0)
    fields = calibrate(detector.description, source, 20, 0)
    assert crops.pictures.shape == fields.pictures.shape == (20, 64, 64, 3)
    assert crops.pictures.std() > 5
    assert crops.sha256 != fields.sha256


@pytest.mark.realsky
@pytest.mark.skipif(not (shared_root() / "gz1_6class").is_dir(), reason="gz1_6class is not here")
def test_galaxies_in_two_real_sets_are_left_out(classifier):
    provenance = classifier.description.provenance.model_copy(update={"datasets": ("gz1_6class (train, n=4626)",)})
    description = classifier.description.model_copy(update={"provenance": provenance})
    dataset = open_cutouts("gz2_kaggle_5class")
    lines = []
    tests = parts_tested_on(description, dataset, lines.append)
    part = dataset.subset("train", labelled=False)
    assert len(part) - len(without_test_galaxies(part, tests, lines.append)) == 10
    assert [t.name for t in tests] == ["gz2_kaggle_5class", "gz1_6class"]
