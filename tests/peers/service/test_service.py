"""The service in the hands of a real systemd: its sandbox, its signs of life, and the verbs that install it."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgegal.device.service.unit import ServiceUnit, command_line, unit_text

pytestmark = pytest.mark.peers

PICTURE = Path(__file__).resolve().parents[3] / "docs" / "images" / "demo.jpg"

# A run as far as its service manager sees it. Lines of standard input decide what it does with its signs of life.
PROGRAM = """
import json, os, pathlib, signal, sys, time
from edgegal.device.health import read_health
from edgegal.device.service import Notifier, read_clock
from edgegal.settings import secret

def attempt(work):
    try:
        work()
    except OSError as error:
        return error.strerror
    return "done"

ending = sys.argv[1]
pathlib.Path("started").open("a").write("x")
health = read_health().document()
pathlib.Path("facts.json").write_text(json.dumps({
    "uid": os.getuid(),
    "here": os.getcwd(),
    "etc": attempt(lambda: pathlib.Path("/etc/edgegal-was-here").write_text("")),
    "home": attempt(lambda: pathlib.Path("/root/edgegal-was-here").write_text("")),
    "tunable": attempt(lambda: pathlib.Path("/proc/sys/kernel/hostname").write_text("")),
    "disk": attempt(lambda: os.open("/dev/loop-control", os.O_RDWR)),
    "clock": attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
    "clock_read": read_clock().reason,
    "password": secret("mqtt-password"),
    "memory": health["own_memory_bytes"],
    "free": health["memory_free_bytes"],
}))
if ending.isdecimal():
    sys.exit(int(ending))
notifier = Notifier.from_environment()
signal.signal(signal.SIGTERM, lambda *_: (notifier.stopping(), sys.exit(130)))
if ending in ("slow", "mute"):
    for exposure in range(12):
        if ending == "slow":
            notifier.starting(f"{exposure} exposures read")
        time.sleep(0.5)
notifier.status("waiting for the first frame")
notifier.ready()
while True:
    if ending != "silent":
        notifier.beat()
    time.sleep(0.05)
"""


@pytest.fixture
def start(systemd: Any, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Starts the program above in a service as we write it, and returns the name."""
    name = re.sub(r"[^a-z]+", "-", request.node.name)[-40:].strip("-")
    service = f"{name}.service"

    def begin(ending: str, options: str = "") -> str:
        systemd.write("/etc/edgegal/credentials/mqtt-password", "open sesame\n")
        systemd.write("/usr/local/lib/stand-in.py", PROGRAM)
        text = unit_text(
            ServiceUnit(
                command_line(sys.executable, "-I", "/usr/local/lib/stand-in.py", ending),
                state=name,
                mark="test",
                groups=("video", "plugdev"),
                credentials={"mqtt-password": Path("/etc/edgegal/credentials/mqtt-password")},
            )
        )
        systemd.write(f"/etc/systemd/system/{service}", text)
        systemd.write(
            f"/etc/systemd/system/{service}.d/quick.conf", f"[Service]\nWatchdogSec=2\nRestartSec=100ms\n{options}"
        )
        systemd.must("systemctl", "daemon-reload")
        systemd.run("systemctl", "start", service)
        return service

    return begin


def show(systemd: Any, service: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in systemd.must("systemctl", "show", service).splitlines() if "=" in line)


def wait_for(systemd: Any, service: str, key: str, value: str) -> dict[str, str]:
    end = time.monotonic() + 60
    while not (found := show(systemd, service)).get(key, "").startswith(value):
        assert time.monotonic() < end, {k: found.get(k) for k in ("ActiveState", "Result", "NRestarts", key)}
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("personal", [False, True])
def test_systemd_finds_no_fault_in_the_unit(systemd: Any, personal: bool) -> None:
    unit = ServiceUnit(
        command_line(sys.executable, "-I", "-m", "edgegal", "run", "--config", "/etc/edgegal/my scope 100%.toml"),
        state="/var/tmp" if personal else "edgegal",
        mark="test",
        personal=personal,
        groups=("video", "plugdev"),
        writable=(Path("/media/a disk"),),
        credentials={"web-password": Path("/etc/edgegal/credentials/web-password")},
    )
    systemd.write("/run/verified/edgegal.service", unit_text(unit))
    manager = ["--user"] if personal else []
    done = systemd.run(
        *("env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", "--man=no"),
        *(*manager, "/run/verified/edgegal.service"),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_calls_the_service_little_exposed(systemd: Any, start: Callable[[str], str]) -> None:
    text = systemd.must("systemd-analyze", "security", "--no-pager", start("beating"))
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", text)
    assert found, text
    assert float(found[1]) <= 3.0


def test_the_service_is_ready_says_how_it_is_and_stops_cleanly(systemd: Any, start: Callable[[str], str]) -> None:
    service = start("beating")
    state = show(systemd, service)
    assert (state["ActiveState"], state["StatusText"]) == ("active", "waiting for the first frame")
    # Longer than the watchdog's period.
    time.sleep(3)
    assert show(systemd, service)["NRestarts"] == "0"
    systemd.must("systemctl", "stop", service)
    state = show(systemd, service)
    assert (state["ActiveState"], state["Result"]) == ("inactive", "success")


def test_the_sandbox_lets_through_what_a_run_needs_and_nothing_else(systemd: Any, start: Callable[[str], str]) -> None:
    service = start("beating")
    state = service.removesuffix(".service")
    facts = json.loads(systemd.read(f"/var/lib/{state}/facts.json"))
    assert facts["uid"] not in (0, 65534)
    assert facts["here"] == f"/var/lib/private/{state}" or facts["here"] == f"/var/lib/{state}"
    assert facts["password"] == "open sesame"
    assert facts["memory"] > 2**20
    assert facts["free"] > 2**20
    assert "may not" not in facts["clock_read"]
    assert "permitted" not in facts["clock_read"]
    assert {facts[key] for key in ("etc", "home", "tunable")} <= {"Read-only file system", "Permission denied"}
    assert facts["disk"] in ("Operation not permitted", "Permission denied", "No such file or directory")
    assert facts["clock"] == "Operation not permitted"


def test_a_run_that_shows_no_sign_of_life_is_started_anew(systemd: Any, start: Callable[[str], str]) -> None:
    service = start("silent")
    wait_for(systemd, service, "NRestarts", "1")


@pytest.mark.parametrize(("ending", "state"), [("slow", ("active", "success")), ("mute", ("failed", "timeout"))])
def test_a_start_that_takes_longer_than_its_time_is_waited_for_while_it_tells_its_steps(
    systemd: Any, start: Callable[..., str], ending: str, state: tuple[str, str]
) -> None:
    service = start(ending, "TimeoutStartSec=4\nRestart=no\n")
    shown = show(systemd, service)
    assert (shown["ActiveState"], shown["Result"]) == state


def test_what_a_person_must_mend_is_not_tried_again(systemd: Any, start: Callable[[str], str]) -> None:
    service = start("2")
    time.sleep(2)
    state = show(systemd, service)
    assert (state["ActiveState"], state["ExecMainStatus"], state["NRestarts"]) == ("failed", "2", "0")


def test_what_may_mend_itself_is_tried_five_times(systemd: Any, start: Callable[[str], str]) -> None:
    service = start("1")
    state = wait_for(systemd, service, "ActiveState", "failed")
    assert len(systemd.read(f"/var/lib/{service.removesuffix('.service')}/started")) == 5
    assert state["Result"] in ("exit-code", "start-limit-hit")


def edgegal(systemd: Any, *words: str) -> "tuple[int, str, str]":
    done = systemd.run(sys.executable, "-m", "edgegal", *words)
    return done.returncode, done.stdout, done.stderr


def test_a_run_is_installed_watched_and_uninstalled(systemd: Any) -> None:
    systemd.write("/srv/sky/readme.txt", "no frame yet\n")
    systemd.write("/etc/edgegal/edgegal.toml", '[run]\nsource = "watch:/srv/sky"\n')
    code, said, error = edgegal(systemd, "service", "install")
    assert (code, error) == (0, "")
    assert "a user of its own" in said

    code, said, error = edgegal(systemd, "service", "install")
    assert (code, "nothing to do" in said) == (0, True)

    code, said, _ = edgegal(systemd, "service", "status", "--json")
    state = json.loads(said)
    assert (code, state["active"], state["enabled"], state["restarts"]) == (0, "active", True, 0)
    assert state["since"].endswith("+00:00")
    assert state["process"] > 1

    systemd.must("cp", str(PICTURE), "/srv/sky/picture.jpg")
    end = time.monotonic() + 60
    while systemd.run("test", "-s", "/var/lib/edgegal/night/sightings.jsonl").returncode:
        assert time.monotonic() < end, systemd.must("journalctl", "--unit", "edgegal")
        time.sleep(0.2)
    wait_for(systemd, "edgegal.service", "StatusText", "1 frames")

    systemd.write("/etc/edgegal/edgegal.toml", '[run]\nsource = "watch:/srv/sky"\nout = "/var/lib/edgegal/nights"\n')
    code, said, _ = edgegal(systemd, "service", "install")
    assert (code, "nothing to do" in said) == (0, False)

    code, said, _ = edgegal(systemd, "service", "logs", "--lines", "50")
    assert code == 0
    assert "Started" in said

    code, said, _ = edgegal(systemd, "service", "uninstall")
    assert code == 0
    assert "its data stay in /var/lib/edgegal" in said
    assert systemd.run("systemctl", "is-active", "edgegal.service").stdout.strip() == "inactive"
    assert systemd.run("test", "-e", "/etc/systemd/system/edgegal.service").returncode == 1
    assert systemd.run("test", "-d", "/var/lib/edgegal").returncode == 0

    code, said, _ = edgegal(systemd, "service", "uninstall")
    assert (code, "nothing to do" in said) == (0, True)
    code, _, error = edgegal(systemd, "service", "status")
    assert (code, "not installed" in error) == (2, True)


def test_a_run_that_cannot_start_says_why(systemd: Any) -> None:
    systemd.write("/etc/edgegal/edgegal-broken.toml", '[run]\nsource = "watch:/srv/sky"\nbundle = "/srv/absent"\n')
    systemd.write("/srv/sky/readme.txt", "no frame yet\n")
    code, _, error = edgegal(systemd, "service", "install", "--name", "broken")
    assert code == 2
    assert "exit code 2" in error
    assert "/srv/absent" in error
    code, said, _ = edgegal(systemd, "service", "status", "--name", "broken")
    assert (code, "failed" in said) == (1, True)
    assert edgegal(systemd, "service", "uninstall", "--name", "broken")[0] == 0


def test_one_that_is_mended_starts_when_installed_again_and_leaves_nothing_behind(systemd: Any) -> None:
    systemd.must("mkdir", "--parents", "/srv/late")
    config = '[run]\nsource = "watch:/srv/late"\nbundle = "{}"\n'
    systemd.write("/etc/edgegal/edgegal-late.toml", config.format("/srv/absent"))
    assert edgegal(systemd, "service", "install", "--name", "late")[0] == 2
    systemd.write("/etc/edgegal/edgegal-late.toml", config.format("galaxies"))
    assert edgegal(systemd, "service", "install", "--name", "late")[0] == 0
    assert edgegal(systemd, "service", "uninstall", "--name", "late")[0] == 0
    assert "edgegal-late" not in systemd.must("systemctl", "list-units", "--all", "--plain")


def test_a_unit_of_someone_else_is_left_alone(systemd: Any) -> None:
    systemd.write("/etc/edgegal/edgegal-other.toml", '[run]\nsource = "sim:"\n')
    systemd.write("/etc/systemd/system/edgegal-other.service", "[Service]\nExecStart=/bin/true\n")
    for verb in ("install", "uninstall"):
        code, _, error = edgegal(systemd, "service", verb, "--name", "other")
        assert (code, "was not written by" in error) == (2, True)
    assert "/bin/true" in systemd.read("/etc/systemd/system/edgegal-other.service")


@pytest.fixture(scope="module")
def observer(systemd: Any) -> list[str]:
    """Words that run a command as a user who is logged in."""
    systemd.must("useradd", "--create-home", "observer")
    uid = systemd.must("id", "--user", "observer").strip()
    systemd.must("systemctl", "start", f"user@{uid}.service")
    return [
        *("setpriv", "--reuid", uid, "--regid", uid, "--init-groups"),
        *("env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/observer", "USER=observer"),
    ]


def test_a_user_installs_a_service_without_root(systemd: Any, observer: list[str]) -> None:
    home = "/home/observer/.config/edgegal"
    systemd.write("/srv/sky/readme.txt", "no frame yet\n")
    systemd.write(f"{home}/edgegal.toml", '[run]\nsource = "watch:/srv/sky"\n')
    systemd.write(f"{home}/credentials/mqtt-password", "open sesame\n")
    systemd.must("chown", "--recursive", "observer:observer", "/home/observer")
    verb = [*observer, sys.executable, "-m", "edgegal", "service"]
    said = systemd.must(*verb, "install", "--user")
    assert "loginctl enable-linger" in said
    state = json.loads(systemd.must(*verb, "status", "--user", "--json"))
    assert (state["active"], state["enabled"]) == ("active", True)
    assert "/home/observer/.local/share/edgegal" in systemd.must(*verb, "uninstall", "--user")
    assert systemd.run(*verb, "status", "--user").returncode == 2

    done = systemd.run(*verb, "install", "--config", f"{home}/edgegal.toml")
    assert (done.returncode, "for root to change" in done.stderr) == (2, True)


def test_a_disk_of_the_users_own_is_written_as_that_user(systemd: Any, observer: list[str]) -> None:
    assert observer
    systemd.must("install", "--directory", "--owner", "observer", "/media/my disk/nights")
    systemd.must("mkdir", "--parents", "/srv/disk")
    config = '[run]\nsource = "watch:/srv/disk"\nout = "/media/my disk/nights"\n'
    systemd.write("/etc/edgegal/edgegal-disk.toml", config)
    code, said, error = edgegal(systemd, "service", "install", "--name", "disk")
    assert (code, error) == (0, "")
    assert "the user observer" in said
    systemd.must("cp", str(PICTURE), "/srv/disk/picture.jpg")
    wait_for(systemd, "edgegal-disk.service", "StatusText", "1 frames")
    systemd.must("systemctl", "stop", "edgegal-disk.service")
    assert show(systemd, "edgegal-disk.service")["Result"] == "success"
    assert systemd.must("stat", "--format=%U", "/media/my disk/nights/sightings.jsonl").strip() == "observer"
    assert edgegal(systemd, "service", "uninstall", "--name", "disk")[0] == 0


def test_words_reach_the_program_as_they_were_given(systemd: Any) -> None:
    words = ["a b", "100%n", "$HOME ${HOME}", 'say "so"', "back\\slash", "it's", ";", "", "tab\there", "ü"]
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    text = unit_text(ServiceUnit(command_line(sys.executable, "-c", program, *words), "words", "test"))
    systemd.write("/etc/systemd/system/words.service", text.replace("Type=notify", "Type=oneshot\nWatchdogSec=0"))
    systemd.must("systemctl", "daemon-reload")
    systemd.must("systemctl", "start", "words.service")
    said = systemd.must("journalctl", "_SYSTEMD_UNIT=words.service", "--output", "cat")
    assert json.loads(said.splitlines()[-1]) == words
