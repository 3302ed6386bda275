"""The doctor, on made machines and on this one."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edgegal.device.health import Health, Reading, Throttling
from edgegal.doctor import (
    Attempt,
    Finding,
    attempts_as_findings,
    can_infer,
    look_at_hardware,
    look_at_software,
    look_at_system,
)
from edgegal.doctor.hardware import parse_video_capability
from edgegal.doctor.inference import explain_death


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {f.name: f for f in findings}


def test_two_opencv_builds_are_named_with_the_mend() -> None:
    found = by_name(list(look_at_software({"opencv-python": "4.12", "opencv-python-headless": "4.12", "numpy": "2.4"})))
    assert found["opencv builds"].state == "trouble"
    assert found["opencv builds"].mend.startswith("pip uninstall -y opencv-python opencv-python-headless")


@pytest.mark.parametrize(("numpy", "clash"), [("1.26.4", False), ("2.0.0", True), ("2.4.6", True)])
def test_tflite_runtime_clashes_with_numpy_2_only(numpy: str, clash: bool) -> None:
    found = by_name(list(look_at_software({"tflite-runtime": "2.14.0", "numpy": numpy})))
    assert ("tflite-runtime with numpy 2" in found) == clash


def test_numpy_and_opencv_are_tried_not_only_found() -> None:
    found = by_name(list(look_at_software({})))
    assert found["numpy"].state == found["opencv"].state == "fine"


HEALTHY = Health({"cpu": Reading(45.0)}, Throttling((), ()), Reading(2.0**31), Reading(2.0**35))


def test_a_healthy_board_has_no_trouble() -> None:
    assert not [f for f in look_at_system(health=HEALTHY) if f.state == "trouble"]


@pytest.mark.parametrize(
    ("health", "name"),
    [
        (Health({"cpu": Reading(84.0)}, *list(vars(HEALTHY).values())[1:]), "temperature cpu"),
        (
            Health(
                HEALTHY.temperatures_c, Throttling(("undervoltage",), ("undervoltage",)), Reading(1e9), Reading(1e10)
            ),
            "throttling",
        ),
        (Health(HEALTHY.temperatures_c, HEALTHY.throttling, Reading(1e7), Reading(1e10)), "memory free"),
        (Health(HEALTHY.temperatures_c, HEALTHY.throttling, Reading(1e9), Reading(1e6)), "disk free"),
    ],
)
def test_what_ails_a_board_is_named_with_a_mend(health: Health, name: str) -> None:
    trouble = [f for f in look_at_system(health=health) if f.state == "trouble"]
    assert [f.name for f in trouble] == [name]
    assert trouble[0].mend


def test_a_sensor_that_is_absent_is_unknown_with_the_reason() -> None:
    unread = Health(
        {"any": Reading(None, "no zone")}, Throttling(None, None, "no vcgencmd"), Reading(1e9), Reading(1e10)
    )
    found = by_name(list(look_at_system(health=unread)))
    assert (found["temperature"].state, found["temperature"].detail) == ("note", "unknown: no zone")
    assert (found["throttling"].state, found["throttling"].detail) == ("note", "unknown: no vcgencmd")


def test_a_clock_before_the_installation_is_not_set(tmp_path: Path) -> None:
    assert by_name(list(look_at_system(tmp_path, HEALTHY, now=0.0)))["clock"].state == "trouble"


def test_a_clock_set_by_the_network_is_fine(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    (tmp_path / "run/systemd/timesync/synchronized").touch()
    assert by_name(list(look_at_system(tmp_path, HEALTHY)))["clock"].state == "fine"


def test_accelerators_are_found_by_node_and_by_usb_identity(tmp_path: Path) -> None:
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()
    (tmp_path / "dev/hailo0").touch()
    for name, vendor, product in (("1-1", "1a6e", "089a"), ("1-2", "03c3", "294a"), ("1-3", "1d6b", "0002")):
        device = tmp_path / "sys/bus/usb/devices" / name
        device.mkdir(parents=True)
        (device / "idVendor").write_text(vendor + "\n")
        (device / "idProduct").write_text(product + "\n")
    found = list(look_at_hardware(tmp_path))
    assert {f.name for f in found if f.topic == "accelerator"} == {
        "GPU",
        "Hailo",
        "Coral Edge TPU (USB, before first use)",
    }
    assert {f.name for f in found if f.topic == "camera"} == {"ZWO camera"}


def test_an_empty_machine_says_none_seen(tmp_path: Path) -> None:
    assert [(f.topic, f.state) for f in look_at_hardware(tmp_path)] == [("accelerator", "note"), ("camera", "note")]


def capability(whole: int, own: int) -> bytes:
    return struct.pack("<16s32s32sIII12x", b"uvcvideo", b"HD Webcam", b"usb-1", 0x60000, whole, own)


@pytest.mark.parametrize(
    ("whole", "own", "card"),
    [
        (0x84200001, 0x04200001, "HD Webcam"),
        (0x84A00001, 0x04A00000, None),  # the metadata node of the same camera
        (0x84204000, 0x04204000, None),  # a codec: memory to memory
        (0x04200001, 0, "HD Webcam"),  # an old driver says it once
    ],
)
def test_only_nodes_that_capture_video_are_cameras(whole: int, own: int, card: str | None) -> None:
    assert parse_video_capability(capability(whole, own)) == card


@pytest.mark.parametrize(
    ("code", "err", "reason"),
    [
        (1, "AttributeError: _ARRAY_API not found\nImportError: x", "numpy 1"),
        (-4, "", "SIGILL"),
        (-9, "", "SIGKILL"),
        (-11, "Fatal Python error: Segmentation fault\n", "SIGSEGV"),
        (1, "OSError: libfoo.so.1: cannot open shared object file\n\n", "libfoo.so.1"),
        (1, "", "no word"),
    ],
)
def test_why_a_process_died(code: int, err: str, reason: str) -> None:
    said, mend = explain_death(code, err)
    assert reason in said
    assert mend


def attempt(script: str) -> Attempt:
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return Attempt("litert", process)


@pytest.mark.parametrize(
    ("script", "state", "detail"),
    [
        ("import os; os.abort()", "trouble", "SIGABRT"),
        ('print(\'noise\'); print(\'{"error": "too old", "mend": "renew"}\')', "trouble", "too old"),
        ("import time; time.sleep(60)", "trouble", "no answer"),
    ],
)
def test_a_runtime_that_dies_hangs_or_refuses_is_reported(script: str, state: str, detail: str) -> None:
    (finding,) = attempts_as_findings([attempt(script)], timeout_s=3)
    assert finding.state == state
    assert detail in finding.detail


@pytest.mark.parametrize(
    ("findings", "able"),
    [
        ([Finding("runtime", "litert", "fine", "")], True),
        ([Finding("runtime", "keras", "fine", "")], False),
        ([Finding("runtime", "litert", "trouble", "")], False),
        ([Finding("runtime", "litert", "fine", ""), Finding("software", "opencv", "trouble", "")], False),
        ([Finding("runtime", "litert", "fine", ""), Finding("camera", "x", "trouble", "")], True),
        ([], False),
    ],
)
def test_only_a_runtime_that_inferred_makes_a_device(findings: list[Finding], able: bool) -> None:
    assert can_infer(findings) == able
