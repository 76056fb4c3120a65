"""The written forms of a report."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from rich.console import Console

from raysweep.launch_command import Command
from raysweep.report.errors import CannotReport, NothingFound
from raysweep.report.figure import Figure
from raysweep.report.figures import figures
from raysweep.report.findings import Finding
from raysweep.report.html_page import as_page, page
from raysweep.report.markdown import as_markdown, markdown
from raysweep.report.report import Report, as_json, report
from raysweep.report.report_files import write
from raysweep.report.sections import Line, Section, sections
from raysweep.report.subject import only_study
from raysweep.report.terminal import print_report, print_sections
from tests.report import stories


class Links(HTMLParser):
    """Everything that a browser would fetch for a page, and the ids in it."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = ""
        self.fetched: list[Any] = []
        self.ids: list[Any] = []
        self.scripts: list[Any] = []
        self.figures: list[Any] = []
        self.open = None

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        if tag == "script":
            self.open = self.figures if attributes.get("type") == "application/json" else self.scripts  # type: ignore[assignment]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        self.fetched += [attributes[key] for key in ("src", "href", "data", "action") if attributes.get(key)]
        self.ids += [attributes["id"]] if "id" in attributes else []

    def handle_data(self, data: str) -> None:
        if self.open is not None:
            self.open.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.open = None


@pytest.fixture(scope="module")
def study_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report(stories.subject(tmp_path_factory.mktemp("told")), 5)


def test_the_page_fetches_nothing_and_has_a_place_for_every_figure(study_report: Report) -> None:
    drawn = figures(study_report)
    text = as_page(study_report, drawn)
    links = Links()
    links.feed(text)
    assert [link for link in links.fetched if not link.startswith(("#", "data:"))] == []
    assert re.findall(r"@import|url\(", text[: text.index("<body>")]) == []
    assert {figure.name for figure in drawn} <= set(links.ids)
    assert {link[1:] for link in links.fetched if link.startswith("#")} <= set(links.ids)


def names_of(study_report: Report) -> set[str]:
    return {figure.name for figure in figures(study_report)}


def test_what_the_data_bear_is_drawn(study_report: Report) -> None:
    expected = {"regret", "curves", "importance", "timeline", "history", "edf", "slice", "parallel"}
    assert names_of(study_report) == expected


@pytest.mark.parametrize(("completed", "drawn"), [(19, set()), (20, {"contour", "rank"})])
def test_a_landscape_is_not_drawn_from_few_trials(completed: int, drawn: set[str], tmp_path: Path) -> None:
    events = [e for n in range(completed) for e in stories.trial(n, 0.1 * n, stories.config(n))]
    assert names_of(report(stories.subject(tmp_path, events), 5)) & {"contour", "rank"} == drawn


def test_a_log_parameter_has_a_log_axis(study_report: Report) -> None:
    (slices,) = (figure for figure in figures(study_report) if figure.name == "slice")
    kinds = {plot.layout.xaxis.title.text: plot.layout.xaxis.type for plot in slices.plots}
    assert kinds == {"lr": "log", "layers": None}


@pytest.mark.parametrize("name", ["history", "slice"])
def test_stopped_trials_are_hollow_marks_at_their_last_value(study_report: Report, name: str) -> None:
    (figure,) = (figure for figure in figures(study_report) if figure.name == name)
    marks = {
        y: trace.marker.symbol for trace in figure.plots[0].data if "markers" in trace.mode for y in trace.y
    }
    ends = {
        trial.last_loss: "circle" if trial.outcome == "completed" else "circle-open"
        for trial in study_report.subject.trials
        if trial.last_loss is not None
    }
    assert marks == ends


def test_all_trials_stand_in_a_table_that_can_be_sorted(study_report: Report) -> None:
    (table,) = (section for section in sections(study_report) if section.sortable)
    assert sorted(int(row[0]) for row in table.rows) == list(range(12))
    assert as_page(study_report, []).count('<th aria-sort="none"><button') == len(table.head)
    assert table.title not in as_markdown(study_report)


def test_every_plot_can_be_read_out(study_report: Report) -> None:
    texts = re.findall(r'role="img" aria-label="([^"]+)"', as_page(study_report, figures(study_report)))
    assert len(texts) == sum(len(figure.plots) for figure in figures(study_report))
    assert any(text.startswith("Each parameter against the result: val_loss against lr.") for text in texts)


def test_a_population_has_its_lineage(tmp_path: Path) -> None:
    wanted = stories.sweep(trial_scheduler={"name": "schedulers.PBT"})
    seen = report(stories.subject(tmp_path, stories.population(), wanted), 5)
    assert "lineage" in names_of(seen)


@pytest.mark.parametrize("ranged", [{"predicted_low": 0.1, "predicted_high": 0.3}, {}])
def test_predictions_are_drawn_with_a_range_or_without(tmp_path: Path, ranged: Any) -> None:
    prediction = {"predicted_final": 0.2, **ranged}
    events = [e for n in range(3) for e in stories.trial(n, 0.1 * n, stories.config(n), metrics=prediction)]
    seen = report(stories.subject(tmp_path, events), 5)
    assert "predicted" in names_of(seen)


def test_several_metrics_have_a_front_and_its_hypervolume(tmp_path: Path) -> None:
    wanted = stories.sweep(metrics=["val_loss", "parameters"])
    events = [
        event
        for n in range(6)
        for event in stories.trial(n, 0.1 * n, stories.config(n), metrics={"parameters": 100.0 - n})
    ]
    seen = report(stories.subject(tmp_path, events, wanted), 5)
    assert seen.front == (0, 1, 2, 3, 4, 5)
    assert {"pareto", "hypervolume"} <= names_of(seen)


def test_json_has_no_nan_and_markdown_and_terminal_name_the_best(study_report: Report) -> None:
    data = json.loads(json.dumps(as_json(study_report), allow_nan=False))
    best = f"trial #{data['best']['number']}"
    out = io.StringIO()
    print_report(Console(file=out, width=120), study_report)
    assert best in out.getvalue()
    assert best in as_markdown(study_report)


def test_a_finding_is_in_every_form(study_report: Report, tmp_path: Path) -> None:
    odd = Finding(
        "odd_thing", "problem", "seven of nine", "It is odd.", Command("python launch.py status told")
    )
    study_report = replace(study_report, findings=(odd,))
    write(study_report, tmp_path / "out")
    out = io.StringIO()
    print_report(Console(file=out, width=300), study_report)
    written = [(tmp_path / "out" / f"report.{kind}").read_text() for kind in ("html", "md", "json")]
    assert all("seven of nine" in text for text in [*written, out.getvalue()])


HOSTILE = "█<!--</script><script>alert(1)</script><a href='http://evil'>[x](http://evil)`\x1b[2J"


def test_hostile_text_stays_text_in_the_page(tmp_path: Path) -> None:
    events = stories.trial(0, 0.1, stories.config(0), reason=HOSTILE)
    seen = report(stories.subject(tmp_path, events + stories.trial(1, 0.2, stories.config(1))), 5)
    plot = go.Figure(go.Scatter(x=[1], y=[1], text=[HOSTILE], name=HOSTILE), {"title": HOSTILE})
    drawn = [Figure("curves", "curves", HOSTILE, HOSTILE, (plot,)), *figures(seen)]
    links = Links()
    links.feed(
        page(
            HOSTILE, HOSTILE, [Section("curves", HOSTILE, (Line(HOSTILE),), (HOSTILE,), ((HOSTILE,),))], drawn
        )
    )
    assert not [link for link in links.fetched if "evil" in link]
    assert HOSTILE not in as_page(seen, drawn)
    assert {json.loads(text)["data"][0]["name"] for text in links.figures[:1]} == {
        HOSTILE.replace("<", "&lt;")
    }  # plotly shows &lt; as <, and makes no link of it


def test_only_the_scripts_of_the_page_may_run(study_report: Report) -> None:
    links = Links()
    links.feed(as_page(study_report, figures(study_report)))
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in links.scripts]
    allowed = re.findall(r"'sha256-([^']+)'", links.policy)
    assert allowed == digests
    assert len(allowed) == 2
    assert "default-src 'none'" in links.policy
    assert "unsafe-inline" not in links.policy.split(";")[1]


def test_hostile_text_stays_text_in_markdown() -> None:
    (line,) = [
        each for each in markdown("t", "p", [Section("s", "S", (Line(HOSTILE),))]).splitlines() if "█" in each
    ]
    assert line == (
        r"█\<!--\</script>\<script>alert(1)\</script>\<a href='http&colon;//evil'>"
        r"\[x\](http&colon;//evil)\`\\x1b\[2J"
    )


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "told: no trial yet, so there is nothing to report"),
        (
            stories.trial(0, 0.1, stories.config(0), outcome="failed", epochs=0, reason="no such column"),
            "told: no trial succeeded (1 failed): 1 x no such column",
        ),
        (
            stories.trial(0, 0.1, stories.config(0), outcome="diverged", reason="loss is not finite"),
            "told: no trial succeeded (1 diverged): 1 x loss is not finite",
        ),
        (
            stories.trial(0, 0.1, stories.config(0), epochs=0)[:2],
            "told: no trial has reported yet (1 running)",
        ),
    ],
)
def test_a_study_without_a_result_says_why(tmp_path: Path, events: Any, sentence: str) -> None:
    with pytest.raises(NothingFound) as caught:
        report(stories.subject(tmp_path, events), 5)
    assert str(caught.value).startswith(sentence)


def test_an_unfinished_study_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    """One completed trial, one in its second epoch."""
    events = stories.trial(0, 0.3, stories.config(0)) + stories.trial(1, 0.1, stories.config(1))[:4]
    seen = report(stories.subject(tmp_path, events), 5)
    assert (seen.tables.best.number, seen.tables.statistics.counts) == (0, {"completed": 1, "running": 1})


def test_the_only_study_needs_no_name(tmp_path: Path) -> None:
    with pytest.raises(CannotReport, match="holds no study"):
        only_study(tmp_path)
    stories.write(tmp_path, [])
    assert only_study(tmp_path) == "told"


def test_a_table_too_wide_for_the_terminal_loses_no_cell() -> None:
    head = ("#", *(f"a_rather_long_parameter_{n}" for n in range(6)))
    rows = (("17", *(f"value{n}" for n in range(6))), ("23", *(f"other{n}" for n in range(6))))
    out = io.StringIO()
    print_sections(Console(file=out, width=60), [Section("top", "Top 2 trials", (), head, rows)])
    shown = out.getvalue()
    assert all(cell in shown for cell in (*head[1:], *rows[0], *rows[1]))
    assert max(map(len, shown.splitlines())) <= 60


def test_a_command_is_one_line_however_narrow_the_terminal() -> None:
    fix = Command("python launch.py extend told").with_settings(f"key{n}=1" for n in range(20))
    lines = (Line("Seven of nine. It is odd.", "advice: odd", "advice", fix), Line(fix, "widen"))
    out = io.StringIO()
    print_sections(Console(file=out, width=40), [Section("findings", "Findings", lines)])
    assert sum(fix in line for line in out.getvalue().splitlines()) == 2
