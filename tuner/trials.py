"""What a search keeps of each trial, and how trials compare."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from edgegal.tuner.objective import Cost
from edgegal.tuner.pareto import pareto_front

__all__ = ["Status", "Trial", "best_trial", "kept_numbers", "mark_front", "trial_from"]

Status: TypeAlias = Literal["trained", "too large", "diverged"]

# Keras Tuner keeps numbers only.
_STATUSES: tuple[Status, ...] = ("trained", "too large", "diverged")


@dataclass(frozen=True)
class Trial:
    """One network tried.

    Attributes
    ----------
    number
        From 0, in the order proposed.
    status
        ``trained``; ``too large`` and ``diverged`` carry a penalty as their loss and no accuracy.
    hyperparameters
        The point of the space.
    val_loss, val_accuracy
        At the best epoch; loss in nats.
    parameters, macs
        See `edgegal.tuner.objective.Cost`.
    seconds
        Wall time, building included, on the machine that ran it.
    epochs
        Epochs trained.
    on_front
        Whether no other trained network has both a better accuracy and fewer parameters.
    """

    number: int
    status: Status
    hyperparameters: dict[str, Any]
    val_loss: float
    val_accuracy: float | None
    parameters: int
    macs: int
    seconds: float
    epochs: int
    on_front: bool = False


def kept_numbers(
    status: Status, val_loss: float, val_accuracy: float, cost: Cost, seconds: float, epochs: int
) -> dict[str, float]:
    """A finished trial as the named numbers that Keras Tuner keeps; `trial_from` reads them back."""
    return {
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "status": float(_STATUSES.index(status)),
        "parameters": float(cost.parameters),
        "macs": float(cost.macs),
        "seconds": round(seconds, 3),
        "epochs": float(epochs),
    }


def trial_from(number: int, hyperparameters: Mapping[str, Any], kept: Callable[[str], float]) -> Trial:
    """The trial that `kept_numbers` took apart; `kept` gives one of its numbers by name."""
    status = _STATUSES[int(kept("status"))]
    return Trial(
        number=number,
        status=status,
        hyperparameters=dict(hyperparameters),
        val_loss=float(kept("val_loss")),
        val_accuracy=float(kept("val_accuracy")) if status == "trained" else None,
        parameters=int(kept("parameters")),
        macs=int(kept("macs")),
        seconds=float(kept("seconds")),
        epochs=int(kept("epochs")),
    )


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The trained one with the least validation loss, the smaller one at equal loss; None when none was trained."""
    trained = [t for t in trials if t.status == "trained"]
    return min(trained, key=lambda t: (t.val_loss, t.parameters, t.number)) if trained else None


def mark_front(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The trials with `on_front` set: trained, and no other is as accurate and as small and better in one of both."""
    listed = tuple(trials)
    trained = [t for t in listed if t.val_accuracy is not None]
    front = pareto_front([(-(t.val_accuracy or 0.0), t.parameters) for t in trained])
    numbers = {t.number for t, marked in zip(trained, front, strict=True) if marked}
    return tuple(replace(t, on_front=t.number in numbers) for t in listed)
