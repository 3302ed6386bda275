"""Public sets, from small files of their real layout."""

import gzip
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.data import LabelRules, Shares, open_dataset
from edgegal.data.contact_sheet import contact_sheet
from edgegal.data.idx import read_idx
from edgegal.data.leakage import comparable, same_galaxies
from edgegal.data.summary import list_datasets, summarise
from edgegal.errors import DatasetError, InputError
from edgegal.labels import UNLABELLED, scheme

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Public sets lie in the test's folder; there are no shared ones."""
    monkeypatch.setenv("EDGEGAL_DATA", str(tmp_path))
    monkeypatch.setenv("EDGEGAL_SHARED_DATA", str(tmp_path / "nothing"))


def named(pictures) -> list[str | None]:  # type: ignore[no-untyped-def]
    return [None if i == UNLABELLED else pictures.scheme.labels[i] for i in pictures.labels]


@pytest.mark.parametrize(("file", "side"), [("Galaxy10.h5", 69), ("Galaxy10_DECals.h5", 256)])
def test_galaxy10(galaxy10: Callable[..., Path], file: str, side: int) -> None:
    name = galaxy10(file, side).parent.name
    pictures = open_dataset(name)
    assert pictures.scheme.name == name.replace("_", "-")
    assert pictures.labels.tolist() == [i % 10 for i in range(30)]
    some = pictures.select(np.array([20, 3, 11]))
    pixels = some.pictures()
    assert pixels.shape == (3, side, side, 3)
    assert pixels[:, 0, 0, 0].tolist() == [162, 26, 90]
    # Colour order as in the file, which is RGB.
    assert (pixels[..., 0] > pixels[..., 2]).all()
    assert some.digest() != pictures.select(np.array([3, 11, 20])).digest()
    assert open_dataset(name, "h4").scheme.name == "h4"


def test_galaxy10_without_class_5(galaxy10: Callable[..., Path]) -> None:
    galaxy10("Galaxy10.h5", 8)
    nine = open_dataset("galaxy10_sdss", "galaxy10-sdss-9")
    assert len(nine.scheme.labels) == 9
    assert Counter(nine.labels.tolist()) == {UNLABELLED: 3, **dict.fromkeys(range(9), 3)}


def test_pictures_of_one_place_share_their_split(galaxy10: Callable[..., Path]) -> None:
    """Thirty pictures of fifteen galaxies: each stands twice, a second of arc apart, with another label."""
    ra = [10.0 + i // 2 + (i % 2) / 3600 for i in range(30)]
    galaxy10("Galaxy10_DECals.h5", 8, ra=ra, dec=[0.0] * 30, redshift=[0.1] * 30, pxscale=[0.262] * 30)
    pictures = open_dataset("galaxy10_decals", shares=Shares(1, 1, 1))
    assert (pictures.splits[::2] == pictures.splits[1::2]).all()
    assert len(set(pictures.splits.tolist())) == 3
    assert pictures.positions is not None
    assert pictures.positions.shape == (30, 2)


def test_a_cut_off_hdf5_is_no_whole_file(galaxy10: Callable[..., Path]) -> None:
    path = galaxy10("Galaxy10.h5", 69)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DatasetError, match="is not a whole HDF5 file") as caught:
        open_dataset("galaxy10_sdss")
    assert "fetch" in caught.value.mend


def test_a_damaged_chunk_costs_its_pictures_only(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "galaxy10_sdss" / "Galaxy10.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
        rows = file.create_dataset("images", data=pixels, compression="gzip", chunks=(1, 8, 8, 3))
        file.create_dataset("ans", data=np.arange(10, dtype=np.uint8))
        chunk = rows.id.get_chunk_info(4)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    read, _ = open_dataset("galaxy10_sdss").read()
    assert read.labels.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert read.skipped[-1].names == ("4",)


def hdf5(path: Path, **arrays: object) -> None:
    import h5py

    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "no array 'images'"),
        ({"images": np.zeros((3, 4, 4, 3), np.uint8)}, "no array 'ans'"),
        ({"images": np.zeros((3, 4, 4, 3), np.float32), "ans": np.arange(3)}, "not uint8 pictures"),
        ({"images": np.zeros((3, 4, 4), np.uint8), "ans": np.arange(3)}, "no array 'images' of 4 dimensions"),
        ({"images": np.zeros((3, 4, 4, 3), np.uint8), "ans": np.arange(4)}, "3 pictures and 4 answers"),
        ({"images": np.zeros((3, 4, 4, 3), np.uint8), "ans": np.array([0, 1, 10])}, "not 0 to 9"),
        ({"images": np.zeros((3, 4, 4, 3), np.uint8), "ans": np.array([0, 1, -1])}, "not 0 to 9"),
        ({"images": np.zeros((3, 4, 4, 3), np.uint8), "ans": np.array([0, 1, np.nan])}, "3 pictures and 3 answers"),
    ],
)
def test_another_hdf5_is_refused(tmp_path: Path, arrays: dict[str, object], said: str) -> None:
    hdf5(tmp_path / "galaxy10_sdss" / "Galaxy10.h5", **arrays)
    with pytest.raises(DatasetError, match=said):
        open_dataset("galaxy10_sdss")


def test_an_hdf5_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    import h5py

    hdf5(tmp_path / "secret.h5", images=np.zeros((3, 4, 4, 3), np.uint8), ans=np.arange(3))
    hdf5(tmp_path / "galaxy10_sdss" / "Galaxy10.h5", ans=np.arange(3))
    with h5py.File(tmp_path / "galaxy10_sdss" / "Galaxy10.h5", "a") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "images")
    with pytest.raises(DatasetError, match="no array 'images'"):
        open_dataset("galaxy10_sdss")


def test_the_challenge(challenge: Path) -> None:
    pictures = open_dataset("gz_challenge")
    assert pictures.ids == ("100008", "100023", "100053", "100078")
    assert named(pictures) == ["smooth", "featured", "featured", None]
    assert pictures.votes is not None
    assert pictures.votes.shape == (4, 37)
    assert pictures.votes.dtype == np.float32
    assert pictures.vote_names[0] == "Class1.1"
    np.testing.assert_allclose(pictures.votes[:, 0], [0.9, 0.1, 0.05, 0.5])
    assert pictures.skipped == ()
    np.testing.assert_allclose(pictures.pictures(24)[:, 12, 12, 0], [40, 80, 120, 160], atol=2)
    half = open_dataset("gz_challenge", rules=LabelRules(confidence=0.5))
    assert named(half) == ["smooth", "featured", "featured", "smooth"]
    # A label may change with the rules, a split never.
    assert half.splits.tolist() == pictures.splits.tolist()


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("gz2-5class", ["round", "spiral", "edge-on", "round"]),
        ("galaxy6", ["round", "spiral", "edge-on", "round"]),
        ("h4", ["smooth", "spiral", "edge-on", "smooth"]),
        ("gz-second-level", [None, "not-edge-on", "edge-on", None]),
        ("gz-second-level-4", [None, "not-edge-on", "edge-on", None]),
    ],
)
def test_schemes_of_the_challenge(challenge: Path, name: str, labels: list[str | None]) -> None:
    assert named(open_dataset("gz_challenge", name)) == labels


def test_fractions_to_regress_on(challenge: Path) -> None:
    four = open_dataset("gz_challenge", "gz-second-level-4", LabelRules(confidence=0.7))
    assert four.vote_names == four.scheme.labels == ("edge-on", "not-edge-on", "round", "in-between")
    assert four.votes is not None
    np.testing.assert_allclose(four.votes.sum(axis=1), 1, rtol=1e-6)
    sure = four.subset()
    assert sure.votes is not None
    assert len(sure) == 3
    assert sure.votes.argmax(axis=1).tolist() == sure.labels.tolist()


def test_a_scheme_that_votes_cannot_give(challenge: Path) -> None:
    with pytest.raises(InputError, match="no map"):
        open_dataset("gz_challenge", "hubble3")


def edited(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


def test_votes_that_are_no_shares_leave_no_label(challenge: Path) -> None:
    table = challenge / "training_solutions_rev1.csv"
    edited(table, "100008,0.900000", "100008,nan")
    edited(table, "100023,0.100000,0.900000", "100023,0.100000,1.700000")
    pictures = open_dataset("gz_challenge")
    assert named(pictures) == [None, None, "featured", None]
    assert pictures.skipped[0].names == ("100008", "100023")
    assert "without votes" in pictures.skipped[0].reason


def test_the_challenge_unpacked_and_incomplete(challenge: Path) -> None:
    with zipfile.ZipFile(challenge / "images_training_rev1.zip") as archive:
        archive.extractall(challenge)
    (challenge / "images_training_rev1.zip").unlink()
    (challenge / "images_training_rev1" / "100053.jpg").unlink()
    (challenge / "images_training_rev1" / "7.jpg").write_bytes(b"")
    pictures = open_dataset("gz_challenge")
    assert pictures.ids == ("100008", "100023", "100078")
    assert pictures.votes is not None
    np.testing.assert_allclose(pictures.votes[:, 0], [0.9, 0.1, 0.5])
    assert [skip.names for skip in pictures.skipped] == [("100053.jpg",), ("7.jpg",)]


def test_a_table_without_its_columns_is_refused(challenge: Path) -> None:
    edited(challenge / "training_solutions_rev1.csv", "Class7.3", "Class7.4")
    with pytest.raises(DatasetError, match=r"no column Class7\.3"):
        open_dataset("gz_challenge")


def test_hart(hart: Path) -> None:
    pictures = open_dataset("gz2_hart16")
    assert pictures.ids[0] == "58773200"
    assert pictures.files == ("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    assert named(pictures) == ["smooth", "featured", "featured", None]
    assert named(open_dataset("gz2_hart16", "gz2-5class")) == ["round", "spiral", "edge-on", None]
    assert pictures.positions is not None
    assert pictures.positions.tolist() == [[10.5 + i, -0.5] for i in range(4)]
    assert pictures.skipped[0].names == ("58773203",)
    plain = gzip.decompress((hart / "gz2_hart16.csv.gz").read_bytes())
    (hart / "gz2_hart16.csv.gz").unlink()
    (hart / "gz2_hart16.csv").write_bytes(plain)
    assert open_dataset("gz2_hart16").ids == pictures.ids


def test_votes_of_hart_mean_what_those_of_the_challenge_mean(hart: Path, challenge: Path) -> None:
    ours, theirs = open_dataset("gz2_hart16").votes, open_dataset("gz_challenge").votes
    assert ours is not None
    assert theirs is not None
    np.testing.assert_allclose(ours[:3], theirs[:3], atol=1e-6)


def test_a_question_that_few_came_to_decides_little(hart: Path) -> None:
    """Nearly all of the few who called it smooth called it round too: round it is not."""
    path = hart / "gz2_hart16.csv.gz"
    lines = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    votes = {"a01_smooth": 0.1, "a02_features_or_disk": 0.88, "a03_star_or_artifact": 0.02, "a04_yes": 0.04}
    votes |= {"a05_no": 0.96, "a16_completely_round": 0.9, "a17_in_between": 0.1, "a18_cigar_shaped": 0}
    for task, share in votes.items():
        lines[1][next(i for i, c in enumerate(lines[0]) if c.endswith(f"_{task}_debiased"))] = f"{share}"
    path.write_bytes(gzip.compress("\n".join(map(",".join, lines)).encode()))
    pictures = open_dataset("gz2_hart16", "gz-second-level")
    assert named(pictures)[0] == "not-edge-on"
    assert pictures.votes is not None
    np.testing.assert_allclose(pictures.votes[0], [0.02, 0.0352, 0.8448, 0.09, 0.01, 0], rtol=1e-5)
    assert named(open_dataset("gz2_hart16", "gz-second-level-4"))[0] == "not-edge-on"


def test_half_a_gzip_is_refused(hart: Path) -> None:
    path = hart / "gz2_hart16.csv.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"gz2_hart16\.csv\.gz is not a CSV"):
        open_dataset("gz2_hart16")


def test_efigi(efigi: Path) -> None:
    pictures = open_dataset("efigi")
    assert pictures.ids[0] == "PGC0000212"
    assert named(pictures) == ["E", "S0", "S", "S"]
    assert named(open_dataset("efigi", rules=LabelRules(spiral_from=1))) == ["E", "S0", None, "S"]
    # The archive has them the other way round.
    assert pictures.pictures(8)[:, 0, 0, 0].tolist() == [0, 40, 80, 120]
    assert len(set(pictures.digest())) > 1


def test_positions_of_efigi(efigi: Path) -> None:
    positions = open_dataset("efigi").positions
    assert positions is not None
    np.testing.assert_array_equal(positions, [[10.5, -0.25], [11.5, -0.25], [12.5, -0.25], [np.nan, np.nan]])
    (efigi / "EFIGI_coord_redshift.txt").write_text("PGC0000212 0.5 -0.25\n")
    assert open_dataset("efigi").positions is None


def test_half_an_efigi_is_refused(efigi: Path) -> None:
    path = efigi / "efigi_png_gri-1.6.tgz"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DatasetError, match="is not a readable tar"):
        open_dataset("efigi")


def test_nair_abraham(nair_abraham: Path) -> None:
    pictures = open_dataset("nair_abraham")
    assert named(pictures) == ["E", "S0", "S", None]
    assert pictures.files[0] == "J155341.74-003422.84.jpg"
    assert pictures.t_types is not None
    assert pictures.t_types.tolist() == [-5, -3, 0, 99]
    assert pictures.positions is not None
    assert pictures.positions[1].tolist() == [151.5, -0.25]
    edited(nair_abraham / "table2.tsv", "\t -5", "\t ?")
    assert named(open_dataset("nair_abraham")) == [None, "S0", "S", None]


def test_positions_of_nair_abraham_in_the_columns_of_the_table(nair_abraham: Path) -> None:
    edited(nair_abraham / "table2.tsv", "_RAJ2000\t_DEJ2000", "RAJ2000\tDEJ2000")
    positions = open_dataset("nair_abraham").positions
    assert positions is not None
    assert positions[1].tolist() == [151.5, -0.25]


def test_a_galaxy_of_efigi_is_known_in_nair_abraham(efigi: Path, nair_abraham: Path) -> None:
    edited(nair_abraham / "table2.tsv", "151.5\t-0.25", "11.5002\t-0.25")
    first, second = open_dataset("efigi"), open_dataset("nair_abraham")
    assert comparable(first, second)
    assert [match.first_id for match in same_galaxies(first, second)] == ["PGC0000243"]


def test_fashion_mnist(fashion_mnist: Path) -> None:
    pictures = open_dataset("fashion_mnist", shares=Shares(3, 1, 0))
    assert len(pictures) == 50
    assert Counter(pictures.splits.tolist()) == {"train": 30, "val": 10, "test": 10}
    assert pictures.subset("test").ids[0] == "t10k-00000"
    pixels = pictures.pictures()
    assert pixels.shape == (50, 28, 28, 3)
    assert pixels[:, 5, 5, 1].tolist() == (20 * pictures.labels).tolist()


HEADER = struct.pack(">4BI", 0, 0, 8, 1, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b""),
        gzip.compress(HEADER + b"abc")[:-4],
        gzip.compress(HEADER + b"ab"),
        gzip.compress(HEADER + b"abcd"),
        gzip.compress(struct.pack(">4BI", 0, 0, 9, 1, 3) + b"abc"),
        gzip.compress(struct.pack(">4BII", 0, 0, 8, 2, 1, 3) + b"abc"),
        gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 2**32 - 1)),
        gzip.compress(HEADER[:6]),
    ],
    ids=["empty", "text", "nothing", "cut off", "short", "long", "signed", "2-D", "huge", "half a header"],
)
def test_damaged_idx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"labels\.gz") as caught:
        read_idx(path, 1)
    assert caught.value.mend


@given(st.binary(max_size=40))
def test_any_bytes_are_an_array_or_a_dataset_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + content))
    try:
        found = read_idx(path, 1)
    except DatasetError:
        return
    assert found.tobytes() == content[4:]


PUBLIC = ("challenge", "hart", "efigi", "nair_abraham", "fashion_mnist")


@pytest.mark.parametrize("fixture", PUBLIC)
def test_every_set_is_listed_described_and_drawn(fixture: str, request: pytest.FixtureRequest) -> None:
    name = request.getfixturevalue(fixture).name
    assert {s.name for s in list_datasets() if s.state == "present"} == {name}
    pictures = open_dataset(name)
    summary = summarise(pictures)
    assert sum(n for row in summary.counts.values() for n in row.values()) == len(pictures)
    assert set(summary.empty) == set(pictures.scheme.labels) - set(filter(None, named(pictures)))
    sheet = contact_sheet(pictures, columns=3, side=64)
    assert sheet.dtype == np.uint8
    assert sheet.std() > 10


@pytest.mark.parametrize("name", ["galaxy10_sdss", "gz_challenge"])
def test_what_is_not_here_says_how_to_get_it(name: str) -> None:
    with pytest.raises(DatasetError, match="is not here") as caught:
        open_dataset(name)
    assert ("edgegal data fetch galaxy10_sdss" if name == "galaxy10_sdss" else "kaggle.com") in caught.value.mend
    assert "EDGEGAL_DATA" in caught.value.mend


def test_hubble_stages_have_the_order_of_the_thesis() -> None:
    assert scheme("hubble3").labels == ("E", "S0", "S")
