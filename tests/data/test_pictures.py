import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.data.pictures import PictureSet, Skip
from edgegal.data.splits import SPLITS, Shares, assign_splits
from edgegal.data.summary import summarise
from edgegal.data.tables import read_csv, read_folder
from edgegal.errors import DatasetError
from edgegal.labels import SCHEMES, UNLABELLED, LabelScheme

pytestmark = pytest.mark.host

GZ2 = SCHEMES["gz2-5class"]
GZ1 = SCHEMES["gz1-6class"]

RED, BLUE = (255, 0, 0), (0, 0, 255)
CSV = "file,label_name,split,bad,dup_other\n"


def coded(colour: tuple[int, int, int], height: int = 32, width: int = 32, suffix: str = ".png") -> bytes:
    """An encoded picture of one RGB colour."""
    picture = np.full((height, width, 3), colour[::-1], np.uint8)
    return cv2.imencode(suffix, picture)[1].tobytes()


def zipped(folder: Path, files: Mapping[str, bytes], name: str = "pictures.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return folder / name


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A CSV with four rows, one of them bad, and its zip."""
    zipped(tmp_path, {f"{c}.png": coded(RED if c == "a" else BLUE) for c in "abcd"})
    rows = "a.png,edge_on,train,0,\nb.png,spiral,test,0,900\nc.png,,val,0,\nd.png,round,train,1,\n"
    return table(tmp_path, CSV + rows)


def test_csv_columns_become_the_table(four: Path) -> None:
    found = read_csv(four, "four", GZ2)
    assert found.ids == ("a", "b", "c")
    assert found.labels.tolist() == [GZ2.index("edge-on"), GZ2.index("spiral"), UNLABELLED]
    assert found.labels.dtype == np.int32
    assert found.splits.tolist() == ["train", "test", "val"]
    assert found.duplicates == ("", "900", "")


def test_pictures_are_rgb_in_the_order_of_the_ids(four: Path) -> None:
    pictures = read_csv(four, "four", GZ2).select(np.array([1, 0])).pictures(16)
    assert pictures.dtype == np.uint8
    assert pictures.shape == (2, 16, 16, 3)
    assert (pictures[0] == BLUE).all()
    assert (pictures[1] == RED).all()


def test_subset_leaves_the_unlabelled_out_unless_told(four: Path) -> None:
    found = read_csv(four, "four", GZ2)
    assert found.subset().ids == ("a", "b")
    assert found.subset("val").ids == ()
    assert found.subset("val", labelled=False).ids == ("c",)
    assert found.subset("val").pictures().shape == (0, 128, 128, 3)
    with pytest.raises(DatasetError, match="'tset'"):
        found.subset("tset")


def test_relabelled_keeps_the_unlabelled(four: Path) -> None:
    h4 = SCHEMES["h4"]
    found = read_csv(four, "four", GZ2).relabelled(h4)
    assert found.labels.tolist() == [h4.index("edge-on"), h4.index("spiral"), UNLABELLED]
    assert found.scheme == h4


def test_aliases_name_what_the_scheme_calls_differently(tmp_path: Path) -> None:
    zipped(tmp_path, {"a.png": coded(RED)})
    path = table(tmp_path, "file,label\na.png,completely_round_smooth\n")
    assert read_csv(path, "t", GZ2, {"completely_round_smooth": "round"}).labels.tolist() == [0]
    with pytest.raises(DatasetError, match="'completely_round_smooth'"):
        read_csv(path, "t", GZ2)


def test_names_become_a_scheme_when_none_is_given(four: Path) -> None:
    found = read_csv(four, "four")
    assert found.scheme.labels == ("edge_on", "spiral")
    assert found.labels.tolist() == [0, 1, UNLABELLED]
    # Nobody has said that mirroring keeps these labels.
    assert not found.scheme.mirror_safe


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "na", "NA", "null", "NULL", "none", "None"])
def test_labels_that_name_no_class_are_counted_and_named(tmp_path: Path, text: str) -> None:
    zipped(tmp_path, {f"{c}.png": coded(RED) for c in "abc"})
    path = table(tmp_path, f"file,label\na.png,round\nb.png,{text}\nc.png,\n")
    for given in (None, GZ2):
        found = read_csv(path, "t", given)
        assert found.labels.tolist() == [0, UNLABELLED, UNLABELLED]
        (skip,) = found.skipped
        assert skip.names == ("b.png",)
        assert "name no class" in skip.reason
    assert read_csv(path, "t").scheme.labels == ("round",)


def test_a_class_of_the_scheme_may_be_called_none(tmp_path: Path) -> None:
    zipped(tmp_path, {"a.png": coded(RED)})
    own = LabelScheme("own", ("bar", "none"), "a test")
    found = read_csv(table(tmp_path, "file,label\na.png,none\n"), "t", own)
    assert found.labels.tolist() == [1]
    assert found.skipped == ()


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    zipped(tmp_path, {f"{folder}/{i}.png": coded(RED) for folder in ("c0", "c1") for i in ("000", "001")})
    rows = "c0/000.png,round\nc1/000.png,spiral\nc1/001.png,spiral\n"
    found = read_csv(table(tmp_path, "file,label\n" + rows), "t", GZ2)
    assert found.ids == ("c0/000", "c1/000", "c1/001")
    apart = read_csv(table(tmp_path, "file,label\nc0/000.png,round\nc1/001.png,spiral\n"), "t", GZ2)
    assert apart.ids == ("000", "001")


def test_zip_with_one_folder_at_the_top(tmp_path: Path) -> None:
    zipped(tmp_path, {"images/a.png": coded(RED), "images/": b""})
    assert (read_csv(table(tmp_path, "file,label\na.png,round\n"), "t", GZ2).pictures() == RED).all()


def test_digest_is_of_content_not_of_where_it_lies(four: Path, tmp_path: Path) -> None:
    in_zip = read_csv(four, "four", GZ2)
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        archive.extractall(elsewhere / "pictures")
    (elsewhere / "labels.csv").write_text(four.read_text())
    in_folder = read_csv(elsewhere / "labels.csv", "other name", GZ2)
    assert in_folder.digest() == in_zip.digest()
    (elsewhere / "pictures" / "a.png").write_bytes(coded((254, 0, 0)))
    assert in_folder.digest() != in_zip.digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [("a.png,edge_on,train", "a.png,edge_on,val"), ("spiral", "round"), ("b.png,spiral,test,0,900\n", "")],
)
def test_digest_tells_tables_apart(four: Path, old: str, new: str) -> None:
    before = read_csv(four, "four", GZ2).digest()
    four.write_text(four.read_text().replace(old, new))
    assert read_csv(four, "four", GZ2).digest() != before


def test_another_shape_is_cut_to_its_central_square(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    zipped(tmp_path, {"a.png": cv2.imencode(".png", wide)[1].tobytes(), "b.png": coded(RED, 300, 300)})
    pictures = read_csv(table(tmp_path, "file,label\na.png,round\nb.png,round\n"), "t", GZ2).pictures()
    assert pictures.shape == (2, 128, 128, 3)
    assert (pictures[0] == 255).all()
    assert (pictures[1] == RED).all()


def missing_zip(folder: Path) -> Path:
    return table(folder, "file,label\na.png,round\n")


def two_zips(folder: Path) -> Path:
    zipped(folder, {"a.png": coded(RED)}, "one.zip")
    zipped(folder, {"a.png": coded(RED)}, "two.zip")
    return missing_zip(folder)


def text_for_zip(folder: Path) -> Path:
    (folder / "pictures.zip").write_text("no zip")
    return missing_zip(folder)


def absent_from_zip(folder: Path) -> Path:
    zipped(folder, {"b.png": coded(RED)})
    return missing_zip(folder)


def with_rows(rows: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        zipped(folder, {"a.png": coded(RED)})
        return table(folder, rows)

    return make


def not_text(folder: Path) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(coded(RED))
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (missing_zip, "no zip beside it and no a.png"),
        (two_zips, "one.zip, two.zip"),
        (text_for_zip, "pictures.zip is not a readable zip"),
        (absent_from_zip, "of 1 pictures, 1 labels without a picture: a.png"),
        (with_rows("name,label\na.png,round\n"), "no rows with file"),
        (with_rows("file,class\na.png,round\n"), "no rows with label"),
        (with_rows("file,label\n"), "no rows"),
        (with_rows(""), "no rows"),
        (with_rows("file,label\na.png,blob\n"), "label 'blob' is not in scheme 'gz2-5class'"),
        (with_rows("file,label,split\na.png,round,training\n"), "unknown split 'training'"),
        (with_rows("file,label\na.png,round\na.png,spiral\n"), "1 ids stand twice, the first is a"),
        (not_text, "not a CSV"),
        (lambda folder: folder / "nothing.csv", "nothing.csv is missing"),
        (lambda folder: folder, "not a CSV"),
    ],
)
def test_a_wrong_table_is_named_and_has_a_mend(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_csv(make(tmp_path), "t", GZ2)
    assert said in caught.value.message
    assert caught.value.mend


DAMAGED = {
    "text": b"This is a text file.",
    "empty": b"",
    "cut-off JPEG": coded(RED, suffix=".jpg")[:-40],
    "half a JPEG": cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()[
        :2000
    ],
    "cut-off PNG": coded(RED)[:60],
    "PNG of 64 gigapixels": coded(RED)[:16] + b"\0\4\0\0\0\1\0\0" + coded(RED)[24:],
}


@pytest.fixture
def blemished(tmp_path: Path) -> PictureSet:
    """Five pictures of five colours, two of them damaged."""
    files = {f"{c}.png": coded((10 * i, 0, 0)) for i, c in enumerate("abcde")}
    zipped(tmp_path, {**files, "b.png": DAMAGED["text"], "d.png": DAMAGED["cut-off PNG"]})
    rows = "".join(f"{c}.png,{label}\n" for c, label in zip("abcde", GZ2.labels, strict=True))
    return read_csv(table(tmp_path, "file,label\n" + rows), "five", GZ2)


def test_what_is_read_stays_in_step_with_its_labels(blemished: PictureSet, caplog: pytest.LogCaptureFixture) -> None:
    read, pixels = blemished.read(16)
    assert read.ids == ("a", "c", "e")
    assert read.labels.tolist() == [0, 2, 4]
    assert pixels[:, 0, 0, 0].tolist() == [0, 20, 40]
    assert read.skipped[-1].names == ("b.png", "d.png")
    assert "left out of 5, 2 unreadable pictures: b.png, d.png" in caplog.text
    again, same = read.read(16)
    assert again is read
    assert (same == pixels).all()


def test_a_set_that_is_mostly_broken_is_refused(blemished: PictureSet) -> None:
    with pytest.raises(DatasetError, match=r"of 3 pictures, 2 unreadable pictures: b\.png, d\.png") as caught:
        blemished.select(np.array([1, 2, 3])).read()
    assert "pictures.zip" in caught.value.mend


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_unreadable_pictures_are_counted_and_named(tmp_path: Path, damaged: bytes) -> None:
    zipped(tmp_path, {"a.jpg": coded(RED, suffix=".jpg"), "b.jpg": damaged, "c.jpg": damaged})
    found = read_csv(table(tmp_path, "file,label\na.jpg,round\nb.jpg,round\nc.jpg,round\n"), "t", GZ2)
    with pytest.raises(DatasetError, match=r"of 3 pictures in .*, 2 cannot be read: b\.jpg, c\.jpg") as caught:
        found.pictures()
    assert caught.value.mend


def test_a_flipped_byte_in_a_zip_is_found(four: Path) -> None:
    path = four.with_name("pictures.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"of 3 pictures .* 1 cannot be read: a\.png"):
        read_csv(four, "four", GZ2).pictures()


def test_a_zip_member_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    """65 MiB of zeros: legal, tiny in the zip, and no picture."""
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", coded(RED))
        archive.writestr("b.png", bytes(65 << 20))
    found = read_csv(table(tmp_path, "file,label\na.png,round\nb.png,round\n"), "t", GZ2)
    assert found.read()[0].ids == ("a",)


def test_a_folder_that_lost_a_file_since_is_named(tmp_path: Path) -> None:
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "a.png").write_bytes(coded(RED))
    found = read_folder(tmp_path, "t")
    (tmp_path / "round" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"round/a\.png"):
        found.pictures()


def test_labels_and_pictures_without_each_other_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zipped(tmp_path, {f"{c}.png": coded(RED) for c in "abxyz"} | {"__MACOSX/._a.png": b"", "notes.txt": b""})
    found = read_csv(table(tmp_path, "file,label\nm.png,round\na.png,spiral\nb.png,round\n"), "t", GZ2)
    assert found.ids == ("a", "b")
    assert found.labels.tolist() == [GZ2.index("spiral"), GZ2.index("round")]
    assert len(found.pictures()) == len(found.splits) == 2
    assert {skip.reason: skip.names for skip in found.skipped} == {
        "labels without a picture": ("m.png",),
        "pictures without a label": ("x.png", "y.png", "z.png"),
    }
    assert "left out of 3, 1 labels without a picture: m.png" in caplog.text


def test_the_first_picture_of_a_folder_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(coded(RED))
    found = read_csv(table(tmp_path, "file,label\na.png,round\nb.png,round\n"), "t", GZ2)
    assert found.ids == ("b",)


def test_many_skips_are_counted_and_some_named() -> None:
    assert str(Skip("lost", tuple("abcdefg"))) == "7 lost: a, b, c, d, e and 2 more"


def test_pictures_without_an_object_are_not_all_one(tmp_path: Path) -> None:
    zipped(tmp_path, {f"{i}.png": coded(RED) for i in range(30)})
    rows = "".join(f"{i}.png,round,\n" for i in range(30))
    found = read_csv(table(tmp_path, "file,label,object\n" + rows), "t", GZ2)
    assert len(set(found.objects)) == 30
    assert len(set(found.splits)) == 3


def test_pictures_of_one_object_share_their_split(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(60)]
    zipped(tmp_path, {name: coded(RED) for name in names})
    rows = "".join(f"{name},round,galaxy {i // 3}\n" for i, name in enumerate(names))
    found = read_csv(table(tmp_path, "file,label,object\n" + rows), "t", GZ2)
    assert all(len(set(found.splits[i : i + 3])) == 1 for i in range(0, 60, 3))
    assert [int((found.splits == split).sum()) for split in SPLITS] == [42, 9, 9]
    assert found.subset("test").objects == tuple(f"galaxy {i // 3}" for i in np.flatnonzero(found.splits == "test"))


def test_a_given_split_is_kept_and_says_so(four: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_csv(four, "four", GZ2, shares=Shares(0, 0, 1)).splits.tolist() == ["train", "test", "val"]
    assert "brings its own split" in caplog.text


def fill(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(coded(RED))
    return root


def test_folders_are_classes(tmp_path: Path) -> None:
    fill(tmp_path, "spiral/b.png", "spiral/a.PNG", "round/a.png", "round/notes.txt", "readme.png")
    found = read_folder(tmp_path, "t", GZ2)
    assert found.ids == ("round/a.png", "spiral/a.PNG", "spiral/b.png")
    assert [GZ2.labels[i] for i in found.labels] == ["round", "spiral", "spiral"]
    assert found.splits.tolist() == assign_splits(found.ids, found.labels).tolist()
    assert read_folder(tmp_path, "t").scheme.labels == ("round", "spiral")


def test_split_folders_are_no_classes(tmp_path: Path) -> None:
    fill(tmp_path, "train/round/a.png", "test/round/a.png", "test/spiral/b.png")
    found = read_folder(tmp_path, "t")
    assert found.scheme.labels == ("round", "spiral")
    assert dict(zip(found.ids, found.splits.tolist(), strict=True)) == {
        "test/round/a.png": "test",
        "test/spiral/b.png": "test",
        "train/round/a.png": "train",
    }


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_validation_folder_has_three_names(tmp_path: Path, name: str) -> None:
    fill(tmp_path, "train/round/a.png", f"{name}/round/b.png", "test/round/c.png")
    found = read_folder(tmp_path, "t")
    assert found.scheme.labels == ("round",)
    assert dict(zip(found.ids, found.splits.tolist(), strict=True)) == {
        "train/round/a.png": "train",
        f"{name}/round/b.png": "val",
        "test/round/c.png": "test",
    }


@pytest.mark.parametrize("split", ["", "train/"])
def test_an_empty_folder_is_a_class_without_pictures(tmp_path: Path, split: str) -> None:
    fill(tmp_path, f"{split}round/a.png", f"{split}spiral/b.png", f"{split}.cache/c.png", f"{split}notes/read.txt")
    for name in ("edge-on", "merger", ".hidden"):
        (tmp_path / split / name).mkdir()
    (tmp_path / split / "merger" / ".DS_Store").write_bytes(b"")
    found = read_folder(tmp_path, "t")
    assert found.scheme.labels == ("edge-on", "merger", "round", "spiral")
    assert [found.scheme.labels[i] for i in found.labels] == ["round", "spiral"]
    assert summarise(found, against=()).empty == ("edge-on", "merger")


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    (tmp_path / "round").mkdir()
    try:
        (tmp_path / "round" / "\udce9.png").write_bytes(coded(RED))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    found = read_folder(tmp_path, "t")
    assert (found.pictures() == RED).all()
    assert len(found.digest()) == 64


@pytest.mark.parametrize(
    ("files", "said"),
    [([], "holds no pictures"), (["a.png"], "holds no pictures"), (["blob/a.png"], "label 'blob'")],
)
def test_a_wrong_folder_is_named_and_has_a_mend(tmp_path: Path, files: list[str], said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        read_folder(fill(tmp_path, *files), "t", GZ1)
    assert caught.value.mend
    with pytest.raises(DatasetError, match="is not a folder"):
        read_folder(tmp_path / "nothing", "t")
