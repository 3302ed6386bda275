"""Readers and writers of VOC, COCO and YOLO: what they say of a picture, and what they refuse."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgegal.data.boxed.annotations import (
    NO_PICTURE,
    UNREADABLE,
    AnnotatedFolder,
    Annotation,
    picture_size,
    pictures_below,
    safe_name,
    sound_boxes,
)
from edgegal.data.boxed.coco import read_coco, write_coco
from edgegal.data.boxed.voc import read_voc, write_voc
from edgegal.data.boxed.yolo import read_yolo, write_yolo
from edgegal.errors import DatasetError, InputError

pytestmark = pytest.mark.host

pytest.importorskip("PIL", reason="annotated pictures need Pillow")

LABELS = ("galaxy", "star cluster", "nébuleuse & <co>")
WIDTH, HEIGHT = 60, 40
LIMITS = np.array([WIDTH, HEIGHT] * 2, np.float64)

# As labelImg 1.8 writes it, but for the folder of whoever drew the boxes.
LABELIMG = """<annotation>
	<folder>m51</folder>
	<filename>sky.png</filename>
	<path>C:\\pictures\\m51\\sky.png</path>
	<source>
		<database>Unknown</database>
	</source>
	<size>
		<width>60</width>
		<height>40</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>galaxy</name>
		<pose>Unspecified</pose>
		<truncated>1</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>1</xmin>
			<ymin>1</ymin>
			<xmax>1</xmax>
			<ymax>40</ymax>
		</bndbox>
	</object>
	<object>
		<name>star cluster</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>1</difficult>
		<bndbox>
			<xmin>11</xmin>
			<ymin>21</ymin>
			<xmax>30</xmax>
			<ymax>32</ymax>
		</bndbox>
	</object>
</annotation>
"""


def picture(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def xml(boxes: Sequence[tuple[float, float, float, float]] = (), name: str = "sky.png") -> str:
    """An annotation in VOC's own coordinates."""
    objects = "".join(
        f"<object><name>galaxy</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for a, b, c, d in boxes
    )
    return f"<annotation><filename>{name}</filename>{objects}</annotation>"


def skipped(found: AnnotatedFolder, reason: str) -> tuple[str, ...]:
    return next((skip.names for skip in found.skipped if skip.reason == reason), ())


def whole_boxes(width: int = WIDTH, height: int = HEIGHT) -> st.SearchStrategy[tuple[int, ...]]:
    """Boxes of whole pixels within the picture."""

    def side(length: int) -> st.SearchStrategy[tuple[int, int]]:
        pair = st.tuples(st.integers(0, length), st.integers(0, length))
        return pair.filter(lambda p: p[0] != p[1]).map(lambda p: (min(p), max(p)))

    return st.tuples(side(width), side(height)).map(lambda s: (s[0][0], s[1][0], s[0][1], s[1][1]))


def real_boxes() -> st.SearchStrategy[tuple[float, ...]]:
    """Boxes with corners between pixels."""
    shares = st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(
        lambda v: abs(v[0] - v[2]) > 1e-3 and abs(v[1] - v[3]) > 1e-3
    )
    return shares.map(
        lambda v: (
            min(v[0], v[2]) * WIDTH,
            min(v[1], v[3]) * HEIGHT,
            max(v[0], v[2]) * WIDTH,
            max(v[1], v[3]) * HEIGHT,
        )
    )


def annotations(boxes: st.SearchStrategy[tuple[float, ...]]) -> st.SearchStrategy[list[Annotation]]:
    """Up to four pictures in two splits, in the order of their names."""
    row = st.tuples(boxes, st.sampled_from(LABELS), st.booleans())

    def made(rows: list[list[tuple[tuple[float, ...], str, bool]]]) -> list[Annotation]:
        return [
            Annotation(
                f"images/{split}/{i}.png",
                np.array([r[0] for r in of_one], np.float64).reshape(-1, 4),
                tuple(r[1] for r in of_one),
                np.array([r[2] for r in of_one], np.bool_),
                (WIDTH, HEIGHT),
                split=split,
            )
            for i, of_one in enumerate(rows)
            for split in [("test", "train")[i // 2]]
        ]

    return st.lists(st.lists(row, max_size=4), min_size=1, max_size=4).map(made)


Writer = Callable[[Path, Sequence[str], Sequence[Annotation]], None]


def written_and_read(
    folder: Path, write: Writer, read: Callable[[Path], AnnotatedFolder], made: list[Annotation], file: str = ""
) -> AnnotatedFolder:
    """What a reader makes of a writer's files, in a fresh folder each time."""
    place = folder / str(sum(1 for _ in folder.iterdir()))
    for annotation in made:
        picture(place / annotation.file)
    write(place, LABELS, made)
    found = read(place / file)
    assert found.labels == LABELS
    assert not found.bare
    assert not found.skipped
    assert [a.file for a in found.annotations] == [a.file for a in made]
    assert [a.split for a in found.annotations] == [a.split for a in made]
    assert [a.size for a in found.annotations] == [a.size for a in made]
    return found


SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


@SHARED_FOLDER
@given(annotations(whole_boxes()))
def test_voc_comes_back_as_it_was_written(tmp_path: Path, made: list[Annotation]) -> None:
    found = written_and_read(tmp_path, write_voc, read_voc, made)
    for back, was in zip(found.annotations, made, strict=True):
        assert_array_equal(back.boxes, was.boxes)
        assert_array_equal(back.ignore, was.ignore)
        assert back.classes == was.classes


@SHARED_FOLDER
@given(annotations(real_boxes()))
def test_voc_rounds_boxes_outwards_by_less_than_a_pixel(tmp_path: Path, made: list[Annotation]) -> None:
    found = written_and_read(tmp_path, write_voc, read_voc, made)
    for back, was in zip(found.annotations, made, strict=True):
        grown = (was.boxes - back.boxes) * [1, 1, -1, -1]
        assert (grown >= 0).all()
        assert (grown < 1).all()


@SHARED_FOLDER
@given(annotations(real_boxes()))
def test_coco_comes_back_as_it_was_written(tmp_path: Path, made: list[Annotation]) -> None:
    found = written_and_read(tmp_path, write_coco, read_coco, made, "annotations.json")
    for back, was in zip(found.annotations, made, strict=True):
        assert_allclose(back.boxes, was.boxes, rtol=0, atol=1e-9)
        assert_array_equal(back.ignore, was.ignore)
        assert back.classes == was.classes


@SHARED_FOLDER
@given(annotations(real_boxes()))
def test_yolo_comes_back_without_its_ignored_boxes(tmp_path: Path, made: list[Annotation]) -> None:
    found = written_and_read(tmp_path, write_yolo, read_yolo, made)
    for back, was in zip(found.annotations, made, strict=True):
        assert_allclose(back.boxes, was.boxes[~was.ignore], rtol=0, atol=1e-6)
        assert back.classes == tuple(np.array(was.classes, object)[~was.ignore])
        assert not back.ignore.any()


@SHARED_FOLDER
@given(annotations(real_boxes()))
def test_pycocotools_loads_our_file(tmp_path: Path, made: list[Annotation]) -> None:
    module = pytest.importorskip("pycocotools.coco", reason="the reference of COCO")
    write_coco(tmp_path, LABELS, made)
    reference = module.COCO(str(tmp_path / "annotations.json"))
    assert [reference.cats[i]["name"] for i in sorted(reference.cats)] == list(LABELS)
    assert sorted(reference.imgs) == list(range(1, len(made) + 1))
    for number, was in enumerate(made, 1):
        assert reference.imgs[number]["file_name"] == was.file
        theirs = reference.loadAnns(reference.getAnnIds(imgIds=[number]))
        corners = np.array([a["bbox"] for a in theirs]).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        assert_allclose(corners, was.boxes, rtol=0, atol=1e-9)
        assert_allclose([a["area"] for a in theirs], (was.boxes[:, 2:] - was.boxes[:, :2]).prod(axis=1))
        assert [LABELS[a["category_id"] - 1] for a in theirs] == list(was.classes)
        assert [bool(a["iscrowd"]) for a in theirs] == was.ignore.tolist()
    crowds = sum(int(a.ignore.sum()) for a in made)
    assert len(reference.getAnnIds(iscrowd=True)) == crowds


def test_a_file_of_labelimg(tmp_path: Path) -> None:
    picture(tmp_path / "sky.png")
    (tmp_path / "sky.xml").write_text(LABELIMG)
    (found,) = read_voc(tmp_path).annotations
    # The first column of pixels, and 20 x 12 pixels of which the first is the eleventh of the twenty-first row.
    assert found.boxes.tolist() == [[0, 0, 1, 40], [10, 20, 30, 32]]
    assert found.classes == ("galaxy", "star cluster")
    assert found.ignore.tolist() == [False, True]
    assert found.size == (60, 40)


def test_our_xml_says_truncated_of_what_touches_the_border(tmp_path: Path) -> None:
    boxes = np.array([[0, 5, 9, 9], [5, 5, 60, 9], [5, 5, 9, 40], [5, 5, 9, 9]], np.float64)
    made = Annotation("sky.png", boxes, ("galaxy",) * 4, np.zeros(4, np.bool_), (WIDTH, HEIGHT))
    write_voc(tmp_path, LABELS, [made])
    text = (tmp_path / "sky.xml").read_text()
    assert [line.count("1") for line in text.splitlines() if "truncated" in line] == [1, 1, 1, 0]


def test_the_layout_of_voc_itself(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        picture(tmp_path / "JPEGImages" / f"{stem}.jpg")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(xml([(1, 1, 9, 9)], f"{stem}.jpg"))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "test.txt").write_text("b\n")
    found = read_voc(tmp_path)
    assert [(a.file, a.split) for a in found.annotations] == [
        ("JPEGImages/a.jpg", "train"),
        ("JPEGImages/b.jpg", "test"),
    ]
    (lists / "test.txt").write_text("b\na\n")
    with pytest.raises(DatasetError, match=r"test\.txt has a, and so has train\.txt"):
        read_voc(tmp_path)


def test_files_renamed_together_still_belong_together(tmp_path: Path) -> None:
    picture(tmp_path / "new.png")
    (tmp_path / "new.xml").write_text(xml(name="old.png"))
    assert [a.file for a in read_voc(tmp_path).annotations] == ["new.png"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation>\n<object>\n</annotation>", "line 3: mismatched tag"),
        ("", "line 1: no element found"),
        ("<svg/>", "a document <svg>"),
        (xml([("wide", 1, 9, 9)]), "object 1: bndbox/xmin is 'wide'"),  # type: ignore[list-item]
        ("<annotation><object><bndbox/></object></annotation>", "object 1 has no name"),
        ("<annotation><object><name>a</name></object></annotation>", "object 1: bndbox/xmin is ''"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "encoding"),
    ],
)
def test_a_broken_xml_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    for stem in ("bad", "good"):
        picture(tmp_path / f"{stem}.png")
    (tmp_path / "good.xml").write_text(xml(name="good.png"))
    (tmp_path / "bad.xml").write_text(text)
    found = read_voc(tmp_path)
    (named,) = skipped(found, UNREADABLE)
    assert named.startswith("bad.xml (")
    assert reason in named
    assert [a.file for a in found.annotations] == ["good.png"]
    # Somebody annotated it: it must not pass for a picture with nothing on it.
    assert found.bare == ()


BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 9))


@pytest.mark.parametrize(
    "declared",
    [
        f'[<!ENTITY e0 "x">{BOMB}]',
        '[<!ENTITY e8 SYSTEM "secret.txt">]',
        'SYSTEM "elsewhere.dtd"',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(tmp_path: Path, declared: str, encoding: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    picture(tmp_path / "sky.png")
    text = f"<!DOCTYPE annotation {declared}><annotation><object><name>&e8;</name></object></annotation>"
    (tmp_path / "sky.xml").write_bytes(text.encode(encoding))
    found = read_voc(tmp_path)
    assert found.annotations == ()
    assert "document type 'annotation'" in skipped(found, UNREADABLE)[0]


def test_xml_and_pictures_without_each_other(tmp_path: Path) -> None:
    picture(tmp_path / "bare.png")
    (tmp_path / "lost.xml").write_text(xml(name="lost.png"))
    found = read_voc(tmp_path)
    assert found.bare == ("bare.png",)
    assert skipped(found, NO_PICTURE) == ("lost.xml",)
    (tmp_path / "lost.xml").unlink()
    with pytest.raises(DatasetError, match="holds no XML"):
        read_voc(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        read_voc(tmp_path / "nowhere")


def test_two_annotations_of_one_picture(tmp_path: Path) -> None:
    picture(tmp_path / "sky.png")
    (tmp_path / "sky.xml").write_text(xml())
    (tmp_path / "copy.xml").write_text(xml())
    with pytest.raises(DatasetError, match=r"copy\.xml and sky\.xml both annotate sky\.png"):
        read_voc(tmp_path)


OUTSIDE = ["../sky.png", "/etc/sky.png", "a/../../sky.png", "..\\sky.png", "C:\\sky.png", "", ".", "a\0.png"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(DatasetError, match=r"list\.json names the picture"):
        safe_name(name, "list.json")


@pytest.mark.parametrize(("name", "plain"), [("a.png", "a.png"), ("a\\b.png", "a/b.png"), ("./a/../b.png", "b.png")])
def test_other_names_are_made_plain(name: str, plain: str) -> None:
    assert safe_name(name, "") == plain


@pytest.mark.parametrize("name", [n for n in OUTSIDE if n and "\0" not in n])
def test_voc_and_coco_refuse_such_a_picture(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    picture(tmp_path / "sky.png")
    picture(folder / "other.png")
    (folder / "a.xml").write_text(xml(name=name))
    with pytest.raises(DatasetError, match=r"a\.xml names the picture"):
        read_voc(folder)
    with pytest.raises(DatasetError, match=r"a\.json names the picture"):
        read_coco(coco(folder / "a.json", images=[{"id": 1, "file_name": name, "width": 60, "height": 40}]))


def coco(path: Path, **changes: object) -> Path:
    """A COCO file of one picture with one box, but for what is changed."""
    document: dict[str, object] = {
        "images": [{"id": 1, "file_name": "sky.png", "width": 60, "height": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 7, "name": "galaxy", "supercategory": "sky"}],
    }
    path.write_text(json.dumps(document | changes))
    return path


BOX = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [BOX | {"bbox": [1, 2, 3]}]}, r"annotations\.0\.bbox"),
        ({"annotations": [BOX | {"bbox": [1, 2, None, 4]}]}, r"annotations\.0\.bbox\.2"),
        ({"annotations": [BOX | {"category_id": 8}]}, "of category 8, which is not listed"),
        ({"annotations": [BOX, BOX]}, "annotation id 1 stands twice"),
        ({"images": []}, "no pictures for"),
        ({"images": [{"id": i, "file_name": "sky.png", "width": 1, "height": 1} for i in (1, 2)]}, r"picture sky\.png"),
        ({"images": [{"id": 1, "file_name": f, "width": 1, "height": 1} for f in "ab"]}, "picture id 1 stands twice"),
        ({"categories": [{"id": i, "name": "galaxy"} for i in (7, 8)]}, "class 'galaxy' stands twice"),
        ({"categories": [{"id": 7, "name": "gal\naxy"}]}, "is no class name"),
        ({"categories": None}, "categories"),
    ],
)
def test_a_wrong_coco_file_says_where(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    picture(tmp_path / "sky.png")
    with pytest.raises(DatasetError, match=message):
        read_coco(coco(tmp_path / "a.json", **changes))


def test_coco_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [\n]')
    with pytest.raises(DatasetError, match=r"a\.json is not COCO JSON.*line 2"):
        read_coco(tmp_path / "a.json")
    with pytest.raises(DatasetError, match="is a folder"):
        read_coco(tmp_path)
    with pytest.raises(DatasetError, match="is missing"):
        read_coco(tmp_path / "b.json")


def test_coco_in_its_own_layout_with_gaps(tmp_path: Path) -> None:
    for name in ("sky", "bare"):
        picture(tmp_path / "train2017" / f"{name}.png")
    (tmp_path / "annotations").mkdir()
    images = [{"id": i, "file_name": f"{n}.png", "width": 60, "height": 40} for i, n in ((1, "sky"), (2, "lost"))]
    boxes = [BOX, BOX | {"id": 2, "image_id": 9}]
    found = read_coco(coco(tmp_path / "annotations" / "a.json", images=images, annotations=boxes))
    assert found.path == tmp_path / "train2017"
    assert found.bare == ("bare.png",)
    assert found.annotations[0].boxes.tolist() == [[1, 2, 4, 6]]
    assert skipped(found, NO_PICTURE) == ("annotation 2 of picture 9", "lost.png")


def test_yolo_as_labelimg_leaves_it(tmp_path: Path) -> None:
    for name in ("a", "empty", "bare", "bad"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "classes.txt").write_text("galaxy\nstar cluster\n")
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.25\n\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bad.txt").write_text("0 0.5 0.5 0.5 0.25\n0 0.5 0.5 wide 1\n")
    (tmp_path / "lost.txt").write_text("")
    found = read_yolo(tmp_path)
    assert found.labels == ("galaxy", "star cluster")
    whole, empty = found.annotations
    # Half the width and a quarter of the height around the middle of 60 x 40.
    assert whole.boxes.tolist() == [[15, 15, 45, 25]]
    assert whole.classes == ("star cluster",)
    assert (empty.file, len(empty.boxes)) == ("empty.png", 0)
    assert found.bare == ("bare.png",)
    assert skipped(found, NO_PICTURE) == ("lost.txt",)
    assert skipped(found, UNREADABLE) == ("bad.txt (line 2: '0 0.5 0.5 wide 1' is not an integer and four numbers)",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [("0 1 1 1", "line 1: 4 values"), ("0 .1 .1 .2 .1 .2 .2", "outlines are not boxes"), ("a 1 1 1 1", "line 1: 'a")],
)
def test_a_wrong_line_of_yolo_costs_its_picture(tmp_path: Path, line: str, reason: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "classes.txt").write_text("galaxy\n")
    (tmp_path / "a.txt").write_text(line)
    assert reason in skipped(read_yolo(tmp_path), UNREADABLE)[0]


@pytest.mark.parametrize("index", ["1", "-1"])
def test_a_class_that_yolo_does_not_list(tmp_path: Path, index: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "classes.txt").write_text("galaxy\n")
    (tmp_path / "a.txt").write_text(f"\n{index} .5 .5 .1 .1")
    with pytest.raises(DatasetError, match=rf"a\.txt, line 2: class {index}, but there are 1"):
        read_yolo(tmp_path)


def yolo_yaml(folder: Path, text: str) -> Path:
    pytest.importorskip("yaml", reason="data.yaml needs PyYAML")
    for split in ("train", "valid"):
        picture(folder / split / "images" / "a.png")
        (folder / split / "labels").mkdir(exist_ok=True)
        (folder / split / "labels" / "a.txt").write_text("0 .5 .5 .5 .5")
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "names: [galaxy]\ntrain: ../train/images\nval: ../valid/images\n",
        "names: {0: galaxy}\npath: .\ntrain: train/images\nval: [valid/images]\n",
        "names:\n- galaxy\ntrain: train.txt\nval: valid\n",
    ],
)
def test_the_yaml_of_yolo_says_the_splits(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.txt").write_text("./train/images/a.png\n")
    path = yolo_yaml(tmp_path, text)
    for opened in (path, tmp_path):
        found = read_yolo(opened)
        assert found.labels == ("galaxy",)
        assert {a.file: a.split for a in found.annotations} == {
            "train/images/a.png": "train",
            "valid/images/a.png": "val",
        }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [galaxy\ntrain: x", r"data\.yaml, line 2 is not YAML"),
        ("names: galaxy", "has no names"),
        ("names: {0: a, 2: b}", "not numbered from 0"),
        ("names: [a, a]", "class 'a' stands twice"),
        ("names: [a]", "lists no picture"),
        ("names: [a]\ntrain: nowhere", "names nowhere, which is not there"),
        ("names: [a]\ntrain: /etc", "outside its folder"),
        ("names: [a]\npath: a/../..\ntrain: x", "outside its folder"),
        ("names: [a]\ntrain: train\ntest: train", "is in train and in test"),
        ("- galaxy", "is not a list of classes"),
        ('names: !!python/object/apply:os.system ["true"]', "is not YAML"),
    ],
)
def test_a_wrong_yaml_of_yolo(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_yolo(yolo_yaml(tmp_path, text))


def test_yolo_without_classes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"neither data\.yaml nor classes\.txt"):
        read_yolo(tmp_path)
    with pytest.raises(DatasetError, match="is missing"):
        read_yolo(tmp_path / "nowhere.yaml")


corner = st.one_of(st.floats(-100, 160), st.floats(), st.sampled_from([0.0, 40.0, 60.0, 1e-30, -1e-30, 60 - 1e-9]))


@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=5))
def test_kept_boxes_have_an_area_within_the_picture(rows: list[tuple[float, ...]]) -> None:
    boxes = np.array(rows, np.float64).reshape(-1, 4)
    cut, faults = sound_boxes(boxes, WIDTH, HEIGHT)
    assert cut.dtype == np.float32
    for was, box, fault in zip(boxes, cut, faults, strict=True):
        inside = np.clip(was, 0, LIMITS)
        good = np.isfinite(was).all() and (was[:2] < was[2:]).all() and (inside[:2] < inside[2:]).all()
        if fault:
            # Only a sliver that float32 cannot tell from nothing may be lost.
            assert not good or (np.float32(inside[:2]) >= np.float32(inside[2:])).any()
        else:
            assert good
            assert (box[:2] < box[2:]).all()
            assert_allclose(box, inside, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, np.nan, 9), "no numbers"),
        ((5, 5, np.inf, 9), "no numbers"),
        ((5, 5, 5, 9), "without an area"),
        ((9, 5, 5, 9), "without an area"),
        ((60, 5, 70, 9), "outside"),
        ((-9, -9, -1, -1), "outside"),
        ((-9, -9, 1, 1), ""),
    ],
)
def test_what_is_wrong_with_a_box(box: tuple[float, ...], reason: str) -> None:
    (fault,) = sound_boxes(np.array([box], np.float64), WIDTH, HEIGHT)[1]
    assert reason in fault
    assert bool(reason) == bool(fault)


def test_the_size_of_a_picture_is_that_of_its_decoded_pixels(tmp_path: Path) -> None:
    from PIL import Image

    assert picture_size(picture(tmp_path / "plain.png")) == (WIDTH, HEIGHT)
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "lying.jpg", exif=lying)
    decoded = cv2.imread(str(tmp_path / "lying.jpg"))
    assert decoded is not None
    height, width = decoded.shape[:2]
    assert picture_size(tmp_path / "lying.jpg") == (width, height) == (HEIGHT, WIDTH)
    (tmp_path / "none.png").write_bytes(b"\x89PNG\r\n")
    assert picture_size(tmp_path / "none.png") is None
    assert picture_size(tmp_path / "absent.png") is None


def test_hidden_pictures_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.png", "a/c.JPG", ".hidden/d.png", "a/.e.png"):
        picture(tmp_path / name)
    assert pictures_below(tmp_path) == ("a/c.JPG", "b.png")


@pytest.mark.parametrize("label", ["", " galaxy", "two\nlines", "bell\x07"])
@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo])
def test_a_name_that_no_file_can_hold(tmp_path: Path, write: Writer, label: str) -> None:
    with pytest.raises(InputError, match="is no class name"):
        write(tmp_path, [label], [])
    assert list(tmp_path.iterdir()) == []
