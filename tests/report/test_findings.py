"""For each rule a study that raises it and a near miss that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raysweep.report.boundary import edges
from raysweep.report.findings import RULES, Evidence, findings
from raysweep.report.importance import Importance
from raysweep.report.tables import tables
from tests.report import stories


def raised(
    tmp_path: Path, losses: list[float], rates: list[float] | None = None, first: str = "sampler"
) -> set[Any] | set[str]:
    events = []
    for number, loss in enumerate(losses):
        chosen = stories.config(number) | ({stories.LR: rates[number]} if rates else {})
        events += stories.trial(number, loss, chosen, source=first if number == 0 else "sampler")
    subject = stories.subject(tmp_path, events)
    seen = Evidence(subject, tables(subject, 10), edges(subject), Importance())
    return {finding.name for finding in findings(seen)}


@pytest.mark.parametrize(
    ("losses", "there"),
    [
        ([0.500, 0.501, 0.5005, 0.502, 0.5001], True),
        ([0.500, 0.501, 0.5005, 0.503, 0.5001], False),  # 0.6 % apart
        ([0.500, 0.501, 0.5005, 0.502], False),  # four may be alike by chance
    ],
)
def test_all_trials_alike_within_half_a_percent(tmp_path: Path, losses: list[float], there: bool) -> None:
    assert ("all_alike" in raised(tmp_path, losses)) is there


@pytest.mark.parametrize(
    ("losses", "first", "there"),
    [
        ([0.2, 0.3, 0.4], "baseline", True),
        ([0.3, 0.3, 0.4], "baseline", True),
        ([0.31, 0.3, 0.4], "baseline", False),
        ([0.2, 0.3, 0.4], "sampler", False),
    ],
)
def test_the_baseline_beats_the_search(tmp_path: Path, losses: list[float], first: str, there: bool) -> None:
    assert ("baseline_wins" in raised(tmp_path, losses, first=first)) is there


@pytest.mark.parametrize(
    ("rates", "there"),
    [
        ([1e-3] * 3 + [0.05] * 7, True),
        ([1e-3] + [0.05] * 9, False),
    ],
)
def test_the_best_crowd_at_an_edge(tmp_path: Path, rates: list[float], there: bool) -> None:
    losses = [0.1 + 0.1 * number for number in range(10)]
    assert ("best_at_an_edge" in raised(tmp_path, losses, rates)) is there


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_finding_is_explained_on_the_reports_page(rule: Callable[..., Any]) -> None:
    page = Path(__file__).parents[2] / "docs" / "report.md"
    assert f"| `{rule.__name__}` |" in page.read_text(encoding="utf-8")
