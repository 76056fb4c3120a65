"""`extend`: give a study more trials, more epochs, or a wider search space, and keep its results.

`study.json` has the sweep of each revision. The journal gets the revision, and each completed trial that
continues, when the study is next resumed (`missing_events`). Whether results before and after the change can
be compared is checked before anything is written (`check_extension`).
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
from raysweep.formatting import counted, in_yaml
from raysweep.study.journal.event_bus import rebuild
from raysweep.study.journal.events import Event, StudyExtended, TrialEnded, TrialReopened
from raysweep.study.journal.log import Journal
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.results.counterfactual import CannotReplay, make_rule
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import checkpoint_lookup
from schedulers.rule import Continue, Rule, Stop
from schedulers.space import Categorical, Domain
from schedulers.stop_audit import AUDIT_SETTINGS
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
"""Keys that may change: they say how a study is run, not what is compared in it."""


class CannotExtend(RaysweepError):
    """Results before and after the change could not be compared; says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A permitted change of a study.

    Attributes:
        sweep: from now on.
        changes: old and new value by key.
        reopened: completed trials that may continue, in order of number.
        again: epochs to be run once more, because the checkpoint at their end is gone.
    """

    sweep: Sweep
    changes: Mapping[str, Any]
    reopened: tuple[str, ...] = ()
    again: int = 0

    def lines(self, record: StudyRecord) -> Iterator[str]:
        """Yield the consequences of the change, one line each."""
        for key, (old, new) in self.changes.items():
            yield f"{key}: {in_yaml(old)} -> {in_yaml(new)}"
        more = self.sweep.trials - len(record.trials)
        if more:
            yield f"{counted(more, 'trial')} to come"
        if self.reopened:
            lost = f", {self.again} of them once more: their checkpoint is gone" if self.again else ""
            epochs = sum(self.sweep.run.epochs - record.trials[trial].epoch for trial in self.reopened)
            most = f"at most {counted(epochs + self.again, 'epoch')}"
            continues = "continues" if len(self.reopened) == 1 else "continue"
            which = f"{counted(len(self.reopened), 'completed trial')} {continues}"
            yield f"{which}: {most}{lost}"


def as_overrides(old: Sweep, trials: str | None, epochs: int | None) -> list[str]:
    """The options `--trials +50 --epochs 100` as `key=value`.

    Raises:
        CannotExtend: if `trials` is not a number.
    """
    overrides = [] if epochs is None else [f"run.epochs={epochs}"]
    if trials is not None:
        if not trials.removeprefix("+").isdecimal():
            raise CannotExtend(f"--trials {trials}: give the total, 100, or how many more, +50")
        more = old.trials if trials.startswith("+") else 0
        overrides.append(f"trials={more + int(trials)}")
    return overrides


def revised(folder: StudyFolder, overrides: Sequence[str]) -> Sweep:
    """The study's sweep with overrides `key=value`, checked like a sweep file.

    Raises:
        SweepError: if it is invalid.
    """
    old = folder.stored_sweep()
    draft = folder.path / "sweep.revised.yaml"
    redundant = {"metrics"} if len(old.metrics) == 1 else {"metric", "direction"}
    fields = old.model_dump(mode="json", exclude={"import_paths", *redundant})
    draft.write_text(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), encoding="utf-8")
    try:
        new = read_sweep(draft, overrides=overrides, beside=folder.sweep().import_paths).sweep
    finally:
        draft.unlink()
    return new.model_copy(update={"import_paths": old.import_paths})


def check_extension(folder: StudyFolder, new: Sweep, record: StudyRecord, rule: Rule) -> Extension:
    """Check that a study may continue with another sweep.

    Args:
        folder: of the study.
        new: the sweep from now on.
        record: of the study so far.
        rule: of its trial scheduler, with the settings so far.

    Returns:
        The change and its consequences.

    Raises:
        CannotExtend: if it may not.
    """
    old = folder.stored_sweep()
    changes = dict(_changes(old, new))
    if not changes:
        raise CannotExtend("nothing would change; give --trials, --epochs or --set search_space…")
    _check_keys(old, changes)
    longer, more = new.run.epochs > old.run.epochs, new.trials > old.trials
    if new.run.epochs < old.run.epochs:
        raise CannotExtend(f"epochs: {new.run.epochs} is less than the {old.run.epochs} of the study")
    if new.trials < max(old.trials, len(record.trials)):
        raise CannotExtend(
            f"trials: {new.trials} is less than the {max(old.trials, len(record.trials))} of the study; "
            "use Ctrl-C to end a study sooner"
        )
    _check_rule(old, rule, longer, more)
    _check_space(old, new)
    if not longer:
        return Extension(new, changes)
    _check_schedule(old, new)
    trials = extendable(record, old.run.epochs, new.run.epochs)
    again = sum(_lost_epochs(folder, trial) for trial in trials)
    return Extension(new, changes, tuple(trial.trial for trial in trials), again)


def extendable(record: StudyRecord, before: int, now: int, until: float = float("inf")) -> list[TrialRecord]:
    """Trials that completed all their epochs before a revision that gives more.

    Args:
        record: of the study.
        before: epochs before the revision; a trial that ended with fewer ended by its own patience.
        now: epochs since the revision.
        until: unix seconds of the revision.
    """
    return [
        trial
        for trial in record.trials.values()
        if trial.outcome == "completed" and before <= trial.epoch < now and (trial.ended_at or 0.0) <= until
    ]


def earlier_sweeps(folder: StudyFolder, sweep: Sweep) -> list[Sweep]:
    """The sweep of each revision before the present one, for the rules that decided then.

    They have the present number of epochs: the end of a trial that continues is no end for its rule.
    """
    return [
        Sweep.model_validate(
            {
                **revision["sweep"],
                "run": {**revision["sweep"]["run"], "epochs": sweep.run.epochs},
                "import_paths": sweep.import_paths,
            }
        )
        for revision in folder.revisions()
    ]


def missing_events(
    folder: StudyFolder, sweep: Sweep, past: Sequence[Event], rule: Rule, now: float
) -> list[Event]:
    """Events of the study's revisions that the journal lacks; complete also if a kill cut them short before.

    The rule judges a completed trial at its last epoch as in the longer study: the trial continues, waits
    for the trial scheduler, or counts as stopped there.

    Args:
        folder: of the study.
        sweep: the present one.
        past: the events of the journal.
        rule: a new rule, with the present settings.
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
    trials = extendable(record, before, sweep.run.epochs, revisions[-1]["t"])
    if not trials:
        return events
    names = [trial.trial for trial in trials]
    decisions = rebuild(past, StudyRecord(sweep.objective), rule, None, reopened=names).decisions
    for trial in trials:
        decision = decisions[trial.trial]
        events.append(
            TrialReopened(
                t=now,
                trial=trial.trial,
                epoch=trial.epoch,
                waits=not isinstance(decision, Continue),
                reason=f"the study was extended to {sweep.run.epochs} epochs; {decision.reason}".rstrip("; "),
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


def journal_revisions(
    folder: StudyFolder, sweep: Sweep, past: Sequence[Event], rule: Rule, now: float
) -> list[Event]:
    """Append the `missing_events` to the journal, and return them."""
    events = missing_events(folder, sweep, past, rule, now)
    if events:
        journal = Journal(folder.journal_dir, folder.name)
        for event in events:
            journal.append(event)
        journal.close()
    return events


def _changes(old: Sweep, new: Sweep) -> Iterator[tuple[str, list[Any]]]:
    """Yield each key that differs, with [old, new]; the run and the search space are compared key by key."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    for outer in ("run", "search_space"):
        inside = {*before[outer], *after[outer]}
        before |= {f"{outer}.{key}": before[outer].get(key) for key in inside}
        after |= {f"{outer}.{key}": after[outer].get(key) for key in inside}
        del before[outer], after[outer]
    yield from ((key, [before[key], after[key]]) for key in sorted(before) if before[key] != after[key])


def _check_keys(old: Sweep, changes: Mapping[str, Any]) -> None:
    """Raise if a key was changed that makes old and new trials incomparable."""
    for key in changes:
        if key not in ("trials", "run.epochs", *FREE) and not key.startswith("search_space."):
            raise CannotExtend(
                f"{key}: trials of {old.study_name} before and after could not be compared; "
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
    """Why a study of this sweep cannot be given more epochs, or more trials; "" if it can.

    This is for advice; only `check_extension` checks the checkpoints in the study's folder.
    """
    kwargs = {key: value for key, value in sweep.trial_scheduler.kwargs.items() if key not in AUDIT_SETTINGS}
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
        raise CannotExtend(f"search_space: {names}: earlier trials have no value of it; add or remove none")
    for key, parameter in new.search_space.items():
        if parameter.when != old.search_space[key].when:
            raise CannotExtend(
                f"search_space.{key}.when: earlier trials were drawn with the old one; keep it"
            )
        reason = not_wider(old.space[key], parameter.domain)
        if reason:
            raise CannotExtend(f"search_space.{key}: {reason}")


def not_wider(old: Domain, new: Domain) -> str:
    """Why one domain does not contain another on the same scale; "" if it does.

    >>> not_wider(Categorical(("a", "b")), Categorical(("a", "c")))
    "'b' is no longer among the choices; a space can only be widened"
    """
    if isinstance(old, Categorical) and isinstance(new, Categorical):
        gone = [choice for choice in old.choices if choice not in new.choices]
        return f"{gone[0]!r} is no longer among the choices; a space can only be widened" if gone else ""
    if isinstance(old, Categorical) or isinstance(new, Categorical) or type(old) is not type(new):
        return "another kind of parameter; a space can only be widened"
    if (old.log, old.step) != (new.log, new.step):
        return "another scale or step; a space can only be widened"
    if not (new.low <= old.low and old.high <= new.high):
        return (
            f"[{new.low}, {new.high}] does not contain [{old.low}, {old.high}]; a space can only be widened, "
            "for trials outside of it could not be told to the sampler"
        )
    return "" if new.contains(old.low) else f"its steps no longer meet {old.low}; move min by whole steps"


def _check_schedule(old: Sweep, new: Sweep) -> None:
    schedule = schedule_tied_to_epochs(old)
    if schedule:
        total = old.trials * new.run.epochs
        raise CannotExtend(
            f"run.{schedule} is tied to {old.run.epochs} epochs: a trial that has reached its end would "
            "continue at its last rate. Start a new study: `launch.py run <the sweep file> --set "
            f"run.epochs={new.run.epochs} --name {old.study_name}-{new.run.epochs}` "
            f"({old.trials} trials, at most {total} epochs)"
        )


def schedule_tied_to_epochs(sweep: Sweep) -> str:
    """What makes the learning rate of a run depend on the number of epochs; "" if nothing does.

    A command, and a loop that gets its `config` only, use neither warm-up nor scheduler.
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
        parameters = signature(name, modules) if name else None
        keywords = [*(parameters.names() if parameters else ()), *run.scheduler_config]
        length = next((keyword for keyword in SCHEDULE_LENGTHS if keyword in keywords), None)
        if length:
            return f"scheduler {name} ({length})"
    return ""


def _lost_epochs(folder: StudyFolder, trial: TrialRecord) -> int:
    """Number of epochs that a completed trial has to run once more, because its last checkpoint is gone.

    Raises:
        CannotExtend: if that would not lead to the same weights.
    """
    exists = checkpoint_lookup(folder)
    saved = [
        epoch
        for (generation, epoch), path in trial.checkpoints.items()
        if generation == trial.generation and exists(path)
    ]
    lost = trial.epoch - max(saved, default=0)
    if lost and trial.lineage:
        raise CannotExtend(
            f"trial {trial.number} copied others and its last checkpoint is gone: it cannot be run once "
            "more. A study with `run.checkpoint_config: {enabled: true}` keeps it"
        )
    return lost
