"""The teacher network and its ImageNet weights."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.host

pytest.importorskip("keras")

from edgegal.errors import InputError, MissingPartError  # noqa: E402
from edgegal.models.efficientnet_lite import efficientnet_lite, imagenet_weights, load_imagenet_weights  # noqa: E402
from edgegal.models.torch_checkpoint import read_state_dict  # noqa: E402


def test_the_network_is_the_published_one() -> None:
    """4,652,008 parameters with 1,000 classes, as the authors' table rounds to 4.7 million (buffers not counted)."""
    model = efficientnet_lite(1000, 224)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 4_652_008
    assert model.output["probabilities"].shape == (None, 1000)


def test_imagenet_weights_fit_layer_by_layer() -> None:
    """Every layer takes its tensors, and activations stay in the range that trained batch norms make."""
    try:
        path = imagenet_weights()
    except MissingPartError as error:
        pytest.skip(str(error))
    import keras

    model = efficientnet_lite(6, 96)
    before = [w.copy() for w in model.get_layer("block0_depthwise").get_weights()]
    load_imagenet_weights(model, path)
    assert not np.array_equal(before[0], model.get_layer("block0_depthwise").get_weights()[0])
    tensors = read_state_dict(path)
    # The one kernel that PyTorch and Keras lay out most differently, by hand.
    depthwise = model.get_layer("block3_depthwise").get_weights()[0]
    np.testing.assert_array_equal(depthwise[2, 4, 7, 0], tensors["_blocks.3._depthwise_conv.weight"][7, 0, 2, 4])
    head = keras.Model(model.input, model.get_layer("head_norm").output)
    noise = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    seen = np.asarray(head.predict(noise, verbose=0))
    assert 0.2 < seen.std() < 5


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1/0",)

    path = tmp_path / "evil.pth"
    path.write_bytes(
        pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1001) + pickle.dumps({}) + pickle.dumps(Malice())
    )
    with pytest.raises(InputError, match="no part of a table of tensors"):
        read_state_dict(path)


def checkpoint(values: bytes, count: int) -> bytes:
    """A checkpoint whose table of tensors is empty and whose one storage claims `count` values."""
    head = [pickle.dumps(0x1950A86A20F9469CFC6C), pickle.dumps(1001), pickle.dumps({}), pickle.dumps(OrderedDict())]
    return b"".join([*head, pickle.dumps(["7"]), struct.pack("<q", count), values])


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", pickle.dumps(1) * 3, checkpoint(b"", 4), checkpoint(b"", 1 << 60)]
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth is not a whole PyTorch checkpoint"):
        read_state_dict(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    head = [pickle.dumps(0x1950A86A20F9469CFC6C), pickle.dumps(1001), pickle.dumps({}), pickle.dumps(OrderedDict())]
    path.write_bytes(b"".join([*head, pickle.dumps([])]))
    assert read_state_dict(path) == {}
    with pytest.raises(InputError, match="does not hold an EfficientNet-Lite0"):
        load_imagenet_weights(efficientnet_lite(2, 32), path)
