"""The real browser that pages are shown to."""

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_BROWSER = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., str]:
    """Opens an address with further options, each time in a fresh profile; returns what the browser printed."""
    numbers = itertools.count()

    def show(address: str, *options: str) -> str:
        profile = tmp_path / f"profile-{next(numbers)}"
        command = [*_BROWSER, f"--user-data-dir={profile}", *options, address]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    return show
