"""The page's real server as programs and strangers meet it."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgegal.device.controls import Controls, Thresholds
from edgegal.device.health import Concern, Health, HealthReport, Reading, Throttling
from edgegal.device.pipeline import Pipeline
from edgegal.device.registration import Motion
from edgegal.device.stacking import Stack, Stacked
from edgegal.device.tracking import Sighting
from edgegal.device.web import Live, open_page
from edgegal.device.web import state as documents
from edgegal.errors import InputError
from edgegal.frames import Frame

PASSWORD = "orion-nebula"
FREE = "127.0.0.1:0"
PUBLIC = {"/", "/api/login"}


def report() -> HealthReport:
    unknown = Reading(None, "vcgencmd is not installed")
    health = Health(
        {"cpu-thermal": Reading(82.0)},
        Throttling(None, None, unknown.reason),
        Reading(2.5e9),
        Reading(4e8),
        power_mw={"VDD_IN": Reading(4200.0)},
    )
    return HealthReport(health, concerns=(Concern("temperature", "cpu-thermal is at 82 degrees C", "cool the board"),))


def running(pipeline: Pipeline, on_false: Callable[[int], None] | None = None) -> Live:
    """A run with a stack, a galaxy that is there and one that is gone."""
    live = Live("sky", Controls(thresholds=Thresholds(0.3, 0.5)), report, on_false, shared_s=0)
    pixels = np.random.default_rng(1).normal(1000, 20, (120, 160)).astype(np.float32)
    result = pipeline(Frame(pixels, "a.fits"))
    stack = Stack(pixels.shape, None)
    stack.add(result.frame, Motion.none())
    result = replace(result, stacked=Stacked(stack, Motion.shift(3, 4), None, 1, 0.0))
    here, gone = (
        Sighting(number, (20.0, 30.0, 60.0, 70.0), 0.9, {"spiral": 0.8, "round": 0.2}, 1, 1, 0, 0, None, None)
        for number in (2, 1)
    )
    live.write(result, (gone,), ())
    live.write(result, (here,), (gone,))
    live.skip("b.fits is cut")
    return live


@pytest.fixture
def live(pipeline: Pipeline) -> Live:
    return running(pipeline)


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with open_page(live, FREE) as page, httpx.Client(base_url=page.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def locked(live: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """The same behind a password."""
    monkeypatch.setenv("EDGEGAL_WEB_PASSWORD", PASSWORD)
    with open_page(live, FREE) as page, httpx.Client(base_url=page.url, timeout=30, trust_env=False) as client:
        yield client


def operations(client: httpx.Client) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method, path, what) for path, methods in paths.items() for method, what in methods.items()]


def test_a_reader_who_has_it_already_gets_nothing_again(client: httpx.Client, live: Live) -> None:
    for path in ("/api/state", "/api/sightings", "/api/history", "/view.jpg", "/crops/1.jpg"):
        first = client.get(path)
        assert first.status_code == 200
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    tag = client.get("/api/state").headers["etag"]
    live.skip("c.fits is cut")
    assert client.get("/api/state", headers={"If-None-Match": tag}).status_code == 200


def test_the_state_tells_of_stack_health_and_dials(client: httpx.Client) -> None:
    state = client.get("/api/state").json()
    (sighting,) = state["sightings"]
    assert sighting["single_box"] == [23.0, 34.0, 63.0, 74.0]
    assert (state["frame"]["stacked"], state["skipped"], state["locked"]) == (1, 1, False)
    first, *others = state["health"]
    assert (first["condition"], first["mend"]) == ("warning", "cool the board")
    known = {v["name"]: (v["text"], v["condition"]) for v in others}
    assert known["temperature"] == ("82 °C (cpu-thermal)", "good")
    assert known["throttling"] == ("vcgencmd is not installed", "unknown")
    assert known["VDD_IN"] == ("4.2 W", "good")
    assert known["disk free"] == ("400 MB", "good")
    assert state["controls"]["thresholds"]["score"] == {"value": 0.3, "initial": 0.3, "low": 0.0, "high": 1.0}


def test_the_list_holds_what_is_gone_too(client: httpx.Client) -> None:
    listed = client.get("/api/sightings").json()["sightings"]
    assert [(s["id"], s["seen"], s["ended"]) for s in listed] == [(2, True, False), (1, False, True)]


def test_dials_are_turned_over_the_wire(client: httpx.Client, live: Live) -> None:
    before = client.get("/view.jpg").content
    turned = client.post("/api/controls", json={"black_sigma": -3, "score": 0.75}).json()
    assert (turned["stretch"]["black_sigma"]["value"], turned["thresholds"]["score"]["value"]) == (-3, 0.75)
    thresholds = live.controls.now.thresholds
    assert thresholds is not None
    assert thresholds.score == 0.75
    assert client.get("/view.jpg").content != before
    client.post("/api/controls/reset")
    assert live.controls.now == live.controls.initial
    assert client.get("/view.jpg").content == before


@pytest.mark.parametrize("body", ['{"score": 1.5}', '{"score": NaN}', '{"gamma": 2}', "[]", "{", '{"white_sigma": 0}'])
def test_a_dial_out_of_range_is_refused_in_one_line(client: httpx.Client, live: Live, body: str) -> None:
    answer = client.post("/api/controls", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "\n" not in answer.json()["detail"]
    assert live.controls.now == live.controls.initial


def test_a_run_without_thresholds_refuses_them(pipeline: Pipeline) -> None:
    with open_page(Live("sky"), FREE) as page:
        answer = httpx.post(f"{page.url}/api/controls", json={"score": 0.5}, trust_env=False)
    assert (answer.status_code, answer.json()["detail"]) == (409, "the thresholds of this run cannot be turned")


def test_a_false_detection_is_told_and_shown(pipeline: Pipeline) -> None:
    told: list[int] = []
    with open_page(running(pipeline, told.append), FREE) as page:
        marked = httpx.post(f"{page.url}/api/sightings/1/false", trust_env=False)
        assert (marked.status_code, marked.json()["marked"], marked.json()["ended"]) == (200, True, True)
        assert httpx.post(f"{page.url}/api/sightings/9/false", trust_env=False).status_code == 404
        listed = httpx.get(f"{page.url}/api/sightings", trust_env=False).json()["sightings"]
    assert told == [1]
    assert [s["marked"] for s in listed] == [False, True]


def test_a_mark_that_finds_the_disk_full_says_so(pipeline: Pipeline) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with open_page(running(pipeline, full), FREE) as page:
        answer = httpx.post(f"{page.url}/api/sightings/1/false", trust_env=False)
    assert answer.status_code == 503
    assert "No space left" in answer.json()["detail"]


def test_behind_a_password_nothing_of_the_run_is_seen(locked: httpx.Client, live: Live) -> None:
    assert locked.get("/").status_code == 200
    for path in ("/view.jpg", "/crops/1.jpg", "/api/state", "/api/sightings", "/api/history", "/openapi.json", "/none"):
        answer = locked.get(path)
        assert (answer.status_code, answer.json()) == (401, {"detail": "log in first"})
    assert locked.post("/api/controls", json={"score": 0.9}).status_code == 401
    assert locked.get("/api/state", headers={"Cookie": "edgegal=guess"}).status_code == 401
    assert locked.get("/api/state", headers={"Cookie": 'edgegal="\\400; =;,'}).status_code == 401
    assert live.controls.now == live.controls.initial


def test_a_session_lasts_from_log_in_to_log_out(locked: httpx.Client) -> None:
    wrong = locked.post("/api/login", json={"password": "not it at all"})
    assert (wrong.status_code, wrong.json()) == (401, {"detail": "wrong password"})
    answer = locked.post("/api/login", json={"password": PASSWORD})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert re.match(r"edgegal=[\w-]{43};", cookie)
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert locked.get("/api/state").json()["locked"]
    held = locked.cookies["edgegal"]
    assert locked.post("/api/logout").status_code == 204
    assert "edgegal" not in locked.cookies
    assert locked.get("/api/state", headers={"Cookie": f"edgegal={held}"}).status_code == 401


def test_who_guesses_is_told_to_wait(locked: httpx.Client) -> None:
    answers = [locked.post("/api/login", json={"password": f"guess number {i}"}) for i in range(6)]
    assert [a.status_code for a in answers] == [401] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    # A header says nothing about where somebody really is.
    evasive = locked.post("/api/login", json={"password": PASSWORD}, headers={"X-Forwarded-For": "10.1.2.3"})
    assert evasive.status_code == 429


def test_a_password_is_not_repeated_in_an_answer(locked: httpx.Client) -> None:
    answer = locked.post("/api/login", json={"password": "secret" * 100})
    assert answer.status_code == 422
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize("path", ["/api/controls/reset", "/api/controls", "/api/sightings/1/false", "/none"])
def test_a_foreign_page_changes_nothing(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    assert client.post(path, json={}, headers=headers).status_code == 403


def test_our_own_page_does(client: httpx.Client) -> None:
    headers = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/controls", json={"black_sigma": 2}, headers=headers).status_code == 200


def test_a_body_out_of_proportion_is_not_read(client: httpx.Client) -> None:
    long = client.post("/api/controls", content=b"x" * 5000, headers={"Content-Type": "application/json"})
    chunked = client.post("/api/controls", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert long.status_code == chunked.status_code == 413


def test_an_open_page_makes_its_password_and_answers_to_its_addresses(live: Live, tmp_path: Path) -> None:
    with open_page(live, "0.0.0.0:0", state=tmp_path, names=["telescope.example"]) as page:
        for host, status in {
            "192.168.1.5:8780": 401,
            "telescope.example": 401,
            "localhost": 401,
            "evil.example": 400,
        }.items():
            answer = httpx.get(f"{page.url}/api/state", headers={"Host": host}, trust_env=False)
            assert answer.status_code == status
        with httpx.Client(base_url=page.url, trust_env=False) as client:
            assert client.post("/api/login", json={"password": page.new_password}).status_code == 204
            assert client.get("/api/state").status_code == 200
    with open_page(live, "0.0.0.0:0", state=tmp_path) as again:
        assert again.new_password == ""


def test_no_password_is_made_for_a_page_that_does_not_come_up(live: Live, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        with pytest.raises(InputError, match="in use"):
            open_page(live, f"0.0.0.0:{other.getsockname()[1]}", state=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_answer_keeps_browsers_careful(client: httpx.Client) -> None:
    for path in ("/", "/api/state", "/view.jpg", "/none", "/crops/x.jpg"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] in {"no-store", "private, no-cache"}


def test_the_page_is_small(client: httpx.Client) -> None:
    assert len(client.get("/").content) < 60_000


def test_every_route_is_described(locked: httpx.Client) -> None:
    locked.post("/api/login", json={"password": PASSWORD})
    for method, path, what in operations(locked):
        assert what["summary"]
        fine = {code: answer for code, answer in what["responses"].items() if code.startswith("2")}
        assert fine
        # 204 has no content; pictures and the page are described by their type.
        assert all("content" in answer for code, answer in fine.items() if code != "204")
        assert {"400", "401", "413", "422"} <= set(what["responses"])
        assert (method == "get") == ("403" not in what["responses"])
        assert bool(what.get("security")) == (path not in {*PUBLIC, "/api/logout"})
        for answer in what["responses"].values():
            assert answer["description"]
            for content in answer.get("content", {}).values():
                assert content.get("schema") != {} or "image/jpeg" in answer["content"]


def test_every_example_is_one(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    exemplified = {name: schema["examples"] for name, schema in schemas.items() if "examples" in schema}
    assert {"Problem", "Turned", "ControlsState", "VitalState"} <= set(exemplified)
    for name, examples in exemplified.items():
        for example in examples:
            TypeAdapter(getattr(documents, name)).validate_python(example)


def test_answers_are_as_described(client: httpx.Client) -> None:
    for path, model in (
        ("/api/state", documents.State),
        ("/api/sightings", documents.Sightings),
        ("/api/history", documents.HistoryState),
    ):
        answer = client.get(path)
        assert model.model_validate_json(answer.content).model_dump(mode="json", by_alias=True) == answer.json()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["black_sigma", "soft_sigma", "white_sigma", "score", "abstain_below", "password", "x"])
bodies = st.one_of(
    anything.map(json.dumps),
    st.dictionaries(names, anything, max_size=4).map(json.dumps),
    st.dictionaries(names, st.floats(-10, 10), max_size=4).map(json.dumps),
    st.text(max_size=30),
    st.just("[" * 4000),
)
words = st.one_of(st.integers(-2, 10**20).map(str), st.sampled_from(["stack", "frame", "true", "", "%00", "1.0", "é"]))


def test_whatever_is_asked_the_answer_is_one_of_those_described(client: httpx.Client, live: Live) -> None:
    known = operations(client)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        method, path, what = data.draw(st.sampled_from(known))
        parameters = {p["name"]: data.draw(words) for p in what.get("parameters", []) if p["in"] == "query"}
        number = data.draw(st.one_of(st.integers(0, 3).map(str), words.filter(bool)))
        body = data.draw(bodies) if method == "post" else None
        answer = client.request(
            method,
            path.replace("{number}", number),
            params=parameters,
            content=body and body.encode("utf-8", "surrogatepass"),
            headers={"Content-Type": "application/json"},
        )
        assert str(answer.status_code) in what["responses"], (method, path, answer.text)
        if answer.status_code >= 400:
            documents.Problem.model_validate_json(answer.content)

    ask()
    assert live.picture() is not None
