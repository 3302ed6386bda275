"""The report of a recipe: one table of all runs beside the published figures, and each run's own pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from edgegal.data import open_dataset
from edgegal.data.leakage import comparable
from edgegal.reports import ClassificationResult, Result, RunComparison, write_report
from edgegal.reports import Run as Row
from edgegal.reports.figures import statistic, title_of
from edgegal.training.crossval import signed_rank
from edgegal.training.experiment import Experiment
from edgegal.training.recipe import Recipe
from edgegal.training.recipe_run import Outcome

__all__ = ["introduction", "write_recipe_report"]

_CLASSES = ("accuracy", "macro_precision", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss")
_FRACTIONS = ("mse", "mean_r2", "argmax_accuracy", "argmax_f1")

# What the course project compared over folds.
_TESTED = ("accuracy", "macro_precision", "balanced_accuracy")


def write_recipe_report(experiment: Experiment, out: Path, changes: str = "") -> Path:
    """Write the report of an experiment into `out`.

    Parameters
    ----------
    experiment
        What came out.
    out
        Folder of the report.
    changes
        How what was carried out differs from the recipe's file, in words.

    Returns
    -------
    Path
        The page.
    """
    recipe = experiment.recipe
    rows = [
        Row(run.name, tuple(o.test for o in experiment.outcomes[run.name]), run.published) for run in recipe.all_runs()
    ]
    rows += [Row(e.ensemble.name, e.tests, e.ensemble.published) for e in experiment.ensembles]
    common = _CLASSES if isinstance(rows[0].results[0], ClassificationResult) else _FRACTIONS
    published = [key for row in rows for key in row.published]
    return write_report(
        recipe.title,
        "\n\n".join(introduction(experiment, changes)),
        [_shown(row.name, row.results, recipe.evaluation.folds) for row in rows],
        RunComparison("Runs", tuple(rows), tuple(dict.fromkeys([*common, *published])), recipe.baseline_name),
        out,
        resamples=recipe.evaluation.resamples,
    )


def _shown(name: str, results: Sequence[Result], folds: int) -> Result:
    """What stands for a run among the single results: its first seed, or all folds as one."""
    first = results[0]
    if not folds:
        return replace(first, name=name)
    assert isinstance(first, ClassificationResult)
    whole = [r for r in results if isinstance(r, ClassificationResult)]
    return replace(
        first,
        name=name,
        ids=tuple(i for r in whole for i in r.ids),
        truth=np.concatenate([r.truth for r in whole]),
        probabilities=np.concatenate([r.probabilities for r in whole]),
        split=f"test of {folds} folds",
        history=None,
    )


def introduction(experiment: Experiment, changes: str = "") -> Iterator[str]:
    """Paragraphs above the table: what was published, what was done, and what the figures cannot say.

    Parameters are those of `write_recipe_report`.
    """
    recipe = experiment.recipe
    yield recipe.reproduces
    if changes:
        yield f"Carried out with changes to the recipe: {changes}. The published figures are not of these pictures."
    seeds = ", ".join(map(str, recipe.seeds))
    what = f"Each run was trained with seed {seeds}" if len(recipe.seeds) == 1 else f"Seeds of each run: {seeds}"
    folds = recipe.evaluation.folds
    yield f"{what}{f', once in each of {folds} folds' if folds else ''}. Pictures of a run stand for its first seed."
    yield from _transfers(experiment)
    for each in experiment.ensembles:
        weights = "; ".join(
            " + ".join(f"{w:.2g} {name}" for w, name in zip(found, each.ensemble.members, strict=True))
            for found in each.weights
        )
        yield f"{each.ensemble.name}: weights found on the validation pictures, a seed each: {weights}."
    if folds:
        yield from _signed_ranks(experiment)


def _transfers(experiment: Experiment) -> Iterator[str]:
    told = [_transfer(outcomes[0]) for outcomes in experiment.outcomes.values() if outcomes[0].trial.start is not None]
    if told:
        yield "Transfer: " + "; ".join(told) + "."
    for name, count in experiment.leaked.items():
        tested, unchecked = _tested_on(experiment.recipe, name)
        if count or len(unchecked) < len(tested):
            yield f"{name}: {count} training pictures left out, since their galaxies are among those tested on."
        if unchecked:
            yield (
                f"{name}: whether it trained on galaxies that {' and '.join(unchecked)} tests on could not be checked: "
                "neither ids nor positions in common."
            )


def _tested_on(recipe: Recipe, name: str) -> tuple[list[str], list[str]]:
    """Sets that the runs from one pretraining test on, and those of them that cannot be compared with its own."""
    own = next(run.data.set for run in recipe.pretraining if run.name == name)
    tested = list(dict.fromkeys(run.data.set for run in recipe.runs if run.start == name))
    # Within one set the splits keep what is trained on and what is tested on apart.
    others = [other for other in tested if other != own]
    mine = open_dataset(own) if others else None
    return tested, [other for other in others if mine and not comparable(mine, open_dataset(other))]


def _transfer(outcome: Outcome) -> str:
    run, start = outcome.trial.run, outcome.trial.start
    assert start is not None
    moved = (
        f"{outcome.trainable:,} of {outcome.test.parameters:,} parameters trained" if outcome.trainable else "as it is"
    )
    head = ", with a new last layer since the pretraining has other classes" if outcome.new_head else ""
    return f"{run.name} from {start.trial.run.name} ({start.trial.run.data.set}), {moved}{head}"


def _signed_ranks(experiment: Experiment) -> Iterator[str]:
    """Wilcoxon's test of every pair of runs on the figures of the folds, and what it cannot say."""
    folds = experiment.recipe.evaluation.folds
    figures = {
        name: [statistic(o.test)(np.ones((1, len(o.test)))) for o in outcomes]
        for name, outcomes in experiment.outcomes.items()
    }
    least = 2 / 2**folds
    for first, second in combinations(figures, 2):
        told = []
        for key in _TESTED:
            pair = [[float(fold[key][0]) for fold in figures[name]] for name in (first, second)]
            told.append(f"{title_of(key)} p = {signed_rank(*pair).p:.4f}")
        yield f"Wilcoxon signed-rank over {folds} folds, two-sided, exact, {first} against {second}: {', '.join(told)}."
    unreachable = " A difference at the level .05 cannot show in it, however clear it is." if least > 0.05 else ""
    yield (
        f"The smallest two-sided p-value that {folds} folds can give is {least:.4f}.{unreachable} The test of right "
        "answers picture by picture, in the table, is the sharper one; but all folds share training pictures, which "
        "neither test knows."
    )
