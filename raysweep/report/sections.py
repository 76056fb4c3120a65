"""The report's words and tables, once for all its forms: a heading, sentences, and rows of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raysweep.formatting import duration, short_keys
from raysweep.report.findings import Severity
from raysweep.report.formatting import number, percent, setting
from raysweep.report.importance import Share
from raysweep.report.report import Report
from raysweep.report.tables import Baseline, Row
from raysweep.study.results.stop_audit import Audit

BARS = ""  # heading of a column of bars
OF_A_SHARE = ("fANOVA", BARS, "resampled", "PED-ANOVA", "resampled")
REASON = "why it ended"  # heading of a column of sentences
BAR = 20  # characters of an importance of 1, as the training template's hpo-report draws it


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence, or a label and what stands beside it.

    Attributes:
        text: a `Command` is shown as one.
        label: None for a sentence alone; "" where it goes on with the label above.
        severity: of a finding.
        fix: what to do about it, maybe a `Command`.
    """

    text: str
    label: str | None = None
    severity: Severity | None = None
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of the report.

    Attributes:
        name: a word for links, and where figures of that name go.
        title: its heading.
        lines: above its table.
        head: of its table; empty for none.
        rows: of its table.
        sortable: a table of all trials: only the page has it, and sorts it by a click on a heading.
    """

    name: str
    title: str
    lines: tuple[Line, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    sortable: bool = False


def sections(found: Report) -> list[Section]:
    """The report from top to bottom."""
    return list(_sections(found))


def _sections(found: Report) -> Iterator[Section]:
    numbers = found.tables
    yield Section("summary", "Summary", tuple(_summary(found)))
    yield Section("findings", "Findings", tuple(_findings(found)))
    yield _top(found)
    yield Section("progress", "Progress")
    yield Section("curves", "Learning curves")
    yield _parameters(found)
    if found.edges:
        yield Section("boundary", "Boundary warnings", tuple(_boundary(found)))
    if len(found.subject.metrics) > 1:
        names = ", ".join(map(str, found.front)) or "none yet"
        yield Section("front", "Pareto front", (Line(f"Trials on the front: {names}."),))
    if found.subject.is_population:
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
    yield _all_trials(found)


def _summary(found: Report) -> Iterator[Line]:
    subject, numbers = found.subject, found.tables
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
    if numbers.audit is not None:
        yield Line(_audit(found, numbers.audit), "audit")


def _baseline(own: Baseline) -> str:
    word = "better" if own.gain > 0 else "worse"
    gain = "" if own.relative is None else f", {abs(own.relative):.1%} {word}"
    return f"trial #{own.number}: {number(own.value)}; the best of the search: {number(own.best)}{gain}"


def _audit(found: Report, seen: Audit) -> str:
    stops = f"{seen.audited} of {seen.audited + seen.stopped} stops were let run on"
    if not seen.judged or seen.at_most is None:
        return f"{stops}; none of them can be judged yet"
    false = f"{len(seen.false_stops)} were false (at most {seen.at_most:.0%} are, with 95 % confidence)"
    return (
        f"{stops}; of {seen.judged} judged {false}: {seen.loss_sentence}; "
        f"{seen.epochs_saved} epochs saved by the other stops, {seen.epochs_spent} spent on the audit"
    )


def _findings(found: Report) -> Iterator[Line]:
    if not found.findings:
        yield Line("Nothing out of the ordinary.")
    for finding in found.findings:
        text, label = f"{finding.evidence}. {finding.reading}", f"{finding.severity}: {finding.name}"
        yield Line(text, label, finding.severity, finding.fix)


def _top(found: Report) -> Section:
    rows = found.tables.top
    keys = list(found.subject.parameters) or list(rows[0].config if rows else ())
    names = short_keys(keys)
    several = any(row.epochs != rows[0].epochs for row in rows)
    mixed = any(row.outcome != "completed" for row in rows)
    more = [*(["epochs"] if several else ()), *(["outcome"] if mixed else ())]
    return Section(
        "top",
        f"Top {len(rows)} trials",
        (),
        ("#", found.subject.metric, *(names[key] for key in keys), *more),
        tuple(_cells(row, keys, more) for row in rows),
    )


def _cells(row: Row, keys: list[str], more: list[str]) -> tuple[str, ...]:
    """A row; epochs and outcome only where they tell rows apart."""
    settings = (setting(row.config[key]) if key in row.config else "" for key in keys)
    told = {"epochs": str(row.epochs), "outcome": row.outcome}
    return str(row.number), number(row.value), *settings, *(told[word] for word in more)


def _all_trials(found: Report) -> Section:
    """Every trial, the ranked ones first."""
    subject = found.subject
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
                number(subject.value(subject.worth(trial))),
                trial.status,
                str(trial.work),
                *(setting(trial.config[key]) if key in trial.config else "" for key in keys),
                trial.reason,
            )
            for trial in (*ranked.values(), *rest)
        ),
        sortable=True,
    )


def _parameters(found: Report) -> Section:
    seen, early = found.importance, found.importance_at_epoch
    shares = {share.name: share for share in seen.shares}
    early_shares = early.fanova if early is not None else {}
    names = short_keys([*(shares or early_shares)])
    lines = [f"{seen.caution[:1].upper()}{seen.caution[1:]}."] if seen.caution else []
    if found.subject.is_population:
        lines.append(
            "Members changed their settings in mid-training: only their last ones are looked at here."
        )
    if seen.shares:
        lines.append(
            "Resampled: where nine of ten figures lie when the trials are drawn anew. It shows how much "
            "depends on single trials, not how far the figure is from the truth."
        )
    if early is not None and early_shares:
        of = early.importance.trials
        lines.append(
            "Only completed trials are compared at their ends, so what the stopped had in common cannot "
            f"show; at epoch {early.epoch}, the last that they all reached, all {of} trials are."
        )
    if seen.left_out:
        lines.append(f"Left out, for not every trial has them: {', '.join(seen.left_out)}.")
    at_epoch = (f"fANOVA at epoch {early.epoch}",) if early is not None and early_shares else ()
    if seen.pairs:
        strongest = seen.pairs[0]
        lines.append(
            f"Strongest interaction: {' with '.join(names[name] for name in strongest.names)} explains "
            f"{strongest.share:.1%} of the variance beyond what each does alone."
        )
    return Section(
        "parameters",
        "Parameter importance",
        tuple(map(Line, lines)),
        ("parameter", *(OF_A_SHARE if shares else ()), *at_epoch) if names else (),
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


def _boundary(found: Report) -> Iterator[Line]:
    for edge in found.edges:
        yield Line(edge.sentence, edge.key)
    if found.widen is not None:
        yield Line(found.widen, "widen")
