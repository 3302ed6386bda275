"""Nights take minutes: they are for those who ask for them."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    words = config.option.markexpr.split()
    return None if "night" in words and "not" not in words else True
