import numpy as np
import pytest

from edgegal.benchmarks.camera import CameraSamples, camera_rows, verdict


def samples(beside: float = 0.1, alone: float = 0.3, run: float = 0.32) -> CameraSamples:
    def about(seconds: float) -> np.ndarray:
        return seconds * np.array([0.9, 1.0, 1.1])

    return CameraSamples(
        stages={"read-fits": about(0.005), "view": about(0.04), "networks": about(0.2)},
        alone_s=about(2 * alone),
        alone_cpu_s=about(alone),
        beside_networks_s=about(beside),
        beside_networks_cpu_s=about(beside / 2),
        run_s=about(2 * run),
        run_cpu_s=about(run),
    )


def test_each_stage_and_each_sum_is_a_row_of_the_usual_layout() -> None:
    rows = {row.name: row for row in camera_rows(samples(), "1920x1080")}
    sums = [f"camera/{name}{cpu}" for name in ("beside-networks", "all-stages", "run") for cpu in ("", "-cpu")]
    assert list(rows) == ["camera/read-fits", "camera/view", "camera/networks", *sums]
    assert rows["camera/view"].statistics.median == pytest.approx(0.04)
    assert rows["camera/run-cpu"].statistics.median == pytest.approx(0.32)
    assert rows["camera/view"].extra == {"frame": "1920x1080"}
    assert rows["camera/view"].params["step"] == "view"


def test_what_a_run_adds_is_counted_in_time_of_the_processor() -> None:
    # Waiting for a disk or for other programs is not the run's own doing.
    assert samples(alone=0.3, run=0.33).overhead == pytest.approx(0.1)


def test_the_verdict_says_of_each_figure_whether_it_is_held() -> None:
    held = verdict(samples(), 150 * 10**6)
    assert [line.endswith("held") for line in held] == [True, True, True]
    missed = verdict(samples(beside=0.13, run=0.34), 250 * 10**6)
    assert [line.endswith("missed") for line in missed] == [True, True, True]
    assert "130 ms" in missed[0]
    assert "+13.3%" in missed[1]
    assert "250 MB" in missed[2]


def test_memory_that_nobody_told_is_not_judged() -> None:
    assert len(verdict(samples(), None)) == 2
