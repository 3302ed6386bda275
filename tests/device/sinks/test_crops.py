import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.data import open_dataset
from edgegal.device.astrometry import SkyPlace
from edgegal.device.sinks.crops import KeptCrops
from edgegal.device.sinks.facts import FrameFacts, RunFacts
from edgegal.labels import UNLABELLED

RUN = RunFacts("sim:", "galaxies", "1.2", "ab" * 32, id="night1")
SURE, DOUBTFUL, UNCERTAIN = (0.05, 0.95), (0.4, 0.6), (0.5, 0.5)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "crops.jsonl").read_text().splitlines()]


def test_a_sure_galaxy_leaves_nothing(tmp_path: Path, night: Any) -> None:
    crops = KeptCrops(tmp_path / "crops", RUN)
    for _ in range(3):
        night.show(crops, SURE)
    crops.close(night.tracker.alive)
    assert not (tmp_path / "crops").exists()


def test_doubtful_galaxies_are_kept_with_what_is_known_of_them(tmp_path: Path, night: Any) -> None:
    facts = FrameFacts(places={2: SkyPlace(202.47, 47.19)})
    crops = KeptCrops(tmp_path, RUN, ask=lambda result: facts)
    result = night.show(crops, SURE, DOUBTFUL, UNCERTAIN)
    crops.close(night.tracker.alive)
    assert names(tmp_path) == ["night1-00002.png", "night1-00003.png"]
    first, second = lines(tmp_path)
    wanted = {
        **{"file": "night1-00002.png", "reason": "doubtful", "run": "night1", "id": 2, "class": "spiral"},
        **{"confidence": 0.6, "probabilities": {"round": 0.4, "spiral": 0.6}, "box": [25, 25, 45, 45], "frame": 0},
        **{"ra_deg": 202.47, "dec_deg": 47.19, "bundle": "galaxies", "bundle_version": "1.2", "seal": "ab" * 32},
        **{"first_time": "2026-03-01T21:00:00+00:00", "source": "sim:", "crop_side_px": 40},
    }
    assert {key: first[key] for key in wanted} == wanted
    assert (second["class"], second["refusal"], second["ra_deg"]) == (None, "uncertain", None)
    # Twice the box, in the view's own pixels.
    kept = cv2.imread(str(tmp_path / "night1-00002.png"))[..., ::-1]
    np.testing.assert_array_equal(kept, result.view[15:55, 15:55])


def test_a_picture_is_taken_anew_as_its_sighting_goes_on(tmp_path: Path, night: Any) -> None:
    crops = KeptCrops(tmp_path, RUN)
    for _ in range(5):
        result = night.show(crops, DOUBTFUL)
        if night.frames == 4:
            last = result.view
    crops.close(night.tracker.alive)
    assert [line["frame"] for line in lines(tmp_path)] == [0, 1, 3]
    kept = cv2.imread(str(tmp_path / "night1-00001.png"))[..., ::-1]
    np.testing.assert_array_equal(kept[10:, 10:], last[:30, :30])


def test_the_oldest_make_room_but_not_those_in_somebodys_folder(tmp_path: Path, night: Any) -> None:
    for i, name in enumerate(["old-1.png", "old-2.png", "spiral/old-3.png"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1000 - i, 1000 - i))
    crops = KeptCrops(tmp_path, RUN, most=3)
    night.show(crops, DOUBTFUL, DOUBTFUL)
    assert names(tmp_path) == ["night1-00001.png", "night1-00002.png", "old-1.png", "spiral/old-3.png"]
    night.show(crops, DOUBTFUL, DOUBTFUL, DOUBTFUL, DOUBTFUL)
    assert names(tmp_path) == [*(f"night1-0000{i}.png" for i in (2, 3, 4)), "spiral/old-3.png"]


def test_pictures_take_no_more_room_than_allowed(tmp_path: Path, night: Any) -> None:
    crops = KeptCrops(tmp_path, RUN, most_bytes=10_000)
    for _ in range(30):
        night.show(crops, DOUBTFUL)
        night.show(crops)
    sizes = [p.stat().st_size for p in tmp_path.glob("*.png")]
    assert 5_000 < sum(sizes) <= 10_000
    assert (tmp_path / "night1-00030.png").exists()


def test_a_false_detection_is_kept_apart_however_sure_it_was(tmp_path: Path, night: Any) -> None:
    crops = KeptCrops(tmp_path, RUN)
    night.show(crops, SURE, DOUBTFUL)
    night.show(crops)
    for sighting in (1, 2, 7):
        crops.mark_false(sighting)
    night.show(crops, SURE, DOUBTFUL)
    assert names(tmp_path) == ["false/night1-00001.png", "false/night1-00002.png", "night1-00004.png"]
    assert [(line["id"], line["reason"]) for line in lines(tmp_path)] == [
        *((2, "doubtful"), (1, "false"), (2, "false"), (4, "doubtful"))
    ]


def test_lines_of_pictures_that_are_gone_go_with_the_next_night(tmp_path: Path, night: Any, new_night: type) -> None:
    crops = KeptCrops(tmp_path, RUN)
    for _ in range(2):
        night.show(crops, DOUBTFUL, DOUBTFUL)
    crops.close(night.tracker.alive)
    (tmp_path / "night1-00001.png").unlink()
    with (tmp_path / "crops.jsonl").open("a") as file:
        file.write('{"file": "cut')
    other = new_night()
    crops = KeptCrops(tmp_path, RunFacts("sim:", id="night2"))
    other.show(crops, DOUBTFUL)
    assert [(line["file"], line["frame"]) for line in lines(tmp_path)] == [
        ("night1-00002.png", 1),
        ("night2-00001.png", 0),
    ]


def test_what_a_full_disk_refuses_is_kept_when_there_is_room(tiny_disk: Path, filler: Any, night: Any) -> None:
    crops = KeptCrops(tiny_disk / "crops", RUN)
    filler.fill()
    with pytest.raises(OSError, match="No space"):
        night.show(crops, DOUBTFUL, DOUBTFUL)
    filler.go()
    night.show(crops)
    assert names(tiny_disk / "crops") == ["night1-00001.png", "night1-00002.png"]
    assert [line["frame"] for line in lines(tiny_disk / "crops")] == [0, 0]


def test_what_was_kept_is_read_back_to_be_labelled(tmp_path: Path, night: Any) -> None:
    crops = KeptCrops(tmp_path, RUN)
    night.show(crops, SURE, DOUBTFUL, UNCERTAIN)
    crops.mark_false(3)
    crops.close(night.tracker.alive)
    pictures = open_dataset(f"crops:{tmp_path}")
    assert pictures.ids == ("night1-00002",)
    assert pictures.scheme.labels == ("round", "spiral")
    assert pictures.labels.tolist() == [UNLABELLED]
    (tmp_path / "spiral").mkdir()
    (tmp_path / "night1-00002.png").rename(tmp_path / "spiral/night1-00002.png")
    assert open_dataset(f"crops:{tmp_path}").labels.tolist() == [1]
