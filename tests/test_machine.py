"""Machine facts: parsed from the kernel's words, without anything that names the owner."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgegal.machine import KERNEL_FLAGS, package_versions, parse_cpuinfo, stamp_health, this_machine

X86 = """processor\t: 0
model name\t: AMD EPYC 7763
flags\t\t: fpu sse4_1 avx avx2 fma

processor\t: 1
model name\t: AMD EPYC 7763
flags\t\t: fpu sse4_1 avx avx2 fma
"""

PI5 = """processor\t: 0
Features\t: fp asimd evtstrm aes fphp asimdhp cpuid asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
Serial\t\t: 10000000deadbeef
"""


def test_x86_cpuinfo():
    assert parse_cpuinfo(X86) == ("AMD EPYC 7763", frozenset({"fpu", "sse4_1", "avx", "avx2", "fma"}))


def test_arm_cpuinfo_names_the_core_and_its_dot_products():
    model, flags = parse_cpuinfo(PI5)
    assert model == "Cortex-A76"
    assert "asimddp" in flags
    assert "deadbeef" not in model


@pytest.mark.parametrize(
    ("text", "model"),
    [("CPU implementer : 0x61\nCPU part : 0x022\n", "0x61 0x022"), ("", ""), ("no colon here\n\n", "")],
)
def test_an_unknown_core_is_named_by_its_numbers(text, model):
    assert parse_cpuinfo(text) == (model, frozenset())


def test_this_machine():
    machine = this_machine()
    assert machine.architecture == platform.machine()
    assert 1 <= machine.cores <= os.cpu_count()
    assert machine.memory_bytes > 2**27
    assert set(machine.cpu_flags) <= set(KERNEL_FLAGS)
    assert machine.cpu in str(machine)


def test_package_versions_names_only_what_is_there():
    versions = package_versions(("numpy", "no-such-distribution-edgegal"))
    assert list(versions) == ["numpy"]


def test_reading_the_machine_imports_no_heavy_package():
    code = (
        "import sys; from edgegal.machine import this_machine, package_versions; this_machine(); package_versions();"
        "print(sorted(set(sys.modules) & {'numpy', 'tensorflow', 'keras', 'psutil', 'onnxruntime', 'openvino'}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_health_is_read_from_the_kernels_files(tmp_path: Path) -> None:
    for zone, value in (("thermal_zone0", "48312"), ("thermal_zone1", "61500"), ("thermal_zone2", "no reading")):
        (tmp_path / "class/thermal" / zone).mkdir(parents=True)
        (tmp_path / "class/thermal" / zone / "temp").write_text(f"{value}\n")
    for core, clock in (("cpu0", 1_500_000), ("cpu1", 2_400_000)):
        (tmp_path / "devices/system/cpu" / core / "cpufreq").mkdir(parents=True)
        (tmp_path / "devices/system/cpu" / core / "cpufreq/scaling_cur_freq").write_text(f"{clock}\n")
    stamp = stamp_health(tmp_path)
    assert (stamp.temperature_c, stamp.cpu_mhz) == (61.5, 1950.0)
    assert stamp.time.tzinfo is not None


def test_a_machine_without_sensors_has_no_figures(tmp_path: Path) -> None:
    stamp = stamp_health(tmp_path)
    assert (stamp.temperature_c, stamp.cpu_mhz) == (None, None)
