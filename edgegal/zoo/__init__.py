"""Trained bundles that ship with edgegal, each a folder with its card."""

from pathlib import Path

from edgegal.bundle import Bundle, open_bundle
from edgegal.bundle.single_file import FORMATS, open_file
from edgegal.bundle.store import MANIFEST
from edgegal.errors import InputError

__all__ = ["DEFAULT", "names", "resolve"]

DEFAULT = "galaxies"
_HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped bundles."""
    return tuple(sorted(path.parent.name for path in _HERE.glob(f"*/{MANIFEST}")))


def resolve(bundle: str) -> Bundle:
    """Open a bundle by path, by the name of a shipped one, or made of one model file (`open_file`).

    A folder of that name that is no bundle, of pictures perhaps, does not stand in the way of a shipped one.

    Raises
    ------
    InputError
        Neither a path nor a shipped name; or a model file that does not say what it is.
    MissingPartError
        A model file, and no runtime for it is installed.
    BundleError
        Something is there and is not a sound bundle.
    """
    path = Path(bundle)
    if bundle in names() and not path.is_file() and not (path / MANIFEST).exists():
        path = _HERE / bundle
    if not path.exists():
        raise InputError(
            f"no bundle at {bundle}", f"give a folder, a .edgegal or model file, or one of: {', '.join(names())}"
        )
    if path.suffix.lower() in FORMATS and path.is_file():
        return open_file(path)
    return open_bundle(path)
