"""The page of a run in a real browser."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.peers

# Time for the page to ask for the state and the picture a few times; the browser counts it, not the clock.
SETTLED = "--virtual-time-budget=4000"
DESKTOP = ("--window-size=1400,900",)
PHONE = ("--window-size=390,844", "--force-device-scale-factor=2")

Browse = Callable[..., str]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of the page of a simulated night."""
    command = [sys.executable, "-m", "edgegal", "run", "sim:seed=3,frames=3", "--web", "--web-address", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        # Reading would wait for ever for a line that does not come.
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            # Said when all frames were seen.
            over = next(line for line in process.stderr if line.startswith("the run is over"))
            found = re.search(r"http://\S+", over)
            assert found is not None
            watchdog.cancel()
            yield found[0]
        finally:
            watchdog.cancel()
            process.terminate()


def screenshot(browse: Browse, address: str, path: Path, *options: str) -> np.ndarray:
    browse(address, SETTLED, f"--screenshot={path}", *options)
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def test_the_page_shows_the_picture_and_the_galaxies(url: str, browse: Browse) -> None:
    page = browse(url, SETTLED, "--dump-dom", *DESKTOP)
    title = re.search(r"<title>(\d+) in view · frame 3 · edgegal</title>", page)
    assert title is not None
    # Set when the browser has decoded the picture, and not before.
    assert re.search(r'<figure id="view" class="shown"', page)
    galaxies = re.findall(r'<button class="" aria-pressed="false" data-id="\d+">', page)
    assert len(galaxies) >= int(title[1]) > 0
    assert "run over" in page
    assert re.search(r"<span class=\"\">detect</span>.*?[\d.]+ ms", page)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fills_a_screen(url: str, browse: Browse, tmp_path: Path, screen: tuple[str, ...]) -> None:
    seen = screenshot(browse, url, tmp_path / "page.png", *screen)
    height, width = seen.shape[:2]
    # The picture of the sky: boxes in colour on a dark ground, in the upper part on either screen.
    sky = seen[height // 10 : height // 3, : width // 2]
    assert sky.std() > 5


def test_night_vision_leaves_no_green_and_no_blue(url: str, browse: Browse, tmp_path: Path) -> None:
    seen = screenshot(browse, f"{url}#night", tmp_path / "night.png", *PHONE)
    assert seen[..., :2].max() == 0
    assert seen[..., 2].std() > 10


def test_the_page_says_when_the_run_is_gone(browse: Browse, tmp_path: Path) -> None:
    """Saved and opened by itself, the page has nobody to ask."""
    from edgegal.device import web

    page = tmp_path / "page.html"
    page.write_text((Path(web.__file__).parent / "page.html").read_text(encoding="utf-8"), encoding="utf-8")
    assert re.search(
        r'<span id="status" role="status" class="lost">no answer', browse(page.as_uri(), SETTLED, "--dump-dom")
    )
