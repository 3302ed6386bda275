"""Recipes: an experiment in one TOML file, with the figures it was published with.

A recipe says which pictures, which networks, how each is trained and judged. What stands in ``[data]``, ``[network]``
and ``[training]`` holds for every run; a run's own tables of those names change single fields. `load_recipe` reads and
checks a file; `edgegal.training.experiment` carries it out.
"""

import difflib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edgegal.errors import InputError
from edgegal.reports.figures import TITLES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = [
    "BASELINE",
    "Challenge",
    "Data",
    "Ensemble",
    "Evaluation",
    "FourConvolution",
    "Network",
    "Overrides",
    "Recipe",
    "Run",
    "Scratch",
    "Training",
    "TwoConvolution",
    "Vgg16",
    "folder_name",
    "load_recipe",
]

BASELINE = "two-convolution course network"
"""Name of the run that is added, so that the same small network stands beside the others in every table."""


def folder_name(name: str) -> str:
    """What the folder of a run is called: its name in small letters and digits, all else as single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _known_figures(published: dict[str, float]) -> dict[str, float]:
    for key in published:
        if key.partition(":")[0] not in TITLES:
            raise ValueError(f"no figure is called {key!r}, use some of: {', '.join(TITLES)}")
    return published


Published: TypeAlias = Annotated[dict[str, float], AfterValidator(_known_figures)]
"""Figures that a work states, by the names in `edgegal.reports.figures.TITLES`; ``f1:spiral`` is that of one class."""


class Data(_Section):
    """Which pictures, and what is asked about them."""

    set: str = Field(title="Name of `edgegal data list`, folder:DIR or csv:FILE")
    scheme: str = Field(default="", title="Label scheme; the set's own when empty")
    leave_out: tuple[str, ...] = Field(default=(), title="Classes to drop with their pictures")
    size: int = Field(default=64, ge=16, le=512, title="Side of the networks' input in pixels")
    centre: float = Field(default=1.0, gt=0, le=1, title="Part of a cutout's side that is kept, around its centre")
    crop_scale: float = Field(
        default=0.0, ge=0, le=10, title="Crop by the galaxy's box as the device does, times this; 0: by centre alone"
    )
    split: tuple[float, float, float] | None = Field(
        default=None, title="Shares of train, val and test, in any unit; sets that bring a split keep theirs"
    )
    confidence: float = Field(
        default=0.8, ge=0, le=1, title="Least share of votes of the top answer, where votes decide the class"
    )
    spiral_from: int = Field(
        default=0, ge=0, le=1, title="T-type from which a galaxy is a spiral, where T-types decide"
    )
    estimate: Literal["classes", "vote fractions"] = Field(default="classes", title="What networks learn to give")

    @model_validator(mode="after")
    def _shares_are_shares(self) -> Self:
        if self.split is not None and min(self.split) <= 0:
            raise ValueError(f"shares {self.split} must be above 0")
        return self

    @model_validator(mode="after")
    def _cropped_one_way(self) -> Self:
        if self.crop_scale and self.centre != 1:
            raise ValueError("centre and crop_scale are two ways to crop: give one")
        return self


class Scratch(_Section):
    """`edgegal.models.scratch.scratch_network`."""

    kind: Literal["scratch"]
    filters: tuple[int, ...] = Field(default=(32, 64), title="Channels of each convolution and pooling pair")
    dense: int = Field(default=128, ge=1, title="Units of the dense layer")
    dropout: float = Field(default=0.0, ge=0, lt=1, title="After each pooling and the dense layer")
    batch_norm: bool = Field(default=False, title="Normalise each convolution")
    l1: float = Field(default=0.0, ge=0, title="L1 penalty on kernels")
    l2: float = Field(default=0.0, ge=0, title="L2 penalty on kernels")


class Vgg16(_Section):
    """`edgegal.models.vgg16.vgg16_network`."""

    kind: Literal["vgg16"]
    dense: int = Field(default=64, ge=1, title="Units of the first dense layer")
    weights: str = Field(default="imagenet", title="imagenet, none, or the path of a file of Keras")
    trained: Literal["top", "block5", "all"] = Field(default="top", title="Layers that training moves")


class TwoConvolution(_Section):
    """`edgegal.models.course.two_convolution_network`."""

    kind: Literal["two-convolution"]
    filters: tuple[int, int] = Field(default=(32, 32), title="Channels of the two convolutions")
    kernels: tuple[int, int] = Field(default=(3, 3), title="Their sides")
    dense: int = Field(default=32, ge=1, title="Units of the dense layer")
    dropout: float = Field(default=0.5, ge=0, lt=1, title="After the dense layer")


class FourConvolution(_Section):
    """`edgegal.models.four_convolution.four_convolution_network`."""

    kind: Literal["four-convolution"]
    dense: int = Field(default=1000, ge=1, title="Units of the dense layer")
    pool_dropout: float = Field(default=0.25, ge=0, lt=1, title="After each pooling")
    dense_dropout: float = Field(default=0.5, ge=0, lt=1, title="After the dense layer")


class Challenge(_Section):
    """`edgegal.models.challenge`: two classes with one sigmoid, or linear vote fractions."""

    kind: Literal["challenge"]
    grey: bool = Field(default=False, title="Turn pictures grey first")
    dropout: float = Field(default=0.0, ge=0, lt=1, title="After the dense layers")
    dense: tuple[int, ...] = Field(default=(128, 64), min_length=1, title="Dense layers of a regression")


Network: TypeAlias = Annotated[
    Scratch | Vgg16 | TwoConvolution | FourConvolution | Challenge, Field(discriminator="kind")
]

_NETWORKS: Mapping[str, type[_Section]] = {
    "scratch": Scratch,
    "vgg16": Vgg16,
    "two-convolution": TwoConvolution,
    "four-convolution": FourConvolution,
    "challenge": Challenge,
}


class Training(_Section):
    """How a network is trained."""

    epochs: int = Field(default=30, ge=0, title="Longest training in passes over the pictures")
    batch: int = Field(default=64, ge=1, title="Pictures a step")
    optimizer: Literal["adam", "adamax", "rmsprop", "sgd"] = Field(default="adam", title="Keras's, with its defaults")
    rate: float = Field(default=1e-3, gt=0, title="Learning rate")
    imbalance: Literal["none", "rebalanced", "weights", "in part"] = Field(
        default="none", title="Pictures drawn to equal numbers, weights N / (C n_c) in the loss, or both in part"
    )
    augmentation: Literal["none", "course", "thesis", "challenge"] = Field(
        default="none", title="How training pictures vary"
    )
    monitor: Literal["val_loss", "val_accuracy", "val_auc"] = Field(
        default="val_loss", title="What early stopping, plateaus and the best epoch go by"
    )
    best: bool = Field(default=True, title="Keep the weights of the best epoch, not of the last")
    stop_after: int = Field(default=0, ge=0, title="Epochs without a better figure that end training; 0: never")
    reduce_after: int = Field(default=0, ge=0, title="Epochs without a better figure that lower the rate; 0: never")
    reduce_by: float = Field(default=0.1, gt=0, lt=1, title="Factor on the rate then")


class Run(_Section):
    """One network: a row of the table."""

    name: str = Field(pattern=r"^\w[\w +.,()/%-]*$", max_length=80, title="Name in the table, and of its folder")
    data: Data
    network: Network
    training: Training
    start: str = Field(default="", title="Name of a [[pretraining]] whose weights it starts from")
    tune: Literal["none", "dense", "last two convolutions", "as built"] = Field(
        default="as built", title="Layers that training moves when it starts from another's weights"
    )
    published: Published = Field(default={}, title="Published figures by name")


class Ensemble(_Section):
    """Runs whose probabilities are averaged, with weights found on the validation split."""

    name: str = Field(max_length=80)
    members: tuple[str, ...] = Field(min_length=2, title="Names of runs")
    step: float = Field(default=0.1, gt=0, le=0.5, title="Step of the grid of weights")
    published: Published = Field(default={}, title="Published figures by name")


class Evaluation(_Section):
    """How networks are judged."""

    resamples: int = Field(default=1000, ge=100, title="Draws of every bootstrap interval")
    folds: int = Field(
        default=0, ge=0, le=20, title="Stratified folds over all labelled pictures instead of the splits; 0: the splits"
    )

    @model_validator(mode="after")
    def _folds_divide(self) -> Self:
        if self.folds == 1:
            raise ValueError("one fold divides nothing: give 2 or more, or 0")
        return self


class Recipe(_Section):
    """The whole file."""

    title: str
    reproduces: str = Field(title="What was published, where, and what is not stated there")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, title="Each run is trained once with each")
    baseline: str = Field(
        default="", title="The run that is the two-convolution course network; such a run is added when none is named"
    )
    data: Data
    network: Network | None = None
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    pretraining: tuple[Run, ...] = ()
    runs: tuple[Run, ...] = Field(min_length=1)
    ensembles: tuple[Ensemble, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _runs_take_what_is_common(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        common = {name: raw.get(name) for name in ("data", "network", "training")}
        filled = dict(raw)
        for part in ("pretraining", "runs"):
            if isinstance(raw.get(part), list):
                filled[part] = [_filled(run, common) for run in raw[part]]
        return filled

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [run.name for run in (*self.pretraining, *self.runs)] + [e.name for e in self.ensembles]
        if not self.baseline:
            names.append(BASELINE)
        # Folders are called after them.
        twice = [name for name, count in Counter(map(folder_name, names)).items() if count > 1]
        if twice:
            raise ValueError(f"two runs are called {twice[0]!r}, or nearly so")
        sources = {run.name for run in self.pretraining}
        for run in self.pretraining:
            if run.start:
                raise ValueError(f"pretraining {run.name!r} starts from another: give it all pictures at once")
        for run in self.runs:
            if run.start and run.start not in sources:
                raise ValueError(f"run {run.name!r} starts from {run.start!r}, which no [[pretraining]] is called")
        kinds = {run.name: run.network.kind for run in self.runs}
        if self.baseline and kinds.get(self.baseline) != "two-convolution":
            raise ValueError(f"baseline {self.baseline!r} is no run with a two-convolution network")
        runs = {run.name for run in self.runs}
        for ensemble in self.ensembles:
            if missing := [name for name in ensemble.members if name not in runs]:
                raise ValueError(f"ensemble {ensemble.name!r} has a member {missing[0]!r}, which no run is called")
        return self

    @model_validator(mode="after")
    def _folds_stand_alone(self) -> Self:
        several = any(run.data != self.data for run in self.runs) or len(self.seeds) > 1
        if self.evaluation.folds and (self.pretraining or several):
            raise ValueError("cross-validation takes one set of pictures for all runs, one seed and no pretraining")
        return self

    @property
    def baseline_name(self) -> str:
        """The run that all others are tested against."""
        return self.baseline or BASELINE

    def all_runs(self) -> tuple[Run, ...]:
        """The rows of the table, the baseline last where the recipe names none of its own.

        The baseline differs in its network alone: pictures, training and seeds are those of the common sections.
        """
        if self.baseline:
            return self.runs
        network = TwoConvolution(kind="two-convolution")
        return (*self.runs, Run(name=BASELINE, data=self.data, network=network, training=self.training))


def _filled(run: Any, common: dict[str, Any]) -> Any:
    """A run's table with the common sections under its own."""
    if not isinstance(run, dict):
        return run
    filled = dict(run)
    for name, shared in common.items():
        own = run.get(name, {})
        if not isinstance(shared, dict) or not isinstance(own, dict):
            continue
        another = name == "network" and own.get("kind", shared.get("kind")) != shared.get("kind")
        filled[name] = own if another else {**shared, **own}
    filled.setdefault("training", {})
    return filled


class Overrides(_Section):
    """What the command line changes in a recipe."""

    data: str = Field(default="", title="Set to take instead of the recipe's")
    pretrain: str = Field(default="", title="Set to take instead of those of the pretraining")
    scheme: str = Field(default="", title="Label scheme of both; the sets' own when empty and a set is replaced")
    leave_out: tuple[str, ...] = Field(default=(), title="Classes to drop with their pictures")
    weights: str = Field(default="", title="Weights of VGG-16 instead of those of ImageNet")
    epochs: int | None = Field(default=None, ge=1, title="Longest training of every run")
    limit: int | None = Field(default=None, ge=1, title="Pictures a split, at most")
    seed: int | None = Field(default=None, title="The only seed")

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with these changes; the runner itself heeds `limit`.

        Where one set replaces that of several pretrainings, the last of them stays with the runs that start from it.
        """
        pretraining = _last_of_equals(
            self._run(run, self.pretrain or (self.data if run.data.set == recipe.data.set else ""))
            for run in recipe.pretraining
        )
        left = {"", *(run.name for run in pretraining)}
        changed = recipe.model_copy(
            update={
                "data": self._data(recipe.data, self.data),
                "training": self._training(recipe.training),
                "runs": tuple(self._run(run, self.data) for run in recipe.runs if run.start in left),
                "pretraining": pretraining,
                "seeds": recipe.seeds if self.seed is None else (self.seed,),
            }
        )
        return Recipe.model_validate(changed.model_dump())

    def told(self) -> str:
        """The changes in words; empty when there are none."""
        said = (
            (self.data, f"pictures of {self.data}"),
            (self.pretrain, f"pretraining on {self.pretrain}"),
            (self.scheme, f"classes of {self.scheme}"),
            (self.leave_out, f"without {', '.join(self.leave_out)}"),
            (self.weights, f"VGG-16 weights {self.weights}"),
            (self.epochs is not None, f"at most {self.epochs} epochs"),
            (self.limit, f"at most {self.limit} pictures a split"),
            (self.seed is not None, f"seed {self.seed} alone"),
        )
        return "; ".join(text for given, text in said if given)

    def _run(self, run: Run, name: str) -> Run:
        network = run.network
        if self.weights and isinstance(network, Vgg16) and network.weights == "imagenet":
            network = network.model_copy(update={"weights": self.weights})
        return run.model_copy(
            update={"data": self._data(run.data, name), "training": self._training(run.training), "network": network}
        )

    def _data(self, data: Data, name: str) -> Data:
        update: dict[str, Any] = {}
        if name:
            # Another set has other classes and is framed otherwise; fractions come in schemes made of votes only.
            scheme = "" if data.estimate == "classes" else data.scheme
            update = {"set": name, "scheme": scheme, "leave_out": (), "centre": 1.0, "split": None}
        if self.scheme:
            update["scheme"] = self.scheme
        if self.leave_out:
            update["leave_out"] = self.leave_out
        return data.model_copy(update=update)

    def _training(self, training: Training) -> Training:
        # A run that does not train is not made to.
        if self.epochs is None or not training.epochs:
            return training
        return training.model_copy(update={"epochs": self.epochs})


def _last_of_equals(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The runs that differ in more than their names, of equal ones the last."""
    kept = {run.model_copy(update={"name": "", "published": {}}).model_dump_json(): run for run in runs}
    return tuple(kept.values())


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    InputError
        The file is missing, is not TOML, or holds an unknown key or an unfit value; the message names key and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no recipe {path}", "see the folder recipes of the source") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        raise _refused(path, text, error) from None


def _refused(path: Path, text: str, error: ValidationError) -> InputError:
    """The first thing wrong, with its key and line."""
    first = error.errors()[0]
    # pydantic names the chosen member of the union too.
    where = tuple(
        part for i, part in enumerate(first["loc"]) if not (part in _NETWORKS and first["loc"][i - 1] == "network")
    )
    line = _line_of(text, where)
    place = f"{path}, line {line}" if line else str(path)
    name = ".".join(str(part) for part in where)
    if first["type"] == "extra_forbidden":
        known = _known(where[:-1], first["loc"])
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        mend = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(known)}"
        return InputError(f"{place}: unknown key {name}", mend)
    return InputError(f"{place}: {name + ': ' if name else ''}{first['msg'].removeprefix('Value error, ')}")


def _known(section: tuple[int | str, ...], loc: tuple[int | str, ...]) -> list[str]:
    """Keys of the section that an error stands in."""
    named: dict[str, type[BaseModel]] = {
        "data": Data,
        "training": Training,
        "evaluation": Evaluation,
        "runs": Run,
        "pretraining": Run,
        "ensembles": Ensemble,
    }
    last = next((part for part in reversed(section) if isinstance(part, str)), "")
    if last == "network":
        return next(list(c.model_fields) for kind, c in _NETWORKS.items() if kind in loc)
    return list(named.get(last, Recipe).model_fields)


_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"' -]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.\"' -]+?)\s*=")


def _line_of(text: str, where: tuple[int | str, ...]) -> int | None:
    """Line, from 1, that sets a key or else opens its section; TOML readers do not tell. Arrays count from 0."""
    wanted = tuple(str(part) for part in where)
    counts: Counter[str] = Counter()
    section: tuple[str, ...] = ()
    opened = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            first, *rest = re.sub(r"[\s\"']", "", header[2]).split(".")
            if header[1] == "[[":
                counts[first] += 1
            section = (first, str(counts[first] - 1), *rest) if counts[first] else (first, *rest)
            full = section
        elif key := _KEY.match(line):
            full = (*section, *re.sub(r"[\s\"']", "", key[1]).split("."))
        else:
            continue
        if full == wanted:
            return number
        if full and wanted[: len(full)] == full:
            opened = number
    return opened
