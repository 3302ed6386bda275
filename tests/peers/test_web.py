"""The page of a run in a real browser, on a desk and on a phone."""

import base64
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from edgegal import zoo
from edgegal.device.controls import Controls, Thresholds
from edgegal.device.health import HealthMonitor
from edgegal.device.pipeline import Pipeline
from edgegal.device.session import observe
from edgegal.device.sources import open_source
from edgegal.device.stacking import LiveStack
from edgegal.device.tracking import Sighting
from edgegal.device.web import Live, open_page
from edgegal.device.web.pictures import carried

pytestmark = pytest.mark.peers

DESKTOP: Mapping[str, Any] = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
PHONE: Mapping[str, Any] = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}

_PATIENCE_S = 60.0
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)


class Chromium:
    """One browser with one page, driven by its DevTools protocol over a pipe: no port, and nothing to install.

    Parameters
    ----------
    profile
        Folder for what it keeps.
    screen
        `DESKTOP` or `PHONE`.
    """

    def __init__(self, profile: Path, screen: Mapping[str, Any] = DESKTOP) -> None:
        # The browser reads commands at its descriptor 3 and writes answers to 4.
        command_read, self._commands = os.pipe()
        self._answers, answer_write = os.pipe()
        redirect = f'exec chromium "$@" 3<&{command_read} 4>&{answer_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(command_read, answer_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self._numbers = itertools.count(1)
        self._read = b""
        self._session: str | None = None
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        if screen["mobile"]:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression of the page, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + _PATIENCE_S
        while not (value := self.run(f"(() => {{ try {{ return {script}; }} catch {{ return null; }} }})()")):
            assert time.monotonic() < end, f"never came true: {script}"
            time.sleep(0.1)
        return value

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a hand does: at its place on the screen."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is on the screen, scrolled into view."""
        found = json.dumps(selector)
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({found}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return float(x), float(y)

    def screenshot(self) -> np.ndarray:
        """The screen, ``(h, w, 3)`` uint8 BGR."""
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return picture

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            chunk = os.read(self._answers, 1 << 16)
            assert chunk, "the browser is gone"
            self._read += chunk
        message, self._read = self._read.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer


class Night(NamedTuple):
    """A run that is over, and its page."""

    live: Live
    url: str
    called_false: list[int]


SHOWN = "document.querySelector('#view').classList.contains('shown')"
PASSWORD = "orion-nebula"


@pytest.fixture(scope="module")
def finished() -> Live:
    """A simulated night, stacked, through the shipped networks."""
    controls = Controls(thresholds=Thresholds(0.3, 0.5))
    monitor = HealthMonitor()
    monitor.look()
    live = Live("sim:seed=3", controls, monitor.latest, shared_s=0)
    pipeline = Pipeline.from_bundle(zoo.resolve("galaxies"), stack=LiveStack(None), controls=controls)
    observe(open_source("sim:seed=3,frames=5"), pipeline, [live], controls=controls)
    live.skip("sim:seed=3: few stars")
    return live


@pytest.fixture
def night(finished: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """The page of that night, as new."""
    finished.controls.reset()
    called_false: list[int] = []
    monkeypatch.setattr(finished, "_on_false", called_false.append)
    monkeypatch.setattr(finished, "_marked", frozenset())
    with open_page(finished, "127.0.0.1:0") as page:
        yield Night(finished, page.url, called_false)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[..., Chromium]]:
    """Opens a browser on a screen; all are closed after the test."""
    opened: list[Chromium] = []

    def start(screen: Mapping[str, Any] = DESKTOP) -> Chromium:
        opened.append(Chromium(tmp_path / f"profile-{len(opened)}", screen))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def shown(request: pytest.FixtureRequest, night: Night, browser: Callable[..., Chromium]) -> Chromium:
    """The page on either screen, with its picture."""
    chromium = browser(request.param)
    chromium.open(night.url)
    chromium.until(SHOWN)
    return chromium


def test_a_run_shows_its_picture_and_its_galaxies(browser: Callable[..., Chromium]) -> None:
    command = [sys.executable, "-m", "edgegal", "run", "sim:seed=3,frames=3", "--web", "--web-address", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        # Reading would wait for ever for a line that does not come.
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            over = next(line for line in process.stderr if line.startswith("the run is over"))
            found = re.search(r"http://\S+", over)
            assert found is not None
            chromium = browser()
            chromium.open(found[0])
            chromium.until(SHOWN)
            title = re.fullmatch(r"(\d+) in view · frame 3 · edgegal", chromium.run("document.title"))
            assert title is not None
            assert chromium.run("document.querySelectorAll('#galaxies li').length") >= int(title[1]) > 0
            assert chromium.run("document.querySelector('#status').textContent") == "run over"
            assert re.search(r"detect[\d.]+ ms", chromium.run("document.querySelector('#stages').textContent"))
        finally:
            watchdog.cancel()
            process.terminate()


def rectangle(chromium: Chromium, selector: str) -> tuple[float, float, float, float]:
    """x, y, width and height of an element on the screen."""
    found = json.dumps(selector)
    x, y, w, h = chromium.run(
        f"(b => [b.x, b.y, b.width, b.height])(document.querySelector({found}).getBoundingClientRect())"
    )
    return x, y, w, h


def assert_framed(chromium: Chromium, sightings: Sequence[Sighting], frame_width: int) -> None:
    """Each sighting has its box where it is in the picture."""
    left, top, width, _ = rectangle(chromium, "#picture")
    for sighting in sightings:
        x, y, w, h = rectangle(chromium, f".box[data-id='{sighting.id}']")
        x0, y0, x1, y1 = (v * width / frame_width for v in sighting.box)
        assert (x - left, y - top) == pytest.approx((x0, y0), abs=1)
        # A box is at least as large as its border.
        assert (w, h) == pytest.approx((max(x1 - x0, 3), max(y1 - y0, 3)), abs=1.5)


def test_boxes_lie_on_the_galaxies_of_the_stack_and_of_its_last_frame(shown: Chromium, night: Night) -> None:
    frame = night.live.now.frame
    assert frame is not None
    assert frame.single is not None
    width = frame.result.view.shape[1]
    there = "document.querySelector('#picture').complete && document.querySelector('#picture').src.includes('show=%s')"
    shown.until(there % "stack")
    assert_framed(shown, frame.seen, width)
    shown.click("#single")
    shown.until(there % "frame")
    moved = carried(frame.seen, frame.single[1])
    # The simulated sky drifts: the two differ.
    assert np.abs(np.subtract(moved[0].box, frame.seen[0].box)).max() > 3
    assert_framed(shown, moved, width)


def test_the_page_fits_the_screen_and_a_finger_meets_its_buttons(shown: Chromium) -> None:
    shown.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert shown.run("document.documentElement.scrollWidth <= innerWidth")
    # The tools below the picture stand in one row.
    tops = "new Set([...document.querySelectorAll('#tools button')].map(e => e.offsetTop)).size"
    assert shown.run(tops) == 1
    small = shown.run(
        "[...document.querySelectorAll('button:not(.box), input, summary')].filter(e => e.offsetParent)"
        ".filter(e => e.offsetHeight < 44 || e.offsetWidth < 44).map(e => e.outerHTML.slice(0, 80))"
    )
    assert small == []
    unnamed = shown.run(
        "[...document.querySelectorAll('button:not(.box), input')].filter(e => e.offsetParent)"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length"
    )
    assert unnamed == 0


def test_nothing_on_the_page_offends_its_policy(night: Night, browser: Callable[..., Chromium]) -> None:
    chromium = browser()
    offence = (
        "window.offences = []; addEventListener('securitypolicyviolation', e => offences.push(e.violatedDirective))"
    )
    chromium.call("Page.addScriptToEvaluateOnNewDocument", source=offence)
    chromium.open(night.url)
    chromium.until(SHOWN)
    chromium.click("#galaxies .card")
    chromium.click("#charts summary")
    assert chromium.until("document.querySelector('#latency path').getAttribute('d').length > 10")
    assert chromium.run("offences") == []


def test_a_galaxy_is_chosen_in_the_list_and_zoomed_to(shown: Chromium) -> None:
    before = shown.run("document.querySelector('#plane').offsetWidth")
    number = shown.run("document.querySelector('#galaxies li').dataset.id")
    shown.click("#galaxies .card")
    assert shown.until("document.querySelector('.box.chosen')?.dataset.id") == number
    assert shown.run("document.querySelector('#plane').offsetWidth") > 1.2 * before
    x, y, w, h = rectangle(shown, ".box.chosen")
    left, top, width, height = rectangle(shown, "#frame")
    assert left <= x < x + w <= left + width
    assert top <= y < y + h <= top + height


def test_a_galaxy_is_called_false_with_two_touches_and_greyed(shown: Chromium, night: Night) -> None:
    shown.click("#galaxies .card")
    shown.until("document.querySelector('.mark') !== null")
    shown.click(".mark")
    shown.until("document.querySelector('.mark').textContent.startsWith('Tap again')")
    assert night.called_false == []
    shown.click(".mark")
    number = shown.until("document.querySelector('#galaxies li.false')?.dataset.id")
    assert night.called_false == [int(number)]
    assert night.live.marked == {int(number)}
    shown.click("#all")
    shown.until("document.querySelector('#all').ariaPressed === 'true'")
    assert shown.run(
        f"document.querySelector('#galaxies li[data-id=\"{number}\"]').textContent.includes('called false')"
    )


def test_a_dial_acts_on_the_picture_and_on_the_run(shown: Chromium, night: Night) -> None:
    before = shown.run("document.querySelector('#picture').src")
    shown.click("#turn summary")
    for name in ("black_sigma", "score"):
        shown.run(
            f"(e => {{ e.value = 300; e.dispatchEvent(new Event('input')); }})(document.querySelector('[name={name}]'))"
        )
    shown.until(f"document.querySelector('#picture').src !== {json.dumps(before)}")
    shown.until("last.controls.thresholds.score.value === 0.75")
    dials = night.live.controls.now
    assert dials.stretch.black_sigma == pytest.approx(10)
    assert dials.thresholds == Thresholds(0.75, 0.5)
    shown.click("#reset")
    shown.until("last.controls.thresholds.score.value === 0.3")
    assert night.live.controls.now == night.live.controls.initial


def test_the_wheel_and_the_keys_zoom(night: Night, browser: Callable[..., Chromium]) -> None:
    chromium = browser()
    chromium.open(night.url)
    chromium.until(SHOWN)
    width = chromium.run("document.querySelector('#plane').offsetWidth")
    x, y = chromium.middle("#frame")
    chromium.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-300)
    chromium.until(f"document.querySelector('#plane').offsetWidth > {1.5 * width}")
    chromium.run("document.querySelector('#frame').focus()")
    chromium.call("Input.dispatchKeyEvent", type="keyDown", key="0", text="0")
    chromium.until(f"document.querySelector('#plane').offsetWidth === {width}")


def test_two_fingers_zoom(night: Night, browser: Callable[..., Chromium]) -> None:
    chromium = browser(PHONE)
    chromium.open(night.url)
    chromium.until(SHOWN)
    width = chromium.run("document.querySelector('#plane').offsetWidth")
    x, y = chromium.middle("#frame")

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(places)]
        chromium.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 9):
        touch("touchMove", (x - 20 - 8 * step, y), (x + 20 + 8 * step, y))
    touch("touchEnd")
    assert chromium.run("document.querySelector('#plane').offsetWidth") > 2 * width
    assert chromium.run("scrollY") == 0


def test_night_vision_leaves_no_green_and_no_blue_and_is_remembered(shown: Chromium, night: Night) -> None:
    shown.click("#night")
    for again in (False, True):
        if again:
            shown.open(night.url)
            shown.until(SHOWN)
        shown.until("document.documentElement.classList.contains('night')")
        time.sleep(0.3)
        seen = shown.screenshot()
        assert seen[..., :2].max() == 0
        assert seen[..., 2].std() > 10


def test_the_door_opens_to_the_password_only(
    finished: Live, browser: Callable[..., Chromium], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAL_WEB_PASSWORD", PASSWORD)
    with open_page(finished, "0.0.0.0:0") as page:
        chromium = browser(PHONE)
        chromium.open(page.url)
        chromium.until("!document.querySelector('#door').hidden")
        for word in ("not it at all", PASSWORD):
            chromium.run(f"document.querySelector('#password').value = {json.dumps(word)}")
            chromium.click("#door button")
            if word != PASSWORD:
                chromium.until("document.querySelector('#refused').textContent === 'wrong password'")
                assert chromium.run("document.querySelector('#main').hidden")
        chromium.until(SHOWN)
        assert "edgegal" not in chromium.run("document.cookie")
        chromium.click("#leave")
        chromium.until("!document.querySelector('#door').hidden && document.querySelector('#main').hidden")


def test_the_page_says_when_the_run_is_gone_and_goes_on_when_it_is_back(
    finished: Live, browser: Callable[..., Chromium]
) -> None:
    chromium = browser()
    with open_page(finished, "127.0.0.1:0") as page:
        chromium.open(page.url)
        chromium.until(SHOWN)
    chromium.until("document.querySelector('#status').textContent === 'no answer'")
    with open_page(finished, page.url.removeprefix("http://")):
        chromium.until("document.querySelector('#status').textContent === 'run over'")


def test_without_scripts_there_is_the_picture(night: Night, browser: Callable[..., Chromium]) -> None:
    chromium = browser(PHONE)
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    chromium.open(night.url)
    time.sleep(2)
    seen = chromium.screenshot()
    assert seen[200:700].std() > 5
