"""Raw outputs of the shipped networks for the pictures of their evaluation sets, on one runtime, as one ``.npz``.

Run by the tests on this machine and on the emulated one. Arrays are named ``bundle/stage/variant/role``; ``about`` is
JSON: `machine`, `version` of the runtime, `executed` precision by ``bundle/stage/variant``, and `refused`, the reason
why the runtime does not load a variant.
"""

import argparse
import dataclasses
import functools
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal import runtimes, zoo
from edgegal.bundle import Bundle, StageName
from edgegal.bundle.evaluation import read_classifier_set, read_detector_set
from edgegal.errors import InputError
from edgegal.frames import View
from edgegal.machine import this_machine
from edgegal.preprocess import network_input


def main() -> None:
    """Write the outputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime")
    parser.add_argument("out", type=Path)
    parser.add_argument("--reference-kernels", action="store_true", help="TFLite's plain kernels, int8 variants alone")
    parser.add_argument("--fields", type=int, help="pictures for detectors; all by default")
    asked = parser.parse_args()
    entry = runtimes.RUNTIMES[asked.runtime]
    if asked.reference_kernels:
        _take_reference_kernels(entry.package)
    arrays: dict[str, NDArray[Any]] = {}
    about: dict[str, Any] = {"machine": dataclasses.asdict(this_machine()), "executed": {}, "refused": {}}
    for bundle in map(zoo.resolve, zoo.names()):
        for stage_name, stage in bundle.manifest.stages.items():
            pictures = _pictures(bundle, stage_name, asked.fields)
            for variant in stage.variants:
                if variant.format != entry.format or (asked.reference_kernels and variant.precision != "int8"):
                    continue
                name = f"{bundle.manifest.name}/{stage_name}/{variant.name}"
                try:
                    adapter = runtimes.load(entry, bundle.model_path(variant))
                except InputError as error:
                    about["refused"][name] = str(error)
                    continue
                about |= {"version": adapter.version}
                about["executed"][name] = adapter.executed_precision()
                answers = [adapter.infer(network_input(picture)) for picture in pictures]
                for tensor in variant.outputs:
                    arrays[f"{name}/{tensor.role}"] = np.concatenate([answer[tensor.name] for answer in answers])
    np.savez(asked.out, about=np.array(json.dumps(about)), **arrays)


def _take_reference_kernels(package: str) -> None:
    module = importlib.import_module(f"{package}.interpreter")
    plain = module.OpResolverType.BUILTIN_REF
    module.Interpreter = functools.partial(module.Interpreter, experimental_op_resolver_type=plain)


def _pictures(bundle: Bundle, stage: StageName, fields: int | None) -> View:
    if stage == "classifier":
        return read_classifier_set(bundle)[0]
    return read_detector_set(bundle)[0][:fields]


if __name__ == "__main__":
    main()
