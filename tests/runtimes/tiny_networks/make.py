"""One tiny network, written by each runtime's own tools: one convolution, its mean, a softmax.

The TFLite files beside this one come from ``python tests/runtimes/tiny_networks/make.py``: making them takes
TensorFlow, and the environments that most need them tested have none.
"""

from pathlib import Path

import numpy as np

SIDE = 8
WEIGHTS = np.random.default_rng(7).normal(0, 0.6, (3, 3, 3, 4)).astype(np.float32)
"""Height, width, colours in, filters out."""

TOP = {"features": 4.0, "probabilities": 1.0}
"""Upper end of each output's range, which starts at 0."""


def reference(batch):
    """The network in NumPy: outputs by name for ``(1, 8, 8, 3)`` values 0-255."""
    windows = np.lib.stride_tricks.sliding_window_view(batch.astype(float) / 255, (3, 3), axis=(1, 2))
    features = np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, WEIGHTS), 0)
    powers = np.exp(features.mean(axis=(1, 2)))
    return {"features": features, "probabilities": powers / powers.sum(axis=1, keepdims=True)}


def write_keras(path):
    import keras

    image = keras.Input((SIDE, SIDE, 3), name="image")
    convolution = keras.layers.Conv2D(4, 3, use_bias=False, activation="relu", name="features")
    features = convolution(keras.layers.Rescaling(1 / 255)(image))
    convolution.set_weights([WEIGHTS])
    mean = keras.layers.GlobalAveragePooling2D()(features)
    outputs = {"features": features, "probabilities": keras.layers.Softmax(name="probabilities")(mean)}
    model = keras.Model(image, outputs)
    model.save(path)
    return model


def write_tflite(folder):
    """``fp32``, ``int8`` with float edges, and ``int8-edges`` with integer inputs and outputs."""
    import keras
    import tensorflow as tf

    image = keras.Input(batch_shape=(1, SIDE, SIDE, 3), name="image")
    model = keras.Model(image, write_keras(folder / "tiny.keras")(image))
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(0, 255, (1, SIDE, SIDE, 3)).astype(np.float32) for _ in range(64)]
    for name in ("fp32", "int8", "int8-edges"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if name != "fp32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([picture] for picture in pictures)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if name == "int8-edges":
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{name}.tflite").write_bytes(converter.convert())


def write_onnx(folder):
    """``fp32`` and ``int8``, the latter with quantise-dequantise pairs around the convolution."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = WEIGHTS.transpose(3, 2, 0, 1)
    step = np.float32(np.abs(weights).max() / 127)
    constants = {
        "whole": np.float32(255),
        "weights": weights,
        "stored": np.rint(weights / step + 128).astype(np.uint8),
        "step": step,
        "middle": np.uint8(128),
        "unit": np.float32(1 / 255),
        "feature_unit": np.float32(TOP["features"] / 255),
        "low": np.uint8(0),
    }

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, inputs.split(), [output], **attributes)

    ends = (
        [node("Div", "image whole", "scaled"), node("Transpose", "scaled", "x", perm=[0, 3, 1, 2])],
        [
            node("Transpose", "y", "features", perm=[0, 2, 3, 1]),
            node("GlobalAveragePool", "y", "pooled"),
            node("Flatten", "pooled", "flat"),
            node("Softmax", "flat", "probabilities", axis=1),
        ],
    )
    middles = {
        "fp32": [node("Conv", "x weights", "raw"), node("Relu", "raw", "y")],
        "int8": [
            node("QuantizeLinear", "x unit low", "xq"),
            node("DequantizeLinear", "xq unit low", "xd"),
            node("DequantizeLinear", "stored step middle", "wd"),
            node("Conv", "xd wd", "raw"),
            node("QuantizeLinear", "raw feature_unit low", "yq"),
            node("DequantizeLinear", "yq feature_unit low", "y"),
        ],
    }
    for name, middle in middles.items():
        nodes = [*ends[0], *middle, *ends[1]]
        used = {i for n in nodes for i in n.input}
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, SIDE, SIDE, 3))],
            [
                helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 6, 6, 4)),
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, (1, 4)),
            ],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        save(model, folder / f"{name}.onnx")


def write_openvino(folder):
    """``fp32`` and ``int8``, the latter with fake quantisation of the convolution's input and weights."""
    import openvino
    from openvino import opset13 as ops

    for name in ("fp32", "int8"):
        image = ops.parameter((1, SIDE, SIDE, 3), np.float32, name="image")
        image.output(0).set_names({"image"})
        x = ops.transpose(ops.divide(image, np.float32(255)), [0, 3, 1, 2])
        weights = ops.constant(WEIGHTS.transpose(3, 2, 0, 1))
        if name == "int8":
            # Half of the range stays free, as in exports: processors without VNNI add two products in 16 bits.
            top = 2 * np.abs(WEIGHTS).max(axis=(0, 1, 2)).reshape(-1, 1, 1, 1)
            x = ops.fake_quantize(x, *map(np.float32, (0, 1, 0, 1)), 256)
            weights = ops.fake_quantize(weights, -top, top, -top, top, 255)
        raw = ops.convolution(x, weights, [1, 1], [0, 0], [0, 0], [1, 1])
        y = ops.relu(raw)
        if name == "int8":
            y = ops.fake_quantize(y, *map(np.float32, (0, TOP["features"], 0, TOP["features"])), 256)
        features = ops.transpose(y, [0, 2, 3, 1])
        probabilities = ops.softmax(ops.reduce_mean(y, [2, 3], keep_dims=False), 1)
        for node, output in ((features, "features"), (probabilities, "probabilities")):
            node.output(0).set_names({output})
        model = openvino.Model([ops.result(features), ops.result(probabilities)], [image], "tiny")
        openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)


if __name__ == "__main__":
    import tempfile

    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as temporary:
        write_tflite(Path(temporary))
        for path in Path(temporary).glob("*.tflite"):
            (here / path.name).write_bytes(path.read_bytes())
