"""Datasets by name: the shared sets, public sets, and the forms ``folder:DIR``, ``csv:LABELS.csv`` and ``crops:DIR``.

Checksums are those that the makers of a set publish, found in two independent places but for that of Galaxy10 SDSS,
which astroNN alone states; None where none was found:
`edgegal data fetch` then prints the sha256 of what came.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import edgegal
from edgegal.data.fashion_mnist import read_fashion_mnist
from edgegal.data.galaxy10 import read_galaxy10
from edgegal.data.galaxy_zoo import CHALLENGE_TABLE, HART_MAPPING, HART_TABLE, read_challenge, read_hart
from edgegal.data.kept_crops import read_kept_crops
from edgegal.data.pictures import PictureSet
from edgegal.data.splits import Shares, read_split
from edgegal.data.staged import EFIGI_PICTURES, EFIGI_TABLES, NAIR_TABLE, read_efigi, read_nair_abraham
from edgegal.data.tables import read_csv, read_folder
from edgegal.data.votes import LabelRules
from edgegal.errors import DatasetError, InputError
from edgegal.labels import LabelScheme
from edgegal.labels import scheme as scheme_named

__all__ = [
    "DATASETS",
    "Dataset",
    "RemoteFile",
    "bare_name",
    "data_root",
    "dataset",
    "open_dataset",
    "parse_split",
    "shared_root",
]


@dataclass(frozen=True)
class RemoteFile:
    """One file of a public set.

    Attributes
    ----------
    name
        What it is called here.
    url
        Where it comes from.
    checksum
        ``sha256:...`` or ``md5:...``; None when its makers publish none.
    """

    name: str
    url: str
    checksum: str | None


@dataclass(frozen=True)
class Dataset:
    """A set known by name.

    Attributes
    ----------
    name
        Name of the set and of its folder.
    scheme
        Name of the label scheme it comes with.
    source
        Who took the pictures and who labelled them.
    read
        Reads the set from its folder.
    needs
        Files that must be there; of a tuple any one.
    citation
        What to cite; empty for the shared sets, whose ``PROVENANCE.md`` says it.
    files
        What `edgegal data fetch` gets.
    by_hand
        Where to get what cannot be fetched, empty when all can.
    n
        Pictures as published; None for the shared sets, which are counted.
    id_space
        Who numbers its galaxies, see `PictureSet.id_space`.
    shared
        Whether it lies in `shared_root`, else in `data_root`.
    """

    name: str
    scheme: str
    source: str
    read: Callable[[Path, str, Shares | None], PictureSet]
    needs: Sequence[str | tuple[str, ...]]
    citation: str = ""
    files: tuple[RemoteFile, ...] = ()
    by_hand: str = ""
    n: int | None = None
    id_space: str = ""
    shared: bool = False

    @property
    def folder(self) -> Path:
        """Where it is expected."""
        return (shared_root() if self.shared else data_root()) / self.name

    @property
    def missing(self) -> tuple[str, ...]:
        """What it needs and has not."""
        folder = self.folder
        choices = [(need,) if isinstance(need, str) else need for need in self.needs]
        return tuple(" or ".join(names) for names in choices if not any((folder / name).exists() for name in names))

    @property
    def present(self) -> bool:
        """Whether all it needs is there."""
        try:
            return not self.missing
        except ImportError:
            # Without pooch nobody knows the folder of downloads, and nothing was downloaded.
            return False


def _shared(folder: Path, name: str, shares: Shares | None, scheme: str, aliases: Mapping[str, str]) -> PictureSet:
    return read_csv(folder / "labels.csv", name, scheme_named(scheme), aliases, shares)


def _galaxy10(folder: Path, name: str, shares: Shares | None, file: str, scheme: str) -> PictureSet:
    return read_galaxy10(folder / file, name, scheme_named(scheme), shares)


_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_ZENODO_GZ2 = "https://zenodo.org/records/3565489/files"
_EFIGI = "https://www.astromatic.net/download/efigi"

DATASETS: Mapping[str, Dataset] = {
    s.name: s
    for s in (
        Dataset(
            "gz1_6class",
            "gz1-6class",
            "SDSS DR7 colour cutouts; Galaxy Zoo 1, Lintott et al. 2011",
            partial(_shared, scheme="gz1-6class", aliases={}),
            ("labels.csv",),
            id_space="SDSS DR7",
            shared=True,
        ),
        Dataset(
            "gz2_kaggle_5class",
            "gz2-5class",
            "SDSS colour cutouts; Galaxy Zoo 2, Willett et al. 2013, clean-sample cuts of Zhu et al. 2019",
            partial(
                _shared,
                scheme="gz2-5class",
                aliases={
                    "completely_round_smooth": "round",
                    "in_between_smooth": "in-between",
                    "cigar_smooth": "cigar",
                },
            ),
            ("labels.csv",),
            id_space="Galaxy Challenge",
            shared=True,
        ),
        Dataset(
            "gz1_disks_120",
            "gz1-disks",
            "SDSS DR12 colour cutouts of one field of view, 24 arcsec; Galaxy Zoo 1, Lintott et al. 2011: disks alone",
            partial(_shared, scheme="gz1-disks", aliases={"gz1_spiral_incl_edge_on": "disk"}),
            ("labels.csv",),
            shared=True,
        ),
        Dataset(
            "galaxy10_sdss",
            "galaxy10-sdss",
            "SDSS gri cutouts, 69 px; Galaxy Zoo 2 votes, Leung & Bovy 2018",
            partial(_galaxy10, file="Galaxy10.h5", scheme="galaxy10-sdss"),
            ("Galaxy10.h5",),
            "Leung & Bovy 2018, Galaxy10 SDSS, doi:10.5281/zenodo.10844811",
            (
                RemoteFile(
                    "Galaxy10.h5",
                    "https://zenodo.org/records/10844811/files/Galaxy10.h5",
                    "sha256:969a6b1cefcc36e09fffa86febd2f699a4aa19b837ba0427f01b0bc6ded458af",
                ),
            ),
            n=21_785,
        ),
        Dataset(
            "galaxy10_decals",
            "galaxy10-decals",
            "DESI Legacy Imaging Surveys grz cutouts, 256 px; Galaxy Zoo votes, Leung & Bovy 2021",
            partial(_galaxy10, file="Galaxy10_DECals.h5", scheme="galaxy10-decals"),
            ("Galaxy10_DECals.h5",),
            "Leung & Bovy 2021, Galaxy10 DECaLS, doi:10.5281/zenodo.10845026; Walmsley et al. 2022, MNRAS 509, 3966",
            (
                RemoteFile(
                    "Galaxy10_DECals.h5",
                    "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
                    "sha256:19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
                ),
            ),
            n=17_736,
        ),
        Dataset(
            "gz_challenge",
            "gz-smooth-featured",
            "SDSS gri cutouts, 424 px; Galaxy Zoo 2 vote fractions, the Galaxy Challenge of 2013",
            read_challenge,
            (CHALLENGE_TABLE, ("images_training_rev1.zip", "images_training_rev1")),
            "Willett et al. 2013, MNRAS 435, 2835; Galaxy Zoo - The Galaxy Challenge, Kaggle 2013",
            by_hand="log in at kaggle.com/c/galaxy-zoo-the-galaxy-challenge/data, take training_solutions_rev1.zip and "
            "images_training_rev1.zip, and unpack the first",
            n=61_578,
            id_space="Galaxy Challenge",
        ),
        Dataset(
            "gz2_hart16",
            "gz-smooth-featured",
            "SDSS gri cutouts, 424 px; Galaxy Zoo 2 votes as debiased by Hart et al. 2016",
            read_hart,
            ((HART_TABLE, "gz2_hart16.csv"), HART_MAPPING, ("images_gz2.zip", "images")),
            "Willett et al. 2013, MNRAS 435, 2835; Hart et al. 2016, MNRAS 461, 3663; doi:10.5281/zenodo.3565489",
            (
                RemoteFile(HART_TABLE, f"https://gz2hart.s3.amazonaws.com/{HART_TABLE}", None),
                RemoteFile(HART_MAPPING, f"{_ZENODO_GZ2}/{HART_MAPPING}", None),
                RemoteFile("images_gz2.zip", f"{_ZENODO_GZ2}/images_gz2.zip", "md5:bc647032d31e50c798770cf4430525c7"),
            ),
            n=239_695,
            id_space="SDSS DR7",
        ),
        Dataset(
            "efigi",
            "hubble3",
            "SDSS gri cutouts, 255 px; Hubble stages and attributes, Baillard et al. 2011",
            read_efigi,
            ((EFIGI_TABLES, "EFIGI_attributes.txt"), (EFIGI_PICTURES, "png")),
            "Baillard et al. 2011, A&A 532, A74",
            (
                RemoteFile(EFIGI_TABLES, f"{_EFIGI}/{EFIGI_TABLES}", None),
                RemoteFile(EFIGI_PICTURES, f"{_EFIGI}/{EFIGI_PICTURES}", None),
            ),
            n=4_458,
        ),
        Dataset(
            "nair_abraham",
            "hubble3",
            "SDSS cutouts; visual T-types, Nair & Abraham 2010",
            read_nair_abraham,
            (NAIR_TABLE, ("images.zip", "images")),
            "Nair & Abraham 2010, ApJS 186, 427",
            by_hand=f"save J/ApJS/186/427/table2 from VizieR as tab-separated values, named {NAIR_TABLE}, with the "
            "columns SDSS, TType and the positions in degrees, and put an SDSS cutout of each galaxy in a folder "
            "images, named by its column SDSS",
            n=14_034,
        ),
        Dataset(
            "fashion_mnist",
            "fashion-mnist",
            "grey pictures of clothes, 28 px, for pre-training; Xiao et al. 2017",
            read_fashion_mnist,
            tuple(_FASHION_MD5),
            "Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747",
            tuple(RemoteFile(name, f"{_FASHION}/{name}", f"md5:{md5}") for name, md5 in _FASHION_MD5.items()),
            n=70_000,
        ),
    )
}


def shared_root() -> Path:
    """Folder of the shared sets: ``EDGEGAL_SHARED_DATA``, else ``../shared/data`` beside the checkout."""
    named = os.environ.get("EDGEGAL_SHARED_DATA")
    return Path(named) if named else Path(edgegal.__file__).resolve().parents[2] / "shared" / "data"


def data_root() -> Path:
    """Folder of the public sets: ``EDGEGAL_DATA``, else what the system keeps for downloads of edgegal."""
    named = os.environ.get("EDGEGAL_DATA")
    if named:
        return Path(named)
    import pooch

    return Path(pooch.os_cache("edgegal"))


def dataset(name: str) -> Dataset:
    """The set called `name`; `DatasetError` naming the known ones otherwise."""
    if name not in DATASETS:
        raise DatasetError(
            f"no dataset called {name!r}", f"use one of: {', '.join(DATASETS)}, folder:DIR, csv:LABELS.csv, crops:DIR"
        )
    return DATASETS[name]


def open_dataset(
    name: str,
    scheme: str | None = None,
    rules: LabelRules = LabelRules(),
    shares: Shares | None = None,
    split: Path | None = None,
) -> PictureSet:
    """Open a set of labelled pictures.

    Parameters
    ----------
    name
        A name in `DATASETS`, ``folder:DIR`` (a folder for each class), ``csv:LABELS.csv``, or ``crops:DIR`` (what
        `edgegal run` kept to be labelled); followed by ``@FILE.json`` for the splits of a file of `edgegal data split`.
    scheme
        Label scheme of the result. A named set is relabelled to it; the names in a folder or CSV are read as its
        labels. When None, the set's own.
    rules
        Settings of the rules that make labels of votes and T-types. They never move a picture to another split.
    shares
        Shares of the splits, 70/15/15 when None; a set that brings a split keeps it.
    split
        File of `edgegal data split` that says the splits instead.

    Raises
    ------
    DatasetError
        No such set, or it is damaged; the file of the split was altered or is of other pictures.
    InputError
        No such scheme, or no way to it from the set's own; or the split is said twice.
    MissingPartError
        The set needs a package that is not installed.
    """
    target = scheme_named(scheme) if scheme else None
    bare, split = parse_split(name, shares, split)
    opened = replace(_opened(bare, target, rules, shares), name=name)
    return opened if split is None else opened.with_splits(read_split(split, opened.ids))


def parse_split(name: str, shares: Shares | None, split: Path | None) -> tuple[str, Path | None]:
    """Name of a set without the file of its split, and that file, `split` where the name has none.

    Raises
    ------
    InputError
        The name has one, and shares or a split are given beside it.
    """
    bare = bare_name(name)
    if bare == name:
        return name, split
    if split is not None or shares is not None:
        raise InputError(f"{name} says how it is split already", "leave out the other split or its shares")
    return bare, Path(name[len(bare) + 1 :])


def bare_name(name: str) -> str:
    """Name of a set without the file of its split."""
    bare, _, file = name.rpartition("@")
    return bare if bare and file.endswith(".json") else name


def _opened(name: str, target: LabelScheme | None, rules: LabelRules, shares: Shares | None) -> PictureSet:
    form, _, location = name.partition(":")
    if form == "folder" and location:
        return read_folder(Path(location), name, target, shares)
    if form == "crops" and location:
        return read_kept_crops(Path(location), name, target, shares)
    if form == "csv" and location:
        return read_csv(Path(location), name, target, shares=shares)
    known = dataset(name)
    missing = known.missing
    if missing:
        how = "EDGEGAL_SHARED_DATA to the folder that holds it" if known.shared else "EDGEGAL_DATA, if it is elsewhere"
        get = "" if known.shared else f"{known.by_hand or f'fetch it: edgegal data fetch {name}'}; or "
        raise DatasetError(f"dataset {name} is not here: no {missing[0]} in {known.folder}", f"{get}set {how}")
    opened = replace(known.read(known.folder, name, shares), id_space=known.id_space)
    return opened.relabelled(target or scheme_named(known.scheme), rules)
