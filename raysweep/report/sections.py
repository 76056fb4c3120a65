"""The report's texts and tables, shared by all its forms: headings, sentences, and rows of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raysweep.formatting import duration, short_keys
from raysweep.report.findings import Severity
from raysweep.report.formatting import number, percent, setting
from raysweep.report.importance import Share
from raysweep.report.report import Report
from raysweep.report.tables import Baseline, Row

BARS = ""  # heading of a column of bars
SHARE_COLUMNS = ("fANOVA", BARS, "resampled", "PED-ANOVA", "resampled")
REASON = "why it ended"  # heading of a column of sentences
BAR = 20  # characters of an importance of 1, as the training template's hpo-report draws it


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence, or a label with its text.

    Attributes:
        text: a `Command` is shown as one.
        label: None for a sentence alone; "" if it continues the label above.
        severity: of a finding.
        fix: what to do about it, perhaps a `Command`.
    """

    text: str
    label: str | None = None
    severity: Severity | None = None
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report.

    Attributes:
        name: for links, and for the figures that belong to it.
        title: its heading.
        lines: above its table.
        head: of its table; empty without one.
        rows: of its table.
        sortable: a table of all trials: only the page has it, and sorts it by a click on a heading.
    """

    name: str
    title: str
    lines: tuple[Line, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    sortable: bool = False


def sections(report: Report) -> list[Section]:
    """The sections of the report from top to bottom."""
    return list(_sections(report))


def _sections(report: Report) -> Iterator[Section]:
    numbers = report.tables
    yield Section("summary", "Summary", tuple(_summary(report)))
    yield Section("findings", "Findings", tuple(_findings(report)))
    yield _top(report)
    yield Section("progress", "Progress")
    yield Section("curves", "Learning curves")
    yield _parameters(report)
    if report.edges:
        yield Section("boundary", "Boundary warnings", tuple(_boundary(report)))
    if len(report.subject.metrics) > 1:
        names = ", ".join(map(str, report.front)) or "none yet"
        yield Section("front", "Pareto front", (Line(f"Trials on the front: {names}."),))
    if report.subject.is_population:
        keys = list(numbers.schedule[0].config) if numbers.schedule else []
        yield Section(
            "population",
            "Population",
            (),
            ("after epoch", *short_keys(keys).values()) if keys else (),
            tuple(
                (str(step.after_epoch), *(setting(step.config[key]) for key in keys))
                for step in numbers.schedule
            ),
        )
    rows = tuple((cause.outcome, str(cause.count), cause.example) for cause in numbers.causes)
    yield Section("reasons", "Why trials ended", (), ("outcome", "trials", "for example"), rows)
    yield Section("time", "Time")
    yield _all_trials(report)


def _summary(report: Report) -> Iterator[Line]:
    subject, numbers = report.subject, report.tables
    facts = numbers.statistics
    counts = ", ".join(f"{count} {word}" for word, count in facts.counts.items())
    asked = f"{facts.trials} of {facts.wanted}" if facts.trials != facts.wanted else str(facts.trials)
    yield Line(str(subject.state), "state")
    yield Line(f"{asked} total, {counts}", "trials")
    if numbers.best is not None:
        best = numbers.best
        counts_by = subject.record.objective
        partial = "" if best.outcome == "completed" else f" ({best.outcome}; no trial is complete yet)"
        yield Line(
            f"trial #{best.number}: {counts_by} {subject.metric} {number(best.value)}{partial}", "best"
        )
        for key, value in best.config.items():
            yield Line(f"{key}: {setting(value)}", "")
        if best.group:
            yield Line(best.group, "group")
    if numbers.baseline is not None:
        yield Line(_baseline(numbers.baseline), "baseline")
    yield Line(numbers.stops.sentence, "stopped")
    if subject.epochs:
        saved = "" if not facts.saved_s else f" (about {duration(facts.saved_s)})"
        yield Line(
            f"{facts.epochs_run} run of {facts.epochs_whole}; "
            f"{facts.epochs_saved} saved by stopping early{saved}",
            "epochs",
        )
    busy = f"{duration(facts.busy_s)} of training" if facts.busy_s else "no clock"
    used = "" if facts.utilisation is None else f", slots {percent(facts.utilisation)} busy"
    gpu = f", {facts.gpu_s / 3600:.2f} GPU-hours" if facts.gpu_s else ""
    yield Line(f"{duration(facts.wall_s)} wall-clock, {busy}{used}{gpu}", "time")
    if (audit := numbers.audit) is not None:
        epochs = f"; {audit.epochs_sentence}" if audit.judged else ""
        yield Line(f"{audit.stops_sentence}{epochs}", "audit")


def _baseline(baseline: Baseline) -> str:
    comparison = "better" if baseline.gain > 0 else "worse"
    gain = "" if baseline.relative is None else f", {abs(baseline.relative):.1%} {comparison}"
    best = number(baseline.best)
    return f"trial #{baseline.number}: {number(baseline.value)}; the best of the search: {best}{gain}"


def _findings(report: Report) -> Iterator[Line]:
    if not report.findings:
        yield Line("None.")
    for finding in report.findings:
        text, label = f"{finding.evidence}. {finding.reading}", f"{finding.severity}: {finding.name}"
        yield Line(text, label, finding.severity, finding.fix)


def _top(report: Report) -> Section:
    rows = report.tables.top
    keys = list(report.subject.parameters) or list(rows[0].config if rows else ())
    names = short_keys(keys)
    several = any(row.epochs != rows[0].epochs for row in rows)
    mixed = any(row.outcome != "completed" for row in rows)
    more = [*(["epochs"] if several else ()), *(["outcome"] if mixed else ())]
    return Section(
        "top",
        f"Top {len(rows)} trials",
        (),
        ("#", report.subject.metric, *(names[key] for key in keys), *more),
        tuple(_cells(row, keys, more) for row in rows),
    )


def _cells(row: Row, keys: list[str], more: list[str]) -> tuple[str, ...]:
    """The cells of a row; `more` names those of epochs and outcome that differ between rows."""
    settings = (setting(row.config[key]) if key in row.config else "" for key in keys)
    optional = {"epochs": str(row.epochs), "outcome": row.outcome}
    return str(row.number), number(row.value), *settings, *(optional[name] for name in more)


def _all_trials(report: Report) -> Section:
    """Every trial, the ranked ones first."""
    subject = report.subject
    keys = list(subject.parameters) or sorted({key for trial in subject.trials for key in trial.config})
    names = short_keys(keys)
    ranked = {trial.trial: trial for trial in subject.record.ranked()}
    rest = [trial for trial in subject.trials if trial.trial not in ranked]
    return Section(
        "trials",
        "All trials",
        (),
        ("#", subject.metric, "outcome", "epochs", *(names[key] for key in keys), REASON),
        tuple(
            (
                str(trial.number),
                number(subject.value(subject.loss(trial))),
                trial.status,
                str(trial.work),
                *(setting(trial.config[key]) if key in trial.config else "" for key in keys),
                trial.reason,
            )
            for trial in (*ranked.values(), *rest)
        ),
        sortable=True,
    )


def _parameters(report: Report) -> Section:
    importance, early = report.importance, report.importance_at_epoch
    shares = {share.name: share for share in importance.shares}
    early_shares = early.fanova if early is not None else {}
    names = short_keys([*(shares or early_shares)])
    caution = importance.caution
    lines = [f"{caution[:1].upper()}{caution[1:]}."] if caution else []
    if report.subject.is_population:
        lines.append("Members changed their settings during training: only their last ones are used here.")
    if importance.shares:
        lines.append(
            "Resampled: the range of 90% of the values when the trials are resampled. It shows how much "
            "depends on single trials, not how far the figure is from the truth."
        )
    if early is not None and early_shares:
        of = early.importance.trials
        lines.append(
            "Only completed trials are compared at their ends, so what stopped trials had in common does not "
            f"show; at epoch {early.epoch}, the last that all reached, all {of} trials are compared."
        )
    if importance.left_out:
        lines.append(f"Left out, since not every trial has them: {', '.join(importance.left_out)}.")
    at_epoch = (f"fANOVA at epoch {early.epoch}",) if early is not None and early_shares else ()
    if importance.pairs:
        strongest = importance.pairs[0]
        lines.append(
            f"Strongest interaction: {' with '.join(names[name] for name in strongest.names)} explains "
            f"{strongest.share:.1%} of the variance beyond what each does alone."
        )
    return Section(
        "parameters",
        "Parameter importance",
        tuple(map(Line, lines)),
        ("parameter", *(SHARE_COLUMNS if shares else ()), *at_epoch) if names else (),
        tuple(
            (names[name], *_share(shares.get(name)), *(f"{early_shares.get(name, 0):.4f}" for _ in at_epoch))
            for name in names
        ),
    )


def _share(share: Share | None) -> tuple[str, ...]:
    if share is None:
        return ()
    return (
        f"{share.fanova:.4f}",
        "█" * round(BAR * share.fanova),
        f"{share.fanova_low:.2f}-{share.fanova_high:.2f}",
        f"{share.ped_anova:.4f}",
        f"{share.ped_anova_low:.2f}-{share.ped_anova_high:.2f}",
    )


def _boundary(report: Report) -> Iterator[Line]:
    for edge in report.edges:
        yield Line(edge.sentence, edge.key)
    if report.widen is not None:
        yield Line(report.widen, "widen")
