"""Which pictures are trained on, chosen on and tested on: by object, stratified, and stored by hash."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError, InputError

__all__ = ["SPLITS", "Shares", "assign_splits", "read_split", "split_digest", "write_split"]

SPLITS = ("train", "val", "test")

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Shares:
    """How many objects go into each split, in any unit: 60/20/20 and 3000/0/758 are both fine."""

    train: float = 70
    val: float = 15
    test: float = 15

    def __post_init__(self) -> None:
        parts = (self.train, self.val, self.test)
        if not all(np.isfinite(parts)) or min(parts) < 0 or not sum(parts):
            raise InputError(f"splits {self} are not three shares", "give train/val/test, for example 70/15/15")

    def __str__(self) -> str:
        return "/".join(f"{part:g}" for part in (self.train, self.val, self.test))

    @classmethod
    def parse(cls, text: str) -> "Shares":
        """Shares written as ``70/15/15``; `InputError` for anything else."""
        try:
            train, val, test = (float(part) for part in text.split("/"))
        except ValueError:
            raise InputError(f"{text!r} is not three shares", "give train/val/test, for example 70/15/15") from None
        return cls(train, val, test)

    def cut(self, n: int) -> tuple[int, int]:
        """Where a list of `n` is cut: the second split's first index and the third's."""
        total = self.train + self.val + self.test
        return round(n * self.train / total), round(n * (self.train + self.val) / total)


def assign_splits(objects: Sequence[str], labels: NDArray[np.integer], shares: Shares = Shares()) -> NDArray[np.str_]:
    """Split of each picture: the same on every machine, each class in the same shares, all of an object in one split.

    The objects of a class stand in the order of the sha256 of their names and are cut at the shares. An object whose
    pictures are labelled differently counts in the class of its lowest label.

    Parameters
    ----------
    objects
        Name of the object on each picture.
    labels
        ``(n,)`` class of each picture; the unlabelled are a class too.
    shares
        How many objects each split gets of each class, to the nearest whole object.

    Returns
    -------
    NDArray
        ``(n,)`` strings, each of `SPLITS`.
    """
    class_of: dict[str, int] = {}
    for name, label in zip(objects, labels.tolist(), strict=True):
        class_of[name] = min(label, class_of.get(name, label))
    members = defaultdict(list)
    for name, label in class_of.items():
        members[label].append(name)
    split_of: dict[str, str] = {}
    for names in members.values():
        ordered = sorted(names, key=_position)
        first, second = shares.cut(len(ordered))
        for split, part in zip(SPLITS, (ordered[:first], ordered[first:second], ordered[second:]), strict=True):
            split_of.update(dict.fromkeys(part, split))
    return np.array([split_of[name] for name in objects], np.str_)


def _position(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()


def split_digest(ids: Sequence[str], splits: Sequence[str]) -> str:
    """sha256 of which picture is in which split, whatever their order."""
    rows = sorted(zip(ids, map(str, splits), strict=True))
    return hashlib.sha256("\n".join(f"{i}\0{s}" for i, s in rows).encode(errors="surrogatepass")).hexdigest()


def write_split(path: Path, dataset: str, ids: Sequence[str], splits: Sequence[str]) -> str:
    """Write a split as JSON, under a temporary name first.

    Returns
    -------
    str
        Its `split_digest`, which stands in the file too.
    """
    digest = split_digest(ids, splits)
    parts = {split: sorted(i for i, s in zip(ids, splits, strict=True) if s == split) for split in SPLITS}
    document = {"schema_version": _SCHEMA_VERSION, "dataset": dataset, "sha256": digest, "splits": parts}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def read_split(path: Path, ids: Sequence[str]) -> NDArray[np.str_]:
    """Split of each of `ids` from a file of `write_split`.

    Raises
    ------
    DatasetError
        The file is absent or no split, was altered, or is of other pictures.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        parts: Mapping[str, Sequence[str]] = document["splits"]
        split_of = {str(i): split for split in SPLITS for i in parts[split]}
        version, digest = document["schema_version"], document["sha256"]
        n = sum(len(parts[split]) for split in SPLITS)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "write it with: edgegal data split") from None
    except (ValueError, KeyError, TypeError, OSError):
        raise DatasetError(f"{path} is not a split", "write it with: edgegal data split") from None
    if version != _SCHEMA_VERSION:
        raise DatasetError(f"{path} is a split of schema {version}", f"this edgegal reads schema {_SCHEMA_VERSION}")
    if n != len(split_of) or split_digest(list(split_of), list(split_of.values())) != digest:
        raise DatasetError(f"{path} was altered: its sha256 is not the one it names", "write it again")
    unknown = [i for i in ids if i not in split_of]
    if unknown or len(split_of) != len(ids):
        named = f", the first is {unknown[0]}" if unknown else ""
        raise DatasetError(
            f"{path} has {len(split_of)} pictures, the set {len(ids)}; {len(unknown)} of them are not in it{named}",
            "write a split of this set: edgegal data split",
        )
    return np.array([split_of[i] for i in ids], np.str_)
