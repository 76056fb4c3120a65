"""A study at work, without Ray: what is handed over next, when to stop, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from schedulers.rule import Rule
from service.spec import Sweep
from service.study.best import write_best
from service.study.events import Asked, Begun, Closed, Ended, Source
from service.study.folder import StudyFolder
from service.study.keeper import Keeper
from service.study.limits import STUDY_OVER, reached
from service.study.record import StudyRecord, TrialRecord, trial_id
from service.study.stop import StopSignal
from service.study.stream import Learner, Stream
from trainables.run import overlay

SEED_KEY = "trial.seed"  # no searched parameter: reserved in a trial's flat configuration


class Searcher(Learner, Protocol):
    """What proposes configurations; `service.search.StudySearcher` is one."""

    def ask(self, number: int) -> tuple[dict[str, Any], Source] | None:
        """The configuration of trial `number` and where it comes from; None when nothing is left to try."""


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended: the exit code of the command, why, and what is known now."""

    exit_code: int
    reason: str
    record: StudyRecord


@dataclass
class Desk:
    """What the faces toward Ray share: the study's record and stream, and what is still to hand over.

    Attributes:
        again: unfinished trials of earlier attempts, not yet handed to Ray.
        exhausted: the searcher has nothing left to try.
        over: the study has come as far as its sweep's `stop` asks for; what is unfinished then ends.
    """

    sweep: Sweep
    folder: StudyFolder
    slots: int
    provenance: dict[str, Any]
    stream: Stream
    rule: Rule
    searcher: Searcher
    stop: StopSignal
    attempt: int = 0
    again: list[TrialRecord] = field(default_factory=list)
    exhausted: bool = False
    over: bool = False
    _exit_code: int = 130
    _deadline: float | None = None
    _checked: int = -1
    _best_written: tuple[str, float | None] | None = None

    def __post_init__(self) -> None:
        keep_last = self.sweep.run.checkpoint_config.keep_last_k
        self.keeper = Keeper(self.record, self.folder.locate, self.rule.copyable, keep_last)

    @property
    def record(self) -> StudyRecord:
        """The fold of all events so far."""
        return self.stream.record

    def begin(self) -> None:
        """Open the attempt, and line up the trials that earlier attempts left unfinished.

        Of a study that is over already, `stop` is raised at once.
        """
        self.attempt = self.record.attempts + 1
        now = self.stream.clock()
        self.stream.emit(
            Begun(
                t=now,
                attempt=self.attempt,
                slots=self.slots,
                trials=self.sweep.trials,
                provenance=self.provenance,
            )
        )
        if self.sweep.time_budget_s is not None:
            self._deadline = now + self.sweep.time_budget_s
        # Paused ones first: they take no slot, and the rule must see them all before it promotes one.
        self.again = sorted(
            self.record.unfinished(), key=lambda trial: (trial.status != "paused", trial.number)
        )
        self._check_goal("done already: ")

    def ask(self) -> tuple[str, dict[str, Any]] | None:
        """A new trial's id and its searched values; None when no more are wanted or can be found."""
        number = len(self.record.trials)
        if self.exhausted or number >= self.sweep.trials:
            return None
        proposal = self.searcher.ask(number)
        if proposal is None:
            self.exhausted = True
            return None
        config, source = proposal
        name = trial_id(number)
        now = self.stream.clock()
        self.stream.emit(
            Asked(t=now, trial=name, config=config, source=source, revision=self.record.revision)
        )
        return name, config

    @property
    def all_asked(self) -> bool:
        """Whether no new trial will come."""
        return self.exhausted or len(self.record.trials) >= self.sweep.trials

    def check_limits(self) -> None:
        """Raise `stop` when the study has come far enough, or a budget is used up."""
        self._check_goal()
        if self.stop.requested:
            return
        failed = self.record.counts()["failed"]
        if self._deadline is not None and self.stream.clock() > self._deadline:
            finished = any(trial.outcome == "completed" for trial in self.record.trials.values())
            self._exit_code = 0 if finished else 7
            self.stop.request(f"time budget of {self.sweep.time_budget_s:g} s used up")
        elif self.sweep.max_failures is not None and failed > self.sweep.max_failures:
            self._exit_code = 5
            self.stop.request(f"{failed} trials failed, max_failures is {self.sweep.max_failures}")

    def _check_goal(self, word: str = "") -> None:
        """Raise `stop` if the sweep's own `stop` is reached; only an epoch more can change that."""
        if self.stop.requested or self._checked == self.record.epochs:
            return
        self._checked = self.record.epochs
        goal = reached(self.sweep, self.record)
        if goal:
            self.over, self._exit_code = True, 0
            self.stop.request(word + goal)

    def keep_best(self) -> None:
        """Rewrite best.yaml if there is a new incumbent."""
        best = self.record.best()
        if best is None:
            return
        now = (best.trial, best.worth(self.record.objective))
        if now != self._best_written:
            write_best(self.folder.best_file, self.sweep, self.record, self.provenance)
            self._best_written = now

    def close(self) -> Finish:
        """Say how the attempt ended; a study that is over leaves nothing to resume."""
        for trial in self.record.unfinished() if self.over else ():
            self.rule.end(trial.trial, "stopped")
            reason = f"{STUDY_OVER}{self.stop.reason}"
            self.stream.emit(
                Ended(t=self.stream.clock(), trial=trial.trial, outcome="stopped", reason=reason)
            )
        self.keep_best()
        code, reason = self._verdict()
        self.stream.emit(Closed(t=self.stream.clock(), attempt=self.attempt, exit_code=code, reason=reason))
        return Finish(code, reason, self.record)

    def _verdict(self) -> tuple[int, str]:
        if self.stream.broken:
            return 1, self.stream.broken
        if self.stop.requested:
            return self._exit_code, self.stop.reason
        if self.record.unfinished():
            return 1, "Ray ended the run before every trial had ended"
        if self.record.best() is not None:
            return 0, "all trials ended"
        return 4, "no trial succeeded"

    def restore_point(self, trial: TrialRecord) -> str | None:
        """Where a trial goes on from: its newest checkpoint, or the donor's that it was sent to copy."""
        own = trial.latest_checkpoint()
        if own is not None:
            return str(self.folder.locate(own[1]))
        if trial.lineage:
            return self.find_checkpoint(trial.lineage[-1].donor, trial.lineage[-1].epoch)
        return None

    def find_checkpoint(self, trial: str, epoch: int) -> str | None:
        """A trial's checkpoint at `epoch`, if it stands."""
        path = self.record.trials[trial].checkpoint_at(epoch)
        return str(self.folder.locate(path)) if path is not None else None

    def trial_config(self, trial: str, flat: Mapping[str, Any]) -> dict[str, Any]:
        """What the trainable gets: the run config with the searched values laid over it.

        A `trial.seed` among them (SEED_KEY: a replicate, a retraining) is the trial's own seed.
        """
        run = self.sweep.run.model_dump(mode="json")
        searched = {key: value for key, value in flat.items() if key != SEED_KEY}
        return {
            **overlay(run, searched),
            "trial": {"id": trial, "seed": flat.get(SEED_KEY, self.sweep.run.seeds[0])},
            "import_paths": [str(path) for path in self.sweep.import_paths],
        }
