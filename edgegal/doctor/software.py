"""Packages: what is installed, and combinations that install cleanly and then fail."""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping

from edgegal.doctor.findings import Finding
from edgegal.machine import package_versions

__all__ = ["look_at_software"]

_OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)

# What each extra of edgegal brings that is looked for by name; the runtimes have a section of their own.
_OPTIONAL: Mapping[str, str] = {
    "astropy": "device",
    "sep": "train",
    "fastapi": "device",
    "scikit-image": "demo",
    "tensorflow": "train",
    "keras": "train",
    "keras-tuner": "train",
    "nncf": "export",
    "tf2onnx": "export",
}


def look_at_software(versions: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Python, the packages, and the traps among them.

    Parameters
    ----------
    versions
        Distribution name to version; of this environment when None.
    """
    if versions is None:
        versions = package_versions((*_OPENCV, *_OPTIONAL, "numpy", "tflite-runtime", "ai-edge-litert"))
    yield Finding("software", "python", "fine", f"{platform.python_version()} in {sys.prefix}")
    yield _imported("numpy", _try_numpy)
    yield _imported("opencv", _try_opencv)
    yield from _opencv_clash([name for name in _OPENCV if name in versions])
    yield from _tflite_clash(versions)
    for name, extra in _OPTIONAL.items():
        if name in versions:
            yield Finding("software", name, "fine", versions[name])
        else:
            yield Finding("software", name, "note", "not installed", f"if wanted: pip install 'edgegal[{extra}]'")


def _try_numpy() -> str:
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    return np.__version__


def _try_opencv() -> str:
    import cv2
    import numpy as np

    cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2), interpolation=cv2.INTER_AREA)
    return str(cv2.__version__)


def _imported(name: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding("software", name, "fine", attempt())
    except (ImportError, AttributeError, RuntimeError, SystemError) as error:
        mend = "reinstall edgegal in an environment of its own"
        if "libGL" in str(error) or "libxcb" in str(error):
            mend = "pip uninstall -y opencv-python && pip install --force-reinstall opencv-python-headless"
        return Finding("software", name, "trouble", f"does not work here: {error}", mend)


def _opencv_clash(builds: list[str]) -> Iterator[Finding]:
    if len(builds) > 1:
        yield Finding(
            "software",
            "opencv builds",
            "trouble",
            f"{' and '.join(builds)} overwrite each other's files",
            f"pip uninstall -y {' '.join(builds)} && pip install opencv-python-headless",
        )


def _tflite_clash(versions: Mapping[str, str]) -> Iterator[Finding]:
    if "tflite-runtime" not in versions:
        return
    if int(versions.get("numpy", "0").split(".")[0]) >= 2:
        yield Finding(
            "software",
            "tflite-runtime with numpy 2",
            "trouble",
            f"tflite-runtime {versions['tflite-runtime']} was built for numpy 1; here is {versions['numpy']}",
            "pip install 'numpy>=1.26.4,<2', or use litert: pip install 'edgegal[tflite]'",
        )
    if "tensorflow" in versions:
        yield Finding(
            "software",
            "tflite-runtime with tensorflow",
            "note",
            "tflite-runtime fails in a process that imported TensorFlow",
            "keep them in two environments",
        )
