"""Labels from the votes of Galaxy Zoo's volunteers.

Votes are columns by answer: ``Class1.1`` is the first answer to the first question of the Galaxy Zoo 2 tree. The
challenge multiplies each answer by the share of volunteers who came to its question, and the rules here read votes so;
Hart et al. give shares of those who did, which `shares_of_all` turns into the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError
from edgegal.labels import SCHEMES, UNLABELLED, relabel

__all__ = [
    "ANSWERS",
    "SECOND_LEVEL",
    "LabelRules",
    "Votes",
    "labels_from_votes",
    "second_level_targets",
    "shares_of_all",
    "vote_schemes",
]

_ANSWERS_A_QUESTION = (3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6)

ANSWERS = tuple(f"Class{q}.{a}" for q, n in enumerate(_ANSWERS_A_QUESTION, 1) for a in range(1, n + 1))
"""The 37 answers in the order of the challenge's table."""

# The answer that leads to each question in the tree of Willett et al. 2013, figure 1. The first question and whether
# anything is odd (6) are put to all, as the challenge counts too.
_ASKED_AFTER = {
    2: "Class1.2",
    3: "Class2.2",
    4: "Class2.2",
    5: "Class2.2",
    7: "Class1.1",
    8: "Class6.1",
    9: "Class2.1",
    10: "Class4.1",
    11: "Class4.1",
}

SECOND_LEVEL = ("Class1.3", "Class2.1", "Class2.2", "Class7.1", "Class7.2", "Class7.3")
"""Answers of the scheme ``gz-second-level``, in its order; the middle four are ``gz-second-level-4``."""

# Clean-sample cuts of Willett et al. 2013, table 3, as Zhu et al. 2019 use them; the arms as the shared set was cut.
_SMOOTH, _SHAPE, _FEATURED, _EDGE_ON, _FACE_ON, _ARMS = 0.469, 0.5, 0.43, 0.602, 0.715, 0.69
# Nobody has published a cut for mergers to go with these: more than half of all volunteers.
_MERGER = 0.5

Votes = Mapping[str, NDArray[np.float32]]


def shares_of_all(asked: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares of all volunteers, from shares of those who came to each question: multiplied down the tree.

    Parameters
    ----------
    asked
        ``(n, 37)`` in the order of `ANSWERS`, NaN where unknown.

    Returns
    -------
    NDArray
        ``(n, 37)`` in the same order; 0 where nobody came to the question.
    """
    shares = asked.copy()
    for question, before in _ASKED_AFTER.items():
        own = [i for i, answer in enumerate(ANSWERS) if answer.startswith(f"Class{question}.")]
        came = shares[:, [ANSWERS.index(before)]]
        shares[:, own] = np.where(came == 0, 0, came * shares[:, own])
    return shares


@dataclass(frozen=True)
class LabelRules:
    """Settings of rules that make labels.

    Attributes
    ----------
    confidence
        Share of the votes that the winning answer needs; for the schemes of the challenge study.
    spiral_from
        T-type from which a galaxy is a spiral: 0 counts S0/a among them, 1 leaves it without a label.
    """

    confidence: float = 0.8
    spiral_from: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise InputError(f"confidence {self.confidence} is no share", "give one from 0 to 1")
        if self.spiral_from not in (0, 1):
            raise InputError(f"spirals cannot begin at T-type {self.spiral_from}", "let them begin at 0 or at 1")


def _columns(votes: Votes, answers: tuple[str, ...]) -> NDArray[np.float32]:
    return np.stack([votes[answer] for answer in answers], axis=1)


def _winner(fractions: NDArray[np.float32], confidence: float) -> NDArray[np.int32]:
    """Index of the largest of each row, `UNLABELLED` where it is below `confidence` or a vote is not a number."""
    known = np.isfinite(fractions.min(axis=1, initial=0))
    filled = np.where(known[:, None], fractions, -1)
    sure = filled.max(axis=1, initial=-1) >= confidence
    return np.where(sure, filled.argmax(axis=1), UNLABELLED).astype(np.int32)


def _smooth_featured(votes: Votes, rules: LabelRules) -> NDArray[np.int32]:
    winner = _winner(_columns(votes, ("Class1.1", "Class1.2", "Class1.3")), rules.confidence)
    return np.where(winner == 2, UNLABELLED, winner).astype(np.int32)


def _second_level(votes: Votes, rules: LabelRules) -> NDArray[np.int32]:
    return _winner(_columns(votes, SECOND_LEVEL), rules.confidence)


def _second_level_4(votes: Votes, rules: LabelRules) -> NDArray[np.int32]:
    winner = _second_level(votes, rules)
    return np.where((winner >= 1) & (winner <= 4), winner - 1, UNLABELLED).astype(np.int32)


def _five(votes: Votes, rules: LabelRules) -> NDArray[np.int32]:
    smooth, featured = votes["Class1.1"] >= _SMOOTH, votes["Class1.2"] >= _FEATURED
    passed = np.stack(
        [
            *(smooth & (votes[f"Class7.{shape}"] >= _SHAPE) for shape in (1, 2, 3)),
            featured & (votes["Class2.1"] >= _EDGE_ON),
            featured & (votes["Class2.2"] >= _FACE_ON) & (votes["Class4.1"] >= _ARMS),
        ],
        axis=1,
    )
    # What passes two cuts is no clean example of either.
    return np.where(passed.sum(axis=1) == 1, passed.argmax(axis=1), UNLABELLED).astype(np.int32)


def _six(votes: Votes, rules: LabelRules) -> NDArray[np.int32]:
    merger = (votes["Class6.1"] >= _MERGER) & (votes["Class8.6"] >= _MERGER)
    return np.where(merger, SCHEMES["galaxy6"].index("merger"), _five(votes, rules)).astype(np.int32)


def _h4(votes: Votes, rules: LabelRules) -> NDArray[np.int32]:
    return relabel(_six(votes, rules), SCHEMES["galaxy6"], SCHEMES["h4"])


_RULES: Mapping[str, Callable[[Votes, LabelRules], NDArray[np.int32]]] = {
    "gz-smooth-featured": _smooth_featured,
    "gz-second-level": _second_level,
    "gz-second-level-4": _second_level_4,
    "gz2-5class": _five,
    "galaxy6": _six,
    "h4": _h4,
}


def vote_schemes() -> tuple[str, ...]:
    """Names of the schemes that votes give labels of."""
    return tuple(_RULES)


def labels_from_votes(votes: Votes, scheme: str, rules: LabelRules = LabelRules()) -> NDArray[np.int32]:
    """Class of each object by its votes.

    ``gz-smooth-featured``
        The winner of the first question, if at `LabelRules.confidence`; artifacts carry no label.
    ``gz-second-level``, ``gz-second-level-4``
        The winner among `SECOND_LEVEL`, if at that confidence; with four classes, artifacts and cigars carry no label.
        These answers are shares of all volunteers and add up to 1.
    ``gz2-5class``
        The clean-sample cuts: smooth >= .469 and one shape >= .5; featured >= .43 and edge-on >= .602; featured >= .43,
        not edge-on >= .715 and arms >= .69. What passes none or two carries no label.
    ``galaxy6``, ``h4``
        A merger where odd and merger reach .5 (a cut of edgegal's own), else as the five classes.

    Parameters
    ----------
    votes
        ``(n,)`` float32 of each answer the rule reads, shares of all volunteers, NaN where unknown.
    scheme
        One of `vote_schemes`.
    rules
        Settings.

    Returns
    -------
    NDArray
        ``(n,)`` int32, `UNLABELLED` where the rule does not decide or a vote it needs is not a number.

    Raises
    ------
    InputError
        No rule gives labels of that scheme.
    """
    if scheme not in _RULES:
        raise InputError(f"votes give no labels of scheme {scheme!r}", f"use one of: {', '.join(_RULES)}")
    return _RULES[scheme](votes, rules)


def second_level_targets(votes: Votes, four: bool) -> NDArray[np.float32]:
    """Vote fractions to regress on, in the order of ``gz-second-level`` or, with `four`, of ``gz-second-level-4``.

    Parameters
    ----------
    votes
        ``(n,)`` float32 of each answer of `SECOND_LEVEL`, shares of all volunteers.
    four
        Leave artifacts (1.3) and cigars (7.3) out and scale the other four to sum to 1.

    Returns
    -------
    NDArray
        ``(n, 6)`` or ``(n, 4)`` float32; rows of NaN where a vote is not a number or nothing is left.
    """
    fractions = _columns(votes, SECOND_LEVEL[1:5] if four else SECOND_LEVEL).astype(np.float64)
    total = fractions.sum(axis=1, keepdims=True) if four else np.ones((len(fractions), 1))
    scaled = np.divide(fractions, total, out=np.full_like(fractions, np.nan), where=total > 0)
    scaled[~np.isfinite(scaled).all(axis=1)] = np.nan
    return scaled.astype(np.float32)
