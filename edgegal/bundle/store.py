"""Bundles on disk: a folder, or the same folder as one ``.edgegal`` zip.

Nothing is trusted: the manifest must fit the schema, paths must stay inside, sizes are bounded, and every file is
hashed before a runtime sees it. Nothing is ever unpickled.
"""

import atexit
import hashlib
import json
import lzma
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from edgegal.bundle.card import card
from edgegal.bundle.manifest import SCHEMA_VERSION, FileRecord, Manifest, Variant
from edgegal.errors import BundleError, InputError

__all__ = ["MANIFEST", "Bundle", "file_record", "open_bundle", "pack", "save", "sha256_of", "verify"]

MANIFEST = "bundle.json"
CARD = "CARD.md"

# Far above any compact network, far below what fills a card: a zip bomb stops here.
_MAX_FILES = 5_000
_MAX_BYTES = 512 * 2**20
_MAX_MANIFEST_BYTES = 8 * 2**20


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_record(root: Path, path: Path) -> FileRecord:
    """Manifest entry of a file below the bundle folder `root`."""
    return FileRecord(path=path.relative_to(root).as_posix(), sha256=sha256_of(path), bytes=path.stat().st_size)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes
    ----------
    root
        Folder that holds the files.
    manifest
        The validated manifest.
    archive
        The ``.edgegal`` file it was unpacked from; None for a folder.
    """

    root: Path
    manifest: Manifest
    archive: Path | None = None

    @property
    def source(self) -> Path:
        """What was opened, to name in messages."""
        return self.archive or self.root

    def path(self, record: FileRecord) -> Path:
        """Path of a file after its size and hash were checked.

        Raises
        ------
        BundleError
            The file is missing, was changed, or is a link out of the bundle.
        """
        problem = _problem(self, record)
        if problem:
            raise BundleError(problem, "get the bundle again; a changed model is never run")
        return self.root / record.path

    def model_path(self, variant: Variant) -> Path:
        """Path of the file of `variant` to load, all its files checked."""
        checked = [self.path(record) for record in variant.files]
        return checked[0]


def _problem(bundle: Bundle, record: FileRecord) -> str:
    """What is wrong with a file of the bundle; empty when nothing is."""
    path, shown = bundle.root / record.path, bundle.source / record.path
    try:
        if not path.is_file():
            return f"{shown} is missing from the bundle"
        if not path.resolve().is_relative_to(bundle.root.resolve()):
            return f"{shown} is a link that leaves the bundle"
        size = path.stat().st_size
        if size != record.bytes:
            return f"{shown} has {size} bytes, the manifest says {record.bytes}"
        if sha256_of(path) != record.sha256:
            return f"{shown} was changed: its SHA-256 is not the manifest's"
    except OSError as error:
        return f"{shown} cannot be read: {error.strerror}"
    return ""


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _read_manifest(root: Path, source: Path) -> Manifest:
    path, shown = root / MANIFEST, source / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{shown} is larger than any manifest")
        raw = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except FileNotFoundError:
        raise BundleError(f"{source} is not a bundle: it has no {MANIFEST}") from None
    except OSError as error:
        raise BundleError(f"{shown} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{shown} is not JSON: {error}") from error
    major = SCHEMA_VERSION.split(".")[0]
    found = str(raw.get("schema_version", "")) if isinstance(raw, dict) else ""
    if found.split(".")[0] != major:
        raise BundleError(
            f"{shown} has schema version {found[:20] or 'none'}, this edgegal reads {major}.x",
            "export the bundle again with this version, or install the edgegal it was made with",
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{shown}: {where or 'manifest'}: {first['msg'].removeprefix('Value error, ')}",
            "get the bundle again, or export it again: edgegal export",
        ) from error
    if manifest.seal and manifest.seal != manifest.expected_seal():
        raise BundleError(f"{shown} was changed: its seal is not that of its content", "get the bundle again")
    return manifest


def _check_members(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse escapes, links, doubles and bombs by what the archive declares."""
    if len(members) > _MAX_FILES or sum(m.file_size for m in members) > _MAX_BYTES:
        raise BundleError(f"{archive} unpacks to more than a bundle may hold")
    for member in members:
        pure = PurePosixPath(member.filename)
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if pure.is_absolute() or ".." in pure.parts or "\\" in member.filename or is_link:
            raise BundleError(f"{archive} holds the unsafe path {member.filename!r}")
    if len({m.filename for m in members}) < len(members):
        raise BundleError(f"{archive} holds one name twice")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a ``.edgegal`` zip into an empty folder."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            _check_members(archive, zipped.infolist())
            # zipfile reads no member beyond its declared size, and checks what it read against the checksum.
            zipped.extractall(folder)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{archive} is not a readable .edgegal file: {error}") from error
    except (OSError, EOFError, ValueError, struct.error, lzma.LZMAError) as error:
        raise BundleError(f"{archive} cannot be unpacked: {error}") from error


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder or ``.edgegal`` file; model files are hashed when asked for.

    An archive is unpacked into a temporary folder that goes when the process ends.

    Raises
    ------
    InputError
        Nothing is there.
    BundleError
        It is no bundle, of another schema, or unsafe.
    """
    if not path.exists():
        raise InputError(f"no bundle at {path}")
    if path.is_dir():
        return Bundle(path, _read_manifest(path, path))
    folder = Path(tempfile.mkdtemp(prefix="edgegal-bundle-"))
    try:
        _unpack(path, folder)
        bundle = Bundle(folder, _read_manifest(folder, path), path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return bundle


def verify(bundle: Bundle) -> list[str]:
    """Problems of every file the manifest names, and files it does not name; empty when the bundle is sound."""
    records = bundle.manifest.files()
    problems = [p for p in (_problem(bundle, r) for r in records) if p]
    known = {r.path for r in records} | {MANIFEST}
    for path in sorted(bundle.root.rglob("*")):
        name = path.relative_to(bundle.root).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            problems.append(f"{bundle.source / name} is not in the manifest")
    return problems


def save(manifest: Manifest, root: Path) -> Bundle:
    """Write the card and the sealed manifest into a bundle folder, each through a temporary name."""
    _write(root / CARD, card(manifest))
    named = manifest.model_copy(update={"card": file_record(root, root / CARD)})
    sealed = named.model_copy(update={"seal": named.expected_seal()})
    _write(root / MANIFEST, sealed.model_dump_json(indent=1) + "\n")
    return Bundle(root, sealed)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def pack(bundle: Bundle, out: Path) -> Path:
    """Write a sound bundle as one ``.edgegal`` zip: sorted, with fixed times, so equal bundles give equal bytes.

    Raises
    ------
    BundleError
        The bundle does not verify.
    """
    problems = verify(bundle)
    if problems:
        raise BundleError(f"{bundle.source} is not sound: {problems[0]}", "run: edgegal bundle verify")
    names = sorted({MANIFEST} | {r.path for r in bundle.manifest.files()})
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name in names:
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                zipped.writestr(info, (bundle.root / name).read_bytes())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out
