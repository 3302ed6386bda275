"""Bundles on disk: a folder, or the same folder as one ``.edgegal`` zip.

Nothing is trusted: the manifest must fit the schema, paths must stay inside, sizes are bounded, and every file is
hashed before a runtime sees it. Nothing is ever unpickled.
"""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

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
    """

    root: Path
    manifest: Manifest

    def path(self, record: FileRecord) -> Path:
        """Path of a file after its size and hash were checked.

        Raises
        ------
        BundleError
            The file is missing, was changed, or is a link out of the bundle.
        """
        path = self.root / record.path
        problem = _problem(self.root, record)
        if problem:
            raise BundleError(problem, "get the bundle again; a changed model is never run")
        return path

    def model_path(self, variant: Variant) -> Path:
        """Path of the file of `variant` to load, all its files checked."""
        checked = [self.path(record) for record in variant.files]
        return checked[0]


def _problem(root: Path, record: FileRecord) -> str:
    """What is wrong with a file of the bundle; empty when nothing is."""
    path = root / record.path
    if not path.is_file():
        return f"{path} is missing from the bundle"
    if not path.resolve().is_relative_to(root.resolve()):
        return f"{path} is a link that leaves the bundle"
    size = path.stat().st_size
    if size != record.bytes:
        return f"{path} has {size} bytes, the manifest says {record.bytes}"
    if sha256_of(path) != record.sha256:
        return f"{path} was changed: its SHA-256 is not the manifest's"
    return ""


def _read_manifest(path: Path) -> Manifest:
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is larger than any manifest")
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{path.parent} is not a bundle: it has no {MANIFEST}") from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    major = SCHEMA_VERSION.split(".")[0]
    found = str(raw.get("schema_version", "")) if isinstance(raw, dict) else ""
    if found.split(".")[0] != major:
        raise BundleError(
            f"{path} has schema version {found or 'none'}, this edgegal reads {major}.x",
            "export the bundle again with this version, or install the edgegal it was made with",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {where or 'manifest'}: {first['msg']}") from error


def _unpack(archive: Path) -> Path:
    """Unpack a ``.edgegal`` zip into a fresh temporary folder, refusing escapes, links and bombs."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            if len(members) > _MAX_FILES or sum(m.file_size for m in members) > _MAX_BYTES:
                raise BundleError(f"{archive} unpacks to more than a bundle may hold")
            for member in members:
                pure = PurePosixPath(member.filename)
                is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
                if pure.is_absolute() or ".." in pure.parts or "\\" in member.filename or is_link:
                    raise BundleError(f"{archive} holds the unsafe path {member.filename!r}")
            folder = Path(tempfile.mkdtemp(prefix="edgegal-bundle-"))
            try:
                # The declared sizes were summed above; zipfile stops a member that lies about its own.
                zipped.extractall(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BundleError(f"{archive} is not a readable .edgegal file: {error}") from error
    return folder


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder or ``.edgegal`` file; model files are hashed when asked for.

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
        return Bundle(path, _read_manifest(path / MANIFEST))
    folder = _unpack(path)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Bundle(folder, _read_manifest(folder / MANIFEST))


def verify(bundle: Bundle) -> list[str]:
    """Problems of every file the manifest names, and files it does not name; empty when the bundle is sound."""
    records = bundle.manifest.files()
    problems = [p for p in (_problem(bundle.root, r) for r in records) if p]
    known = {r.path for r in records} | {MANIFEST, CARD}
    for path in sorted(bundle.root.rglob("*")):
        name = path.relative_to(bundle.root).as_posix()
        if path.is_file() and name not in known:
            problems.append(f"{path} is not in the manifest")
    return problems


def save(manifest: Manifest, root: Path) -> Bundle:
    """Write the manifest into a bundle folder, through a temporary name."""
    text = manifest.model_dump_json(indent=1) + "\n"
    temporary = root / f".{MANIFEST}.{os.getpid()}"
    try:
        temporary.write_text(text)
        temporary.replace(root / MANIFEST)
    finally:
        temporary.unlink(missing_ok=True)
    return Bundle(root, manifest)


def pack(bundle: Bundle, out: Path) -> Path:
    """Write a sound bundle as one ``.edgegal`` zip: sorted, with fixed times, so equal bundles give equal bytes.

    Raises
    ------
    BundleError
        The bundle does not verify.
    """
    problems = verify(bundle)
    if problems:
        raise BundleError(f"{bundle.root} is not sound: {problems[0]}", "run: edgegal bundle verify")
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in sorted(p for p in bundle.root.rglob("*") if p.is_file()):
                info = zipfile.ZipInfo(path.relative_to(bundle.root).as_posix())
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                zipped.writestr(info, path.read_bytes())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out
