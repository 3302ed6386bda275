"""Settings that do nothing beside the others."""

import logging
from typing import Any

import pytest

from edgegal.device.effects import check_effects, idle_settings
from edgegal.device.sources import Source
from edgegal.errors import InputError
from edgegal.frames import Frame
from edgegal.settings import Settings, flag_names


class Somewhere(Source):
    name = "somewhere"

    def __init__(self, stream: bool = True, live: bool = False, keeps: bool = False) -> None:
        self.stream, self.live, self.keeps = stream, live, keeps

    def __next__(self) -> Frame:
        raise StopIteration


FILES, PICTURE, CAMERA, FOLDER = (
    Somewhere(),
    Somewhere(stream=False),
    Somewhere(live=True),
    Somewhere(live=True, keeps=True),
)


def idle(source: Source | None, classifies: bool = True, **flags: Any) -> set[str]:
    return {found.flag for found in idle_settings(Settings.of_flags(flags), source, classifies)}


@pytest.mark.parametrize("source", [FILES, PICTURE, CAMERA, FOLDER, None])
def test_what_nobody_set_is_not_complained_of(source: Source | None) -> None:
    assert idle(source, classifies=False) == set()


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        ({"solve": True}, {"stack": 5}),
        ({"keep_stacks_every": 60.0}, {"out": "night", "stack": 5}),
        ({"keep_pictures_every": 5.0}, {"out": "night"}),
        ({"keep_news_every": 5.0}, {"out": "night"}),
        ({"keep_crops_below": 0.5}, {"out": "night"}),
        ({"keep_days": 5.0}, {"out": "night"}),
        ({"keep_free_mb": 5}, {"out": "night"}),
        ({"agree": 4}, {"limit": 4}),
        ({"mqtt_authority": "ca.pem"}, {"mqtt_broker": "mqtts://broker"}),
        ({"mqtt_home_assistant": ""}, {"mqtt_broker": "mqtt://broker"}),
        ({"web_address": "127.0.0.1:0"}, {"web": True}),
        ({"web_names": ["telescope"]}, {"web": True}),
    ],
)
def test_a_setting_without_what_it_needs_is_found(flags: dict[str, Any], remedy: dict[str, Any]) -> None:
    before = {"limit": 3} if "limit" in remedy else {}
    assert idle(CAMERA, **flags, **before) == set(flags)
    assert idle(CAMERA, **flags, **remedy) == set()


def test_a_certificate_for_a_broker_without_tls_does_nothing() -> None:
    assert idle(None, mqtt_authority="ca.pem", mqtt_broker="mqtt://broker") == {"mqtt_authority"}


@pytest.mark.parametrize(
    ("source", "found"),
    [(FILES, {"wait", "reopen_after"}), (FOLDER, {"reopen_after"}), (CAMERA, set()), (None, set())],
)
def test_waiting_and_opening_anew_are_for_cameras(source: Source | None, found: set[str]) -> None:
    assert idle(source, wait=True, reopen_after=60.0) == found


def test_one_picture_makes_no_stack_and_agrees_with_no_other() -> None:
    assert idle(PICTURE, stack=5, agree=2) == {"stack", "agree"}
    assert idle(FILES, stack=5, agree=2) == set()


@pytest.mark.parametrize(
    ("source", "flags", "found"),
    [
        (FILES, {}, {"keep_news_every"}),
        (CAMERA, {}, set()),
        (CAMERA, {"keep_pictures_every": 0.0}, {"keep_news_every"}),
        (FILES, {"keep_pictures_every": 9.0}, set()),
    ],
)
def test_news_are_nothing_special_where_every_frame_leaves_a_picture(
    source: Source, flags: dict[str, float], found: set[str]
) -> None:
    assert idle(source, out="night", keep_news_every=5.0, **flags) == found


def test_thresholds_of_a_classifier_need_one() -> None:
    assert idle(CAMERA, classifies=False, abstain_below=0.5, min_side=9.0) == {"abstain_below", "min_side"}


def test_a_flag_without_effect_is_refused_and_a_line_of_a_file_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.of_flags({"solve": True, "web_address": "127.0.0.1:0"})
    with caplog.at_level(logging.WARNING):
        check_effects(settings, [])
    assert [record.getMessage() for record in caplog.records] == [
        "sightings.solve has no effect: what ASTAP solves is the stack (add --stack N, or leave it out)",
        "web.address has no effect: there is no page (add --web, or leave it out)",
    ]
    with pytest.raises(InputError, match="--web-address has no effect: there is no page") as caught:
        check_effects(settings, ["web_address", "source"])
    assert caught.value.mend == "add --web, or leave --web-address out"


def test_every_idle_setting_is_one_that_there_is() -> None:
    names = {flag for section in flag_names().values() for flag in section.values()}
    everything = Settings.of_flags({"limit": 1, "agree": 2, "keep_days": 1.0, "web_names": ["a"], "wait": True})
    assert {found.flag for found in idle_settings(everything, PICTURE)} <= names
