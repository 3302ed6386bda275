"""The composite action and the workflow, run as a runner runs them: every script in bash, inputs in its environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from edgegal.bundle import Bundle

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
ACTION = ROOT / ".github" / "actions" / "edgegal-compare"
WORKFLOW = ROOT / ".github" / "workflows" / "quantisation.yml"

Steps = list[dict[str, Any]]


def read(path: Path) -> dict[str, Any]:
    # YAML 1.1 takes the key ``on`` for true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def action_steps() -> Steps:
    return read(ACTION / "action.yml")["runs"]["steps"]


def workflow_steps() -> Steps:
    return read(WORKFLOW)["jobs"]["compare"]["steps"]


def substituted(text: str, inputs: Mapping[str, str]) -> str:
    """``${{ }}`` replaced by what the expression says: the few forms that the files use."""

    def term(words: str) -> str:
        if words.startswith("'"):
            return words.strip("'")
        return inputs[words.removeprefix("inputs.")]

    def evaluated(found: re.Match[str]) -> str:
        expression = found[1]
        if expression == "!cancelled()":
            return "true"
        if " != " in expression:
            left, right = map(term, expression.split(" != "))
            return "true" if left != right else ""
        return next(filter(None, map(term, expression.split(" || "))), "")

    return re.sub(r"\$\{\{ (.+?) \}\}", evaluated, text)


@dataclass
class Runner:
    """A job: its folder, what its steps said, and the first exit code that is not 0."""

    folder: Path
    said: str = ""
    code: int = 0
    ran: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return (self.folder / "summary.md").read_text()

    def job(self, **inputs: str) -> None:
        """The workflow with inputs; those not given are empty, as on a pull request."""
        defined = dict.fromkeys(read(WORKFLOW)["on"]["workflow_dispatch"]["inputs"], "") | inputs
        self.steps(workflow_steps(), defined)

    def action(self, **inputs: str) -> None:
        """The composite action; inputs not given have their defaults."""
        defined = {name: each.get("default", "") for name, each in read(ACTION / "action.yml")["inputs"].items()}
        self.steps(action_steps(), defined | inputs)

    def steps(self, steps: Steps, inputs: Mapping[str, str]) -> None:
        for step in steps:
            # What fails skips the rest, but for steps that run whatever happened.
            condition = step.get("if", "${{ 'true' }}" if self.code == 0 else "")
            if not substituted(condition, inputs):
                continue
            if step.get("uses", "").startswith("./"):
                assert (ROOT / step["uses"] / "action.yml").is_file()
                self.action(**{name: substituted(str(value), inputs) for name, value in step["with"].items()})
            elif "run" in step:
                self.script(step, {name: substituted(value, inputs) for name, value in step["env"].items()})

    def script(self, step: dict[str, Any], variables: Mapping[str, str]) -> None:
        if step["name"] == "Install edgegal":
            # edgegal is what is tested and is there: pip reads the project and says what it would install.
            variables = {**variables, "PIP_DRY_RUN": "1", "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
            # Of the variable, 0 stands for the option given.
            variables = {**variables, "PIP_NO_BUILD_ISOLATION": "0"}
        path = self.folder / "script.sh"
        path.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", path],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_ACTION_PATH": str(ACTION),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.ran.append(step["name"])
        self.said += done.stdout + done.stderr
        self.code = self.code or done.returncode


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    folder = tmp_path / "checkout"
    folder.mkdir()
    return Runner(folder)


def test_the_workflow_passes_a_faithful_bundle(runner: Runner, make_bundle: Callable[..., Bundle]) -> None:
    runner.job(bundle=str(make_bundle().root), **{"bench-args": "--samples=2\n--seconds=0\n--frames=1"})
    assert runner.code == 0, runner.said
    assert runner.ran == ["Install edgegal", "Compare", "Bench"]
    assert "Would install edgegal-" in runner.said
    assert "# tiny: every variant against float" in runner.summary
    assert "::error" not in runner.said
    assert json.loads((runner.folder / "out" / "compare" / "report.json").read_text())["gate"]["passed"] is True
    assert list((runner.folder / "out" / "bench").glob("*.json"))


def test_the_action_fails_a_broken_bundle_and_leaves_its_reports(
    runner: Runner, make_bundle: Callable[..., Bundle]
) -> None:
    swapped = np.roll(8 * np.eye(3), 1, axis=0)
    runner.action(bundle=str(make_bundle(mixing=swapped).root), args="--bootstrap=200\n\n  --seed=3  \n")
    assert runner.code == 1
    assert "::error title=edgegal compare tiny::classifier onnx-int8: accuracy drop 1.0000" in runner.said
    assert "accuracy drop" in runner.summary
    out = runner.folder / "out" / "compare"
    assert ElementTree.parse(out / "junit.xml").findall(".//failure")
    assert "<figure>" in (out / "report.html").read_text()
    document = json.loads((out / "report.json").read_text())
    assert (document["resamples"], document["seed"]) == (200, 3)


@pytest.mark.parametrize("model", ["", '"; touch owned; $(touch owned) `touch owned` #'])
def test_an_input_is_never_run(runner: Runner, model: str) -> None:
    hostile = '"; touch owned; $(touch owned) `touch owned` #'
    inputs = {name: hostile for name in read(ACTION / "action.yml")["inputs"] if name not in ("extras", "out")}
    runner.action(**{**inputs, "model": model})
    assert runner.ran[-1] == ("Export" if model else "Compare")
    assert runner.code == 2, runner.said
    assert not (runner.folder / "owned").exists()


def scripts() -> Iterator[tuple[str, dict[str, Any]]]:
    for step in (*action_steps(), *workflow_steps()):
        if "run" in step:
            yield step["name"], step


@pytest.mark.parametrize(("name", "step"), list(scripts()), ids=lambda value: value if isinstance(value, str) else "")
def test_no_expression_stands_in_a_script(name: str, step: dict[str, Any]) -> None:
    assert "${{" not in step["run"], name
    assert step["shell"] == "bash"
    asked = set(re.findall(r"\$\{?([A-Z_]+)", step["run"]))
    assert asked <= {*step["env"], "GITHUB_ACTION_PATH"}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize(("name", "step"), list(scripts()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_script_is_clean_to_shellcheck(name: str, step: dict[str, Any]) -> None:
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "-"], input=step["run"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "schema"), [(ACTION / "action.yml", "github-actions"), (WORKFLOW, "github-workflows")], ids=str
)
def test_the_files_are_valid_to_githubs_schemas(path: Path, schema: str) -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_workflow_gives_the_action_takes() -> None:
    (step,) = (s for s in workflow_steps() if s.get("uses", "").startswith("./"))
    inputs = read(ACTION / "action.yml")["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, each in inputs.items() if each.get("required")} <= set(step["with"])
