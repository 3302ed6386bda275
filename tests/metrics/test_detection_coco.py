"""COCO's figures, held against its own evaluation."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgegal import metrics
from edgegal.detections import Detections

CLASSES = 3


def drawn_boxes(rng: np.random.Generator, n: int, side: int, size: int) -> np.ndarray:
    """Whole pixels: overlaps such as .65, and areas on the border of a range, then occur exactly."""
    corner, reach = rng.integers(0, size, (n, 2)), rng.integers(1, side + 1, (n, 2))
    return np.concatenate([corner, corner + reach], axis=1).astype(np.float32)


def near(rng: np.random.Generator, boxes: np.ndarray, n: int) -> np.ndarray:
    """Copies of some of the boxes, each corner moved a little."""
    chosen = boxes[rng.integers(0, len(boxes), n)] if len(boxes) else np.zeros((0, 4), np.float32)
    moved = chosen + rng.integers(-3, 4, chosen.shape).astype(np.float32)
    return np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], axis=1)


Case = tuple[list[Detections], list[Detections], list[np.ndarray]]


def case(seed: int, pictures: int, most: int, side: int = 40, size: int = 120) -> Case:
    """Pictures of which some are empty, with near hits, false boxes, equal scores, and regions to ignore."""
    rng = np.random.default_rng(seed)
    found, truth, ignore = [], [], []
    for _ in range(pictures):
        true = drawn_boxes(rng, int(rng.integers(0, most // 2 + 2)), side, size)
        regions = drawn_boxes(rng, int(rng.integers(0, 3)), 2 * side, size)
        n = int(rng.integers(0, most + 1))
        boxes = np.concatenate(
            [near(rng, true, n // 2), near(rng, regions, n // 4), drawn_boxes(rng, n - n // 2 - n // 4, side, size)]
        )
        # Copies of one box, so that several true boxes overlap a detection alike.
        true = np.concatenate([true, true[:1]])
        scores = rng.integers(0, 12, len(boxes)).astype(np.float32) / 12
        found.append(Detections(boxes, scores, rng.integers(0, CLASSES, len(boxes)).astype(np.int32)))
        kinds = rng.integers(0, CLASSES - 1, len(true)).astype(np.int32)
        truth.append(Detections(true, np.ones(len(true), np.float32), kinds))
        ignore.append(regions)
    return found, truth, ignore


def rows(sets: Sequence[Detections], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "image_id": i,
            "category_id": int(c) + 1,
            "bbox": [*map(float, b[:2]), *map(float, b[2:] - b[:2])],
            "area": float(np.prod(b[2:] - b[:2], dtype=np.float64)),
            "iscrowd": 0,
            "score": float(s),
        }
        | more
        for i, d in enumerate(sets, start=1)
        for b, s, c in zip(d.boxes, d.scores, d.classes, strict=True)
    ]


def coco_figures(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[np.ndarray],
    sizes: metrics.Sizes = metrics.COCO_SIZES,
) -> dict[str, float]:
    """What pycocotools says, NaN for its -1; a region to ignore is a crowd of every class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    crowds = [
        Detections(
            np.repeat(r, CLASSES, axis=0), np.ones(CLASSES * len(r), np.float32),
            np.tile(np.arange(CLASSES, dtype=np.int32), len(r)),
        )
        for r in ignore
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {
            "images": [{"id": i + 1} for i in range(len(truth))],
            "annotations": [{**r, "id": k} for k, r in enumerate(rows(truth) + rows(crowds, iscrowd=1), start=1)],
            "categories": [{"id": c + 1} for c in range(CLASSES)],
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(rows(found)), "bbox")
        evaluation.params.areaRng = [[0, 1e10], *([a**2, min(b**2, 1e10)] for a, b in sizes.values())]
        evaluation.params.areaRngLbl = ["all", *sizes]
        evaluation.evaluate()
        evaluation.accumulate()
    # (overlap, recall, class, area, limit) and (overlap, class, area, limit); -1 where a class has no true box.
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(values: np.ndarray) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else float("nan")

    figures = {
        "ap": mean(precision[:, :, :, 0, 2]),
        "ap50": mean(precision[0, :, :, 0, 2]),
        "ap75": mean(precision[5, :, :, 0, 2]),
        "ar1": mean(recall[:, :, 0, 0]),
        "ar10": mean(recall[:, :, 0, 1]),
        "ar100": mean(recall[:, :, 0, 2]),
    }
    for a, name in enumerate(sizes, start=1):
        figures[f"ap:{name}"] = mean(precision[:, :, :, a, 2])
        figures |= {f"ar{limit}:{name}": mean(recall[:, :, a, k]) for k, limit in enumerate((1, 10, 100))}
    return figures


def our_figures(summary: metrics.DetectionFigures) -> dict[str, float]:
    names = ("ap", "ap50", "ap75", "ar1", "ar10", "ar100")
    return (
        {name: getattr(summary, name) for name in names}
        | {f"ap:{name}": value for name, value in summary.ap_by_size.items()}
        | {f"{ar}:{name}": value for ar, by_size in summary.ar_by_size.items() for name, value in by_size.items()}
    )


def assert_equal(found: list[Detections], truth: list[Detections], ignore: list[np.ndarray], sizes: Any) -> None:
    expected = coco_figures(found, truth, ignore, sizes)
    ours = our_figures(metrics.coco_summary(found, truth, ignore, sizes))
    assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.host
@settings(max_examples=80)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 14), st.sampled_from([6, 30, 140]))
def test_every_figure_is_that_of_pycocotools(seed: int, pictures: int, most: int, side: int) -> None:
    found, truth, ignore = case(seed, pictures, most, side)
    # COCO's loader refuses an empty result.
    assume(sum(map(len, found)))
    assert_equal(found, truth, ignore, metrics.COCO_SIZES)


@pytest.mark.host
@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_ranges_of_the_callers_own_are_those_of_pycocotools(seed: int) -> None:
    found, truth, ignore = case(seed, 4, 12, 20, 50)
    assume(sum(map(len, found)))
    assert_equal(found, truth, ignore, {"tiny": (0, 6), "all but tiny": (6, float("inf")), "few": (12, 12)})


@pytest.mark.host
@pytest.mark.parametrize("seed", range(3))
def test_of_more_than_a_hundred_detections_the_best_count(seed: int) -> None:
    found, truth, ignore = case(seed, 4, 900, 30, 400)
    assert max((f.classes == 0).sum() for f in found) > 100
    assert_equal(found, truth, ignore, metrics.COCO_SIZES)


@pytest.mark.host
def test_single_figures_are_those_of_the_summary() -> None:
    found, truth, ignore = case(5, 6, 30)
    expected = coco_figures(found, truth, ignore)
    assert metrics.mean_average_precision(found, truth, ignore=ignore) == pytest.approx(expected["ap"], abs=1e-12)
    ap75 = metrics.mean_average_precision(found, truth, (0.75,), ignore=ignore)
    assert ap75 == pytest.approx(expected["ap75"], abs=1e-12)
    for limit in (1, 10, 100):
        recall = metrics.average_recall(found, truth, limit, ignore=ignore)
        assert recall == pytest.approx(expected[f"ar{limit}"], abs=1e-12)


def test_bands_are_the_summaries_of_resampled_pictures() -> None:
    found, truth, ignore = case(7, 8, 12)
    # No two scores alike: the order of ties is no property of a resample.
    rng = np.random.default_rng(0)
    found = [Detections(f.boxes, rng.random(len(f), np.float32), f.classes) for f in found]
    statistic = metrics.coco_statistic(found, truth, ignore)
    counts = metrics.draw_counts(8, 12, rng)
    resampled = statistic(counts)
    for row, count in enumerate(counts.astype(int)):
        drawn = np.repeat(np.arange(8), count)
        summary = metrics.coco_summary(*([each[i] for i in drawn] for each in (found, truth, ignore)))
        for name, value in our_figures(summary).items():
            assert resampled[name][row] == pytest.approx(value, abs=1e-12, nan_ok=True), name
    bands = metrics.coco_bands(found, truth, ignore, seed=1, resamples=50)
    assert {k: float(b.value) for k, b in bands.items()} == pytest.approx(
        our_figures(metrics.coco_summary(found, truth, ignore)), nan_ok=True
    )
    assert bands["ap"].low < bands["ap"].value < bands["ap"].high


def test_a_summary_counts_what_there_is_to_find() -> None:
    _, truth, _ = case(3, 5, 20, 140)
    summary = metrics.coco_summary([Detections.empty()] * 5, truth)
    sides = np.sqrt(np.concatenate([t.sizes for t in truth]).astype(float).prod(axis=1))
    assert (summary.pictures, summary.truths) == (5, len(sides))
    assert summary.truths_by_size["medium"] == ((sides >= 32) & (sides <= 96)).sum()
    assert summary.ap == summary.ar100 == 0


def test_pictures_without_galaxies_have_no_figures() -> None:
    found, truth, _ = case(3, 3, 8)
    summary = metrics.coco_summary(found, [Detections.empty()] * len(truth))
    assert all(np.isnan(value) for value in our_figures(summary).values())
    assert summary.truths == 0
