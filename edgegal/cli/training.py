"""What the training verbs share: going on after an interruption, and saying what came out."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgegal.errors import InputError

if TYPE_CHECKING:
    from edgegal.anchors import AnchorSpec
    from edgegal.bundle import StageName
    from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
    from edgegal.data import PictureSet
    from edgegal.labels import LabelScheme
    from edgegal.training.distillation import Teacher

__all__ = ["anchors_asked", "averaged", "begun_from", "finish", "opened", "resuming", "teachers"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_LOG = logging.getLogger(__name__)

_STATE = ".resume"


@contextmanager
def resuming(out: Path) -> Iterator[Path]:
    """The folder below `out` in which training keeps its state; progress goes to stderr.

    It stays there when training is interrupted; `finish` deletes it.
    """
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(sys.stderr):
            yield out / _STATE
    except BaseException:
        if new and not any(path.is_file() for path in out.rglob("*")):
            shutil.rmtree(out)
        raise


def begun_from(
    start: Path, stage: "StageName", build: "Callable[[ClassifierDescription | DetectorDescription], Any]"
) -> "tuple[Any, ClassifierDescription | DetectorDescription]":
    """The network to go on from, and what it is.

    Parameters
    ----------
    start
        Folder of a trained network; or a bundle, as `edgegal.zoo.resolve` takes it.
    stage
        Which network of a bundle.
    build
        From the description of a bundle's network to a new one of the same architecture, which is given its weights.

    Returns
    -------
    tuple
        A Keras model, and the description that stands beside it.

    Raises
    ------
    InputError
        There is neither; the bundle has no such stage, or its network is another than is built.
    BundleError
        The bundle is not sound.
    MissingPartError
        What reads the weights is not installed.
    """
    from edgegal import zoo
    from edgegal.bundle.store import MANIFEST
    from edgegal.models.artefact import is_trained, load_trained
    from edgegal.training.restored import restore

    if is_trained(start) or not (str(start) in zoo.names() or start.is_file() or (start / MANIFEST).exists()):
        return load_trained(start)
    bundle = zoo.resolve(str(start))
    described = bundle.manifest.stages.get(stage)
    if described is None:
        raise InputError(
            f"bundle {bundle.manifest.name} has no {stage}", "give the folder of a trained one, or a bundle with one"
        )
    model = build(described)
    restore(model, bundle, described)
    return model, described


def averaged(
    networks: "Sequence[tuple[Any, ClassifierDescription | DetectorDescription]]",
) -> "tuple[Any, ClassifierDescription | DetectorDescription]":
    """The first network with the mean of all their weights (Wortsman et al. 2022, model soups), and what it is.

    Networks that went on from the same one differ so little that their mean answers better than each of them; others
    have nothing in common, and their mean answers nothing.

    Raises
    ------
    InputError
        They have other classes, learned from other data, or are of several architectures.
    """
    (model, first), *others = networks
    if any(other.labels != first.labels for _, other in others):
        raise InputError("the networks to start from have different classes", "name such as have the same")
    if any(other.provenance.datasets != first.provenance.datasets for _, other in others):
        raise InputError(
            "the networks to start from learned from different data",
            "name such as went on from one network with the same --data: others have no mean",
        )
    weights = [each.get_weights() for each, _ in networks]
    if len({tuple(w.shape for w in each) for each in weights}) > 1:
        raise InputError("the networks to start from differ in their layers", "name such as are of one architecture")
    model.set_weights([sum(same) / len(weights) for same in zip(*weights, strict=True)])
    if not others:
        return model, first
    title = f"{first.provenance.architecture}, mean of {len(networks)} networks"
    return model, first.model_copy(update={"provenance": first.provenance.model_copy(update={"architecture": title})})


def finish(trained: tuple[Any, Any, dict[str, list[float]]], out: Path, as_json: bool) -> None:
    """Save a trained network, let go of the state of its training, and print what it is."""
    from edgegal.models.artefact import save_trained

    model, description, history = trained
    save_trained(model, description, out, history)
    shutil.rmtree(out / _STATE, ignore_errors=True)
    last = {name: values[-1] for name, values in history.items()}
    if as_json:
        typer.echo(json.dumps({"out": str(out), "model": description.model_dump(mode="json"), "last_epoch": last}))
        return
    figures = ", ".join(f"{name} {value:.4f}" for name, value in last.items())
    typer.echo(f"{out}: {description.provenance.architecture}, {description.provenance.parameters:,} parameters")
    if figures:
        typer.echo(f"last epoch: {figures}")


def teachers(names: Sequence[Path], scheme: "LabelScheme") -> list["Teacher"]:
    """Trained classifiers, in folders or bundles; `InputError` when classes of one do not map to those of `scheme`."""
    from edgegal.bundle.manifest import ClassifierDescription
    from edgegal.labels import label_map
    from edgegal.labels import scheme as scheme_named
    from edgegal.training.classifier import built_like
    from edgegal.training.distillation import Teacher

    found = []
    for name in names:
        model, description = begun_from(name, "classifier", built_like)
        try:
            if not isinstance(description, ClassifierDescription):
                raise InputError(f"{name} is no classifier")
            theirs = scheme if description.labels == scheme.labels else scheme_named(description.scheme)
            label_map(theirs, scheme)
        except InputError as error:
            raise InputError(
                f"{name} cannot teach {scheme.name}: its classes are {', '.join(description.labels)}",
                f"train it with --scheme {scheme.name}",
            ) from error
        found.append(Teacher(model, description.preprocess.crop_scale, theirs))
    return found


def opened(
    names: Sequence[str], scheme: str, apart_from: Sequence[str] = ()
) -> tuple[list["PictureSet"], "LabelScheme"]:
    """Sets to train with, each with its own labels, and the scheme asked for or the one they share.

    The folders or names of ``folder:`` and ``csv:`` sets are read as classes of the scheme asked for. Training pictures
    of galaxies in the test part of a set of `apart_from` are left out.
    """
    from edgegal.data import open_dataset, without_leaks
    from edgegal.data.leakage import comparable
    from edgegal.data.registry import bare_name
    from edgegal.labels import scheme as scheme_named

    target = scheme_named(scheme) if scheme else None
    sets = [open_dataset(name, scheme if scheme and ":" in bare_name(name) else None) for name in names]
    apart = [open_dataset(name) for name in apart_from]
    for one, other in product(sets, apart):
        if not comparable(one, other):
            _LOG.warning("nothing tells which galaxies %s and %s share: none is left out", one.name, other.name)
    sets = list(without_leaks(sets, apart))
    own = {s.scheme.labels: s.scheme for s in sets}
    if target is None and len(own) > 1:
        raise InputError("the sets have different classes", "name the classes of the network with --scheme")
    return sets, target or sets[0].scheme


def anchors_asked(entries: Sequence[str], architecture: str, size: int) -> "AnchorSpec | None":
    """The anchors of an architecture with other sizes, from entries ``STRIDE:SIZE,SIZE``; None without any."""
    from dataclasses import replace

    from edgegal.anchors import AnchorLevel
    from edgegal.models.detector import detector_architecture

    if not entries:
        return None
    levels = []
    for entry in entries:
        stride, _, sizes = entry.partition(":")
        try:
            levels.append(AnchorLevel(int(stride), tuple(float(side) for side in sizes.split(","))))
        except ValueError:
            raise InputError(f"{entry!r} names no anchors", "give STRIDE:SIZE,SIZE, for example 8:8,12") from None
    beyond = max(side for level in levels for side in level.sizes)
    if beyond > size:
        raise InputError(f"an anchor of {beyond:g} pixels is larger than the input of {size}", "give a smaller one")
    own = detector_architecture(architecture).anchors(size)
    return replace(own, levels=tuple(sorted(levels, key=lambda level: level.stride)))
