"""What a compact network is given to learn from larger ones."""

from dataclasses import replace

import pytest

keras = pytest.importorskip("keras")

import numpy as np  # noqa: E402

from edgegal.labels import LabelScheme, scheme  # noqa: E402
from edgegal.training.distillation import Teacher, evened, known_classes, opinions, soft_targets  # noqa: E402

pytestmark = pytest.mark.host

LIGHT = LabelScheme("light", ("dark", "bright"), "two classes that a mean tells apart")


def brightness_network(size: int) -> object:
    """Two classes: dark and bright; the probability of the second is the mean of the picture."""
    image = keras.Input((size, size, 3), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    bright = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(1 / 3), use_bias=False)(mean)
    dark = keras.layers.Rescaling(-1, offset=1)(bright)
    return keras.Model(image, {"probabilities": keras.layers.Concatenate()([dark, bright])})


def test_opinions_of_teachers_of_several_sizes() -> None:
    pictures = np.stack([np.full((24, 24, 3), value, np.uint8) for value in (51, 204)])
    teachers = [Teacher(brightness_network(size), 1.4, LIGHT) for size in (16, 32)]
    np.testing.assert_allclose(opinions(teachers, pictures, 1.4, LIGHT), [[0.8, 0.2], [0.2, 0.8]], atol=1e-5)


@pytest.mark.parametrize("mirror_safe", [False, True])
def test_a_picture_is_judged_turned_as_well(mirror_safe: bool) -> None:
    """A teacher that looks at the left half alone sees the light of the right half when the picture is turned."""
    light = replace(LIGHT, mirror_safe=mirror_safe)
    image = keras.Input((8, 8, 3), name="image")
    left = keras.layers.Cropping2D(((0, 0), (0, 4)))(keras.layers.Rescaling(1 / 255)(image))
    mean = keras.layers.GlobalAveragePooling2D()(left)
    bright = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(1 / 3), use_bias=False)(mean)
    dark = keras.layers.Rescaling(-1, offset=1)(bright)
    teacher = Teacher(keras.Model(image, {"probabilities": keras.layers.Concatenate()([dark, bright])}), 1.0, light)
    picture = np.full((1, 8, 8, 3), 51, np.uint8)
    picture[:, :, 4:] = 204
    # As it is .2 bright, turned half and half: the geometric mean of (.8, .2) and (.5, .5).
    np.testing.assert_allclose(opinions([teacher], picture, 1.0, light), [[2 / 3, 1 / 3]], atol=1e-3)


def test_each_teacher_sees_as_much_as_it_was_trained_on() -> None:
    """A bright middle half on a dark ground: a teacher of tighter crops sees nothing else."""
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[:, 8:24, 8:24] = 204
    network = brightness_network(16)
    tight, wide = (opinions([Teacher(network, scale, LIGHT)], picture, 2.8, LIGHT)[0, 1] for scale in (1.4, 2.8))
    assert tight == pytest.approx(0.8, abs=1e-3)
    assert wide == pytest.approx(0.2, abs=1e-3)


def test_a_teacher_of_finer_classes_teaches_their_sums() -> None:
    """Round, in-between and cigar are smooth."""
    image = keras.Input((8, 8, 3), name="image")
    nothing = keras.layers.Rescaling(0)(keras.layers.GlobalAveragePooling2D()(image))
    wanted = np.log([0.2, 0.2, 0.1, 0.1, 0.3, 0.1])
    logits = keras.layers.Dense(6, bias_initializer=lambda shape, dtype: keras.ops.cast(wanted, dtype))(nothing)
    network = keras.Model(image, {"probabilities": keras.layers.Softmax()(logits)})
    found = opinions([Teacher(network, 1.0, scheme("galaxy6"))], np.zeros((1, 8, 8, 3), np.uint8), 1.0, scheme("h4"))
    np.testing.assert_allclose(found, [[0.5, 0.3, 0.1, 0.1]], atol=1e-5)


def test_targets_stay_within_what_labels_allow() -> None:
    allowed = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], np.float32)
    seen = np.array([[0.2, 0.6, 0.2], [0.1, 0.3, 0.6], [0.1, 0.3, 0.6]], np.float32)
    found = soft_targets(allowed, seen, trust=0.5)
    np.testing.assert_allclose(found, [[0.6, 0.3, 0.1], [0.25, 0.75, 0], [0.1, 0.3, 0.6]], atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_what_teachers_do_not_know_is_left_to_the_labels() -> None:
    """The teachers were never asked for the last class."""
    allowed = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]], np.float32)
    seen = np.array([[0.2, 0.8, 0.0]] * 4, np.float32)
    found = soft_targets(allowed, seen, 0.5, np.array([True, True, False]))
    np.testing.assert_allclose(found, [[0.6, 0.4, 0], [0.2, 0.8, 0], [0, 0, 1], [1, 0, 1]], atol=1e-6)


def test_classes_that_all_teachers_know() -> None:
    six = scheme("galaxy6")
    five, all_six = (Teacher(None, 1.4, scheme(name)) for name in ("gz2-5class", "galaxy6"))
    assert known_classes([five, all_six], six).tolist() == [True] * 5 + [False]
    assert known_classes([all_six], scheme("h4")).all()
    assert not known_classes([], six).any()


def test_full_trust_leaves_the_label() -> None:
    allowed = np.array([[0, 1, 0]], np.float32)
    np.testing.assert_allclose(soft_targets(allowed, np.full((1, 3), 1 / 3, np.float32), trust=1.0), allowed)


def test_even_opinions_make_classes_as_likely() -> None:
    seen = np.array([[0.8, 0.2], [0.6, 0.4], [0.95, 0.05]], np.float32)
    frequencies = seen.mean(axis=0)
    np.testing.assert_allclose(evened(seen, frequencies, 0.0), seen, atol=1e-6)
    wanted = seen / frequencies
    np.testing.assert_allclose(evened(seen, frequencies, 1.0), wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(evened(frequencies[None], frequencies, 1.0), [[0.5, 0.5]], atol=1e-6)
