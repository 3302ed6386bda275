"""A comparison as JUnit XML, which every CI system shows: a suite for each stage and set, a case for each gate."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from xml.etree import ElementTree

from edgegal.benchmarks.comparison.report import Comparison
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.verdict import Check
from edgegal.machine import package_versions, this_machine
from edgegal.metrics import Interval

__all__ = ["junit_xml"]

# What XML 1.0 has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(comparison: Comparison) -> str:
    """The document, in the elements that the schema of Jenkins (``junit-10.xsd``) knows.

    Names depend on the bundle and the sets alone, and neither time nor duration is written: equal figures on one
    machine give equal files.
    """
    root = ElementTree.Element("testsuites", name=_clean(f"edgegal compare {comparison.bundle}"))
    for stage, checks in comparison.checks:
        root.append(_suite(comparison, stage, checks))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(comparison: Comparison, stage: StageReport, checks: tuple[Check, ...]) -> ElementTree.Element:
    failed = sum(check.outcome == "failed" for check in checks)
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(f"{comparison.bundle} {stage.stage} on {stage.dataset} ({stage.split})"),
        tests=str(len(checks) + len(stage.left_out)),
        failures=str(failed),
        errors="0",
        skipped=str(len(stage.left_out)),
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(comparison, stage):
        ElementTree.SubElement(properties, "property", name=_clean(name), value=_clean(value))
    place = f"edgegal.compare.{stage.stage}"
    for check in checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=place, name=_clean(f"{check.variant}: {check.gate}"), time="0"
        )
        if check.outcome == "failed":
            failure = ElementTree.SubElement(case, "failure", type=check.gate, message=_clean(str(check)))
            failure.text = _clean(f"{check}\n{comparison.gate}")
        elif check.outcome == "not excluded":
            ElementTree.SubElement(case, "system-out").text = _clean(str(check))
    for variant, reason in stage.left_out.items():
        case = ElementTree.SubElement(suite, "testcase", classname=place, name=_clean(f"{variant}: runs"), time="0")
        ElementTree.SubElement(case, "skipped", message=_clean(reason))
    return suite


def _properties(comparison: Comparison, stage: StageReport) -> Iterator[tuple[str, str]]:
    yield "reference", stage.reference
    yield "seed", str(comparison.seed)
    yield "resamples", str(comparison.resamples)
    for key, limit in asdict(comparison.gate).items():
        yield f"gate.{key}", str(limit)
    for key, fact in asdict(this_machine()).items():
        yield f"machine.{key}", " ".join(fact) if isinstance(fact, tuple) else str(fact)
    for package, version in package_versions().items():
        yield f"version.{package}", version
    for row in stage.rows:
        for key, figure in vars(row).items():
            if isinstance(figure, Interval):
                yield f"{row.variant}.{key}", f"{figure.value:.6g} [{figure.low:.6g}, {figure.high:.6g}]"
            elif isinstance(figure, (str, int, float)) and key != "variant":
                yield f"{row.variant}.{key}", f"{figure:.6g}" if isinstance(figure, float) else str(figure)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
