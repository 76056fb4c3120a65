"""The page of a sweep's own run: the table of its trials, and a note with links."""

from __future__ import annotations

import json
from collections.abc import Mapping

from raysweep.config.sweep import Metric
from raysweep.formatting import markdown_text, short_keys
from raysweep.study.journal.pareto import pareto_front, scored_point
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.tracking.runs import MAX_TAG, SweepFacts, brief, clip, run_link

TABLE_FILE = "leaderboard.json"
REPORT_FILE = "report/report.html"  # where `launch.py report` attaches it
TABLE_TAG = {"mlflow.loggedArtifacts": json.dumps([{"path": TABLE_FILE, "type": "table"}])}
TABLE_ROWS = 500
NOTE_ROWS = 10


def ranked(record: StudyRecord) -> list[TrialRecord]:
    """The trials, best first; those without a finite value, or that failed, at the end."""

    def rank_key(trial: TrialRecord) -> tuple[bool, float, int]:
        return not trial.ranks(record.objective), trial.objective_loss(record.objective) or 0.0, trial.number

    return sorted(record.trials.values(), key=rank_key)


def table(record: StudyRecord, facts: SweepFacts) -> str:
    """The leaderboard as a table of MLflow's UI: JSON with `columns` and `data`.

    This is the file that `log_table` would write, except that `log_table` appends to an existing one.
    """
    rows = ranked(record)[:TABLE_ROWS]
    on_front = {trial.trial for trial in pareto(record, facts)}
    keys = list(facts.parameters or dict.fromkeys(key for trial in rows for key in trial.config))
    data = [
        [trial.trial, value_text(trial, facts)]
        + ([*others_text(trial, facts), "yes" if trial.trial in on_front else ""] if facts.others else [])
        + [trial.work, trial.status]
        + [brief(trial.config[key]) if key in trial.config else "" for key in keys]
        + [trial.reason]
        for trial in rows
    ]
    several = [*facts.others, "front"] if facts.others else []
    # MLflow's table reads a dot as a path into the cell, and shows nothing.
    names = [name.replace(".", "/") for name in short_keys(keys).values()]
    columns = ["trial", f"{facts.objective} {facts.metric}", *several, "epochs", "state", *names, "reason"]
    return json.dumps({"columns": columns, "data": data})


def pareto(record: StudyRecord, facts: SweepFacts) -> list[TrialRecord]:
    """The Pareto front of a sweep with several metrics; empty with one."""
    if not facts.others:
        return []
    others = [
        Metric(name=name, direction="minimize" if sign > 0 else "maximize")
        for name, sign in facts.others.items()
    ]
    metrics = [Metric(name=facts.metric, direction=facts.direction), *others]
    return pareto_front(record.trials.values(), metrics, facts.objective)


def front_tag(record: StudyRecord, facts: SweepFacts) -> dict[str, str]:
    """The trials of the front as a tag of the sweep's run; no tag with one metric."""
    names = ", ".join(trial.trial for trial in pareto(record, facts))
    return {"front": clip(names, MAX_TAG)} if names else {}


def others_text(trial: TrialRecord, facts: SweepFacts) -> list[str]:
    """The trial's values of the further metrics."""
    point = scored_point(trial, facts.objective)
    metrics = point.metrics if point is not None else {}
    return [f"{metrics[name]:.6g}" if name in metrics else "-" for name in facts.others]


def note(
    record: StudyRecord,
    facts: SweepFacts,
    page: str,
    experiment_id: str,
    runs: Mapping[str, str],
    parent: str,
) -> str:
    """The description of the sweep's run, in Markdown, of which the UI shows the first lines at first.

    Args:
        record: of the study.
        facts: about the sweep.
        page: link to the trials, ranked.
        experiment_id: of the runs.
        runs: run ids by trial id, for the links.
        parent: id of the sweep's own run.
    """
    counts = ", ".join(f"{count} {status}" for status, count in sorted(record.counts().items()))
    # Links are relative, since the UI may be reached through a tunnel, by another address.
    best, leaders = record.best(), ranked(record)[:NOTE_ROWS]
    lines = [
        f"**{markdown_text(facts.study)}**: {len(record.trials)} trials ({counts}), {record.epochs} epochs.",
        ""
        if best is None
        else f"Best: trial {best.trial}, {facts.objective} {facts.metric} "
        f"**{value_text(best, facts)}**: {markdown_text(settings_text(best))}.",
        "",
        f"[All trials, ranked]({page[page.index('#') :]}) · "
        f"[leaderboard]({run_link(experiment_id, parent, TABLE_FILE)}) · "
        f"[report]({run_link(experiment_id, parent, REPORT_FILE)}) (made by `launch.py report`)",
        "",
        f"| trial | {facts.objective} {facts.metric} | epochs | state | parameters |",
        "|---|---|---|---|---|",
    ]
    for trial in leaders:
        run = runs.get(trial.trial, "")
        link = f"[{trial.trial}]({run_link(experiment_id, run)})" if run else trial.trial
        settings = markdown_text(settings_text(trial))
        cells = (link, value_text(trial, facts), str(trial.work), trial.status, settings)
        lines.append("| " + " | ".join(cells) + " |")
    text = "\n".join(lines)
    return text if len(text) <= MAX_TAG else text[: text.rindex("\n", 0, MAX_TAG)]


def settings_text(trial: TrialRecord) -> str:
    """A trial's parameters as a short text."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {brief(value)}" for key, value in trial.config.items())


def value_text(trial: TrialRecord, facts: SweepFacts) -> str:
    """A trial's score; a dash before the first finite report."""
    value = trial.objective_value(facts.objective, facts.sign)
    return "-" if value is None else f"{value:.6g}"
