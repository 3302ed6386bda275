"""The outputs a network must have to be what its description says."""

from edgegal.anchors import anchor_count
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription

__all__ = ["output_shapes"]


def output_shapes(description: ClassifierDescription | DetectorDescription) -> dict[str, tuple[int, ...]]:
    """Shape of each output for a batch of one, by role."""
    classes = len(description.labels)
    if isinstance(description, ClassifierDescription):
        return {"probabilities": (1, classes)}
    anchors = anchor_count(description.anchors, description.preprocess.height, description.preprocess.width)
    return {"boxes": (1, anchors, 4), "scores": (1, anchors, classes)}
