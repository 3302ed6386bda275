"""A run killed at random moments, as a pulled plug does it, keeps every sighting that it said was written."""

import json
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

# Says each sighting once the sinks before have it.
_NIGHT = """
import sys
from pathlib import Path
import cv2, numpy as np
from edgegal.detections import Detections
from edgegal.device.locating import Locator
from edgegal.device.pipeline import Pipeline
from edgegal.device.session import observe
from edgegal.device.sinks import SightingLog, Sink
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sources import open_source
from edgegal.device.tracking import Tracker

class Saying(Sink):
    def write(self, result, seen, ended):
        for sighting in seen:
            print(run.id, sighting.id, flush=True)
    def close(self, alive):
        pass

def spots(view):
    # New ones with every frame: two places of a grid at a time.
    n = spots.count = getattr(spots, "count", 0) + 1
    places = np.array([[40 * (n % 9), 40 * (n % 5)], [40 * (n % 7), 40 * (n % 6)]], np.float32)
    return Detections(np.concatenate([places, places + 30], 1), np.full(2, 0.9, np.float32), np.zeros(2, np.int32))

out, locator = Path(sys.argv[1]), Locator()
run = RunFacts("sim:")
sinks = [SightingLog(out, run.id, locator), SightingDatabase(out / "sightings.sqlite", run, locator), Saying()]
sky = open_source("sim:frames=100000,width=400,height=260,drift=0")
observe(sky, Pipeline(spots), sinks, Tracker(patience=1), locator=locator)
"""


@pytest.mark.slow
def test_twenty_kills_at_random_moments_lose_no_sighting(tmp_path: Path) -> None:
    chance = random.Random(11)
    told: set[tuple[str, int]] = set()
    for _ in range(20):
        command = [sys.executable, "-c", _NIGHT, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.4))
            process.kill()
            lines = [first, *process.stdout.readlines()]
        # The last line may be cut.
        told.update((run, int(number)) for run, number in (line.split() for line in lines if line.endswith("\n")))
    assert len(told) > 40
    with closing(sqlite3.connect(tmp_path / "sightings.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert told <= set(database.execute("SELECT run, id FROM galaxies"))
    logged = set()
    for line in (tmp_path / "sightings.jsonl").read_text().splitlines():
        try:
            document = json.loads(line)
        except json.JSONDecodeError:
            # Cut by a kill: what it was about is not among what was said.
            continue
        logged.add((document["run"], document["id"]))
    assert told <= logged
