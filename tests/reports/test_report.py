"""Reports on disk, read back."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.reports import ClassificationResult, RegressionResult, Run, RunComparison, write_report
from edgegal.reports.page import render_page, write_file

pytestmark = pytest.mark.host

Drawn = Callable[..., ClassificationResult]

HISTORY = {"loss": [1.0, 0.5, 0.4], "val_loss": [1.1, float("nan"), 0.6], "learning_rate": [1e-3, 1e-3, 1e-4]}


@pytest.fixture(scope="module")
def report(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three classes, one of them in no picture, with names that must not reach the page as they are."""
    odd = ("<b>round</b>", "cost $1$ and a name so long that it takes two lines and is then cut", "never")
    result = drawn(classes=2)
    padded = np.pad(result.probabilities, ((0, 0), (0, 1)))
    shown = drawn(labels=odd, truth=result.truth, probabilities=padded, history=HISTORY, name="../net <script>")
    runs = (
        Run("a", (drawn("a"), drawn("a", seed=1)), {"accuracy": 0.7}),
        Run("b", (drawn("b", seed=2),)),
    )
    comparison = RunComparison("All", runs, reference="a")
    return write_report("Odd & even", "One.\n\nOther\nline.", [shown], comparison, tmp_path_factory.mktemp("r"), 0, 50)


def document(page: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((page.parent / "report.json").read_text())
    return loaded


def test_the_folder_holds_what_the_document_lists_and_nothing_else(report: Path) -> None:
    found = document(report)
    files = {*found["results"][0]["files"], *found["comparison"]["files"]}
    assert len(files) == 6
    assert {p.name for p in report.parent.iterdir()} == {"report.html", "report.json", *files}
    assert all((report.parent / name).read_bytes().startswith(b"\x89PNG") for name in files)


def test_the_page_needs_nothing_from_outside_and_escapes_names(report: Path) -> None:
    html = report.read_text()
    assert html.count('src="data:image/png;base64,') == 6
    assert not re.search(r'(?:src|href)="(?!data:)|@import|url\(', html)
    assert "<script" not in html
    assert "<b>round" not in html
    assert "&lt;b&gt;round&lt;/b&gt;" in html
    assert "<p>Other line.</p>" in html
    assert "n/a" in html


def test_the_document_says_how_figures_were_made(report: Path) -> None:
    found = document(report)
    assert found["bootstrap"] == {"resamples": 50, "seed": 0, "level": 0.95, "stratified": False}
    assert found["versions"]["numpy"] == np.__version__
    (result,) = found["results"]
    assert (result["seed"], result["pictures"], result["support"][2]) == (0, 60, 0)
    assert result["figures"]["recall"]["never"] == {"value": None, "low": None, "high": None}
    assert result["figures"]["accuracy"]["low"] <= result["figures"]["accuracy"]["value"]
    assert result["history"]["val_loss"] == [1.1, None, 0.6]
    assert np.array(result["confusion"]).sum() == 60
    shares = result["confusion_shares"]
    assert shares["value"][2] == [None, None, None]
    for c in (0, 1):
        assert shares["value"][c][c] == pytest.approx(result["figures"]["recall"][result["columns"][c]]["value"])
        assert shares["low"][c][c] <= shares["value"][c][c] <= shares["high"][c][c]
    assert sum(result["reliability"]["counts"]) == 60
    assert [run["published"] for run in found["comparison"]["runs"]] == [{"accuracy": 0.7}, {}]


def test_the_surest_mistakes_are_wrong_and_in_order(report: Path) -> None:
    mistakes = document(report)["results"][0]["mistakes"]
    assert mistakes
    assert all(m["truth"] != m["answer"] for m in mistakes)
    sure = [m["probability"] for m in mistakes]
    assert sure == sorted(sure, reverse=True)


def test_one_picture_and_a_regression_are_reported_too(drawn: Drawn, tmp_path: Path) -> None:
    truth = np.random.default_rng(0).random((5, 1))
    votes = RegressionResult(
        name="votes", ids=tuple("abcde"), seed=0, dataset="d", split="val", outputs=("bar",), truth=truth,
        predicted=np.full((5, 1), 0.5),
    )  # fmt: skip
    page = write_report("Few", "", [drawn(n=1, history={"loss": [1.0]}), votes], None, tmp_path, resamples=20)
    one, regression = document(page)["results"]
    assert document(page)["comparison"] is None
    assert one["figures"]["macro_auc"]["value"] is None
    assert regression["kind"] == "regression"
    assert [name.rpartition("-")[2] for name in regression["files"]] == ["regression.png"]


def test_equal_figures_give_equal_pictures(drawn: Drawn) -> None:
    from edgegal.reports import drawing
    from edgegal.reports.figures import measured
    from edgegal.reports.parts import as_picture

    bands = measured(drawn(), resamples=20)
    first, second = (as_picture("a.png", "", drawing.draw_confusion(drawn(), bands)).png for _ in range(2))
    assert first == second


def test_a_value_that_a_template_wants_and_does_not_get_is_an_error() -> None:
    import jinja2

    with pytest.raises(jinja2.UndefinedError):
        render_page(
            "edgegal.reports", "report.html.j2", {"figure": str, "signed": str, "chance": str, "title_of": str}, {}
        )


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_scrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "report.json", b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:1])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
