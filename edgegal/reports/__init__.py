"""Reports of trained networks: figures with intervals, pictures of them, one page to read and one document to parse."""

from edgegal.reports.comparison import Run, RunComparison
from edgegal.reports.figures import measured
from edgegal.reports.report import write_report
from edgegal.reports.results import ClassificationResult, RegressionResult, Result

__all__ = [
    "ClassificationResult",
    "RegressionResult",
    "Result",
    "Run",
    "RunComparison",
    "measured",
    "write_report",
]
