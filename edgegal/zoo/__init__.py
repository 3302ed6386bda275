"""Trained bundles that ship with edgegal, each a folder with its card."""

from pathlib import Path

from edgegal.bundle import Bundle, open_bundle
from edgegal.bundle.store import MANIFEST
from edgegal.errors import InputError

__all__ = ["DEFAULT", "names", "resolve"]

DEFAULT = "galaxies"
_HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped bundles."""
    return tuple(sorted(path.parent.name for path in _HERE.glob(f"*/{MANIFEST}")))


def resolve(bundle: str) -> Bundle:
    """Open a bundle by path, or by the name of a shipped one.

    Raises
    ------
    InputError
        Neither a path nor a shipped name.
    BundleError
        Something is there and is not a sound bundle.
    """
    path = Path(bundle)
    if not path.exists() and bundle in names():
        path = _HERE / bundle
    if not path.exists():
        raise InputError(f"no bundle at {bundle}", f"give a folder, a .edgegal file, or one of: {', '.join(names())}")
    return open_bundle(path)
