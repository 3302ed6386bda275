"""Bundles written whole or not at all: made in a hidden folder beside the goal and renamed when sound."""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.bundle import Bundle, ClassifierStage, DetectorStage, Manifest, StageName, file_record, open_bundle, save
from edgegal.bundle import verify as find_problems
from edgegal.bundle.evaluation import BOXES_FILE, read_classifier_set, read_detector_set
from edgegal.bundle.manifest import DetectorDescription, EvaluationSet, FileRecord, Precision, Variant
from edgegal.bundle.store import MANIFEST
from edgegal.errors import BundleError, GateFailedError, InputError
from edgegal.export.overlap import refuse_shared
from edgegal.export.parity import Reference
from edgegal.export.progress import Progress, silent
from edgegal.export.quiet import tools_quiet
from edgegal.export.registry import Exporter
from edgegal.export.variants import Job, Options, check_options, export_variants
from edgegal.frames import View

__all__ = [
    "Identity",
    "VariantsFailedError",
    "add_classifier_evaluation",
    "add_detector_evaluation",
    "check_goal",
    "export_bundle",
]

_EVALUATION = "evaluation"
_Stage = ClassifierStage | DetectorStage
_PLAIN = Options()
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Identity:
    """What a bundle is called and says of itself; None leaves what it said before.

    Attributes
    ----------
    name
        Small letters, digits, dots and dashes.
    version, description, licence
        As in the manifest.
    """

    name: str
    version: str | None = None
    description: str | None = None
    licence: str | None = None


_UNTOLD = {"version": "1.0", "description": "Galaxy networks for the computer at the telescope."}
_LICENCE = "MIT"


class VariantsFailedError(GateFailedError):
    """Some variants differ too much from float.

    Attributes
    ----------
    bundle
        The bundle with those that pass; None when none did, and nothing was written.
    """

    def __init__(self, failures: Sequence[GateFailedError], bundle: Bundle | None) -> None:
        left = "the others were written" if bundle else "nothing was written"
        super().__init__(
            f"{'; '.join(f.message for f in failures)}; {left}",
            "calibrate on more pictures, like those it will see; or leave it out with --format or --precision",
        )
        self.bundle = bundle


def export_bundle(
    jobs: Sequence[Job],
    steps: Sequence[tuple[Exporter, Precision]],
    out: Path,
    identity: Identity | None = None,
    progress: Progress = silent,
    options: Options = _PLAIN,
) -> Bundle:
    """Export networks into a bundle folder.

    A bundle that is there already keeps its other stage. The same network exported again gains variants and renews
    those of the same name, but for one that fails its gate this time: the earlier one passed and stays. Another network
    replaces the stage, as soon as one variant of it passes.

    Parameters
    ----------
    jobs
        At most one network for each stage.
    steps
        What to write, from `edgegal.export.plan`.
    out
        Folder of the bundle: absent, empty, or a bundle.
    identity
        What it is called; when None, what it was called, or the folder's name.
    progress
        Told each step and its parity.
    options
        Choices for all variants.

    Raises
    ------
    InputError
        `out` is something else or cannot be written, two networks want one stage, two variants one name, a layer to
        keep in float is of no format written, or a network was calibrated on pictures that the bundle evaluates it on.
    VariantsFailedError
        Variants differ too much from float. All were tried, and those that pass are in the bundle.
    """
    stages = [job.network.stage for job in jobs]
    if not jobs or len(set(stages)) != len(stages):
        raise InputError(
            f"cannot make a bundle of {len(jobs)} networks: {', '.join(stages) or 'none'}", "one per stage"
        )
    check_options(steps, options)
    old = _present(out)
    called = _identity(identity, old, out, jobs)
    for job in jobs:
        _refuse_evaluation_pictures(job, old)
    # Before any conversion: a network that cannot be compared stops here, not after minutes.
    with tools_quiet():
        references = [Reference.of(job.network, job.pictures) for job in jobs]
    failures: list[GateFailedError] = []
    with _rewritten(out) as root:
        written: dict[StageName, _Stage] = dict(old.manifest.stages) if old else {}
        passed = False
        for job, reference in zip(jobs, references, strict=True):
            results = list(export_variants(job, reference, steps, root, options, progress))
            failures += [r for r in results if isinstance(r, GateFailedError)]
            variants = [r for r in results if isinstance(r, Variant)]
            if variants:
                passed = True
                written[job.network.stage] = _stage(job, variants, written.get(job.network.stage))
        if not passed:
            raise VariantsFailedError(failures, None)
        manifest = _manifest(written, called)
        _drop_unknown(root, manifest)
        _finish(root, manifest)
    bundle = open_bundle(out)
    if failures:
        raise VariantsFailedError(failures, bundle)
    return bundle


def _refuse_evaluation_pictures(job: Job, old: Bundle | None) -> None:
    """`InputError` when a network was calibrated on pictures that the bundle will judge it by."""
    stage = old.manifest.stages.get(job.network.stage) if old else None
    if old is None or stage is None or stage.evaluation is None or job.calibration is None:
        return
    if stage.task != job.network.description.task:
        return
    read = read_detector_set if isinstance(stage, DetectorStage) else read_classifier_set
    refuse_shared(job.calibration.pictures, "calibration", read(old)[0], f"the evaluation set of {old.source}")


def check_goal(
    steps: Sequence[tuple[Exporter, Precision]], out: Path, identity: Identity | None = None, options: Options = _PLAIN
) -> None:
    """Refuse what `export_bundle` would refuse of these arguments, before networks and pictures are read.

    Raises
    ------
    InputError
        `out` is no bundle folder, the name is none for a bundle, or an option is for none of the steps.
    BundleError
        `out` is a damaged bundle, or one of another schema.
    """
    check_options(steps, options)
    _identity(identity, _present(out), out, ())


def add_classifier_evaluation(out: Path, pictures: View, labels: NDArray[np.integer], description: str) -> Bundle:
    """Give the classifier of the bundle folder `out` an evaluation set, in place of one it has.

    Parameters
    ----------
    out
        A bundle folder.
    pictures
        ``(n, h, w, 3)`` uint8 RGB at input size.
    labels
        ``(n,)`` indices into the classifier's labels.
    description
        Where the pictures come from.
    """

    def write(folder: Path, stage: _Stage) -> list[Path]:
        paths = []
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            path = folder / stage.labels[int(label)] / f"{number:04d}.png"
            path.parent.mkdir(exist_ok=True)
            paths.append(_write_picture(path, picture))
        return paths

    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(_open_stage(out, "classifier").labels):
        raise InputError("an evaluation picture has a label the classifier does not know")
    return _add_evaluation(out, "classifier", pictures, description, write)


def add_detector_evaluation(
    out: Path, pictures: View, boxes: Sequence[NDArray[np.floating]], description: str
) -> Bundle:
    """Give the detector of the bundle folder `out` an evaluation set, in place of one it has.

    Parameters
    ----------
    out
        A bundle folder.
    pictures
        ``(n, h, w, 3)`` uint8 RGB at input size.
    boxes
        For each picture the true boxes ``(k, 4)`` x0, y0, x1, y1 in pixels.
    description
        Where the pictures come from.
    """

    if len(boxes) != len(pictures):
        raise InputError(f"{len(pictures)} pictures need as many lists of boxes, not {len(boxes)}")

    def write(folder: Path, stage: _Stage) -> list[Path]:
        del stage
        names = [f"{number:04d}.png" for number in range(len(pictures))]
        paths = [_write_picture(folder / name, picture) for name, picture in zip(names, pictures, strict=True)]
        truth = {
            n: np.round(b.astype(np.float64), 2).reshape(-1, 4).tolist() for n, b in zip(names, boxes, strict=True)
        }
        (folder / BOXES_FILE).write_text(json.dumps(truth, indent=0) + "\n")
        return [*paths, folder / BOXES_FILE]

    return _add_evaluation(out, "detector", pictures, description, write)


def _add_evaluation(
    out: Path,
    name: StageName,
    pictures: View,
    description: str,
    write: Callable[[Path, _Stage], list[Path]],
) -> Bundle:
    stage = _open_stage(out, name)
    shape = (stage.preprocess.height, stage.preprocess.width, 3)
    if not len(pictures) or pictures.shape[1:] != shape or pictures.dtype != np.uint8:
        raise InputError(f"evaluation pictures are uint8 (n, {shape}), not {pictures.dtype} {pictures.shape}")
    with _rewritten(out) as root:
        folder = root / _EVALUATION / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        records = tuple(file_record(root, path) for path in write(folder, stage))
        _finish(root, _with_evaluation(open_bundle(root).manifest, name, description, len(pictures), records))
    return open_bundle(out)


def _with_evaluation(
    manifest: Manifest, name: StageName, description: str, n: int, records: tuple[FileRecord, ...]
) -> Manifest:
    evaluation = EvaluationSet(description=description, n=n, files=records)
    stage = manifest.stages[name].model_copy(update={"evaluation": evaluation})
    return manifest.model_copy(update={name: stage})


def _open_stage(out: Path, name: StageName) -> _Stage:
    stages = open_bundle(out).manifest.stages
    if name not in stages:
        raise InputError(f"bundle {out} has no {name}")
    return stages[name]


def _write_picture(path: Path, picture: View) -> Path:
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path.write_bytes(content.tobytes())
    return path


def _present(out: Path) -> Bundle | None:
    """The bundle at `out`, None when nothing is there."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        mend = "give a folder, and pack it afterwards: edgegal bundle pack" if out.is_file() else "give a new folder"
        raise InputError(f"{out} is there and is no bundle folder", f"{mend}, with --out")
    bundle = open_bundle(out)
    problems = find_problems(bundle)
    if problems:
        raise BundleError(problems[0], "mend or remove the bundle before adding to it")
    return bundle


def _identity(asked: Identity | None, old: Bundle | None, out: Path, jobs: Sequence[Job]) -> dict[str, str]:
    """The fields of the manifest that say what the bundle is: as asked, else as before, else what can be told."""
    licences = dict.fromkeys(job.network.licence for job in jobs if job.network.licence)
    found = {"name": out.absolute().name, **_UNTOLD, "licence": "; ".join(licences) or _LICENCE}
    if old is not None:
        found.update({name: getattr(old.manifest, name) for name in found})
    if asked is not None:
        found.update({name: value for name, value in asdict(asked).items() if value is not None})
    if not _NAME.fullmatch(found["name"]):
        raise InputError(
            f"{found['name']!r} cannot be the name of a bundle",
            "give one with --name, of small letters, digits, dots and dashes",
        )
    return found


def _stage(job: Job, variants: Sequence[Variant], old: _Stage | None) -> _Stage:
    """The stage with its new variants, and with what of the old one still holds."""
    description = job.network.description
    kept: list[Variant] = []
    evaluation = None
    if old is not None and old.task == description.task:
        same_pictures = old.labels == description.labels and old.preprocess == description.preprocess
        evaluation = old.evaluation if same_pictures else None
        fields = type(description).model_fields
        if all(getattr(old, field) == getattr(description, field) for field in fields):
            kept = [v for v in old.variants if v.name not in {n.name for n in variants}]
    kind = DetectorStage if isinstance(description, DetectorDescription) else ClassifierStage
    values = {field: getattr(description, field) for field in type(description).model_fields}
    return kind(**values, variants=(*kept, *variants), evaluation=evaluation)


def _manifest(stages: dict[StageName, _Stage], identity: dict[str, str]) -> Manifest:
    return Manifest(created=datetime.now(timezone.utc), **identity, **stages)  # type: ignore[arg-type]


def _drop_unknown(root: Path, manifest: Manifest) -> None:
    """Remove what a replaced stage left behind."""
    known = {record.path for record in manifest.files()}
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(root).as_posix() not in known:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _finish(root: Path, manifest: Manifest) -> None:
    bundle = save(manifest, root)
    problems = find_problems(bundle)
    if problems:
        raise BundleError(problems[0])


@contextlib.contextmanager
def _rewritten(out: Path) -> Iterator[Path]:
    """A copy of the folder `out` to work on, put in its place at the end, thrown away after an error."""
    above = out.absolute().parent
    # Parents are made with the result; until then the nearest one there is on the same file system.
    beside = next(p for p in (above, *above.parents) if p.is_dir())
    with _space_and_permission(out):
        _refuse_read_only(beside, out)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=beside))
        try:
            work.chmod(0o755)
            _copy(out, work)
            yield work
            above.mkdir(parents=True, exist_ok=True)
            _swap(work, out)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _space_and_permission(out: Path) -> Iterator[None]:
    """What the file system refuses, as `InputError` with a mend."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(
                f"no space left to write {out}: {error.strerror}; what was there is as it was",
                "free some space, or write to another disk with --out",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(
                f"{error.filename or out} cannot be written: {error.strerror}",
                "make it writable, or give another folder with --out",
            ) from error
        raise


def _refuse_read_only(beside: Path, out: Path) -> None:
    """Folders that may not be written are meant to stay: refuse before minutes of work, not when they are replaced."""
    for folder in (beside, out, *(p for p in out.rglob("*") if p.is_dir())):
        if folder.exists() and not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _copy(out: Path, work: Path) -> None:
    """All files of `out`, if it is there. `shutil.copytree` would hide what went wrong in a text."""
    for path in sorted(out.rglob("*")):
        there = work / path.relative_to(out)
        if path.is_dir():
            there.mkdir()
        else:
            shutil.copyfile(path, there)


def _swap(work: Path, out: Path) -> None:
    if not out.exists():
        work.rename(out)
        return
    aside = out.with_name(f".{out.name}.{os.getpid()}.old")
    out.rename(aside)
    try:
        work.rename(out)
    except BaseException:
        aside.rename(out)
        raise
    shutil.rmtree(aside)
