"""Keeping the pictures a network is tested on out of those it is calibrated and compared on.

A quantised network calibrated on test pictures, or chosen by them, has an accuracy that no other picture will see.
"""

from collections.abc import Sequence

import numpy as np

from edgegal.bundle.manifest import Description
from edgegal.data import DATASETS, PictureSet, open_dataset
from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.data.leakage import comparable, learned_from, same_galaxies
from edgegal.data.picture_match import matched_pictures
from edgegal.data.registry import bare_name
from edgegal.errors import DatasetError, InputError, MissingPartError
from edgegal.export.progress import Progress
from edgegal.frames import View

__all__ = [
    "equal_pictures",
    "parts_tested_on",
    "refuse_equal_files",
    "refuse_near_duplicates",
    "refuse_shared",
    "without_test_galaxies",
]

_MEND = "take them out of the set, or name another one"


def parts_tested_on(description: Description, dataset: PictureSet, progress: Progress) -> list[PictureSet]:
    """The test splits that must stay unseen: that of `dataset`, and those of the sets the network learned from.

    Parameters
    ----------
    description
        The network; its provenance names what it learned from.
    dataset
        Set that pictures are about to be drawn from.
    progress
        Told of sets that the network learned from and that are not here.
    """
    parts = [dataset.subset("test", labelled=False)]
    for name, _ in learned_from(description.provenance.datasets):
        if name == dataset.name or not _names_a_dataset(name):
            continue
        try:
            parts.append(open_dataset(name).subset("test", labelled=False))
        except (DatasetError, MissingPartError) as error:
            progress(f"overlap with the test pictures of {name} was not looked for: {error.message}")
    return [part for part in parts if len(part)]


def _names_a_dataset(name: str) -> bool:
    return bare_name(name) in DATASETS or name.partition(":")[0] in ("folder", "csv", "crops")


def without_test_galaxies(part: PictureSet, tests: Sequence[PictureSet], progress: Progress) -> PictureSet:
    """`part` without the galaxies that one of `tests` is known, by name or position, to have a picture of too."""
    for test in tests:
        found = {match.first_id for match in same_galaxies(part, test)}
        if found:
            progress(f"left out {len(found)} pictures of {part.name}: galaxies that {test.name} tests on")
            part = part.select(np.array([i not in found for i in part.ids]))
    return part


def refuse_near_duplicates(drawn: PictureSet, tests: Sequence[PictureSet]) -> None:
    """Look for pictures of the same galaxies where neither names nor positions can tell.

    The named sets are split by galaxy; in a user's own, a picture may lie in two splits under two names.

    Raises
    ------
    InputError
        Some of `drawn` show what one of `tests` tests on.
    """
    for test in tests:
        one_named_set = bare_name(drawn.name) == bare_name(test.name) in DATASETS
        if comparable(drawn, test) or one_named_set:
            continue
        pairs = matched_pictures(drawn, test)
        if len(pairs):
            first, second = pairs[0]
            raise InputError(
                f"{len({int(i) for i, _ in pairs})} pictures of {drawn.name} are nearly those that {test.name} tests "
                f"on: {drawn.files[first]} is {test.files[second]}",
                _MEND,
            )


def refuse_equal_files(boxed: BoxedSet, split: str) -> None:
    """Compare the files of one split of a set of frames with those of its test split; `InputError` when some agree."""
    part, test = boxed.subset(split), boxed.subset("test")
    tested = dict(zip(test.store.checksums(test.files), test.files, strict=True))
    for checksum, file in zip(part.store.checksums(part.files), part.files, strict=True):
        if checksum in tested:
            raise InputError(f"{boxed.name}: {file} of {split} is {tested[checksum]} of its test split", _MEND)


def equal_pictures(first: View, second: View) -> int:
    """How many pictures of `first` stand in `second` too, pixel by pixel; both ``(n, h, w, 3)`` uint8."""
    if first.shape[1:] != second.shape[1:]:
        return 0
    known = {picture.tobytes() for picture in second}
    return sum(picture.tobytes() in known for picture in first)


def refuse_shared(first: View, first_name: str, second: View, second_name: str) -> None:
    """`InputError` when two sets of pictures have some in common."""
    count = equal_pictures(first, second)
    if count:
        raise InputError(f"{count} pictures of {first_name} are also among {second_name}", _MEND)
