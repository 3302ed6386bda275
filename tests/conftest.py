"""What every test can lean on."""

import ast
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# No test is timed: a slow machine is not a wrong one. CI draws the same examples every time.
hypothesis.settings.register_profile("edgegal", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("edgegal")

_LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def _warnings_are_heard() -> None:
    """Libraries of the host turn the root logger down for the whole process; no test may depend on who came before."""
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(scope="module")
def eagerly() -> Iterator[None]:
    """Train step by step: tracing takes longer than the few steps of a test that is not about the steps."""
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = []
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores Ctrl-C, and so would the runs that the tests start and interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave whole host modules unread where host tests are deselected: their imports are absent there."""
    if "not host" not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    if not _is_host_module(collection_path):
        return None
    config.stash[_LEFT_OUT].append(collection_path.name)
    return True


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    left_out = config.stash[_LEFT_OUT]
    return [f"left out, host only: {', '.join(sorted(left_out))}"] if left_out else []


def _is_host_module(path: Path) -> bool:
    """Whether a test module sets ``pytestmark`` to (or to a list with) the mark `host`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets):
            return any(isinstance(n, ast.Attribute) and n.attr == "host" for n in ast.walk(node.value))
    return False
