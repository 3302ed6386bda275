"""Small sets laid out as the public ones."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.data.votes import ANSWERS


def coded(grey: int, side: int = 24, suffix: str = ".jpg") -> bytes:
    """An encoded picture of one grey level."""
    return cv2.imencode(suffix, np.full((side, side, 3), grey, np.uint8))[1].tobytes()


def idx(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """A gzipped idx file of unsigned bytes."""
    return gzip.compress(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


CHALLENGE_ROWS = {
    # Level 1, then the answers that are not 0.
    "100008": {"1.1": 0.9, "1.2": 0.1, "7.1": 0.7, "7.2": 0.2, "2.2": 0.1},
    "100023": {"1.1": 0.1, "1.2": 0.9, "2.1": 0.1, "2.2": 0.8, "4.1": 0.75, "7.1": 0.1},
    "100053": {"1.1": 0.05, "1.2": 0.85, "1.3": 0.1, "2.1": 0.8, "2.2": 0.05, "7.2": 0.05},
    "100078": {"1.1": 0.5, "1.2": 0.5, "2.2": 0.5, "7.1": 0.5},
}


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """``training_solutions_rev1.csv`` and its zip with the folder inside."""
    folder = tmp_path / "gz_challenge"
    folder.mkdir()
    lines = [",".join(("GalaxyID", *ANSWERS))]
    for galaxy, votes in CHALLENGE_ROWS.items():
        lines.append(",".join((galaxy, *(f"{votes.get(a.removeprefix('Class'), 0):.6f}" for a in ANSWERS))))
    (folder / "training_solutions_rev1.csv").write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(folder / "images_training_rev1.zip", "w") as archive:
        archive.writestr("images_training_rev1/", b"")
        for i, galaxy in enumerate(CHALLENGE_ROWS):
            archive.writestr(f"images_training_rev1/{galaxy}.jpg", coded(40 * i + 40))
            archive.writestr(f"__MACOSX/images_training_rev1/._{galaxy}.jpg", b"mac")
    return folder


# Task, answer and name of the 37 answers as in the header of the table.
_TASKS = (
    ("t01_smooth_or_features", ("a01_smooth", "a02_features_or_disk", "a03_star_or_artifact")),
    ("t02_edgeon", ("a04_yes", "a05_no")),
    ("t03_bar", ("a06_bar", "a07_no_bar")),
    ("t04_spiral", ("a08_spiral", "a09_no_spiral")),
    ("t05_bulge_prominence", ("a10_no_bulge", "a11_just_noticeable", "a12_obvious", "a13_dominant")),
    ("t06_odd", ("a14_yes", "a15_no")),
    ("t07_rounded", ("a16_completely_round", "a17_in_between", "a18_cigar_shaped")),
    (
        "t08_odd_feature",
        (
            *("a19_ring", "a20_lens_or_arc", "a21_disturbed", "a22_irregular", "a23_other", "a24_merger"),
            "a38_dust_lane",
        ),
    ),
    ("t09_bulge_shape", ("a25_rounded", "a26_boxy", "a27_no_bulge")),
    ("t10_arms_winding", ("a28_tight", "a29_medium", "a30_loose")),
    ("t11_arms_number", ("a31_1", "a32_2", "a33_3", "a34_4", "a36_more_than_4", "a37_cant_tell")),
)
# The answer that leads to a question, where one of `CHALLENGE_ROWS` is put.
_BEFORE = {"2": "1.2", "4": "2.2", "7": "1.1"}
_KINDS = ("count", "weight", "fraction", "weighted_fraction", "debiased", "flag")


@pytest.fixture
def hart(tmp_path: Path) -> Path:
    """``gz2_hart16.csv.gz``, ``gz2_filename_mapping.csv`` and ``images_gz2.zip``."""
    folder = tmp_path / "gz2_hart16"
    folder.mkdir()
    answers = [f"{task}_{answer}" for task, names in _TASKS for answer in names]
    header = ["dr7objid", "ra", "dec", "rastring", "decstring", "sample", "gz2_class", "total_classifications"]
    header += ["total_votes", *(f"{answer}_{kind}" for answer in answers for kind in _KINDS)]
    debiased = dict(zip(answers, (a.removeprefix("Class") for a in ANSWERS), strict=True))
    lines = [header]
    for i, votes in enumerate(CHALLENGE_ROWS.values()):
        cells = [str(58773200 + i), f"{10 + i}.5", "-0.5", "10:42:00", "-0:30:00", "original", "Er", "40", "200"]
        for answer in answers:
            # Hart et al. divide by those who came to the question, the challenge by all.
            before = _BEFORE.get(debiased[answer].partition(".")[0])
            share = votes.get(debiased[answer], 0) / (votes.get(before, 0) or 1 if before else 1)
            cells += ["7", "7.0", "0.123", "0.123", f"{share}", "0"]
        lines.append(cells)
    lines[-1][header.index("t01_smooth_or_features_a01_smooth_debiased")] = "NaN"
    text = "\n".join(map(",".join, lines)) + "\n"
    (folder / "gz2_hart16.csv.gz").write_bytes(gzip.compress(text.encode()))
    assets = "".join(f"{58773200 + i},original,{i + 1}\n" for i in range(4))
    (folder / "gz2_filename_mapping.csv").write_text("objid,sample,asset_id\n" + assets)
    with zipfile.ZipFile(folder / "images_gz2.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"images/{i + 1}.jpg", coded(40 * i + 40))
    return folder


@pytest.fixture
def efigi(tmp_path: Path) -> Path:
    """EFIGI's two archives, pictures in another order than the table."""
    folder = tmp_path / "efigi"
    folder.mkdir()
    stages = {"PGC0000212": "-5 -5 -4", "PGC0000243": "-2 -3 -1", "PGC0000255": "0 0 1", "PGC0000282": "5 4 6"}
    lines = ["# PGC_name", "# T", "# T_inf", "# T_sup", *(f"{name} {t} 0.5 0.25 0.75" for name, t in stages.items())]
    places = ["# PGC_name RA DEC z_all", *(f"{name} {i + 10}.5 -0.25 0.01" for i, name in enumerate(stages))]
    tables = {"EFIGI_attributes.txt": lines, "EFIGI_coord_redshift.txt": places[:-1]}
    _tar(
        folder / "efigi_tables-1.6.2.tgz",
        {f"efigi-1.6/{name}": "\n".join(table).encode() + b"\n" for name, table in tables.items()},
    )
    pictures = {f"efigi-1.6/png/{name}.png": coded(40 * i, suffix=".png") for i, name in enumerate(stages)}
    _tar(folder / "efigi_png_gri-1.6.tgz", dict(reversed(pictures.items())))
    return folder


def _tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def nair_abraham(tmp_path: Path) -> Path:
    """A table as VizieR saves it, and a folder of pictures."""
    folder = tmp_path / "nair_abraham"
    (folder / "images").mkdir(parents=True)
    names = ["J155341.74-003422.84", "J155146.83-000618.62", "J154453.22+002045.0", "J154711.32+002424.81"]
    rows = zip(names, ("-5", "-3", "0", "99"), range(4), strict=True)
    lines = [
        "#",
        "#   VizieR Astronomical Server",
        "",
        "_RAJ2000\t_DEJ2000\tSDSS\tTType",
        "deg\tdeg\t\t",
        "---\t---\t---\t--",
    ]
    lines += [f"{150 + i}.5\t-0.25\t{name}\t {stage}" for name, stage, i in rows]
    (folder / "table2.tsv").write_text("\n".join(lines) + "\n")
    for i, name in enumerate(names):
        (folder / "images" / f"{name}.jpg").write_bytes(coded(40 * i + 40))
    return folder


@pytest.fixture
def fashion_mnist(tmp_path: Path) -> Path:
    """Forty training and ten test pictures in four idx files."""
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    for part, n in (("train", 40), ("t10k", 10)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        pictures = np.repeat(20 * labels, 28 * 28).reshape(n, 28, 28)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pictures))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return folder


@pytest.fixture
def galaxy10(tmp_path: Path) -> Callable[..., Path]:
    """Writes an HDF5 file as Galaxy10's and returns its path; ``columns`` beside ``images`` and ``ans``."""

    def write(file: str, side: int, n: int = 30, **columns: Sequence[float]) -> Path:
        import h5py

        path = tmp_path / ("galaxy10_decals" if "DECals" in file else "galaxy10_sdss") / file
        path.parent.mkdir()
        labels = (np.arange(n) % 10).astype(np.uint8)
        pictures = np.empty((n, side, side, 3), np.uint8)
        pictures[:] = (np.arange(n) * 8).astype(np.uint8)[:, None, None, None] + np.array([2, 1, 0], np.uint8)
        with h5py.File(path, "w") as opened:
            opened.create_dataset("images", data=pictures, compression="gzip")
            opened.create_dataset("ans", data=labels)
            for name, values in columns.items():
                opened.create_dataset(name, data=values)
        return path

    return write
