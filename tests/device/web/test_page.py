"""The page's real server, asked over real connections."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgegal.device.pipeline import Pipeline
from edgegal.device.session import Summary, observe
from edgegal.device.sources import open_source
from edgegal.device.web import Live, open_page
from edgegal.errors import InputError
from edgegal.inference import Abstention

Watch = Callable[[Path], tuple[Live, Summary]]

FREE = "127.0.0.1:0"


@pytest.fixture(scope="module")
def empty() -> Iterator[str]:
    """Address of the page of a run without a frame yet."""
    with open_page(Live("sky"), FREE) as page:
        yield page.url


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=30, trust_env=False, **options)


def test_before_the_first_frame_it_waits(empty: str) -> None:
    state = get(f"{empty}/api/state").json()
    assert (state["status"], state["frames"], state["frame"], state["sightings"]) == ("waiting", 0, None, [])
    assert get(f"{empty}/view.jpg").status_code == 404


def test_the_state_is_that_of_the_run(folder: Path, watch: Watch) -> None:
    live, summary = watch(folder)
    with open_page(live, FREE) as page:
        state = get(f"{page.url}/api/state").json()
    assert (state["source"], state["status"]) == (str(folder), "over")
    assert (state["frames"], state["skipped"], state["galaxies"]) == (3, 1, 2)
    assert state["last_skipped"] == summary.skipped[0]
    assert state["frame"]["source"].endswith("4.png")
    assert (state["frame"]["index"], state["frame"]["width"], state["frame"]["height"]) == (3, 300, 200)
    assert datetime.fromisoformat(state["frame"]["arrived"]).tzinfo is not None
    latency = state["latency_ms"]
    assert {"read", "view", "detect", "classify", "track", "total"} <= set(latency)
    assert latency["total"] == pytest.approx(sum(v for name, v in latency.items() if name != "total"), abs=0.1)
    assert [s["seen"] for s in state["sightings"]] == [True, False]
    assert all(re.fullmatch("#[0-9a-f]{6}", s["colour"]) for s in state["sightings"])
    told = [s.document() for s in summary.sightings]
    assert [{name: shown[name] for name in t} for shown, t in zip(state["sightings"], told, strict=True)] == told


def test_an_uncertain_galaxy_has_no_class_on_the_page(folder: Path, pipeline: Pipeline) -> None:
    careful = replace(pipeline, naming=replace(pipeline.naming, abstention=Abstention(abstain_below=1.0)))
    live = Live(str(folder))
    with open_source(str(folder)) as source:
        observe(source, careful, [live])
    with open_page(live, FREE) as page:
        sightings = get(f"{page.url}/api/state").json()["sightings"]
    assert {(s["class"], s["refusal"]) for s in sightings} == {(None, "uncertain")}
    assert all(0.3 < s["probabilities"]["red"] < 1 for s in sightings)


def test_the_picture_is_that_of_the_last_frame(folder: Path, watch: Watch) -> None:
    live, _ = watch(folder)
    with open_page(live, FREE) as page:
        answer = get(f"{page.url}/view.jpg", params={"frame": 3})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.content == live.picture()


def test_the_page_needs_nothing_from_elsewhere(empty: str) -> None:
    answer = get(empty)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import""", answer.text)


@pytest.mark.parametrize("host", ["127.0.0.1:8780", "localhost", "LOCALHOST:9000", "[::1]:8780", "127.0.0.2"])
def test_a_loopback_name_is_answered_whatever_the_port(empty: str, host: str) -> None:
    assert get(empty, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8780", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.5"),
        *("0.0.0.0:8780", "[", "", "127.0.0.1@evil.example"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/state", "/view.jpg", "/openapi.json", "/none"])
def test_any_other_name_is_refused(empty: str, host: str, path: str) -> None:
    answer = get(empty + path, headers={"Host": host})
    assert answer.status_code == 400
    assert "edgegal answers to localhost" in answer.text


@pytest.mark.parametrize("address", ["0.0.0.0:8780", "192.168.1.5:8780", "[::]:8780"])
def test_an_open_address_is_refused_with_the_way_round(address: str) -> None:
    with pytest.raises(InputError, match="no password") as caught:
        open_page(Live("sky"), address)
    assert "ssh -L 8780:127.0.0.1:8780" in caught.value.mend


@pytest.mark.parametrize(
    "address",
    [
        "telescope.local:8780",
        "8780",
        "127.0.0.1",
        ":8780",
        "127.0.0.1:http",
        "127.0.0.1:70000",
        "",
        "http://127.0.0.1:8780",
        "[::1",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="IP:PORT"):
        open_page(Live("sky"), address)


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.3:0"])
def test_every_loopback_address_will_do(address: str) -> None:
    with open_page(Live("sky"), address) as page:
        assert get(f"{page.url}/api/state").status_code == 200


def test_a_taken_port_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use"):
            open_page(Live("sky"), f"127.0.0.1:{port}")


def serving() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "edgegal-page"}


def test_it_stops_with_a_browser_still_connected_and_frees_its_port() -> None:
    before = serving()
    with httpx.Client(timeout=30, trust_env=False) as browser:
        with open_page(Live("sky"), FREE) as page:
            assert browser.get(page.url).status_code == 200
            assert serving() > before
        assert serving() == before
        with pytest.raises(httpx.ConnectError):
            get(page.url)
        with open_page(Live("sky"), page.url.removeprefix("http://")) as again:
            assert browser.get(again.url).status_code == 200
