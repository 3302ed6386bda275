import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edgegal.benchmarks import storage
from edgegal.benchmarks.statistics import Statistics
from edgegal.errors import InputError
from edgegal.machine import HealthStamp, this_machine


def run(*samples: float) -> storage.Run:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    row = storage.Benchmark("detector/infer", {"step": "infer"}, {"bytes": 7}, Statistics(np.array(samples)))
    return storage.Run(
        this_machine(),
        {"numpy": "2"},
        HealthStamp(moment, 41.5, None, 0.2),
        HealthStamp(moment, 60.0, None, 0.9),
        (row,),
    )


def test_what_is_saved_comes_back_sample_by_sample(tmp_path: Path) -> None:
    path = storage.save(run(0.1, 0.3, 0.2), tmp_path / "new" / "folder")
    stored = storage.load(path)
    np.testing.assert_array_equal(stored.statistics["detector/infer"].samples, [0.1, 0.3, 0.2])
    assert stored.processor == this_machine().cpu
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_layout_is_pytest_benchmarks_with_health_beside_it() -> None:
    document = json.loads(json.dumps(storage.document(run(0.1, 0.3, 0.2))))
    assert {"machine_info", "commit_info", "benchmarks", "datetime", "version"} <= document.keys()
    row = document["benchmarks"][0]
    assert {"group", "name", "fullname", "params", "extra_info", "options", "stats"} <= row.keys()
    # What `pytest-benchmark compare` reads of a row.
    columns = {"min", "max", "mean", "stddev", "median", "iqr", "outliers", "ops", "rounds", "iterations"}
    assert columns <= row["stats"].keys()
    assert row["stats"]["median"] == 0.2
    assert row["stats"]["rounds"] == 3
    assert row["stats"]["data"] == [0.1, 0.3, 0.2]
    health = document["machine_info"]["health"]
    assert (health["before"]["temperature_c"], health["after"]["temperature_c"]) == (41.5, 60.0)


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", '{"machine_info": {}, "benchmarks": [{"name": "a", "stats": {"data": []}}]}']
)
def test_a_file_of_another_kind_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"baseline\.json is no benchmark file"):
        storage.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no benchmark file .*nowhere\.json"):
        storage.load(tmp_path / "nowhere.json")


def test_code_outside_a_checkout_has_no_commit(tmp_path: Path) -> None:
    assert storage.commit(tmp_path)["id"] is None


def test_outliers_are_counted_and_kept() -> None:
    stats = storage.document(run(*[1.0, 1.1, 1.2, 1.3, 1.4] * 4, 9.0))["benchmarks"][0]["stats"]
    assert stats["outliers"] == "1;1"
    assert (stats["ld15iqr"], stats["hd15iqr"]) == (1.0, 1.4)
    assert stats["max"] == 9.0
    assert stats["rounds"] == 21
