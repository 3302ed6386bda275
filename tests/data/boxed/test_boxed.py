"""Sets of pictures with boxes: from annotations, from cutouts, from simulated frames, and written out again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from edgegal.data import DATASETS, open_dataset
from edgegal.data.boxed.annotations import Annotation
from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.data.boxed.coco import write_coco
from edgegal.data.boxed.convert import FORMATS, convert
from edgegal.data.boxed.cutouts import boxed_cutouts
from edgegal.data.boxed.names import is_boxed, parse_class_map
from edgegal.data.boxed.registry import galaxies_of, open_all, open_boxed
from edgegal.data.boxed.sheet import boxed_sheet
from edgegal.data.boxed.summary import EMPTY, IGNORED, PICTURES, QUANTILES, summarise_boxed
from edgegal.data.boxes import cutout_boxes
from edgegal.data.simulation import write_night
from edgegal.data.splits import Shares, write_split
from edgegal.device.sources.files import read_still
from edgegal.device.sources.fits import read_fits
from edgegal.errors import DatasetError, InputError
from edgegal.preprocess import Stretch, as_view
from edgegal.sky import Night

pytestmark = pytest.mark.host

RED, GREEN = (255, 0, 0), (0, 255, 0)
WIDTH, HEIGHT = 48, 32
LABELS = ("galaxy", "cluster")

Row = tuple[tuple[float, float, float, float], str, bool]


def painted(path: Path, rows: Sequence[Row] = (), width: int = WIDTH, height: int = HEIGHT) -> Path:
    """A picture on which galaxies are red rectangles and clusters green ones."""
    picture = np.zeros((height, width, 3), np.uint8)
    for box, label, _ in rows:
        x0, y0, x1, y1 = np.nan_to_num(box)
        picture[int(y0) : int(y1), int(x0) : int(x1)] = RED if label == "galaxy" else GREEN
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def coco(folder: Path, pictures: Mapping[str, Sequence[Row]], labels: Sequence[str] = LABELS) -> str:
    """Painted pictures and their boxes as a COCO set; its name."""
    made = []
    for file, rows in pictures.items():
        painted(folder / file, rows)
        boxes = np.array([row[0] for row in rows], np.float64).reshape(-1, 4)
        flags = np.array([row[2] for row in rows], np.bool_)
        made.append(Annotation(file, boxes, tuple(row[1] for row in rows), flags, (WIDTH, HEIGHT)))
    write_coco(folder, labels, made)
    return f"coco:{folder / 'annotations.json'}"


THREE: Mapping[str, Sequence[Row]] = {
    "a.png": [((4, 6, 20, 16), "galaxy", False), ((30, 10, 40, 30), "cluster", False), ((0, 0, 3, 3), "galaxy", True)],
    "b.png": [],
    "c.png": [((10, 10, 30, 20), "galaxy", False)],
}


def names(boxed: BoxedSet, reason: str) -> tuple[str, ...]:
    return next((skip.names for skip in boxed.skipped if reason in skip.reason), ())


def test_fields_have_their_boxes_where_the_objects_are(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, THREE))
    assert (boxed.labels, boxed.ids) == (LABELS, ("a.png", "b.png", "c.png"))
    first, empty, third = boxed
    assert first.picture.shape == (HEIGHT, WIDTH, 3)
    assert first.classes.tolist() == [0, 1]
    assert first.boxes.dtype == np.float32
    for box, colour in zip(first.boxes.astype(int), (RED, GREEN), strict=True):
        x0, y0, x1, y1 = box
        # All of the object, and nothing but the object, is in the box.
        assert (first.picture[y0:y1, x0:x1] == colour).all()
        assert (first.picture == colour).all(axis=2).sum() - (9 if colour == RED else 0) == (x1 - x0) * (y1 - y0)
    assert first.ignore.tolist() == [[0, 0, 3, 3]]
    assert empty.boxes.shape == empty.ignore.shape == (0, 4)
    assert third.truth.classes.tolist() == [0]


def test_iterating_and_reading_give_the_same(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, {f"{i:03}.png": THREE["a.png"][: i % 3] for i in range(130)}))
    read, fields = boxed.read()
    assert read is boxed
    for one, other in zip(boxed, fields, strict=True):
        assert_array_equal(one.picture, other.picture)
        assert_array_equal(one.boxes, other.boxes)


def test_a_split_is_a_part_of_the_set(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, {f"{i}.png": THREE["c.png"] for i in range(10)}), shares=Shares(6, 2, 2))
    parts = [boxed.subset(split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(i for part in parts for i in part.ids) == sorted(boxed.ids)
    assert all((part.splits == split).all() for part, split in zip(parts, ("train", "val", "test"), strict=True))
    assert boxed.subset().ids == boxed.ids
    with pytest.raises(DatasetError, match="'tset'"):
        boxed.subset("tset")


def test_pictures_with_and_without_boxes_are_split_in_the_same_shares(tmp_path: Path) -> None:
    pictures = {f"{i}.png": THREE["c.png"] if i < 10 else [] for i in range(20)}
    test = open_boxed(coco(tmp_path, pictures), shares=Shares(5, 0, 5)).subset("test")
    assert [sum(not len(truth.boxes) for truth in test.truths), len(test)] == [5, 10]


def test_folders_named_as_splits_are_splits(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, {"train/a.png": [], "valid/b.png": [], "test/c.png": []}))
    assert dict(zip(boxed.ids, boxed.splits, strict=True)) == {
        "test/c.png": "test",
        "train/a.png": "train",
        "valid/b.png": "val",
    }
    with pytest.raises(DatasetError, match=r"b\.png is in no split"):
        open_boxed(coco(tmp_path / "some", {"train/a.png": [], "b.png": []}))


def test_bad_boxes_are_cut_or_left_out_and_named(tmp_path: Path) -> None:
    good: Row = ((1, 1, 9, 9), "galaxy", False)
    rows: list[Row] = [
        ((-5, -5, 6, 6), "galaxy", False),
        ((50, 1, 60, 9), "galaxy", False),
        ((5, 5, 5, 9), "galaxy", True),
        ((5, np.nan, 9, 9), "cluster", False),
    ]
    boxed = open_boxed(coco(tmp_path, {"a.png": [*rows, good, good, good]}))
    assert boxed.truths[0].boxes.tolist() == [[0, 0, 6, 6]] + [[1, 1, 9, 9]] * 3
    assert names(boxed, "outside") == ("box 2 of a.png",)
    assert names(boxed, "without an area") == ("box 3 of a.png",)
    assert names(boxed, "no numbers") == ("box 4 of a.png",)
    with pytest.raises(DatasetError, match=r"of 1 boxes, 1 boxes outside their picture: box 1 of a\.png"):
        open_boxed(coco(tmp_path / "most", {"a.png": [rows[1]]}))


def test_a_picture_of_another_size_is_left_out_and_named(tmp_path: Path) -> None:
    name = coco(tmp_path, THREE)
    painted(tmp_path / "a.png", width=WIDTH * 2)
    boxed = open_boxed(name)
    assert boxed.ids == ("b.png", "c.png")
    assert names(boxed, "of another size") == ("a.png (48 x 32 stated, 96 x 32 found)",)


def test_a_cut_off_picture_is_left_out_when_read(tmp_path: Path) -> None:
    name = coco(tmp_path, THREE)
    path = painted(tmp_path / "c.jpg", THREE["c.png"])
    path.rename(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:-40])
    boxed = open_boxed(name)
    assert len(boxed) == 3
    read, fields = boxed.read()
    assert read.ids == ("a.png", "b.png")
    assert len(fields) == 2
    assert names(read, "unreadable pictures") == ("c.png",)
    with pytest.raises(DatasetError, match=r"c\.png cannot be read"):
        list(boxed)


def test_a_picture_without_a_header_is_left_out_when_opened(tmp_path: Path) -> None:
    name = coco(tmp_path, THREE)
    (tmp_path / "c.png").write_bytes(b"no picture")
    assert names(open_boxed(name), "unreadable pictures") == ("c.png",)
    for file in ("a.png", "b.png"):
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(DatasetError, match="unreadable pictures"):
        open_boxed(name)


def test_a_picture_that_changed_since_is_not_shown_with_the_old_boxes(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, THREE))
    painted(tmp_path / "c.png", width=WIDTH * 2)
    assert boxed.read()[0].ids == ("a.png", "b.png")


def test_nothing_is_on_an_unannotated_picture_only_if_the_caller_says_so(tmp_path: Path) -> None:
    name = coco(tmp_path, THREE)
    painted(tmp_path / "bare.png", THREE["c.png"])
    boxed = open_boxed(name)
    assert "bare.png" not in boxed.ids
    assert names(boxed, "without an annotation") == ("bare.png",)
    told = open_boxed(name, unannotated_empty=True)
    assert len(told.truths[told.ids.index("bare.png")].boxes) == 0
    assert told.skipped == ()


def test_a_set_of_nothing(tmp_path: Path) -> None:
    painted(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text("<annotation><filename>b.png</filename></annotation>")
    (tmp_path / "a.png").rename(tmp_path / "c.png")
    with pytest.raises(DatasetError, match="annotations without a picture"):
        open_boxed(f"voc:{tmp_path}")


def mapped_classes(boxed: BoxedSet) -> list[str]:
    return [boxed.labels[c] for truth in boxed.truths for c in truth.classes]


@pytest.mark.parametrize(
    ("class_map", "labels", "expected", "result"),
    [
        ({"cluster": "galaxy"}, None, ["galaxy"], ["galaxy"] * 3),
        ({"cluster": "galaxy"}, ["galaxy"], ["galaxy"], ["galaxy"] * 3),
        ({"cluster": ""}, ["galaxy"], ["galaxy"], ["galaxy"] * 2),
        ({"galaxy": "galaxy", "cluster": ""}, None, ["galaxy"], ["galaxy"] * 2),
        ({"*": "thing"}, None, ["thing"], ["thing"] * 3),
        ({"*": "thing", "galaxy": "galaxy"}, None, ["galaxy", "thing"], ["galaxy", "thing", "galaxy"]),
        ({"galaxy": "cluster", "cluster": "galaxy"}, None, ["cluster", "galaxy"], ["cluster", "galaxy", "cluster"]),
        ({}, ["cluster", "nebula", "galaxy"], ["cluster", "nebula", "galaxy"], ["galaxy", "cluster", "galaxy"]),
    ],
)
def test_classes_go_where_the_map_leads(
    tmp_path: Path, class_map: dict[str, str], labels: list[str] | None, expected: list[str], result: list[str]
) -> None:
    boxed = open_boxed(coco(tmp_path, THREE), class_map, labels)
    assert list(boxed.labels) == expected
    assert mapped_classes(boxed) == result
    dropped = names(boxed, "mapped to nothing")
    assert dropped == (("a.png",) if class_map.get("cluster") == "" else ())


@pytest.mark.parametrize(
    ("class_map", "labels", "message"),
    [
        ({}, ["galaxy"], "class 'cluster' is none of: galaxy .*--class-map 'cluster=galaxy'"),
        ({"cluster": "nebula"}, ["galaxy"], "class 'cluster' is none of"),
        ({"clutser": "galaxy"}, None, "has no class 'clutser' to map .*galaxy, cluster"),
    ],
)
def test_a_class_that_leads_nowhere_is_named(
    tmp_path: Path, class_map: dict[str, str], labels: list[str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        open_boxed(coco(tmp_path, THREE), class_map, labels)


def test_what_a_map_does_not_name_keeps_its_class_where_any_will_do(tmp_path: Path) -> None:
    name = coco(tmp_path, THREE)
    assert open_boxed(name, {"cluster": ""}).labels == ("galaxy",)
    assert open_boxed(name, {"cluster": "group"}).labels == ("galaxy", "group")
    assert open_boxed(name, {"cluster": "", "*": "thing"}).labels == ("thing",)


def test_a_list_of_classes_in_another_encoding_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "classes.txt").write_bytes("nébuleuse\n".encode("cp1252"))
    with pytest.raises(DatasetError, match=r"classes\.txt is not UTF-8") as caught:
        open_boxed(f"yolo:{folder}")
    assert caught.value.mend == "save it as UTF-8"


def test_sets_take_from_one_map_what_is_of_their_own_classes(tmp_path: Path) -> None:
    clusters = coco(tmp_path / "a", THREE)
    plain = coco(tmp_path / "b", {"a.png": [((1, 1, 9, 9), "galaxy", False)]})
    sets = open_all([clusters, plain], {"cluster": ""}, ["galaxy"])
    assert [s.labels for s in sets] == [("galaxy",), ("galaxy",)]
    with pytest.raises(DatasetError, match="no set has a class 'star' to map"):
        open_all([clusters, plain], {"star": "galaxy"}, ["galaxy"])


def test_one_class_is_the_detectors_one_class(tmp_path: Path) -> None:
    name = coco(tmp_path, {"a.png": [((1, 1, 9, 9), "Galaxie", False)]}, ["Galaxie"])
    assert open_boxed(name, labels=["galaxy"]).labels == ("galaxy",)
    # Listed but never used: no error.
    other = coco(tmp_path / "other", {"a.png": [((1, 1, 9, 9), "galaxy", False)]})
    assert mapped_classes(open_boxed(other, labels=["galaxy"])) == ["galaxy"]


@given(st.lists(st.sampled_from(["a=b", "b=", " c = d ", "*=e"]), max_size=4))
def test_a_class_map_is_parsed(entries: list[str]) -> None:
    whole = {"a": "b", "b": "", "c": "d", "*": "e"}
    assert parse_class_map(entries) == {
        entry.split("=")[0].strip(): whole[entry.split("=")[0].strip()] for entry in entries
    }


@pytest.mark.parametrize("entries", [["galaxy"], ["=galaxy"], ["a=b", "a=c"]])
def test_what_is_no_class_map(entries: list[str]) -> None:
    with pytest.raises(InputError):
        parse_class_map(entries)


def test_a_name_says_the_file_of_its_split(tmp_path: Path) -> None:
    name = coco(tmp_path, THREE)
    boxed = open_boxed(name)
    file = tmp_path / "split.json"
    write_split(file, name, boxed.ids, ["val"] * len(boxed))
    named = open_boxed(f"{name}@{file}")
    assert set(named.splits) == {"val"}
    assert named.name == f"{name}@{file}"
    for twice in ({"shares": Shares()}, {"split": file}):
        with pytest.raises(InputError, match="says how it is split already"):
            open_boxed(f"{name}@{file}", **twice)


def test_a_folder_with_the_sign_of_a_split_is_a_folder(tmp_path: Path) -> None:
    assert len(open_boxed(coco(tmp_path / "me@work", THREE))) == len(THREE)


def test_cutouts_say_their_split_once(cutouts: str, tmp_path: Path) -> None:
    whole = open_dataset(cutouts.removeprefix("cutouts:"))
    file = tmp_path / "split.json"
    write_split(file, whole.name, whole.ids, ["test"] * len(whole))
    assert set(open_boxed(f"{cutouts}@{file}").splits) == {"test"}
    lent = galaxies_of(f"composed:{whole.name}@{file},5")
    assert lent is not None
    assert set(lent.splits) == {"test"}
    for name in (f"{cutouts}@{file}", f"composed:{whole.name}@{file},5"):
        with pytest.raises(InputError, match="says how it is split already"):
            open_boxed(name, split=file)


def test_the_digest_knows_pictures_boxes_classes_and_splits(tmp_path: Path) -> None:
    digests = {open_boxed(coco(tmp_path, THREE)).digest()}
    assert open_boxed(coco(tmp_path, THREE)).digest() in digests
    digests.add(open_boxed(coco(tmp_path, THREE), shares=Shares(0, 0, 1)).digest())
    moved = {**THREE, "c.png": [((10, 10, 30, 21), "galaxy", False)]}
    digests.add(open_boxed(coco(tmp_path, moved)).digest())
    ignored = {**THREE, "c.png": [((10, 10, 30, 21), "galaxy", True)]}
    digests.add(open_boxed(coco(tmp_path, ignored)).digest())
    digests.add(open_boxed(coco(tmp_path, ignored), {"cluster": "star", "galaxy": "galaxy"}).digest())
    painted(tmp_path / "b.png", THREE["a.png"])
    digests.add(open_boxed(f"coco:{tmp_path / 'annotations.json'}").digest())
    assert len(digests) == 6


@pytest.mark.parametrize("form", FORMATS)
def test_a_converted_set_is_the_same_set(tmp_path: Path, form: str) -> None:
    boxed = open_boxed(coco(tmp_path / "from", {f"{i}/a.png": THREE[f"{c}.png"] for i, c in enumerate("abcabcabc")}))
    done = convert(boxed, form, tmp_path / "to")
    assert (done.pictures, done.boxes) == (9, 9)
    assert done.ignored == (0 if form == "yolo" else 3)
    assert [len(skip.names) for skip in done.skipped] == ([3] if form == "yolo" else [])
    read = open_boxed(f"{form}:{tmp_path / 'to'}{'/annotations.json' if form == 'coco' else ''}")
    assert read.labels == boxed.labels
    by_stem = {Path(name).stem: i for i, name in enumerate(read.ids)}
    assert len(by_stem) == 9
    fields = list(read)
    for index, (name, was) in enumerate(zip(boxed.ids, boxed, strict=True)):
        place = by_stem[name.removesuffix(".png").replace("/", "_")]
        assert read.splits[place] == boxed.splits[index]
        assert_array_equal(fields[place].picture, was.picture)
        np.testing.assert_allclose(fields[place].boxes, was.boxes, atol=1e-5)
        assert_array_equal(fields[place].classes, was.classes)
        assert_array_equal(fields[place].ignore, was.ignore if form != "yolo" else np.zeros((0, 4)))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_pictures_of_one_name_are_told_apart(tmp_path: Path) -> None:
    pictures = {"x/train/a.png": [], "A.png": [], "a.png": THREE["c.png"], "é ?.png": []}
    made = {"train/" + file: rows for file, rows in pictures.items()}
    convert(open_boxed(coco(tmp_path / "from", made)), "voc", tmp_path / "to")
    stems = sorted(p.stem for p in (tmp_path / "to" / "train").glob("*.png"))
    assert stems == ["A", "a-2", "x_a", "é"]
    assert "<object>" in (tmp_path / "to" / "train" / "a-2.xml").read_text()


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path / "from", THREE))
    with pytest.raises(InputError, match=r"unknown format 'pascal'.*voc, coco, yolo"):
        convert(boxed, "pascal", tmp_path / "to")
    with pytest.raises(InputError, match="not an empty folder"):
        convert(boxed, "voc", tmp_path / "from")
    with pytest.raises(DatasetError, match="no such pictures"):
        convert(boxed.select(np.zeros(3, np.bool_)), "voc", tmp_path / "to")
    for file in THREE:
        (tmp_path / "from" / file).write_bytes(b"")
    with pytest.raises(DatasetError, match="unreadable pictures"):
        convert(boxed, "voc", tmp_path / "to")
    assert [p.name for p in tmp_path.iterdir()] == ["from"]


def sky(*blobs: tuple[float, float, float], side: int = 128) -> NDArray[np.uint8]:
    """Noisy sky with round Gaussians at x, y of sigma, in pixels of a picture of 128."""
    y, x = (np.indices((side, side)) + 0.5) * 128 / side
    light = 20 + 3 * np.random.default_rng(1).standard_normal((side, side))
    for cx, cy, sigma in blobs:
        light += 200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture
def cutouts(tmp_path: Path) -> str:
    """A CSV of a labelled cutout, an unlabelled one with a companion, one without a galaxy, and one unreadable."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for name, picture in {"a": sky((64, 64, 9)), "b": sky((60, 66, 6), (20, 100, 3)), "c": sky((20, 20, 6))}.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    for name in "ef":
        cv2.imwrite(str(folder / f"{name}.png"), sky((64, 64, 9), side=256))
    (folder / "d.png").write_bytes(b"no picture")
    rows = ["a.png,round,test", "b.png,,val", "c.png,spiral,train", "d.png,round,train", "e.png,,train", "f.png,,train"]
    (folder / "labels.csv").write_text("\n".join(["file,label,split", *rows, ""]))
    return f"cutouts:csv:{folder / 'labels.csv'}"


def test_the_galaxy_of_a_cutout_is_boxed_and_the_rest_ignored(cutouts: str) -> None:
    boxed = open_boxed(cutouts)
    assert boxed.labels == ("galaxy",)
    assert dict(zip(boxed.ids, boxed.splits, strict=True)) == {"a": "test", "b": "val", "e": "train", "f": "train"}
    assert names(boxed, "nothing at the centre") == ("c",)
    assert names(boxed, "unreadable pictures") == ("d",)
    for field in boxed.subset("val"):
        found = cutout_boxes(field.picture)
        assert found.galaxy is not None
        assert_array_equal(field.boxes, found.galaxy[None])
        assert_array_equal(field.ignore, found.companions)
        assert len(field.ignore) == 1


def test_a_large_cutout_keeps_its_size(cutouts: str) -> None:
    small, large = open_boxed(cutouts).subset("test"), open_boxed(cutouts).subset("train")
    assert large.truths[0].size == (256, 256)
    # The same galaxy, twice as large; resampling quiets the noise, so its box may grow a little.
    np.testing.assert_allclose(large.truths[0].boxes / 2, small.truths[0].boxes, atol=3)


def test_a_set_without_galaxies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / "a" / f"{i}.png"), sky((20, 20, 6)))
    with pytest.raises(DatasetError, match="nothing at the centre"):
        open_boxed(f"cutouts:folder:{tmp_path}")


@pytest.fixture
def night(tmp_path: Path) -> Path:
    write_night(Night(seed=4, width=240, height=160, frames=2, galaxies=6, stars=10), tmp_path / "night")
    return tmp_path / "night"


def test_simulated_frames_take_the_road_of_the_device(night: Path) -> None:
    boxed = open_boxed(f"simulated:{night}", read_frame=read_fits)
    truth = json.loads((night / "truth.json").read_text())
    assert boxed.ids == ("frame_0000.fits", "frame_0001.fits")
    for field, entry in zip(boxed, truth["frames"], strict=True):
        assert_array_equal(field.picture, as_view(read_fits(night / entry["file"]), Stretch()))
        np.testing.assert_allclose(field.boxes, [galaxy["box"] for galaxy in entry["galaxies"]], rtol=1e-6)
    assert len(set(boxed.splits)) == 1, "frames of one night show one field"


def test_simulated_objects_have_classes_and_magnitudes(night: Path) -> None:
    objects = [
        {"class": "nebula", "box": [5, 5, 50, 60]},
        {"class": "galaxy", "box": [-4, 5, 20, 30], "magnitude": 14.5, "kind": "spiral"},
        {"class": "galaxy", "box": None, "magnitude": 21},
        {"class": "galaxy", "box": [60, 60, 100, 100], "magnitude": 15, "unclear": True},
    ]
    (night / "truth.json").write_text(json.dumps({"frames": [{"file": "frame_0000.fits", "objects": objects}]}))
    boxed = open_boxed(f"simulated:{night}", read_frame=read_fits)
    assert boxed.labels == ("galaxy", "nebula")
    (field,) = boxed
    assert field.classes.tolist() == [1, 0]
    assert field.boxes.tolist() == [[5, 5, 50, 60], [0, 5, 20, 30]]
    assert field.ignore.tolist() == [[60, 60, 100, 100]]
    assert field.magnitudes is not None
    assert_array_equal(field.magnitudes, [np.nan, 14.5])


def test_a_night_with_damage(night: Path) -> None:
    name = f"simulated:{night}"
    (night / "frame_0001.fits").write_bytes(b"no FITS")
    assert names(open_boxed(name, read_frame=read_fits), "unreadable pictures") == ("frame_0001.fits",)
    (night / "truth.json").write_text('{"frames": [{"file": "frame_0000.fits", "galaxies": [{"box": [1, 2]}]}]}')
    with pytest.raises(DatasetError, match=r"frames\.0\.galaxies\.0\.box"):
        open_boxed(name, read_frame=read_fits)
    (night / "truth.json").write_text("{")
    with pytest.raises(DatasetError, match=r"is no truth: Invalid JSON.*edgegal data simulate"):
        open_boxed(name, read_frame=read_fits)
    (night / "truth.json").unlink()
    with pytest.raises(DatasetError, match="edgegal data simulate"):
        open_boxed(name, read_frame=read_fits)


def test_frames_of_any_kind_have_boxes_by_their_names(night: Path, tmp_path: Path) -> None:
    picture = np.full((40, 60, 3), 30, np.uint8)
    cv2.imwrite(str(night / "one.jpeg"), picture)
    (night / "inner").mkdir()
    (night / "frame_0001.fits").rename(night / "inner" / "frame.fits")
    boxes = [
        {"file": "inner/frame.fits", "objects": [{"box": [5, 5, 50, 60]}]},
        {"file": "one.jpeg", "objects": []},
        {"file": "frame_0000.fits", "objects": [{"box": [1, 2, 30, 40]}, {"box": [60, 60, 90, 99], "unclear": True}]},
    ]
    for path, name in ((night / "mine.json", ""), (tmp_path / "elsewhere.json", f",{night}")):
        path.write_text(json.dumps({"frames": boxes}))
        boxed = open_boxed(f"frames:{path}{name}", read_frame=read_still)
        assert boxed.ids == ("inner/frame.fits", "one.jpeg", "frame_0000.fits")
        assert [field.boxes.tolist() for field in boxed] == [[[5, 5, 50, 60]], [], [[1, 2, 30, 40]]]
        assert boxed.store.missing(boxed.files) == set()
    assert_array_equal(next(iter(boxed)).picture, as_view(read_fits(night / "inner" / "frame.fits"), Stretch()))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("frames:truth", "frames:truth names no boxes of frames"),
        ("frames:truth.json,", "names no boxes of frames"),
        ("frames:absent.json", r"absent\.json is missing"),
        ("frames:truth.json,nowhere", "unreadable pictures"),
    ],
)
def test_frames_that_are_not_there_are_named(
    night: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    monkeypatch.chdir(night)
    with pytest.raises(DatasetError, match=problem):
        open_boxed(name, read_frame=read_still)


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        ([{"file": "frame_0000.fits", "boxes": [[1, 2, 30, 40]]}], "frame_0000.fits has no list of objects"),
        ([{"file": "frame_0000.fits", "objects": []}] * 2, "frame frame_0000.fits stands twice"),
        ([{"file": "frame_0000.fits", "objects": [{"box": [30, 40, 1, 2]}]}], "of 1 boxes, 1 boxes without an area"),
    ],
)
def test_boxes_of_frames_that_cannot_be_meant_are_refused(night: Path, frames: list[object], problem: str) -> None:
    (night / "mine.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(DatasetError, match=problem):
        open_boxed(f"frames:{night / 'mine.json'}", read_frame=read_still)


def test_boxes_of_frames_that_are_left_out_are_named(night: Path) -> None:
    boxes = [[5, 5, 50, 60], [-20, -20, -1, -1], [60, 60, 90, 99]]
    frames = [{"file": "frame_0000.fits", "objects": [{"box": box} for box in boxes]}]
    (night / "mine.json").write_text(json.dumps({"frames": frames}))
    boxed = open_boxed(f"frames:{night / 'mine.json'}", read_frame=read_still)
    assert names(boxed, "boxes") == ("box 2 of frame_0000.fits",)
    assert boxed.truths[0].boxes.tolist() == [boxes[0], boxes[2]]


def test_frames_of_ones_own_are_split_by_their_names(tmp_path: Path) -> None:
    files = [f"{i}.png" for i in range(10)]
    for file in files:
        cv2.imwrite(str(tmp_path / file), np.full((40, 60, 3), 30, np.uint8))
    truth = [{"file": file, "objects": [{"box": [1, 2, 30, 40]}]} for file in files]
    (tmp_path / "mine.json").write_text(json.dumps({"frames": truth}))
    name = f"frames:{tmp_path / 'mine.json'}"
    boxed = open_boxed(name, shares=Shares(6, 2, 2), read_frame=read_still)
    assert [len(boxed.subset(part)) for part in ("train", "val", "test")] == [6, 2, 2]


def test_boxes_lead_to_no_frames_outside_their_folder(night: Path) -> None:
    (night / "truth.json").write_text(json.dumps({"frames": [{"file": "../secret.fits", "objects": []}]}))
    with pytest.raises(DatasetError, match="outside its folder"):
        open_boxed(f"frames:{night / 'truth.json'}", read_frame=read_still)


def test_the_galaxies_of_a_boxed_set_are_those_of_its_cutouts(cutouts: str) -> None:
    location = cutouts.removeprefix("cutouts:")
    for name in (cutouts, f"composed:{location}", f"composed:{location},5"):
        lent = galaxies_of(name)
        assert lent is not None
        assert lent.ids == open_dataset(location).ids
    assert galaxies_of("voc:somewhere") is None


@pytest.mark.parametrize("name", ["gz2_kaggle_5class", "voc:", "boxes:x"])
def test_what_is_no_boxed_set(name: str) -> None:
    with pytest.raises(DatasetError, match="is no set with boxes"):
        open_boxed(name)
    assert is_boxed(name) == (name == "voc:")


def test_the_summary_counts_and_measures(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, THREE), shares=Shares(1, 0, 0))
    summary = summarise_boxed(boxed)
    train = {row: counts["train"] for row, counts in summary.counts.items()}
    assert train == {"galaxy": 2, "cluster": 1, PICTURES: 3, EMPTY: 1, IGNORED: 1}
    assert sum(counts["test"] for counts in summary.counts.values()) == 0
    middle = QUANTILES.index(0.5)
    assert summary.sizes["cluster"] == (20,) * len(QUANTILES)
    assert (summary.sizes["galaxy"][0], summary.sizes["galaxy"][middle]) == (16, 18)
    assert summary.picture_sizes == ((WIDTH, HEIGHT), (WIDTH, HEIGHT))
    assert summarise_boxed(open_boxed(coco(tmp_path / "none", {"a.png": []}))).sizes == {}


def test_the_sheet_shows_each_class_and_empty_pictures(tmp_path: Path) -> None:
    boxed = open_boxed(coco(tmp_path, THREE))
    sheet = boxed_sheet(boxed)
    only_galaxies = boxed_sheet(boxed.select(np.array([2])))
    # One line for the galaxies, one for the clusters, one for the empty picture.
    assert sheet.shape[0] == 3 * only_galaxies.shape[0]
    galaxy = (80, 220, 120)
    outline = (only_galaxies[22:] == galaxy).all(axis=2)
    ys, xs = np.nonzero(outline)
    # The box 10, 10, 30, 20 at four times the size, beside a gap of 2.
    assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == [2 + 40, 40, 2 + 120, 80]
    with pytest.raises(DatasetError, match="no such pictures"):
        boxed_sheet(boxed.select(np.zeros(3, np.bool_)))


@pytest.mark.realsky
@pytest.mark.skipif(not DATASETS["gz2_kaggle_5class"].present, reason="shared set gz2_kaggle_5class absent")
def test_survey_cutouts_go_through_labelimgs_format(tmp_path: Path) -> None:
    whole = open_dataset("gz2_kaggle_5class")
    boxed = boxed_cutouts("some", whole.select(np.arange(0, len(whole), 100)))
    assert len(boxed) > 0.97 * len(whole) / 100
    convert(boxed, "voc", tmp_path / "voc")
    read = open_boxed(f"voc:{tmp_path / 'voc'}")
    rows = {Path(name).stem: i for i, name in enumerate(read.ids)}
    for index, name in enumerate(boxed.ids):
        back, was = read.truths[rows[name]], boxed.truths[index]
        assert_array_equal(back.boxes, was.boxes)
        assert_array_equal(back.ignore, was.ignore)
        assert read.splits[rows[name]] == boxed.splits[index]
