import os
from pathlib import Path

import pytest

from edgegal.device.health import read_health


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The files of a kernel with two sensors, one of which cannot be read."""
    for i, (kind, value) in enumerate((("cpu-thermal", "61342\n"), ("gpu-thermal", "busy\n"))):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{i}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(value)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n")
    return tmp_path


def test_what_can_be_read_has_a_value_and_what_cannot_a_reason(system: Path) -> None:
    health = read_health(system, system)
    assert health.temperatures_c["cpu-thermal"].value == pytest.approx(61.342)
    assert health.temperatures_c["gpu-thermal"].value is None
    assert "busy" in health.temperatures_c["gpu-thermal"].reason
    assert health.memory_free_bytes.value == 4_000_000 * 1024


def test_a_bare_machine_gives_reasons_and_no_error(tmp_path: Path) -> None:
    health = read_health(tmp_path, tmp_path)
    for reading in (*health.temperatures_c.values(), health.memory_free_bytes):
        assert reading.value is None
        assert reading.reason


def test_two_zones_of_one_type_are_both_kept(system: Path) -> None:
    (system / "sys/class/thermal/thermal_zone1/type").write_text("cpu-thermal\n")
    assert len(read_health(system, system).temperatures_c) == 2


def test_the_disk_of_a_folder_that_is_not_there_yet_is_asked(tmp_path: Path) -> None:
    free = read_health(tmp_path / "night" / "one").disk_free_bytes.value
    assert free is not None
    assert free > 0


def install_vcgencmd(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    script = folder / "vcgencmd"
    script.write_text(f"#!/bin/sh\n{answer}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_firmware_says_what_limits_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_vcgencmd(tmp_path, monkeypatch, '[ "$1" = get_throttled ] && echo throttled=0x50005')
    throttling = read_health(tmp_path).throttling
    assert throttling.now == ("undervoltage", "throttled")
    assert throttling.since_boot == ("undervoltage", "throttled")


def test_a_healthy_board_has_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_vcgencmd(tmp_path, monkeypatch, "echo throttled=0x80000")
    throttling = read_health(tmp_path).throttling
    assert throttling.now == ()
    assert throttling.since_boot == ("soft temperature limit",)


@pytest.mark.parametrize("answer", ["exit 1", "echo VCHI initialization failed", "echo throttled=maybe"])
def test_a_firmware_that_does_not_answer_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    install_vcgencmd(tmp_path, monkeypatch, answer)
    throttling = read_health(tmp_path).throttling
    assert throttling.now is None
    assert "vcgencmd" in throttling.reason


def test_without_the_firmware_tool_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in read_health(tmp_path).throttling.reason
