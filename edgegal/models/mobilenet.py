"""MobileNetV2 (Sandler et al. 2018) as the backbone of a detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers

from edgegal.errors import InputError, MissingPartError
from edgegal.models.single_shot import MOMENTUM

__all__ = ["IMAGENET_ALPHAS", "mobilenet_v2_maps"]

IMAGENET_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Width multipliers that Keras has ImageNet weights of."""

_PUBLISHED_SIZE = 224


def mobilenet_v2_maps(pixels: Any, size: int, alpha: float, names: Sequence[str], weights: str) -> list[Any]:
    """Outputs of the named layers of Keras's MobileNetV2.

    Parameters
    ----------
    pixels
        ``(n, size, size, 3)`` in the range the weights expect: -1 to 1 for those trained on ImageNet.
    size
        Input side in pixels.
    alpha
        Width multiplier.
    names
        Layers, finest first.
    weights
        ``none``, ``imagenet``, or the path of a file as Keras publishes them (``..._no_top.h5``).

    Raises
    ------
    InputError
        There are no such weights, or they do not fit `alpha`.
    MissingPartError
        The published weights cannot be fetched.
    """
    base = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=alpha, include_top=False, weights=None, name="mobilenet_v2"
    )
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = MOMENTUM
    if weights != "none":
        base.set_weights(_published(alpha, weights))
    backbone = keras.Model(base.inputs[0], [base.get_layer(name).output for name in names], name="backbone")
    return list(backbone(pixels))


def _published(alpha: float, weights: str) -> list[Any]:
    """Arrays of the weights in the order of the layers, which is the same at every size."""
    if weights == "imagenet" and alpha not in IMAGENET_ALPHAS:
        raise InputError(
            f"there are no ImageNet weights of MobileNetV2 at alpha {alpha}",
            f'take one of {", ".join(map(str, IMAGENET_ALPHAS))}, or weights="none" to start at random',
        )
    if weights != "imagenet" and not Path(weights).is_file():
        raise InputError(f"no file of weights {weights}", 'give its path, or "imagenet", or "none"')
    shape = (_PUBLISHED_SIZE, _PUBLISHED_SIZE, 3)
    try:
        return list(
            keras.applications.MobileNetV2(
                input_shape=shape, alpha=alpha, include_top=False, weights=weights
            ).get_weights()
        )
    except Exception as error:  # Keras raises just this when the download fails, and lets anything through from a file.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if weights == "imagenet":
            raise MissingPartError(
                f"the ImageNet weights of MobileNetV2 cannot be fetched: {reason}",
                'give the path of Keras\'s file as weights, or weights="none" to start at random',
            ) from error
        raise InputError(
            f"{weights} holds no weights of MobileNetV2 at alpha {alpha} without its top: {reason}",
            f"take Keras's mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5",
        ) from error
