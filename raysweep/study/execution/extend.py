"""`extend`: a living study is given more trials, more epochs, or a wider space; whatever was found stays.

What a study wants stands in its `study.json`, revision by revision. The journal is told when the study is
next carried on (`owed`): of the revision, and of each completed trial that is to go on. That a change is
an honest one is found out before anything is written (`check_extension`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from raysweep.config import Sweep, read_sweep
from raysweep.config.component import is_function_loop, signature
from raysweep.config.lookup import Modules
from raysweep.errors import RaysweepError
from raysweep.study.journal.event_bus import rebuild
from raysweep.study.journal.events import Event, StudyExtended, TrialEnded, TrialReopened
from raysweep.study.journal.log import Journal
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.results.counterfactual import CannotReplay, make_rule
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import checkpoint_lookup
from schedulers.rule import Continue, Rule, Stop
from schedulers.space import Categorical, Domain
from schedulers.stop_audit import AUDIT_WORDS
from trainables.run_config import SCHEDULE_LENGTHS

FREE = (
    *(
        "subscribers",
        "time_budget_s",
        "max_failures",
        "max_concurrent_trials",
        "resources_per_trial",
        "trial_timeout_s",
    ),
    *("stop", "tracking", "storage", "optuna_storage"),
)
"""Keys about how a study is run, not about what is compared in it."""


class CannotExtend(RaysweepError):
    """The change would make what the study found so far a lie; says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An honest change of a study.

    Attributes:
        sweep: what is wanted from now on.
        changes: key -> what it was and what it is now.
        reopened: completed trials that may go on, in order of number.
        again: epochs to be run once more, for want of a checkpoint where they ended.
    """

    sweep: Sweep
    changes: Mapping[str, Any]
    reopened: tuple[str, ...] = ()
    again: int = 0

    def lines(self, record: StudyRecord) -> Iterator[str]:
        """What the change comes to, a sentence each."""
        for key, (old, new) in self.changes.items():
            yield f"{key}: {old} -> {new}"
        more = self.sweep.trials - len(record.trials)
        if more:
            yield f"{more} trials to come"
        if self.reopened:
            lacking = f", {self.again} of them once more: no checkpoint is left" if self.again else ""
            epochs = sum(self.sweep.run.epochs - record.trials[trial].epoch for trial in self.reopened)
            most = f"at most {epochs + self.again} epochs"
            yield f"{len(self.reopened)} completed trials go on: {most}{lacking}"


def in_words(old: Sweep, trials: str | None, epochs: int | None) -> list[str]:
    """`--trials +50 --epochs 100` as `key=value`.

    Raises:
        CannotExtend: if `trials` is no number.
    """
    words = [] if epochs is None else [f"run.epochs={epochs}"]
    if trials is not None:
        if not trials.removeprefix("+").isdecimal():
            raise CannotExtend(f"--trials {trials}: write so many in all, 100, or so many more, +50")
        more = old.trials if trials.startswith("+") else 0
        words.append(f"trials={more + int(trials)}")
    return words


def revised(folder: StudyFolder, overrides: Sequence[str]) -> Sweep:
    """The study's sweep with these `key=value` laid over it, checked as any sweep file is.

    Raises:
        SweepError: if it is not sound so.
    """
    old = folder.wanted()
    draft = folder.path / "sweep.revised.yaml"
    short = {"metrics"} if len(old.metrics) == 1 else {"metric", "direction"}  # one of the two is said
    words = old.model_dump(mode="json", exclude={"import_paths", *short})
    draft.write_text(yaml.safe_dump(words, sort_keys=False, allow_unicode=True), encoding="utf-8")
    try:
        new = read_sweep(draft, overrides=overrides, beside=folder.sweep().import_paths).sweep
    finally:
        draft.unlink()
    return new.model_copy(update={"import_paths": old.import_paths})


def check_extension(folder: StudyFolder, new: Sweep, record: StudyRecord, rule: Rule) -> Extension:
    """Whether the study may go on under another sweep, and what that comes to.

    Args:
        folder: the study.
        new: what is wanted from now on.
        record: what was found so far.
        rule: the trial scheduler's, as the study began with it.

    Raises:
        CannotExtend: if it may not.
    """
    old = folder.wanted()
    changes = dict(_changes(old, new))
    if not changes:
        raise CannotExtend("nothing is changed; give --trials, --epochs or --set search_space…")
    _check_keys(old, changes)
    longer, more = new.run.epochs > old.run.epochs, new.trials > old.trials
    if new.run.epochs < old.run.epochs:
        raise CannotExtend(f"epochs: {new.run.epochs} is less than the {old.run.epochs} trials have had")
    if new.trials < max(old.trials, len(record.trials)):
        raise CannotExtend(
            f"trials: {new.trials} is less than the {max(old.trials, len(record.trials))} of the study; "
            "Ctrl-C ends a study sooner"
        )
    _check_rule(old, rule, longer, more)
    _check_space(old, new)
    if not longer:
        return Extension(new, changes)
    _check_schedule(old, new)
    going_on = completed(record, old.run.epochs, new.run.epochs)
    again = sum(_lacking(folder, trial) for trial in going_on)
    return Extension(new, changes, tuple(trial.trial for trial in going_on), again)


def completed(record: StudyRecord, before: int, now: int, until: float = float("inf")) -> list[TrialRecord]:
    """Trials that ended because they had all the epochs there were then, and may have more now.

    Args:
        record: the study.
        before: epochs then; who ended earlier ended by its own patience.
        now: epochs now.
        until: unix seconds of the revision; who ended since has had its epochs.
    """
    return [
        trial
        for trial in record.trials.values()
        if trial.outcome == "completed" and before <= trial.epoch < now and (trial.ended_at or 0.0) <= until
    ]


def earlier_sweeps(folder: StudyFolder, sweep: Sweep) -> list[Sweep]:
    """The sweep as it was wanted at each revision before the present one, for the rules that decided then.

    Its epochs are those of now: a completed trial that goes on did not end for its rule, so the rule
    must not end it.
    """
    return [
        Sweep.model_validate(
            {
                **before["sweep"],
                "run": {**before["sweep"]["run"], "epochs": sweep.run.epochs},
                "import_paths": sweep.import_paths,
            }
        )
        for before in folder.revisions()
    ]


def owed(folder: StudyFolder, sweep: Sweep, past: Sequence[Event], rule: Rule, now: float) -> list[Event]:
    """What the journal has not been told of the study's revisions; the same however often it is cut short.

    A completed trial is judged at its last epoch as the longer study would have: it goes on, waits for
    the trial scheduler's word, or was not good enough and counts as stopped there.

    Args:
        folder: the study.
        sweep: what is wanted now.
        past: the journal.
        rule: a fresh one, with the settings of now.
        now: unix seconds.
    """
    revisions = folder.revisions()
    record = fold(past, sweep.objective)
    events: list[Event] = [
        StudyExtended(t=now, revision=number, changes=revision["changes"])
        for number, revision in enumerate(revisions, start=1)
        if number > record.revision
    ]
    if not revisions:
        return events
    before = Sweep.model_validate(revisions[-1]["sweep"]).run.epochs
    going_on = completed(record, before, sweep.run.epochs, revisions[-1]["t"])
    if not going_on:
        return events
    names = [trial.trial for trial in going_on]
    said = rebuild(past, StudyRecord(sweep.objective), rule, None, reopened=names).decisions
    for trial in going_on:
        decision = said[trial.trial]
        events.append(
            TrialReopened(
                t=now,
                trial=trial.trial,
                epoch=trial.epoch,
                waits=not isinstance(decision, Continue),
                reason=f"the study was given {sweep.run.epochs} epochs; {decision.reason}".rstrip("; "),
            )
        )
        if isinstance(decision, Stop):
            events.append(
                TrialEnded(
                    t=now,
                    trial=trial.trial,
                    outcome=decision.ending,
                    reason=decision.reason,
                    code=decision.code,
                )
            )
    return events


def catch_up(folder: StudyFolder, sweep: Sweep, past: Sequence[Event], rule: Rule, now: float) -> list[Event]:
    """Tell the journal what it is owed; what was told."""
    events = owed(folder, sweep, past, rule, now)
    if events:
        journal = Journal(folder.journal_dir, folder.name)
        for event in events:
            journal.append(event)
        journal.close()
    return events


def _changes(old: Sweep, new: Sweep) -> Iterator[tuple[str, list[Any]]]:
    """Every key that differs, of the run and the search space each parameter's: [old, new]."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    for outer in ("run", "search_space"):
        inside = {*before[outer], *after[outer]}
        before |= {f"{outer}.{key}": before[outer].get(key) for key in inside}
        after |= {f"{outer}.{key}": after[outer].get(key) for key in inside}
        del before[outer], after[outer]
    yield from ((key, [before[key], after[key]]) for key in sorted(before) if before[key] != after[key])


def _check_keys(old: Sweep, changes: Mapping[str, Any]) -> None:
    """Only what leaves old and new trials comparable may change."""
    may = ("trials", "run.epochs", *FREE)
    for key in changes:
        if key not in may and not key.startswith("search_space."):
            raise CannotExtend(
                f"{key}: the {old.study_name} of before and after could not be compared; "
                "begin a new study under another name (`run … --name`)"
            )


def _check_rule(old: Sweep, rule: Rule, longer: bool, more: bool) -> None:
    name = old.trial_scheduler.name
    reason = rule.extension_obstacle(epochs=longer, trials=more)
    if reason:
        raise CannotExtend(f"trial_scheduler {name}: {reason}")
    fixed = old.trial_scheduler.kwargs.get("max_resource")
    if longer and fixed is not None:
        raise CannotExtend(
            f"trial_scheduler.kwargs.max_resource is {fixed}: trials end there whatever epochs says"
        )


def extension_obstacle(sweep: Sweep, *, epochs: bool = False, trials: bool = False) -> str:
    """Why a study of this sweep cannot be given more epochs, or more trials; "" if `extend` would do it.

    For advice: what the study's folder lacks is seen by `check_extension` only.
    """
    kwargs = {key: value for key, value in sweep.trial_scheduler.kwargs.items() if key not in AUDIT_WORDS}
    try:
        _check_rule(sweep, make_rule(sweep.trial_scheduler.name, kwargs, sweep, sweep.trials), epochs, trials)
        if epochs:
            _check_schedule(sweep, sweep)
    except (CannotExtend, CannotReplay) as error:
        return str(error)
    return ""


def _check_space(old: Sweep, new: Sweep) -> None:
    if old.search_space.keys() != new.search_space.keys():
        names = ", ".join(sorted(old.search_space.keys() ^ new.search_space.keys()))
        raise CannotExtend(f"search_space: {names}: earlier trials have no such value to learn from")
    for key, parameter in new.search_space.items():
        if parameter.when != old.search_space[key].when:
            raise CannotExtend(f"search_space.{key}.when: earlier trials were drawn under another condition")
        reason = not_wider(old.space[key], parameter.domain)
        if reason:
            raise CannotExtend(f"search_space.{key}: {reason}")


def not_wider(old: Domain, new: Domain) -> str:
    """Why one domain does not hold all of another, on the same scale; empty if it does.

    >>> not_wider(Categorical(("a", "b")), Categorical(("a", "c")))
    "'b' is no longer among the choices; a space can be widened only"
    """
    if isinstance(old, Categorical) and isinstance(new, Categorical):
        gone = [choice for choice in old.choices if choice not in new.choices]
        return f"{gone[0]!r} is no longer among the choices; a space can be widened only" if gone else ""
    if isinstance(old, Categorical) or isinstance(new, Categorical) or type(old) is not type(new):
        return "another kind of parameter; a space can be widened only"
    if (old.log, old.step) != (new.log, new.step):
        return "another scale or step; a space can be widened only"
    if not (new.low <= old.low and old.high <= new.high):
        return (
            f"[{new.low}, {new.high}] does not hold [{old.low}, {old.high}]; a space can be widened only: "
            "trials from outside would be withheld from the sampler"
        )
    return "" if new.contains(old.low) else f"its steps no longer meet {old.low}; move min by whole steps"


def _check_schedule(old: Sweep, new: Sweep) -> None:
    word = laid_out_by(old)
    if word:
        total = old.trials * new.run.epochs
        raise CannotExtend(
            f"run.{word} is laid out over {old.run.epochs} epochs: whoever has come to its end would go on "
            "at its last rate. Begin anew: `launch.py run <the sweep file> --set "
            f"run.epochs={new.run.epochs} --name {old.study_name}-{new.run.epochs}` "
            f"({old.trials} trials, at most {total} epochs)"
        )


def laid_out_by(sweep: Sweep) -> str:
    """What of the run makes its learning rate a matter of how many epochs there are; empty if nothing.

    A command, and a loop that is given its `config` alone, see neither warm-up nor scheduler.
    """
    run = sweep.run
    modules = Modules(sweep.import_paths)
    if run.command or (run.train and is_function_loop(run.train, modules)):
        return ""
    if 0 < run.warmup < 1:
        return f"warmup ({run.warmup:g} of the epochs)"
    searched = sweep.space.get("scheduler")
    names = searched.choices if isinstance(searched, Categorical) else (run.scheduler,)
    for name in names:
        read = signature(name, modules) if name else None
        known = [*(read.names() if read else ()), *run.scheduler_config]
        word = next((word for word in SCHEDULE_LENGTHS if word in known), None)
        if word:
            return f"scheduler {name} ({word})"
    return ""


def _lacking(folder: StudyFolder, trial: TrialRecord) -> int:
    """Epochs that a completed trial has to run once more.

    Raises:
        CannotExtend: if that would not lead to the same weights.
    """
    exists = checkpoint_lookup(folder)
    saved = [
        epoch
        for (generation, epoch), path in trial.checkpoints.items()
        if generation == trial.generation and exists(path)
    ]
    lacking = trial.epoch - max(saved, default=0)
    if lacking and trial.lineage:
        raise CannotExtend(
            f"trial {trial.number} copied others and its last checkpoint is gone: it cannot be run once "
            "more. A study with `run.checkpoint_config: {enabled: true}` keeps it"
        )
    return lacking
