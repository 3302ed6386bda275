"""VGG-16 (Simonyan & Zisserman 2015) under two dense layers, as the course project this work starts from used it.

Feature extraction freezes all convolutions; fine-tuning trains those of the fifth block too. At 69 pixels and nine
classes the network has the 14,846,409 parameters the project states, 131,721 of them above the convolutions. The fifth
block makes 7,211,145 trainable; the project writes 7,221,145, which no choice of layers gives. Pictures are scaled to
0-1, as the project says of all its networks, not centred as the ImageNet weights were trained.
"""

from pathlib import Path
from typing import Literal

import keras
from keras import layers

from edgegal.errors import InputError, MissingPartError

__all__ = ["Trained", "vgg16_network"]

Trained = Literal["top", "block5", "all"]
"""Which layers training moves: the two dense ones, those and the fifth block, or all."""

_MIN_SIZE = 32


def vgg16_network(
    classes: int, size: int = 69, dense: int = 64, weights: str = "imagenet", trained: Trained = "top"
) -> keras.Model:
    """A classifier of square pictures, not compiled.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels, at least 32; the project used 69.
    dense
        Units of the first dense layer; 64 gives the project's number of parameters.
    weights
        ``imagenet`` fetches what Keras publishes, ``none`` starts at random, else the path of such a file.
    trained
        Which layers training moves.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.

    Raises
    ------
    InputError
        Too small a size, or a file that holds no such weights.
    MissingPartError
        The published weights cannot be fetched.
    """
    if size < _MIN_SIZE:
        raise InputError(f"VGG-16 cannot see {size} pixels", f"take a size of at least {_MIN_SIZE}")
    image = keras.Input((size, size, 3), name="image")
    base = _base(layers.Rescaling(1 / 255, name="rescale")(image), weights)
    for layer in base.layers:
        layer.trainable = trained == "all" or (trained == "block5" and layer.name.startswith("block5"))
    x = layers.Flatten(name="flatten")(base.layers[-1].output)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name="vgg16")


def _base(pixels: keras.KerasTensor, weights: str) -> keras.Model:
    """The thirteen convolutions with their weights, as layers of one flat graph that maps can be read from."""

    def built(source: str | None) -> keras.Model:
        return keras.applications.VGG16(include_top=False, weights=source, input_tensor=pixels)

    if weights == "none":
        return built(None)
    if weights == "imagenet":
        try:
            return built("imagenet")
        except Exception as error:  # Keras raises just this when the download fails.
            raise MissingPartError(
                f"the ImageNet weights of VGG-16 cannot be fetched: {_first_line(error)}",
                'give the path of Keras\'s file as weights, or weights = "none" to start at random',
            ) from error
    if not Path(weights).is_file():
        raise InputError(f"no file of weights {weights}", 'give its path, or "imagenet", or "none"')
    try:
        return built(weights)
    except Exception as error:  # Keras lets through whatever a damaged file provokes.
        raise InputError(
            f"{weights} holds no weights of VGG-16 without its top: {_first_line(error)}",
            "take Keras's vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
