"""The stages alone, one frame after the other."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgegal.detections import Detections, iou_matrix
from edgegal.device.pipeline import Naming, Pipeline
from edgegal.device.stacking import LiveStack
from edgegal.frames import View
from edgegal.preprocess import Stretch
from edgegal.sky import Night

Detect = Callable[[View], Detections]


def test_faint_galaxies_appear_in_the_stack(bright_spots: Detect) -> None:
    """A night too noisy for single frames: what the stack shows is where the truth says in its first frame."""
    night = Night(seed=2, width=480, height=320, frames=10, noise=4.0)

    def run(stack: LiveStack | None) -> np.ndarray:
        pipeline = Pipeline(bright_spots, Stretch(black_sigma=0, soft_sigma=4, white_sigma=40), stack=stack)
        for frame in night:
            result = pipeline(frame)
        truth = night.boxes(0 if stack else 9, stacked=10)
        inside = (truth[:, 0] > 30) & (truth[:, 1] > 30) & (truth[:, 2] < 450) & (truth[:, 3] < 290)
        return iou_matrix(truth[inside], result.detections.boxes).max(axis=1, initial=0)

    single, stacked = run(None), run(LiveStack(10))
    assert len(stacked) >= 3
    assert single.mean() < 0.25 < 0.5 < stacked.mean()


def test_crops_are_cut_from_the_view_their_classifier_knows(bright_spots: Detect, colours: Naming) -> None:
    """Two networks trained on two stretches each see their own."""
    seen: list[float] = []

    def remember(view: View, found: Detections) -> View:
        seen.append(float(view.mean()))
        return colours.crop(view, found)

    frame = Night(seed=2, width=300, height=260, frames=1).frame(0)
    for white in (300, 30):
        naming = replace(colours, crop=remember, stretch=Stretch(white_sigma=white))
        Pipeline(bright_spots, Stretch(white_sigma=300), naming)(frame)
    assert seen[1] > 1.2 * seen[0]
