"""Health on recorded trees of the kernel's files, and on tools that answer, fail and hang."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.health import (
    Health,
    HealthMonitor,
    Limits,
    Reading,
    Throttling,
    Tools,
    concerns_of,
    read_health,
)
from edgegal.device.health.command import Command
from edgegal.device.health.look import throttling_of
from edgegal.device.health.monitor import ThrottleHistory

CONDITIONS = ("undervoltage", "frequency capped", "throttled", "soft temperature limit")

# As `grep -r . /sys /proc` shows them on the boards; only what is read.
PI5 = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "61342",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/class/hwmon/hwmon2/name": "rpi_volt",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "1",
    "proc/meminfo": "MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: 4000000 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB",
    "proc/self/status": "Name:\tpython\nVmPeak:\t  999 kB\nVmRSS:\t  69000 kB",
    "proc/loadavg": "1.25 0.90 0.70 2/345 6789",
}
ORIN = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48125",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    # A zone that is switched off answers with an error; an unreadable number stands for it.
    "sys/class/thermal/thermal_zone1/temp": "",
    "sys/class/thermal/thermal_zone10/type": "tj-thermal",
    "sys/class/thermal/thermal_zone10/temp": "49000",
    "sys/class/hwmon/hwmon1/name": "ina3221",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon1/in1_input": "5056",
    "sys/class/hwmon/hwmon1/curr1_input": "1200",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "sys/class/hwmon/hwmon1/in2_input": "5048",
    "sys/class/hwmon/hwmon1/curr2_input": "",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages",
    "sys/class/hwmon/hwmon1/in7_input": "3",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "4",
    "sys/class/hwmon/hwmon3/oc2_event_cnt": "0",
}

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes the files of a kernel."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "system" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path / "system"

    return write


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs a shell script under a name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return install


def test_a_raspberry_pi_is_read(tree: Tree, program: Callable[[str, str], None]) -> None:
    program("vcgencmd", '[ "$1" = get_throttled ] && echo throttled=0x50005')
    system = tree(PI5)
    health = read_health(system, system)
    assert health.temperatures_c["cpu-thermal"].value == pytest.approx(61.342)
    assert health.undervoltage == Reading(True)
    assert health.throttling == Throttling(("undervoltage", "throttled"), ("undervoltage", "throttled"))
    assert health.memory_free_bytes == Reading(4_000_000 * 1024)
    assert health.swap_used_bytes == Reading(40 * 1024)
    assert health.own_memory_bytes == Reading(69_000 * 1024)
    assert health.load == Reading(1.25)
    assert "no Jetson" in health.overcurrent_events["any"].reason


def test_a_jetson_is_read(tree: Tree, program: Callable[[str, str], None]) -> None:
    program("nvpmodel", "echo 'NV Power Mode: 15W'; echo 0")
    system = tree(ORIN)
    health = read_health(system, system)
    assert health.hottest == ("tj-thermal", 49.0)
    assert list(health.temperatures_c) == ["cpu-thermal", "gpu-thermal", "tj-thermal"]
    assert health.temperatures_c["gpu-thermal"].value is None
    assert health.power_mode == Reading("15W")
    assert health.power_mw["VDD_IN"].value == pytest.approx(5.056 * 1200)
    assert health.power_mw["VDD_CPU_GPU_CV"].value is None
    assert "curr2_input" in health.power_mw["VDD_CPU_GPU_CV"].reason
    assert len(health.power_mw) == 2
    assert {name: r.value for name, r in health.overcurrent_events.items()} == {"oc1": 4, "oc2": 0}
    assert "no Raspberry Pi" in health.undervoltage.reason


def test_whatever_is_absent_is_null_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    document = json.loads(json.dumps(read_health(tmp_path, tmp_path).document()))
    reasons = document.pop("reasons")
    assert document.pop("disk_free_bytes") > 0
    assert document.pop("time").endswith("+00:00")
    # Whether the clock is set is the kernel's word, which no tree of files holds.
    document.pop("clock_synchronised")
    assert document.pop("hottest") is None
    for name, value in document.items():
        if isinstance(value, dict):
            assert value == {"any": None}
            assert reasons[f"{name}.any"]
        else:
            assert value is None
            assert reasons[name]


def test_this_computer_is_read_without_an_error() -> None:
    document = read_health().document()
    assert document["own_memory_bytes"] > 2**20
    assert document["memory_free_bytes"] > 0


def test_two_zones_of_one_type_are_both_kept(tree: Tree) -> None:
    zone = "sys/class/thermal/thermal_zone{}/{}"
    files = {zone.format(i, "type"): "cpu-thermal" for i in range(2)} | {zone.format(i, "temp"): "1" for i in range(2)}
    system = tree(files)
    assert len(read_health(system, system).temperatures_c) == 2


def test_the_disk_of_a_folder_that_is_not_there_yet_is_asked(tmp_path: Path) -> None:
    free = read_health(tmp_path / "night" / "one").disk_free_bytes.value
    assert free is not None
    assert free > 0


@given(st.integers(0, 2**32 - 1))
def test_bits_of_the_firmware_are_named(bits: int) -> None:
    throttling = throttling_of(Reading(f"throttled={bits:#x}"))
    assert throttling.now is not None
    assert throttling.since_boot is not None
    for i, name in enumerate(CONDITIONS):
        assert (name in throttling.now) == bool(bits & 1 << i)
        assert (name in throttling.since_boot) == bool(bits & 1 << (16 + i))


@pytest.mark.parametrize(
    "script", ["exit 1", "echo VCHI initialization failed", "echo throttled=maybe", "echo throttled=", "printf '\\377'"]
)
def test_a_firmware_that_does_not_answer_is_a_reason(
    tmp_path: Path, program: Callable[[str, str], None], script: str
) -> None:
    program("vcgencmd", script)
    throttling = read_health(tmp_path).throttling
    assert throttling.now is None
    assert "vcgencmd" in throttling.reason


def test_a_tool_that_hangs_is_ended_with_its_children(tmp_path: Path, program: Callable[[str, str], None]) -> None:
    # The child keeps the pipe open: waiting for its end would be waiting for the child.
    program("vcgencmd", f"sleep 1000 & echo $! >{tmp_path}/child; wait")
    command = Command("vcgencmd", "get_throttled", patience_s=1.0)
    assert "did not answer" in command.ask().reason
    wait_for(lambda: not is_alive(int((tmp_path / "child").read_text())))
    program("vcgencmd", "echo throttled=0x0")
    assert command.ask() == Reading("throttled=0x0")


def test_a_tool_that_no_signal_ends_is_not_started_twice(
    tmp_path: Path, program: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("vcgencmd", f"echo x >>{tmp_path}/starts; exec sleep 1000")
    pids: list[int] = []
    kill = os.killpg
    # Stands in for a driver in which a process cannot be ended.
    monkeypatch.setattr(os, "killpg", lambda pid, _: pids.append(pid))
    command = Command("vcgencmd", patience_s=0.5)
    try:
        assert "did not answer" in command.ask().reason
        assert "hangs" in command.ask().reason
        assert (tmp_path / "starts").read_text() == "x\n"
    finally:
        kill(pids[0], 9)


# What the firmware has: conditions that hold, and its memory of them, which the kernel may clear at any poll.
conditions = st.frozensets(st.sampled_from(CONDITIONS))
polls = st.lists(st.tuples(conditions, st.booleans()), min_size=1, max_size=12)


@given(conditions, polls)
def test_what_held_during_a_run_is_kept_however_often_the_firmware_forgets(
    before: frozenset[str], steps: list[tuple[frozenset[str], bool]]
) -> None:
    remembered, history, held = before, ThrottleHistory(), frozenset[str]()
    for number, (now, cleared) in enumerate(steps):
        remembered = (now if cleared else remembered | now) | now
        history = history.after(Throttling(tuple(now), tuple(remembered)))
        held |= now
        assert history.during_run >= held
        if number == 0:
            assert history.during_run == now
    assert history.during_run <= held
    assert history.after(Throttling(None, None, "silent")) == history


def test_a_condition_between_two_looks_shows_by_the_firmwares_memory() -> None:
    history = ThrottleHistory().after(Throttling((), ())).after(Throttling((), ("throttled",)))
    assert history.during_run == {"throttled"}


def test_one_that_was_there_before_the_run_is_not_the_runs_until_it_comes_again() -> None:
    history = ThrottleHistory().after(Throttling((), ("throttled",))).after(Throttling((), ("throttled",)))
    assert not history.during_run
    history = history.after(Throttling((), ())).after(Throttling((), ("throttled",)))
    assert history.during_run == {"throttled"}


WELL = Health({"cpu": Reading(45.0)}, Throttling((), ()), Reading(2.0**31), Reading(2.0**35))


def with_(**changes: Any) -> Health:
    return Health(**{**vars(WELL), **changes})


def test_a_computer_that_is_well_gives_no_concern() -> None:
    assert concerns_of(WELL) == ()


@pytest.mark.parametrize(
    ("health", "topic", "mend"),
    [
        (with_(temperatures_c={"cpu": Reading(45.0), "gpu": Reading(80.0)}), "temperature", "fan"),
        (with_(undervoltage=Reading(True)), "undervoltage", "official supply"),
        (with_(throttling=Throttling(("undervoltage",), ())), "undervoltage", "official supply"),
        (with_(throttling=Throttling(("throttled",), ())), "throttling", "fan"),
        (with_(memory_free_bytes=Reading(1e6)), "memory", "frames"),
        (with_(disk_free_bytes=Reading(1e6)), "disk", "old nights"),
        (with_(load=Reading(30.0)), "load", "programs"),
        (with_(clock_synchronised=Reading(False)), "clock", "timedatectl"),
    ],
)
def test_each_concern_says_what_to_do(health: Health, topic: str, mend: str) -> None:
    (concern,) = concerns_of(health)
    assert concern.topic == topic
    assert mend in concern.mend


def test_what_cannot_be_read_is_no_concern(tmp_path: Path) -> None:
    unread = read_health(tmp_path, tmp_path)
    assert (
        concerns_of(with_(**{**vars(unread), "clock_synchronised": Reading(None), "disk_free_bytes": Reading(None)}))
        == ()
    )


def test_events_are_counted_from_the_beginning_of_the_run(tree: Tree) -> None:
    system = tree(ORIN)
    monitor = HealthMonitor(system, system=system, tools=Tools(Command("absent"), Command("absent")))
    assert monitor.look().overcurrent_during_run == {"oc1": 0, "oc2": 0}
    (system / "sys/class/hwmon/hwmon3/oc1_event_cnt").write_text("7\n")
    report = monitor.look()
    assert report.overcurrent_during_run == {"oc1": 3, "oc2": 0}
    assert "oc1 3" in next(c for c in report.concerns if c.topic == "overcurrent").seen


def test_a_figure_about_its_limit_is_said_once(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    system = tree(PI5)
    monitor = HealthMonitor(system, system=system, limits=Limits(hot_c=60), tools=Tools(Command("no"), Command("no")))
    concerned = []
    for temperature in ("61000", "62000", "50000", "63000"):
        (system / "sys/class/thermal/thermal_zone0/temp").write_text(temperature)
        concerned.append("temperature" in {concern.topic for concern in monitor.look().concerns})
    assert concerned == [True, True, False, True]
    (said,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("temperature")]
    assert "61 degrees" in said


def test_the_report_of_a_monitor_is_plain_json(tree: Tree) -> None:
    system = tree(PI5)
    document = json.loads(json.dumps(HealthMonitor(system, system=system).look().document()))
    assert document["undervoltage"] is True
    assert {c["topic"] for c in document["concerns"]} >= {"undervoltage"}
    assert document["throttled_during_run"] == []


def test_nobody_waits_for_a_firmware_that_hangs(
    tree: Tree, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "go")
    program("vcgencmd", f"cat {tmp_path}/go >/dev/null; echo throttled=0x1")
    system = tree(PI5)
    tools = Tools(Command("vcgencmd", patience_s=60), Command("absent"))
    with HealthMonitor(system, period_s=0.05, system=system, tools=tools) as monitor:
        # The thread is inside the tool, and answers come all the same.
        assert monitor.latest() is None
        with (tmp_path / "go").open("w") as go:
            go.write("")
        report = wait_for(monitor.latest)
        assert report.health.throttling.now == ("undervoltage",)
        # Now it is inside the tool again, and the last report grows old and says so.
        wait_for(lambda: [c for c in monitor.latest().concerns if c.topic == "monitor"])  # type: ignore[union-attr]
    # Reading and writing a pipe does not wait for another end; it lets the script go.
    os.close(os.open(tmp_path / "go", os.O_RDWR | os.O_NONBLOCK))


def is_alive(process: int) -> bool:
    """Whether a process runs; one that nobody waits for stays in the table after its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(ask: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if answer := ask():
            return answer
        threading.Event().wait(0.05)
    raise AssertionError("it did not come")
