"""The model card of a bundle, written from its manifest so that no figure is typed twice."""

from collections.abc import Sequence

import numpy as np

from edgegal.anchors import cell_shapes
from edgegal.bundle.manifest import ClassifierStage, DetectorStage, Manifest, Quantization, Variant

__all__ = ["card"]


def card(manifest: Manifest) -> str:
    """The card as Markdown."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        manifest.description,
        f"Licence of the weights: {manifest.licence}. Made {manifest.created:%Y-%m-%d} by `edgegal export`.",
        "Written from `bundle.json`; change nothing here.",
    ]
    for name, stage in manifest.stages.items():
        parts += _stage(name, stage)
    return "\n\n".join(parts) + "\n"


def _stage(name: str, stage: ClassifierStage | DetectorStage) -> list[str]:
    source = stage.provenance
    versions = ", ".join(f"{package} {version}" for package, version in sorted(source.versions.items()))
    parts = [
        f"## {name.capitalize()}",
        f"{source.architecture}, {source.parameters:,} parameters. Labels ({stage.scheme}): {', '.join(stage.labels)}.",
        _use(stage),
        f"Trained {source.trained:%Y-%m-%d} on {', '.join(source.datasets)} (SHA-256 `{source.dataset_sha256[:16]}`), "
        f"seed {source.seed}, with {versions}.",
        "### Figures",
        _parity_table(stage.variants),
    ]
    measured = [(v, a) for v in stage.variants for a in v.accuracy]
    if measured:
        rows = [
            [v.name, a.metric, f"{a.value:.3f}", f"{a.low:.3f}-{a.high:.3f}", f"{a.dataset} {a.split}", str(a.n)]
            for v, a in measured
        ]
        parts.append(_table(["variant", "metric", "value", "95 % interval", "measured on", "n"], rows))
    if stage.evaluation is not None:
        parts.append(f"Evaluation set in the bundle: {stage.evaluation.description} ({stage.evaluation.n} pictures).")
    return [*parts, *_quantization(stage.variants), "### Limits", _limits(stage)]


def _use(stage: ClassifierStage | DetectorStage) -> str:
    size = f"{stage.preprocess.width}x{stage.preprocess.height}"
    if isinstance(stage, DetectorStage):
        return (
            f"Takes {size} RGB views of the sky, stretched as the manifest says, and gives boxes with scores: "
            f"score threshold {stage.score_threshold}, suppression above IoU {stage.iou_threshold}. "
            "Larger frames are cut into overlapping tiles."
        )
    return (
        f"Takes a {size} RGB crop around one galaxy, {stage.preprocess.crop_scale:g} times its box wide, and gives a "
        f"probability for each label (temperature {stage.temperature:g}).{_abstention(stage)}"
    )


def _abstention(stage: ClassifierStage) -> str:
    rules = []
    if stage.abstain_below:
        rules.append(f"below a highest probability of {stage.abstain_below:g} the answer is uncertain")
    if stage.min_side_px:
        rules.append(f"a galaxy whose box is less than {stage.min_side_px:g} pixels long is too small to tell")
    if not rules:
        return ""
    return (
        f" It need not answer: {' and '.join(rules)}. Where the figures have them, `answered` is the share of pictures "
        "that got a class and `accuracy of answers` the share of these that got the right one."
    )


_ALL_ANSWERS = "Every crop gets one of the labels, also a star or an artefact."
_SOME_ANSWERS = (
    "Being uncertain is no detector of stars and artefacts: what is unlike every galaxy it learned from may get a "
    "class with a high probability."
)


def _parity_table(variants: Sequence[Variant]) -> str:
    rows = []
    for v in variants:
        if v.parity is not None:
            p = v.parity
            ratio = "equal" if p.sqnr_db is None else f"{p.sqnr_db:.1f}"
            where = f"{p.measured.runtime} {p.measured.runtime_version} ({p.measured.executed_precision})"
            rows.append(
                [
                    *(v.name, f"{v.size / 1000:,.0f}", f"{p.agreement:.3f}", f"{p.max_abs:.2g}", ratio),
                    *(str(p.samples), where, p.measured.machine),
                ]
            )
    header = ["variant", "kB", "agrees with float", "largest error", "SQNR dB", "pictures", "run on", "machine"]
    return _table(header, rows)


def _quantization(variants: Sequence[Variant]) -> list[str]:
    lines = [f"- {v.name}: {_recipe(q)}" for v in variants if (q := v.quantization) is not None]
    return ["### Quantisation", "\n".join(lines)] if lines else []


def _recipe(quantization: Quantization) -> str:
    """How a variant was quantised, in sentences."""
    said = [f"{quantization.recipe}."]
    if quantization.calibration:
        said.append(
            f"Calibrated on {quantization.samples} pictures of {quantization.calibration} "
            f"(SHA-256 `{quantization.calibration_sha256[:16]}`, seed {quantization.seed})."
        )
    if quantization.kept_float:
        said.append(f"{len(quantization.kept_float)} operations stayed in float.")
    return " ".join(said)


def _smallest_anchor(stage: DetectorStage) -> float:
    """Side of the square with the area of the smallest anchor, pixels."""
    shapes = np.concatenate([cell_shapes(stage.anchors, level) for level in stage.anchors.levels])
    return float(np.sqrt(shapes.prod(axis=1).min()))


def _limits(stage: ClassifierStage | DetectorStage) -> str:
    what = (
        "Scores are not probabilities of being a galaxy. Objects much smaller than the smallest anchor "
        f"({_smallest_anchor(stage):.0f} px) are missed; nebulae, star clusters and "
        "reflections may be taken for galaxies."
        if isinstance(stage, DetectorStage)
        else f"{_SOME_ANSWERS if stage.abstain_below else _ALL_ANSWERS} It learned from the pictures named "
        "above; other instruments, exposures and stretches lower its accuracy."
    )
    return (
        f"{what} Integer kernels differ between processors, so a figure holds for the machine named beside it: "
        "measure again on the device with `edgegal compare`."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
