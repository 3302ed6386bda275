"""Every detector architecture: shapes, order of its outputs, and what it refuses."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="building networks needs the host environment")

from edgegal.anchors import AnchorLevel, AnchorSpec, anchor_count, fpn_anchors, generate  # noqa: E402
from edgegal.errors import InputError, MissingPartError  # noqa: E402
from edgegal.models.detector import DETECTORS, build_detector  # noqa: E402

NAMES = tuple(DETECTORS)


def _outputs(model: Any, pictures: np.ndarray) -> dict[str, np.ndarray]:
    return {k: keras.ops.convert_to_numpy(v) for k, v in model(pictures.astype(np.float32), training=False).items()}


def _tiny(name: str) -> AnchorSpec:
    """One 8-pixel anchor a cell on the finest map, and larger ones on the others."""
    return AnchorSpec(
        tuple(AnchorLevel(stride, (float(stride),)) for stride in DETECTORS[name].strides), ratios=(1.0, 3.0)
    )


@cache
def _plain(name: str) -> Any:
    keras.utils.set_random_seed(1)
    return build_detector(name, 128)


@cache
def _odd(name: str) -> Any:
    """All choices other than usual. Where the architecture allows, the side makes the coarse maps odd."""
    keras.utils.set_random_seed(3)
    size = 160 if 160 % DETECTORS[name].multiple == 0 else 192
    return build_detector(name, size, classes=3, anchors=_tiny(name), mono=True)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_the_shapes_of_the_anchors(name: str) -> None:
    for model, spec, classes in ((_plain(name), DETECTORS[name].anchors(128), 1), (_odd(name), _tiny(name), 3)):
        size = model.input_shape[1]
        count = anchor_count(spec, size, size)
        assert [tensor.name for tensor in model.inputs] == ["image"]
        assert model.input_shape == (None, size, size, 3)
        assert {k: v.shape for k, v in model.output.items()} == {
            "boxes": (None, count, 4),
            "scores": (None, count, classes),
        }


@pytest.mark.parametrize("name", NAMES)
def test_scores_start_at_the_prior(name: str) -> None:
    scores = _outputs(_plain(name), np.full((1, 128, 128, 3), 90))["scores"]
    np.testing.assert_allclose(scores, 0.01, atol=0.004)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_in_the_order_of_the_anchors(name: str) -> None:
    """A patch of light changes most the codes of the anchors that lie on it; both axes, not mirrored."""
    spec = DETECTORS[name].anchors(128)
    dark = np.full((1, 128, 128, 3), 40)
    lit = dark.copy()
    lit[0, 24:40, 88:104] = 255
    change = np.square(_outputs(_plain(name), dark)["boxes"] - _outputs(_plain(name), lit)["boxes"])[0].sum(axis=1)
    finest = anchor_count(AnchorSpec(spec.levels[:1], spec.ratios), 128, 128)
    weight = change[:finest, None] / change[:finest].sum()
    x, y = (generate(spec, 128, 128)[:finest, :2] * weight).sum(axis=0)
    assert (x, y) == (pytest.approx(96, abs=12), pytest.approx(32, abs=12))


@pytest.mark.parametrize("name", NAMES)
def test_anchors_of_a_cell_lie_side_by_side(name: str) -> None:
    """With heads that say nothing but their bias, the rows of each cell repeat the bias, four codes an anchor."""
    model = _plain(name)
    before = model.get_weights()
    levels = DETECTORS[name].anchors(128).levels
    heads = ["codes" if DETECTORS[name].depth else f"boxes{level.stride}" for level in levels]
    counts = {}
    for head in set(heads):
        *kernels, bias = model.get_layer(head).get_weights()
        model.get_layer(head).set_weights([*(np.zeros_like(kernel) for kernel in kernels), np.arange(len(bias))])
        counts[head] = len(bias)
    rows = _outputs(model, np.zeros((1, 128, 128, 3)))["boxes"][0]
    model.set_weights(before)
    expected = [
        np.tile(np.arange(counts[head]).reshape(-1, 4), ((128 // min(level.stride, 128)) ** 2, 1))
        for head, level in zip(heads, levels, strict=True)
    ]
    np.testing.assert_array_equal(rows, np.concatenate(expected))


@pytest.mark.parametrize("name", NAMES)
def test_a_monochrome_detector_sees_the_mean_of_the_channels(name: str) -> None:
    for model, blind in ((_odd(name), True), (_plain(name), False)):
        pictures = np.random.default_rng(0).integers(0, 86, (1, *model.input_shape[1:])) * 3
        grey = np.repeat(pictures.mean(axis=-1, keepdims=True), 3, axis=-1)
        colour, mean = _outputs(model, pictures)["boxes"], _outputs(model, grey)["boxes"]
        assert bool(np.abs(colour - mean).max() < 1e-3 * colour.std()) is blind


def test_a_wider_network_has_more_weights() -> None:
    assert build_detector("ssd-mobilenet-v2", 64, alpha=0.2).count_params() < _plain("ssd-mobilenet-v2").count_params()


def test_a_pyramid_has_the_depth_asked_for() -> None:
    kind = "ssd-mobilenet-v2-fpnlite"
    assert build_detector(kind, 64, depth=24).get_layer("lateral3").filters == 24
    assert _plain(kind).get_layer("lateral3").filters == 48


@pytest.mark.slow
def test_published_numbers_of_anchors_and_parameters() -> None:
    """Anchors of the TF models at 300 and 320 pixels; 3.24 million parameters of EfficientDet-Lite0 for COCO."""
    for name, size, anchors in (
        ("ssd-mobilenet-v2", 300, 1917),
        ("ssd-mobilenet-v2-fpnlite", 320, 12804),
        ("efficientdet-lite0", 320, 19206),
    ):
        assert anchor_count(DETECTORS[name].anchors(size), size, size) == anchors
    assert build_detector("ssd-mobilenet-v2", 300).output_shape[0][1] == 1917
    model = build_detector("efficientdet-lite0", 320, classes=90)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == pytest.approx(3.24e6, rel=0.002)


def test_published_architectures_learn_by_the_published_matching() -> None:
    assert {name for name, kind in DETECTORS.items() if kind.matching != "published"} == {
        "ssdlite-mobilenet-v2-topdown"
    }


def test_the_default_is_the_network_that_was_shipped_first() -> None:
    """Trainings of then go on, and its weights can start others, which are found by their layers' names."""
    model = build_detector()
    assert model.count_params() == 344_296
    assert model.output["boxes"].shape[1] == 13_600
    weighted = {layer.name for layer in model.layers if layer.weights}
    convolutions = {"coarse", "extra_in", "extra_out"}
    heads = {f"{kind}{stride}" for kind in ("boxes", "scores") for stride in (8, 16, 32, 64)}
    towers = {f"{name}_tower_{part}" for name in heads for part in ("depthwise", "norm")}
    assert weighted == {
        *("backbone", "extra_depthwise", "extra_norm"),
        *(f"{name}_{part}" for name in convolutions for part in ("conv", "norm")),
        *heads,
        *towers,
    }


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"name": "yolo"}, "no detector 'yolo'.*ssdlite-mobilenet-v2"),
        ({"size": 96}, "multiple of 64"),
        ({"size": 0}, "at least 32"),
        ({"name": "ssd-mobilenet-v2-fpnlite", "size": 100}, "multiple of 32"),
        ({"name": "efficientdet-lite0", "alpha": 0.5}, "width multiplier"),
        ({"alpha": -1.0}, "width multiplier"),
        ({"depth": 32}, "depth of 32"),
        ({"name": "efficientdet-lite0", "depth": 0}, "depth of 0"),
        ({"classes": 0}, "at least one class"),
        ({"anchors": fpn_anchors()}, r"strides \(8, 16, 32, 64\)"),
        (
            {
                "name": "efficientdet-lite0",
                "anchors": AnchorSpec(tuple(AnchorLevel(s, (9.0,) * (1 + (s > 8))) for s in (8, 16, 32, 64, 128))),
            },
            "share their heads",
        ),
        ({"weights": "imagenet", "alpha": 0.4}, "no ImageNet weights of MobileNetV2 at alpha 0.4.*0.35, 0.5"),
        ({"weights": "absent.h5"}, "no file of weights absent.h5"),
        ({"name": "efficientdet-lite0", "weights": "absent.pth"}, "absent.pth"),
    ],
)
def test_what_cannot_be_built_is_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_detector(**{"size": 64, **choices})


def test_weights_that_cannot_be_fetched_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure on https://example.org/weights.h5: None -- unreachable\nsecond line")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unplugged)
    with pytest.raises(MissingPartError, match=r'cannot be fetched: URL fetch failure .*weights="none"') as found:
        build_detector(size=64, weights="imagenet")
    assert "second line" not in str(found.value)


def test_weights_are_read_from_a_file_at_any_size(tmp_path: Path) -> None:
    published = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    path = tmp_path / "published.weights.h5"
    published.save_weights(path)
    backbone = build_detector("ssd-mobilenet-v2-fpnlite", 64, weights=path).get_layer("backbone")
    np.testing.assert_array_equal(
        backbone.get_layer("block_12_project").get_weights()[0],
        published.get_layer("block_12_project").get_weights()[0],
    )
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"holds no weights of MobileNetV2 at alpha 0\.35"):
        build_detector(size=64, weights=path)


@pytest.mark.slow
def test_imagenet_weights_reach_the_teachers_backbone() -> None:
    from edgegal.models.efficientnet_lite import efficientnet_lite, imagenet_weights, load_imagenet_weights

    try:
        checkpoint = imagenet_weights()
    except MissingPartError as error:
        pytest.skip(str(error))
    teacher = efficientnet_lite(1, 64)
    load_imagenet_weights(teacher, checkpoint)
    backbone = build_detector("efficientdet-lite0", 64, weights="imagenet").get_layer("backbone")
    for name in ("stem", "block15_project"):
        np.testing.assert_array_equal(
            backbone.get_layer(name).get_weights()[0], teacher.get_layer(name).get_weights()[0]
        )
