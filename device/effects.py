"""Settings that do nothing beside the others: a flag that does nothing is refused, a line of a file is warned of."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from edgegal.device.sources import Source
from edgegal.errors import InputError
from edgegal.settings import Settings, flag_names

__all__ = ["Idle", "check_effects", "idle_settings"]

_log = logging.getLogger(__name__)

_NO_EFFECT = "has no effect"


@dataclass(frozen=True)
class Idle:
    """A setting that does not do what it was set for.

    Attributes
    ----------
    section, key
        Its place in the settings file.
    problem
        Why, as the end of a sentence.
    remedy
        What would give it an effect, in the imperative.
    """

    section: str
    key: str
    problem: str
    remedy: str

    @property
    def flag(self) -> str:
        """Of `edgegal run`, by the name of its parameter."""
        return flag_names()[self.section][self.key]

    @property
    def words(self) -> str:
        """What is wrong with the line of a file, and the mend, in one sentence."""
        return f"{self.section}.{self.key} {self.problem} ({self.remedy}, or leave it out)"


def check_effects(
    settings: Settings, asked: Collection[str], source: Source | None = None, classifies: bool = True
) -> None:
    """Refuse flags that do nothing, and warn of other settings that do nothing.

    Parameters
    ----------
    settings
        Flags and file together.
    asked
        Names of the parameters that were given as flags.
    source, classifies
        As `idle_settings` takes them.

    Raises
    ------
    InputError
        One was given as a flag.
    """
    for idle in idle_settings(settings, source, classifies):
        if idle.flag in asked:
            name = idle.flag.replace("_", "-")
            raise InputError(f"--{name} {idle.problem}", f"{idle.remedy}, or leave --{name} out")
        _log.warning("%s", idle.words)


def idle_settings(settings: Settings, source: Source | None = None, classifies: bool = True) -> Iterator[Idle]:
    """Settings other than the defaults that do nothing beside the others.

    Parameters
    ----------
    settings
        Flags and file together.
    source
        The opened source; None to judge what does not depend on it.
    classifies
        Whether the bundles have a classifier.
    """
    default = Settings()
    for idle in (*_of_the_settings(settings), *_of_the_source(settings, source), *_of_the_classifier(classifies)):
        if getattr(getattr(settings, idle.section), idle.key) != getattr(getattr(default, idle.section), idle.key):
            yield idle


def _of_the_settings(settings: Settings) -> Iterator[Idle]:
    run, frames, sightings, keep = settings.run, settings.frames, settings.sightings, settings.keep
    if run.out is None:
        for key in type(keep).model_fields:
            yield Idle("keep", key, f"{_NO_EFFECT}: nothing is written", "add --out DIR")
    elif not frames.stack:
        yield Idle("keep", "stacks_every", f"{_NO_EFFECT}: frames are not stacked", "add --stack N")
    if not frames.stack:
        yield Idle("sightings", "solve", f"{_NO_EFFECT}: what ASTAP solves is the stack", "add --stack N")
    if run.limit is not None and run.limit < sightings.agree:
        yield Idle("sightings", "agree", f"is never reached: the run takes {run.limit} frames", "raise --limit")
    if settings.mqtt.broker is None:
        for key in ("authority", "home_assistant"):
            yield Idle("mqtt", key, f"{_NO_EFFECT}: there is no broker", "add --mqtt-broker URL")
    elif not settings.mqtt.broker.startswith("mqtts:"):
        yield Idle("mqtt", "authority", f"{_NO_EFFECT}: the broker is spoken to without TLS", "write mqtts://")
    if not run.web:
        for key in type(settings.web).model_fields:
            yield Idle("web", key, f"{_NO_EFFECT}: there is no page", "add --web")


def _of_the_source(settings: Settings, source: Source | None) -> Iterator[Idle]:
    if source is None:
        return
    keep = settings.keep
    if settings.run.out is not None and (keep.pictures_every == 0 or (keep.pictures_every is None and not source.live)):
        yield Idle(
            "keep", "news_every", f"{_NO_EFFECT}: a picture of each frame is kept", "add --keep-pictures-every SECONDS"
        )
    if not source.live:
        yield Idle("watch", "wait", f"{_NO_EFFECT}: files are there or not", "give the address of a camera, or watch:")
    if not source.live or source.keeps:
        yield Idle("watch", "reopen_after", f"{_NO_EFFECT}: files are not opened anew", "give the address of a camera")
    if not source.stream:
        yield Idle("frames", "stack", f"{_NO_EFFECT}: one picture makes no stack", "give a folder of frames")
        yield Idle("sightings", "agree", "is never reached: there is one picture", "give a folder of frames")


def _of_the_classifier(classifies: bool) -> Iterator[Idle]:
    if not classifies:
        for key in ("abstain_below", "min_side"):
            yield Idle("run", key, f"{_NO_EFFECT}: the bundle has no classifier", "add --classifier galaxies")
