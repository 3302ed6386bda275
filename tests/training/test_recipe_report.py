"""What the report of a recipe says of galaxies that were trained on and tested on."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host

pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.training.experiment import Experiment  # noqa: E402
from edgegal.training.recipe import Recipe  # noqa: E402
from edgegal.training.recipe_report import introduction  # noqa: E402


def galaxy_set(folder: Path, header: str, *cells: str) -> str:
    """A CSV set of one picture a row, called as `open_dataset` takes it."""
    folder.mkdir()
    lines = [f"file,label,split{header}"]
    for i, cell in enumerate(cells):
        cv2.imwrite(str(folder / f"{folder.name}{i}.png"), np.full((16, 16, 3), 40 * i, np.uint8))
        lines.append(f"{folder.name}{i}.png,round,{'train' if i else 'test'}{cell}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return f"csv:{folder / 'labels.csv'}"


def said(pretrained_on: str, tested_on: str, leaked: int) -> str:
    """The introduction to a recipe of one pretraining, as if carried out."""
    network: dict[str, Any] = {"kind": "scratch", "filters": [4], "dense": 4}
    recipe = Recipe.model_validate(
        {
            "title": "transfer",
            "reproduces": "Nothing.",
            "data": {"set": tested_on, "size": 16},
            "network": network,
            "pretraining": [{"name": "before", "data": {"set": pretrained_on, "size": 16}}],
            "runs": [{"name": "after", "start": "before"}],
        }
    )
    return " ".join(introduction(Experiment(recipe, None, {}, (), {"before": leaked})))


def test_sets_that_cannot_be_compared_are_not_called_clean(tmp_path: Path) -> None:
    first = galaxy_set(tmp_path / "a", "", "", "")
    second = galaxy_set(tmp_path / "b", "", "", "")
    text = said(first, second, 0)
    assert "could not be checked: neither ids nor positions in common" in text
    assert second in text
    assert "training pictures left out" not in text


@pytest.mark.parametrize(
    ("header", "cells"), [(",ra,dec", (",10.5,1", ",11.5,1")), (",dup_a", (",a0", ","))], ids=["positions", "named"]
)
def test_sets_that_were_compared_are_counted(tmp_path: Path, header: str, cells: tuple[str, str]) -> None:
    first = galaxy_set(tmp_path / "a", ",ra,dec", ",20.5,1", ",21.5,1")
    text = said(first, galaxy_set(tmp_path / "b", header, *cells), 0)
    assert "before: 0 training pictures left out" in text
    assert "could not be checked" not in text


def test_one_set_is_kept_apart_by_its_splits(tmp_path: Path) -> None:
    one = galaxy_set(tmp_path / "a", "", "", "")
    assert "before: 0 training pictures left out" in said(one, one, 0)
