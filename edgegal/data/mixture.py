"""What a detector is trained on: composed fields, exposures of telescopes, whole cutouts and a user's own frames."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgegal.data.boxes import SMALLEST_SIDE_PX, segment_cutout
from edgegal.data.cutout_fields import BoxedCutout, boxed_cutout, cutout_field
from edgegal.data.fields import (
    DISTRACTORS,
    Field,
    IsolatedGalaxy,
    bare_field,
    compose_field,
    faint_field,
    isolate,
    paired_field,
)
from edgegal.data.pictures import PictureSet
from edgegal.data.skies.distractors import PLATE
from edgegal.data.skies.telescopes import Telescope
from edgegal.data.windows import random_window, window
from edgegal.preprocess import Stretch

if TYPE_CHECKING:
    from edgegal.data.skies.galaxies import Stamp

__all__ = ["Ingredients", "halved", "mixed_field", "mixed_fields"]

# Weights of the sorts of field; those that nothing is there for are left out.
_COMPOSED, _HALVED, _CUTOUTS, _EXPOSURES, _FRAMES = 3, 1, 3, 4, 6
_BARE, _PLATE, _FAINT = 1, 0.5, 1
# At a weight of 1 a companion as bright as NGC 5195 stayed below the threshold.
_PAIRED = 2.5
_STAMPS = 400
_REAL_STAMPS = 3000

_AS_CLASSES = {"nebula": ("nebula",), "star trail": ("star trails", "satellite trails")}
"""Distractors that show what a detector may be asked to tell."""


@dataclass(frozen=True)
class Ingredients:
    """What fields are made of; the defaults give a sky of simple simulated galaxies.

    Attributes
    ----------
    cutouts
        Whole survey cutouts.
    isolated
        Galaxies without their sky, for composed fields.
    telescopes, stamps
        Telescopes to expose with, and galaxies to expose.
    frames
        Annotated pictures of any size.
    labels
        What a detector is to tell apart, of `edgegal.data.skies.celestial.CELESTIAL`.
    hard
        Whether there are fields of what is rare elsewhere and hard: of nothing but one kind of what is no galaxy, of
        close pairs, and of faint small galaxies. To learn from; fields to judge on have none.
    """

    cutouts: Sequence[BoxedCutout] = field(default=(), repr=False)
    isolated: Sequence[IsolatedGalaxy] = field(default=(), repr=False)
    telescopes: Sequence[Telescope] = ()
    stamps: "Sequence[Stamp]" = field(default=(), repr=False)
    frames: Sequence[Field] = field(default=(), repr=False)
    labels: tuple[str, ...] = ("galaxy",)
    hard: bool = False

    @property
    def distractors(self) -> tuple[str, ...]:
        """What may stand in composed fields without a box: nothing that is asked for."""
        asked = {kind for label in self.labels for kind in _AS_CLASSES.get(label, ())}
        return tuple(kind for kind in DISTRACTORS if kind not in asked)

    @classmethod
    def of(
        cls,
        sets: Sequence[PictureSet],
        telescopes: Sequence[Telescope],
        frames: Sequence[Field],
        seed: int,
        labels: tuple[str, ...] = ("galaxy",),
    ) -> "Ingredients":
        """The galaxies at the centres of all readable pictures of some sets, and simulated ones.

        Parameters
        ----------
        sets
            Sets of cutouts.
        telescopes
            Telescopes to expose with; none for no exposures.
        frames
            Annotated pictures.
        seed
            Of the simulated galaxies and of which real ones are exposed.
        labels
            What a detector is to tell apart.
        """
        pictures = [(picture, segment_cutout(picture)) for part in sets for picture in part.read()[1]]
        isolated = [g for p, found in pictures if (g := isolate(p, found)) is not None]
        stamps: list[Stamp] = []
        if telescopes:
            # GalSim is not everywhere, and only exposures need it.
            from edgegal.data.skies.galaxies import galaxy_stamps, stamp_from_cutout

            drawn = np.random.default_rng(seed).permutation(len(isolated))[:_REAL_STAMPS]
            stamps = [s for i in drawn if (s := stamp_from_cutout(isolated[i])) is not None]
            stamps += galaxy_stamps(_STAMPS, seed)
        boxed = [c for p, found in pictures if (c := boxed_cutout(p, found)) is not None]
        return cls(boxed, isolated, telescopes, stamps, frames, labels)


def halved(scene: Field) -> Field:
    """The square field at half its size, as the coarser levels of a frame's pyramid show it."""
    side = scene.picture.shape[0]
    return window(scene, 0, 0, side, side // 2, SMALLEST_SIDE_PX)


def mixed_field(size: int, stretch: Stretch, of: Ingredients, rng: np.random.Generator) -> Field:
    """One field of any sort.

    Parameters
    ----------
    size
        Side in pixels.
    stretch
        The stretch the detector will be deployed with.
    of
        What it is made of.
    rng
        Source of chance.
    """
    sorts: list[tuple[float, Callable[[], Field]]] = [
        (_COMPOSED, lambda: compose_field(size, stretch, of.isolated, rng, of.distractors)),
        (_HALVED, lambda: halved(compose_field(2 * size, stretch, of.isolated, rng, of.distractors))),
    ]
    if of.hard:
        sorts.append((_BARE, lambda: bare_field(size, stretch, rng, of.distractors)))
        sorts.append((_PLATE, lambda: bare_field(size, stretch, rng, (PLATE,))))
        sorts.append((_FAINT, lambda: faint_field(size, stretch, rng)))
    if of.hard and of.isolated:
        sorts.append((_PAIRED, lambda: paired_field(size, stretch, of.isolated, rng, of.distractors)))
    if of.cutouts:
        sorts.append((_CUTOUTS, lambda: cutout_field(size, of.cutouts, rng)))
    if of.telescopes:
        from edgegal.data.skies.exposure import compose_exposure_field

        sorts.append(
            (_EXPOSURES, lambda: compose_exposure_field(of.telescopes, size, rng, of.stamps, stretch, of.labels))
        )
    if of.frames:
        sorts.append(
            (_FRAMES, lambda: random_window(of.frames[int(rng.integers(len(of.frames)))], size, rng, SMALLEST_SIDE_PX))
        )
    weights = np.array([weight for weight, _ in sorts], np.float64)
    return sorts[int(rng.choice(len(sorts), p=weights / weights.sum()))][1]()


def mixed_fields(
    count: int, seed: int, size: int, stretch: Stretch, of: Ingredients, processes: int = 1
) -> list[Field]:
    """`count` fields; the same arguments give the same fields, however many processes draw them."""
    draw = _Draw(seed, size, stretch, of)
    if processes == 1:
        return [draw(index) for index in range(count)]
    # Started afresh, not forked: the caller has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (draw,)) as pool:
        return list(pool.map(_drawn, range(count), chunksize=16))


@dataclass(frozen=True)
class _Draw:
    """The fields of a training, by index."""

    seed: int
    size: int
    stretch: Stretch
    of: Ingredients

    def __call__(self, index: int) -> Field:
        return mixed_field(self.size, self.stretch, self.of, np.random.default_rng((self.seed, index)))


_draw: _Draw | None = None
"""In a process that draws fields, what it draws: sent once and not with every index."""


def _begin(draw: _Draw) -> None:
    global _draw
    _draw = draw
    cv2.setNumThreads(1)
    # Ctrl-C reaches every process of a terminal; the one that waits for the fields answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _drawn(index: int) -> Field:
    assert _draw is not None
    return _draw(index)
