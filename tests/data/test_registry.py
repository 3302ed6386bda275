from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.data import DATASETS, leaks, open_dataset, shared_root, without_leaks
from edgegal.data.splits import Shares, write_split
from edgegal.data.summary import NO_LABEL, counts, list_datasets, summarise
from edgegal.errors import DatasetError, InputError

pytestmark = pytest.mark.host

realsky = [
    pytest.mark.realsky,
    pytest.mark.skipif(
        not all(s.present for s in DATASETS.values() if s.shared),
        reason="shared sets gz1_6class and gz2_kaggle_5class absent",
    ),
]


def marked(function):  # type: ignore[no-untyped-def]
    for mark in realsky:
        function = mark(function)
    return function


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for label in ("round", "spiral"):
        (tmp_path / label).mkdir()
        for i in range(20):
            cv2.imwrite(str(tmp_path / label / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    return f"folder:{tmp_path}"


def test_folder_and_csv_forms(folder: str, tmp_path: Path) -> None:
    assert open_dataset(folder).scheme.labels == ("round", "spiral")
    assert open_dataset(folder, "gz2-5class").scheme.name == "gz2-5class"
    (tmp_path / "labels.csv").write_text("file,label\nround/0.png,round\n")
    assert open_dataset(f"csv:{tmp_path / 'labels.csv'}").ids == ("0",)


@pytest.mark.parametrize("name", ["nothing", "folder", "folder:", "csv:", ""])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(name)
    assert "gz2_kaggle_5class" in caught.value.mend
    assert "folder:DIR" in caught.value.mend


def test_an_unknown_scheme_comes_first(folder: str) -> None:
    with pytest.raises(InputError, match="unknown label scheme"):
        open_dataset(folder, "h5")


def test_an_absent_shared_set_says_how_to_point_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAL_SHARED_DATA", str(tmp_path))
    assert shared_root() == tmp_path
    with pytest.raises(DatasetError) as caught:
        open_dataset("gz1_6class")
    assert "EDGEGAL_SHARED_DATA" in caught.value.mend
    assert {listing.state for listing in list_datasets()} == {"missing"}


def test_a_damaged_shared_set_is_listed_with_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAL_SHARED_DATA", str(tmp_path))
    (tmp_path / "gz1_6class").mkdir()
    (tmp_path / "gz1_6class" / "labels.csv").write_text("file,label_name\na.jpg,merger\n")
    assert "no zip beside it" in next(s.state for s in list_datasets() if s.name == "gz1_6class")


def test_counts_add_up(folder: str) -> None:
    pictures = open_dataset(folder)
    found = counts(pictures)
    assert set(found) == {"round", "spiral"}
    for label in found:
        assert sum(found[label].values()) == 20
    assert sum(row["train"] for row in found.values()) == len(pictures.subset("train"))
    summary = summarise(pictures)
    assert (summary.n, summary.leaks, summary.digest) == (40, (), pictures.digest())


@marked
def test_the_shared_sets_are_those_the_figures_speak_of() -> None:
    gz1, gz2 = open_dataset("gz1_6class"), open_dataset("gz2_kaggle_5class")
    assert (len(gz1), len(gz2)) == (6662, 7803)
    assert counts(gz2)["cigar"] == {"train": 42, "val": 5, "test": 6}
    assert len(gz2.subset("test")) == 441
    assert len(open_dataset("gz2_kaggle_5class", "h4").subset("test")) == 441
    assert len(open_dataset("gz1_6class", "h4").subset("test")) == 954
    assert sum(count for row in counts(gz1).values() for count in row.values()) == 6662
    assert sum(counts(gz2)[NO_LABEL].values()) == 4720
    disks = open_dataset("gz1_disks_120")
    assert len(disks) == sum(counts(disks)["disk"].values()) == 7341
    assert disks.positions is not None
    assert disks.positions[0].tolist() == [1.67104, -8.74608]


@marked
def test_the_shared_sets_leak_until_mended() -> None:
    sets = [open_dataset("gz1_6class"), open_dataset("gz2_kaggle_5class")]
    assert sum(bool(d) for d in sets[0].duplicates) == 63
    assert len(leaks(sets, sets)) == 20
    assert leaks(without_leaks(sets, sets), sets) == ()


@marked
@pytest.mark.parametrize("name", [s.name for s in DATASETS.values() if s.shared])
def test_shared_pictures_are_read_in_colour(name: str) -> None:
    pictures = open_dataset(name).subset("test")
    pixels = pictures.select(np.arange(0, len(pictures), 8)).pictures(64)
    # Galaxies are redder than blue on the whole; swapped channels would turn that round.
    assert pixels[..., 0].mean() > pixels[..., 1].mean() > pixels[..., 2].mean()


def test_a_name_can_name_the_file_of_its_split(folder: str, tmp_path: Path) -> None:
    own = open_dataset(folder)
    moved = np.roll(own.splits, 1)
    write_split(tmp_path / "other.json", own.name, own.ids, moved.tolist())
    name = f"{folder}@{tmp_path / 'other.json'}"
    opened = open_dataset(name)
    assert (opened.name, opened.ids) == (name, own.ids)
    assert opened.splits.tolist() == moved.tolist()
    assert opened.digest() != own.digest()
    with pytest.raises(DatasetError, match="missing"):
        open_dataset(f"{folder}@{tmp_path / 'nowhere.json'}")


def test_one_set_split_in_two_ways_leaks(folder: str, tmp_path: Path) -> None:
    own = open_dataset(folder)
    swapped = np.where(own.splits == "train", "test", np.where(own.splits == "test", "train", own.splits))
    write_split(tmp_path / "other.json", own.name, own.ids, swapped.tolist())
    other = open_dataset(f"{folder}@{tmp_path / 'other.json'}")
    seen = {leak.test_id for leak in leaks([other], [own])}
    assert seen == {i for i, split in zip(own.ids, own.splits, strict=True) if split == "test"}


def test_files_of_one_name_in_two_tables_are_two_galaxies(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        cv2.imwrite(str(tmp_path / split / "1.png"), np.full((8, 8, 3), 9, np.uint8))
        (tmp_path / f"{split}.csv").write_text(f"file,label,split\n{split}/1.png,round,{split}\n")
    train, test = (open_dataset(f"csv:{tmp_path / split}.csv") for split in ("train", "test"))
    assert train.ids == test.ids
    assert not leaks([train], [test])


def test_a_split_is_said_once(folder: str, tmp_path: Path) -> None:
    own = open_dataset(folder)
    write_split(tmp_path / "other.json", own.name, own.ids, own.splits.tolist())
    for more in ({"split": tmp_path / "other.json"}, {"shares": Shares.parse("60/20/20")}):
        with pytest.raises(InputError, match="already"):
            open_dataset(f"{folder}@{tmp_path / 'other.json'}", **more)
