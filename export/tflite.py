"""TFLite files, by TensorFlow's own converter.

Integer files keep float inputs and outputs: the file quantises a picture itself, and boxes and scores leave with a
scale each. They hold only operator versions that tflite-runtime 2.14 knows.
"""

from typing import Any

import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from edgegal.bundle.manifest import Precision
from edgegal.export.network import keras_form
from edgegal.export.registry import Converted, Order

__all__ = ["METADATA_NAME", "convert"]

METADATA_NAME = "edgegal"
"""Name of the metadata entry of the flatbuffer that holds the JSON."""

_RECIPES: dict[Precision, str] = {
    "fp32": "float weights and activations",
    "fp16": "optimizations DEFAULT, float16 weights",
    "int8": "optimizations DEFAULT, TFLITE_BUILTINS_INT8, weights per channel, activations per tensor, "
    "float input and output",
}


def _converter(order: Order) -> Any:
    converter = tf.lite.TFLiteConverter.from_keras_model(keras_form(order.network, "tflite").static)
    if order.precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if order.precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if order.precision == "int8":
        batches = order.ranges.batches()
        converter.representative_dataset = lambda: ([batch] for batch in batches)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter


def _labelled(content: bytes, metadata: str) -> bytes:
    """The flatbuffer with its outer tensors named by role, as its signature says, and with metadata."""
    schema = flatbuffer_utils.schema_fb
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for tensor in (*signature.inputs, *signature.outputs):
        graph.tensors[tensor.tensorIndex].name = tensor.name
    buffer = schema.BufferT()
    buffer.data = metadata.encode()
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def convert(order: Order) -> Converted:
    """Write ``TARGET.tflite``."""
    path = order.target.with_suffix(".tflite")
    path.write_bytes(_labelled(_converter(order).convert(), order.metadata))
    return Converted((path,), f"tf.lite.TFLiteConverter, TensorFlow {tf.__version__}: {_RECIPES[order.precision]}")
