"""How boxed sets and class maps are written; asking whether a name is of one needs none of their packages."""

from collections.abc import Sequence

from edgegal.errors import InputError

__all__ = ["FORMS", "is_boxed", "parse_class_map"]

FORMS = ("voc", "coco", "yolo", "cutouts", "composed", "simulated", "frames")


def is_boxed(name: str) -> bool:
    """Whether a name is one of a boxed set."""
    form, colon, _ = name.partition(":")
    return bool(colon) and form in FORMS


def parse_class_map(entries: Sequence[str]) -> dict[str, str]:
    """A class map of entries ``class=name``; `InputError` for others and for a class that stands twice."""
    mapped: dict[str, str] = {}
    for entry in entries:
        old, equals, new = (part.strip() for part in entry.partition("="))
        if not old or not equals:
            raise InputError(f"{entry!r} is no entry of a class map", "give class=name, for example cluster=galaxy")
        if mapped.setdefault(old, new) != new:
            raise InputError(f"class {old!r} is mapped to {mapped[old]!r} and to {new!r}", "map it once")
    return mapped
