"""What quantising cost: every variant of a bundle against float, judged, gated and shown."""

from edgegal.benchmarks.comparison.variants import (
    BoxedPictures,
    LabelledPictures,
    compare_bundle,
    compare_trained,
    in_classes,
    record_accuracy,
)

__all__ = ["BoxedPictures", "LabelledPictures", "compare_bundle", "compare_trained", "in_classes", "record_accuracy"]
