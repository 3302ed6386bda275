"""TFLite files, by TensorFlow's own converter.

Integer files keep float inputs and outputs unless asked otherwise: the file quantises a picture itself, and boxes and
scores leave with a scale each. Files of fp32, fp16 and int8 hold only operator versions that tflite-runtime 2.14 knows.
"""

import contextlib
import errno
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError
from tensorflow.lite.tools import flatbuffer_utils

from edgegal.bundle.manifest import Precision
from edgegal.errors import InputError
from edgegal.export.network import keras_form
from edgegal.export.refusals import kept_operations, unfixed_output, unsupported
from edgegal.export.registry import Converted, Order

__all__ = ["LABELS_MEMBER", "METADATA_MEMBER", "convert"]

METADATA_MEMBER = "edgegal.json"
"""Member with the JSON in the zip archive at the end of the file."""
LABELS_MEMBER = "labels.txt"
"""Member with the labels, one a line in the order of the scores."""

_RECIPES: dict[Precision, str] = {
    "fp32": "float weights and activations",
    "fp16": "optimizations DEFAULT, float16 weights",
    "dynamic": "optimizations DEFAULT, weights int8, activations int8 in the range of each picture",
    "int8": "optimizations DEFAULT, TFLITE_BUILTINS_INT8, weights per channel, activations per tensor, "
    "ranges by minimum and maximum",
    "int16x8": "optimizations DEFAULT, EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, "
    "ranges by minimum and maximum, float input and output",
}
_INTEGER_OPERATIONS: dict[Precision, Any] = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


@contextlib.contextmanager
def _converter(order: Order) -> Iterator[Any]:
    """The converter, set up. Its own way from a Keras model to a file hides what goes wrong while it saves one."""
    static = keras_form(order.network, "tflite").static
    signature = [tf.TensorSpec(order.network.input_shape, tf.float32, name="image")]
    with tempfile.TemporaryDirectory(prefix="edgegal-tflite-") as folder:
        try:
            static.export(folder, format="tf_saved_model", verbose=False, input_signature=signature)
        except (tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError) as error:
            # A full disk, and a file larger than the process may write.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder) from error
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        _set_up(converter, order)
        yield converter


def _set_up(converter: Any, order: Order) -> None:
    if order.precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if order.precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if order.precision in _INTEGER_OPERATIONS:
        batches = order.ranges.batches()
        converter.representative_dataset = lambda: ([batch] for batch in batches)
        converter.target_spec.supported_ops = [_INTEGER_OPERATIONS[order.precision]]
    if order.precision == "int8" and order.integer_io:
        converter.inference_input_type = converter.inference_output_type = tf.int8


def _converted(order: Order) -> bytes:
    with _converter(order) as converter:
        try:
            return _partly_integer(order, converter) if order.keep_float else bytes(converter.convert())
        except ConverterError as error:
            missing = _missing_operations(str(error))
            if not missing:
                raise
            raise unsupported("tflite", missing) from error


def _missing_operations(message: str) -> list[tuple[str, str]]:
    """Kind and path of the operations of which the converter says that they are none of TFLite's own."""
    placed = re.findall(r'error: loc\(callsite\(fused\["(\w+):", "([^"@]+)@[^\n]*is neither a custom op', message)
    listed = ", ".join(re.findall(r"^(?:TF Select|Custom) ops: (.+?) *$", message, re.MULTILINE))
    return placed or [(kind, "") for kind in listed.split(", ") if kind]


def _partly_integer(order: Order, converter: Any) -> bytes:
    """An integer file with some operations in float, which is what the debugger of the converter is for."""
    if order.precision != "int8":
        raise InputError(
            f"tflite cannot keep operations of {order.precision} in float", "leave them out, or take --precision int8"
        )
    options = tf.lite.experimental.QuantizationDebugOptions
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: iter(()),
        debug_options=options(fully_quantize=order.integer_io),
    )
    known = _operations(debugger.calibrated_model)
    kept = [known[name] for name in kept_operations(order, "tflite", known)]
    if len(set(kept)) == len(known):
        raise InputError("tflite int8 with every operation in float has no integers", "keep fewer, or take fp32")
    debugger.options = options(denylisted_nodes=kept, fully_quantize=order.integer_io)
    return bytes(debugger.get_nondebug_quantized_model())


def _operations(content: bytes) -> dict[str, str]:
    """The operations of a float network: names of their output tensors in files of edgegal, and in `content`."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph = model.subgraphs[0]
    names = {o.outputs[0]: graph.tensors[o.outputs[0]].name.decode() for o in graph.operators}
    roles = {t.tensorIndex: t.name.decode() for t in model.signatureDefs[0].outputs}
    return {roles.get(index, name): name for index, name in names.items()}


def _named_by_role(content: bytes) -> bytes:
    """The flatbuffer with its outer tensors named by role, as its signature says."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for tensor in (*signature.inputs, *signature.outputs):
        outer = graph.tensors[tensor.tensorIndex]
        outer.name = tensor.name
        if outer.shapeSignature is not None and -1 in outer.shapeSignature:
            raise unfixed_output("tflite", tensor.name.decode())
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _with_members(content: bytes, members: dict[str, str]) -> bytes:
    """The file with a zip archive at its end, where TFLite Metadata keeps associated files and runtimes do not look."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in members.items():
            # ZipInfo has a fixed date: the same network gives the same file.
            archive.writestr(zipfile.ZipInfo(name), text)
    return file.getvalue()


def convert(order: Order) -> Converted:
    """Write ``TARGET.tflite``.

    Raises
    ------
    InputError
        The network is no Keras model or has an operation that TFLite has not, or `order` keeps one in float that the
        network has not or that this precision cannot keep.
    """
    path = order.target.with_suffix(".tflite")
    labels = "".join(f"{label}\n" for label in order.network.description.labels)
    content = _named_by_role(_converted(order))
    path.write_bytes(_with_members(content, {METADATA_MEMBER: order.metadata, LABELS_MEMBER: labels}))
    recipe = f"tf.lite.TFLiteConverter, TensorFlow {tf.__version__}: {_RECIPES[order.precision]}"
    if order.precision == "int8":
        recipe += ", integer input and output" if order.integer_io else ", float input and output"
    return Converted((path,), recipe)
