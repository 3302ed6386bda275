"""Batches are a pure function of seed, epoch and index."""

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.anchors import AnchorLevel, AnchorSpec  # noqa: E402
from edgegal.data.fields import compose_fields  # noqa: E402
from edgegal.errors import DatasetError, InputError  # noqa: E402
from edgegal.preprocess import Stretch  # noqa: E402
from edgegal.training.augmentation import TELESCOPE  # noqa: E402
from edgegal.training.batches import PictureBatches  # noqa: E402
from edgegal.training.detector import FieldBatches  # noqa: E402
from edgegal.training.matching import PUBLISHED_MATCHING, SMALL_GALAXY_MATCHING  # noqa: E402

PICTURES = np.random.default_rng(0).integers(0, 256, (22, 24, 24, 3), np.uint8)
LABELS = np.arange(22, dtype=np.int32)
WEIGHTS = np.linspace(0, 1, 22).astype(np.float32)


def batches(seed: int | None = 1, weights: np.ndarray | None = None, **how: object) -> PictureBatches:
    augmentation = None if seed is None else TELESCOPE
    return PictureBatches(PICTURES, LABELS, 16, 5, seed, augmentation, weights, **how)  # type: ignore[arg-type]


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    pairs = zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_batch_is_the_same_whatever_was_asked_for_before() -> None:
    fresh, used = batches(), batches()
    for epoch, index in ((0, 0), (3, 2), (1, 1)):
        used.batch(epoch, index)
    assert same(fresh.batch(3, 1), used.batch(3, 1))
    assert not same(fresh.batch(3, 1), fresh.batch(2, 1))
    assert not same(fresh.batch(3, 1), batches(seed=2).batch(3, 1))


def test_an_epoch_has_each_picture_at_most_once_and_whole_batches() -> None:
    made = batches()
    assert len(made) == 4
    seen = np.concatenate([made.batch(5, i)[1]["probabilities"] for i in range(4)])
    assert len(set(seen.tolist())) == len(seen) == 20


def test_without_a_seed_all_pictures_come_in_order() -> None:
    made = batches(seed=None)
    parts = [made.batch(0, i) for i in range(len(made))]
    assert np.concatenate([part[1]["probabilities"] for part in parts]).tolist() == LABELS.tolist()
    assert [len(part[0]) for part in parts] == [5, 5, 5, 5, 2]
    assert parts[0][0].dtype == np.float32
    assert parts[0][0].shape == (5, 16, 16, 3)


def test_weights_follow_their_pictures() -> None:
    _, targets, weights = batches(weights=WEIGHTS, output="votes").batch(2, 1)
    np.testing.assert_array_equal(weights["votes"], WEIGHTS[targets["votes"]])


def test_a_plain_fit_counts_epochs() -> None:
    made = batches()
    first = made[0]
    assert same(first, made.batch(0, 0))
    made.on_epoch_end()
    assert same(made[0], made.batch(1, 0))


def test_the_fingerprint_tells_everything_apart() -> None:
    other = PICTURES.copy()
    other[3, 4, 5, 0] ^= 1
    prints = [
        batches().fingerprint(),
        batches(seed=2).fingerprint(),
        batches(seed=None).fingerprint(),
        batches(weights=WEIGHTS).fingerprint(),
        PictureBatches(other, LABELS, 16, 5, 1, TELESCOPE).fingerprint(),
        PictureBatches(PICTURES, LABELS[::-1], 16, 5, 1, TELESCOPE).fingerprint(),
        PictureBatches(PICTURES, LABELS, 16, 6, 1, TELESCOPE).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert batches().fingerprint() == prints[0]


def test_what_does_not_fit_is_refused() -> None:
    votes = np.zeros((22, 3), np.float32)
    votes[[4, 7], 1] = np.nan
    with pytest.raises(DatasetError, match="targets of 2 of 22 pictures are not finite, first that of picture 4"):
        PictureBatches(PICTURES, votes, 16, 5, 1)
    with pytest.raises(DatasetError, match="weights of 1 of 22 pictures"):
        batches(weights=np.where(LABELS == 9, np.inf, WEIGHTS))
    with pytest.raises(DatasetError, match="22 pictures, but 21 targets"):
        PictureBatches(PICTURES, LABELS[1:], 16, 5, 1)
    with pytest.raises(DatasetError, match="no pictures"):
        PictureBatches(PICTURES[:0], LABELS[:0], 16, 5, 1)
    with pytest.raises(InputError, match="needs a seed"):
        PictureBatches(PICTURES, LABELS, 16, 5, None, TELESCOPE)


def test_fields_are_batches_of_the_same_kind() -> None:
    spec = AnchorSpec((AnchorLevel(16, (20.0,)),))
    fields = compose_fields(6, 0, 64, Stretch())
    fresh, used = (FieldBatches(fields, spec, 2, 1, augment=True) for _ in range(2))
    used.batch(0, 1)
    assert same(fresh.batch(4, 2), used.batch(4, 2))
    assert not same(fresh.batch(4, 2), fresh.batch(5, 2))
    assert fresh.fingerprint() == used.fingerprint() != FieldBatches(fields[1:], spec, 2, 1, True).fingerprint()


def test_fields_are_matched_as_asked() -> None:
    spec = AnchorSpec((AnchorLevel(16, (20.0,)),))
    fields = compose_fields(6, 0, 64, Stretch())
    published, small = (
        FieldBatches(fields, spec, 6, 1, augment=False, matching=matching)
        for matching in (PUBLISHED_MATCHING, SMALL_GALAXY_MATCHING)
    )
    assert published.fingerprint() != small.fingerprint()
    assert not same(published.batch(0, 0), small.batch(0, 0))
    assert same(published.batch(0, 0), FieldBatches(fields, spec, 6, 1, augment=False).batch(0, 0))
