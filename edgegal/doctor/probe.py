"""``python -m edgegal.doctor.probe RUNTIME``: one real inference per stage, in a process that may die of it.

Prints one JSON document: what inferred, or why nothing did and the mend.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["main", "probe"]


def probe(runtime: str) -> dict[str, Any]:
    """Run the smallest variant of each stage of the shipped bundle once.

    Returns
    -------
    dict
        ``version``, ``provider`` and ``stages``: for each, ``variant``, ``executed`` precision and ``ms`` of the
        second inference.

    Raises
    ------
    EdgegalError
        The runtime does not work here, or there is nothing to try it on.
    """
    from edgegal import runtimes

    entry = runtimes.RUNTIMES[runtime]
    stages: dict[str, Any] = {}
    adapter = None
    with tempfile.TemporaryDirectory() as folder:
        for stage, variant, path in _models(entry.format, Path(folder)):
            adapter = runtimes.load(entry, path, threads=1)
            stages[stage] = {
                "variant": variant,
                "executed": adapter.executed_precision(),
                "ms": _one_inference(adapter),
            }
    assert adapter is not None
    return {"version": adapter.version, "provider": adapter.provider, "stages": stages}


def _models(file_format: str, folder: Path) -> list[tuple[str, str, Path]]:
    """Stage, variant and checked file of what to try for a format."""
    from edgegal import zoo
    from edgegal.errors import InputError

    if file_format == "keras":
        return [("smallest network", "made here", _tiny_keras_model(folder))]
    bundle = zoo.resolve(zoo.DEFAULT)
    found: list[tuple[str, str, Path]] = []
    for name, stage in bundle.manifest.stages.items():
        fitting = [v for v in stage.variants if v.format == file_format]
        if fitting:
            smallest = min(fitting, key=lambda v: v.size)
            found.append((name, smallest.name, bundle.model_path(smallest)))
    if not found:
        raise InputError(f"the shipped bundle has no {file_format} variant to try")
    return found


def _tiny_keras_model(folder: Path) -> Path:
    import keras

    picture = keras.Input((4, 4, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(picture))
    path = folder / "tiny.keras"
    keras.Model(picture, {"probabilities": keras.layers.Dense(2, activation="softmax")(pooled)}).save(path)
    return path


def _one_inference(adapter: Any) -> float:
    """Milliseconds of the second inference on noise; `MissingPartError` when the outputs are not numbers."""
    import numpy as np

    from edgegal.errors import MissingPartError

    batch = np.random.default_rng(0).uniform(0, 255, adapter.inputs[0].single).astype(np.float32)
    adapter.infer(batch)
    start = time.perf_counter()
    outputs = adapter.infer(batch)
    elapsed = time.perf_counter() - start
    if not outputs or not all(np.isfinite(values).all() for values in outputs.values()):
        raise MissingPartError(f"runtime {adapter.name} gives outputs that are not numbers", "reinstall the runtime")
    return elapsed * 1000


def main() -> None:
    """Try the runtime named on the command line; leave with 0 and a JSON document unless the process dies."""
    from edgegal.errors import EdgegalError

    try:
        answer = probe(sys.argv[1])
    except EdgegalError as error:
        answer = {"error": error.message, "mend": error.mend}
    # The runtimes print to stdout as they like: the document is the last line.
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
