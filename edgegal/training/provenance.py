"""Where trained weights come from, in the form a manifest carries."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from edgegal.bundle.manifest import Provenance
from edgegal.data import PictureSet
from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.models.artefact import versions

__all__ = ["provenance"]


def provenance(
    architecture: str, model: Any, sets: Sequence[PictureSet | BoxedSet], sources: Sequence[str], seed: int
) -> Provenance:
    """The provenance of a model trained just now.

    Parameters
    ----------
    architecture
        What the network is, in words.
    model
        The Keras model.
    sets
        Sets it was trained on; the hash stored is the ``digest`` of a single one, that of all digests of several.
    sources
        The training data in words, simulated parts included.
    seed
        Seed of the training.
    """
    digests = [s.digest() for s in sets]
    together = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return Provenance(
        architecture=architecture,
        parameters=int(model.count_params()),
        datasets=tuple(sources),
        dataset_sha256=together,
        seed=seed,
        versions=versions(),
        trained=datetime.now(timezone.utc).replace(microsecond=0),
    )
