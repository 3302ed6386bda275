"""Reaching into networks without changing them."""

import keras
import numpy as np
import pytest
from keras import layers

from edgegal.errors import InputError
from edgegal.explain.activations import layer_maps
from edgegal.explain.filters import Ascent, climb
from edgegal.explain.probe import chosen_site, map_sites, overridden, recorded, survey

pytestmark = pytest.mark.host


def branch(name: str) -> keras.Model:
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    return keras.Model(image, layers.MaxPooling2D(2, name="pool")(x), name=name)


@pytest.fixture(scope="module")
def twins() -> keras.Model:
    """Two models of the same layer names side by side in a third."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    scaled = layers.Rescaling(1 / 255, name="rescale")(image)
    x = layers.Concatenate(name="both")([branch("left")(scaled), branch("right")(scaled)])
    x = layers.Flatten(name="flat")(x)
    return keras.Model(image, {"probabilities": layers.Dense(2, activation="softmax", name="dense")(x)}, name="twins")


def test_layers_stand_in_the_order_they_run_with_shapes_and_grids(twins: keras.Model) -> None:
    sites = survey(twins)
    paths = [site.path for site in sites]
    assert paths[0] == "rescale"
    assert sorted(paths[1:5]) == ["left/conv", "left/pool", "right/conv", "right/pool"]
    assert paths[5:] == ["both", "flat", "dense"]
    by_path = {site.path: site for site in sites}
    assert by_path["left/conv"].shape == (14, 14, 4)
    assert by_path["both"].shape == (7, 7, 8)
    assert (by_path["both"].grid.start, by_path["both"].grid.step) == (2, 2)
    assert [site.gives_maps for site in sites[-3:]] == [True, False, False]


def test_a_name_that_two_layers_have_needs_its_path(twins: keras.Model) -> None:
    sites = map_sites(twins)
    assert chosen_site(sites, "left/conv").path == "left/conv"
    with pytest.raises(InputError, match="2 layers are called 'conv'") as caught:
        chosen_site(sites, "conv")
    assert set(caught.value.mend.removeprefix("use one of: ").split(", ")) == {"left/conv", "right/conv"}


def test_what_is_recorded_is_what_the_layers_give(twins: keras.Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    left = twins.get_layer("left")
    alone = keras.Model(left.inputs, left.get_layer("conv").output)
    expected = keras.ops.convert_to_numpy(alone(pictures.astype(np.float32) / 255))
    found = {each.layer: each for each in layer_maps(twins, pictures)}
    assert set(found) == {"left/conv", "left/pool", "right/conv", "right/pool"}
    assert found["left/pool"].kind == "MaxPooling2D"
    np.testing.assert_allclose(found["left/conv"].maps, expected, atol=1e-5)
    pooled = expected.reshape(2, 7, 2, 7, 2, 4).max(axis=(2, 4))
    np.testing.assert_allclose(found["left/pool"].maps, pooled, atol=1e-5)
    (only,) = layer_maps(twins, pictures, "both")
    assert only.maps.shape == (2, 7, 7, 8)


def test_the_network_is_itself_again_afterwards_after_an_error_too(twins: keras.Model) -> None:
    picture = np.random.default_rng(0).random((1, 16, 16, 3)).astype(np.float32) * 255
    before = keras.ops.convert_to_numpy(twins(picture)["probabilities"])
    dense = twins.get_layer("dense")
    with pytest.raises(ZeroDivisionError), overridden(dense, lambda answer, *_: 1 / 0):
        twins(picture)
    with overridden(dense, lambda answer, *_: answer * 0):
        assert not keras.ops.convert_to_numpy(twins(picture)["probabilities"]).any()
    recorded(twins, map_sites(twins), picture)
    after = keras.ops.convert_to_numpy(twins(picture)["probabilities"])
    np.testing.assert_array_equal(before, after)
    assert "call" not in dense.__dict__


@pytest.fixture(scope="module")
def colours() -> keras.Model:
    """Filters that see red, blue, upright edges, and nothing below full white."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", padding="valid", name="conv")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, {"probabilities": layers.Dense(2, activation="softmax")(x)})
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[1, 1, :, 0] = 1, -0.5, -0.5
    kernel[1, 1, :, 1] = -0.5, -0.5, 1
    kernel[:, 0, :, 2], kernel[:, 2, :, 2] = -0.1, 0.1
    kernel[1, 1, :, 3] = 1 / 3
    model.get_layer("conv").set_weights([kernel, np.array([0, 0, 0, -150], np.float32)])
    return model


def test_filters_climb_to_what_they_see(colours: keras.Model) -> None:
    found = climb(colours, ascent=Ascent(steps=40))
    assert found.layer == "conv"
    assert found.pictures.shape == (4, 16, 16, 3)
    assert (found.after > found.before + 1).all()
    red, blue, edges, white = found.pictures.astype(float)
    assert red[..., 0].mean() > 240
    assert red[..., 1:].mean() < 15
    assert blue[..., 2].mean() > 240
    # Changes run along the rows and hardly down the columns.
    assert np.abs(np.diff(edges, axis=1)).mean() > 3 * np.abs(np.diff(edges, axis=0)).mean()
    # Noise of this grey leaves this filter cold: it must have begun again from a stronger one.
    assert white.mean() > 200


def test_the_same_seed_climbs_to_the_same_pictures(colours: keras.Model) -> None:
    first, again, other = (climb(colours, "conv", 2, Ascent(steps=3, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.pictures, again.pictures)
    assert (first.pictures != other.pictures).any()


def test_jitter_and_blur_make_smoother_pictures(colours: keras.Model) -> None:
    def roughness(ascent: Ascent) -> float:
        return float(np.abs(np.diff(climb(colours, "conv", 3, ascent).pictures[2].astype(float), axis=0)).mean())

    assert roughness(Ascent(steps=20)) < roughness(Ascent(steps=20, jitter=0, blur=0))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rate": 0.0}, {"jitter": -1}, {"blur": -0.1}], ids=str)
def test_an_ascent_that_goes_nowhere_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="no ascent"):
        Ascent(**wrong)  # type: ignore[arg-type]
