"""A whole recipe: every run with every seed and in every fold, the ensembles of them, kept in one folder.

Below the folder stand ``recipe.json`` (the recipe as carried out) and ``pretraining`` and ``runs`` with a folder for
each run and seed (`edgegal.training.recipe_run`). The same call on the same folder goes on where the last one stopped;
runs that a changed recipe leaves as they were are kept, the others are trained again.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError, InputError
from edgegal.reports import ClassificationResult
from edgegal.reports.page import write_file
from edgegal.training.ensemble import averaged, search_weights
from edgegal.training.recipe import Ensemble, Recipe, Run, folder_name
from edgegal.training.recipe_data import Prepared, folded, prepare
from edgegal.training.recipe_run import Outcome, Trial, build_network, carry_out

__all__ = ["EnsembleOutcome", "Experiment", "carry_out_recipe"]

_RECIPE = "recipe.json"


@dataclass(frozen=True, eq=False)
class EnsembleOutcome:
    """What an ensemble answered, once a seed or fold.

    Attributes
    ----------
    ensemble
        The ensemble.
    weights
        Of the members, for each seed or fold.
    tests
        Its answers on the test pictures, for each seed or fold.
    """

    ensemble: Ensemble
    weights: tuple[tuple[float, ...], ...]
    tests: tuple[ClassificationResult, ...]


@dataclass(frozen=True, eq=False)
class Experiment:
    """What came out of a recipe.

    Attributes
    ----------
    recipe
        As carried out.
    limit
        Pictures a split at most; None for all.
    outcomes
        For each run of the table, in its order: one a seed, or one a seed and fold.
    ensembles
        In the order of the recipe.
    leaked
        Training pictures left out of each pretraining, by its name, because runs are tested on their galaxies.
    """

    recipe: Recipe
    limit: int | None
    outcomes: Mapping[str, tuple[Outcome, ...]]
    ensembles: tuple[EnsembleOutcome, ...]
    leaked: Mapping[str, int]


def carry_out_recipe(
    recipe: Recipe, out: Path, limit: int | None = None, progress: Callable[[str], None] = lambda line: None
) -> Experiment:
    """Carry out a recipe, or go on with it, in the folder `out`.

    Parameters
    ----------
    recipe
        What to do.
    out
        Made when absent.
    limit
        Pictures a split at most.
    progress
        Called with a line of text before and after each run.

    Raises
    ------
    InputError
        `out` holds something else, or a run does not fit its pictures.
    DatasetError
        A set is missing or damaged, or a class of a run has no training picture.
    MissingPartError
        Weights cannot be fetched.
    """
    pictures = _pictures(recipe, limit)
    trials = list(_trials(recipe, out, pictures))
    for trial, prepared in trials:
        _check_classes(trial, prepared)
    _check(recipe, pictures)
    _claim(out, recipe)
    outcomes: dict[str, tuple[Outcome, ...]] = {}
    leaked = {run.name: pictures[run.name].leaked for run in recipe.pretraining}
    for number, (trial, prepared) in enumerate(trials, start=1):
        start = None
        if trial.run.start:
            start = next(o for o in outcomes[trial.run.start] if o.trial.seed == trial.seed)
        place = f"[{number}/{len(trials)}] {trial.run.name}, seed {trial.seed}"
        place += "" if trial.fold is None else f", fold {trial.fold + 1}"
        progress(place)
        outcome = carry_out(replace(trial, start=start), prepared)
        progress(f"{place}: {_told(outcome)}")
        outcomes[trial.run.name] = (*outcomes.get(trial.run.name, ()), outcome)
    ensembles = tuple(_ensemble(e, [outcomes[name] for name in e.members]) for e in recipe.ensembles)
    return Experiment(recipe, limit, {run.name: outcomes[run.name] for run in recipe.all_runs()}, ensembles, leaked)


def _pictures(recipe: Recipe, limit: int | None) -> dict[str, Prepared]:
    """The pictures of each run by its name, those of a pretraining without galaxies that are tested on later."""
    read = {data: prepare(data, limit) for data in dict.fromkeys(run.data for run in recipe.all_runs())}
    found = {run.name: read[run.data] for run in recipe.all_runs()}
    for run in recipe.pretraining:
        tested = [found[later.name].source for later in recipe.runs if later.start == run.name]
        found[run.name] = prepare(run.data, limit, tested)
    return found


def _all(recipe: Recipe) -> tuple[Run, ...]:
    return (*recipe.pretraining, *recipe.all_runs())


def _check(recipe: Recipe, pictures: Mapping[str, Prepared]) -> None:
    """Build every network once: what cannot be built or fetched shows before hours of training, not after."""
    built = set()
    for run in _all(recipe):
        prepared = pictures[run.name]
        key = (run.network, len(prepared.scheme.labels), run.data.size, prepared.fractions)
        if key not in built:
            build_network(*key)
            built.add(key)


def _check_classes(trial: Trial, prepared: Prepared) -> None:
    """Refuse a class that the network would never see; vote fractions are learnt from the pictures of all classes."""
    if prepared.fractions:
        return
    there = np.bincount(prepared.parts["train"].classes, minlength=len(prepared.scheme.labels))
    empty = [label for label, count in zip(prepared.scheme.labels, there, strict=True) if not count]
    if not empty:
        return
    data = trial.run.data
    fold = "" if trial.fold is None else f", fold {trial.fold + 1}"
    asked = " ".join(f"--leave-out {shlex.quote(label)}" for label in (*data.leave_out, *empty))
    raise DatasetError(
        f"{trial.run.name}{fold}: {data.set} has no training picture of {' and '.join(map(repr, empty))}",
        f"give {asked}, or a scheme without {'it' if len(empty) == 1 else 'them'}",
    )


def _claim(out: Path, recipe: Recipe) -> None:
    """Make `out` the folder of this recipe, or check that it is one of the same title."""
    path = out / _RECIPE
    try:
        before = json.loads(path.read_bytes())["title"]
    except FileNotFoundError:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is not empty and holds no recipe", "give another --out") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}", "give another --out") from error
    else:
        if before != recipe.title:
            raise InputError(f"{out} holds another recipe, {before!r}", "give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_file(path, (recipe.model_dump_json(indent=1) + "\n").encode())


def _trials(recipe: Recipe, out: Path, pictures: Mapping[str, Prepared]) -> Iterator[tuple[Trial, Prepared]]:
    """Every run with every seed and fold and the pictures it sees, pretraining first."""
    for run in recipe.pretraining:
        for seed in recipe.seeds:
            yield Trial(run, seed, out / "pretraining" / folder_name(run.name) / f"seed{seed}"), pictures[run.name]
    folds = {
        seed: folded(pictures[recipe.runs[0].name], recipe.evaluation.folds, seed) if recipe.evaluation.folds else []
        for seed in recipe.seeds
    }
    for run in recipe.all_runs():
        for seed in recipe.seeds:
            folder = out / "runs" / folder_name(run.name) / f"seed{seed}"
            if not recipe.evaluation.folds:
                yield Trial(run, seed, folder), pictures[run.name]
            for k, prepared in enumerate(folds[seed]):
                yield Trial(run, seed, folder.with_name(f"seed{seed}-fold{k + 1}"), k), prepared


def _told(outcome: Outcome) -> str:
    test = outcome.test
    if isinstance(test, ClassificationResult):
        return f"accuracy {float((test.predicted == test.truth).mean()):.3f} on {len(test)} test pictures"
    return f"mean squared error {float(((test.truth - test.predicted) ** 2).mean()):.4f} on {len(test)} test pictures"


def _ensemble(ensemble: Ensemble, members: list[tuple[Outcome, ...]]) -> EnsembleOutcome:
    weights, tests = [], []
    for together in zip(*members, strict=True):
        validations = [o.validation for o in together]
        answers = [o.test for o in together]
        first, held = answers[0], validations[0]
        if any(not isinstance(r, ClassificationResult) or r.ids != first.ids for r in answers):
            raise InputError(
                f"the members of ensemble {ensemble.name!r} do not classify the same pictures",
                "give them the same data, and none of them vote fractions",
            )
        assert isinstance(first, ClassificationResult)
        assert isinstance(held, ClassificationResult)
        found = search_weights([_probabilities(r) for r in validations], held.truth, ensemble.step)
        mixed = averaged([_probabilities(r) for r in answers], found)
        parameters = sum(r.parameters or 0 for r, weight in zip(answers, found, strict=True) if weight)
        weights.append(found)
        tests.append(replace(first, name=ensemble.name, probabilities=mixed, history=None, parameters=parameters))
    return EnsembleOutcome(ensemble, tuple(weights), tuple(tests))


def _probabilities(result: object) -> NDArray[np.floating]:
    assert isinstance(result, ClassificationResult)
    return result.probabilities
