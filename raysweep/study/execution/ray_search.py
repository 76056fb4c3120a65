"""The study's trials as Ray asks for them.

The private names of Ray that this file leans on are listed in `PRIVATE` with the signatures seen in
2.60.0; tests/study/test_ray_private.py holds them against the Ray that is installed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search.search_algorithm import SearchAlgorithm

from raysweep.config.trial_config import trial_config
from raysweep.study.execution.controller import StudyController
from raysweep.study.journal.records import TrialRecord
from schedulers.tune.oom_retry import OOMRetries
from schedulers.tune.ray_private import start_at

# name -> parameters, as in Ray 2.60.0
PRIVATE: Mapping[Callable[..., Any], tuple[str, ...]] = {
    _create_trial_from_spec: ("spec", "parser", "trial_kwargs"),
    _make_parser: ("parser_creator", "kwargs"),
}


class NeverPickled:
    """Tuner pickles all it is given, for a restore that we never do; live state stays out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RaySearch(NeverPickled, SearchAlgorithm):  # type: ignore[misc]  # ray ships no types
    """Gives Ray a study's trials: first those that earlier attempts left unfinished, then new ones.

    Never more than `slots` trials run or wait to run, so a paused trial's promotion never queues
    behind a new one: the controller starts every PENDING trial by itself, asking nobody.

    Attributes:
        look: called while nothing runs: Ray's controller then asks for a trial until it gets one, and nobody
            for anything else (:_update_trial_queue).
    """

    def __init__(self, controller: StudyController, retries: OOMRetries) -> None:
        self.controller, self.retries = controller, retries
        self.look: Callable[[], None] = lambda: None
        self.live: dict[str, Trial] = {}
        self._spec: dict[str, Any] = {}
        self._parser = _make_parser()
        self._finished = False

    @property
    def total_samples(self) -> int:
        """Trials of the study; Ray prints it."""
        return self.controller.sweep.trials

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Nothing to take: metric and mode are the scheduler's."""
        return True

    def add_configurations(self, experiments: Any) -> None:
        """Keep the experiment's spec: every trial is made from it."""
        first = experiments[0] if isinstance(experiments, list) else experiments
        self._spec = first.spec

    def next_trial(self) -> Trial | None:
        """The next trial to add, or None if none is due now."""
        self.live = {name: trial for name, trial in self.live.items() if not trial.is_finished()}
        if not self.busy():
            self.look()
        if self.controller.stop.requested:
            return None
        if self.controller.again and (self.controller.again[0].status == "paused" or self._has_room()):
            return self._hand_over(self.controller.again.pop(0))
        if (
            self.controller.again
            or not self._has_room()
            or self.controller.rule.resume(self._paused()) is not None
        ):
            return None
        asked = self.controller.ask()
        return self._make(*asked) if asked is not None else None

    def is_finished(self) -> bool:
        """True once no trial is left to add and every one given out has ended.

        Not earlier: Ray tears down its cached actors when the search is finished.
        """
        nothing_live = all(trial.is_finished() for trial in self.live.values())
        over = self.controller.stop.requested or (self.controller.all_asked and not self.controller.again)
        return self._finished or (over and nothing_live)

    def busy(self) -> int:
        """Trials that hold a slot or are about to."""
        return sum(trial.status in (Trial.RUNNING, Trial.PENDING) for trial in self.live.values())

    def _has_room(self) -> bool:
        return self.busy() < self.controller.slots

    def _paused(self) -> list[str]:
        return sorted(name for name, trial in self.live.items() if trial.status == Trial.PAUSED)

    def _hand_over(self, record: TrialRecord) -> Trial:
        trial = self._make(record.trial, record.config, self.controller.restore_point(record))
        if record.resources:  # in its second run, or waiting for it
            trial.update_resources(dict(record.resources))
            self.retries.waiting[record.trial] = record.resources
        if record.status == "paused" or record.resources:
            trial.set_status(Trial.PAUSED)
        return trial

    def _make(self, name: str, flat: Mapping[str, Any], checkpoint: str | None = None) -> Trial:
        spec = copy.copy(self._spec)
        spec["config"] = trial_config(self.controller.sweep, flat, name)
        far = bool(checkpoint and self.controller.folder.storage_uri)
        if checkpoint is not None and not far:
            spec["restore"] = checkpoint
        trial = _create_trial_from_spec(
            spec, self._parser, evaluated_params=dict(flat), experiment_tag=name, trial_id=name
        )
        if far:  # Ray takes what is under `restore` for a path
            start_at(trial, checkpoint)
        trial.init_local_path()  # of one that never starts, too, Ray asks in the end where it lies
        # Ray's averages of each metric and its snapshot of every trial: 50 KB a trial, and nobody reads them.
        trial.run_metadata.update_metric, trial.get_json_state = _no_averages, _no_snapshot
        self.live[name] = trial
        return trial


def _no_averages(metric: str, value: float, step: int | None = 1) -> None:
    pass


def _no_snapshot() -> tuple[str, str]:
    return "{}", "{}"
