"""Gradients on whichever backend Keras runs: the one module of this room that knows which."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.errors import MissingPartError

__all__ = ["gradient"]


def gradient(function: Callable[[Any], Any], at: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient of a scalar function of one tensor, of the shape of `at`.

    Parameters
    ----------
    function
        Maps a tensor to a scalar, in `keras.ops` and layers. It is traced: tensors it leaves outside hold no numbers.
    at
        Where.

    Raises
    ------
    MissingPartError
        Keras runs on a backend without a gradient here.
    """
    backend = keras.backend.backend()
    point = ops.convert_to_tensor(at)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            value = function(point)
        # None: the value does not depend on the point at all.
        found = tape.gradient(value, point, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    elif backend == "jax":
        import jax  # type: ignore[import-not-found, unused-ignore]

        found = jax.grad(function)(point)
    else:
        raise MissingPartError(f"no gradients on the Keras backend {backend}", "set KERAS_BACKEND=tensorflow or jax")
    numbers: NDArray[np.float32] = ops.convert_to_numpy(found)
    return numbers
