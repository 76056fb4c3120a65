"""Gives Ray Tune the study's trials as it asks for them.

The private names of Ray that this file uses are listed in `PRIVATE` with their signatures in 2.60.0;
tests/study/test_ray_private.py compares them with the installed Ray.
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
    """Leaves its state out when Tuner pickles it for a restore, which is never done."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RaySearch(NeverPickled, SearchAlgorithm):  # type: ignore[misc]  # ray ships no types
    """Gives Ray a study's trials: first those that earlier attempts left unfinished, then new ones.

    At most `slots` trials run or wait to run, so that the promotion of a paused trial never queues behind a
    new one: Ray's controller starts every PENDING trial without asking the scheduler.

    Attributes:
        live: unfinished trials of this attempt, by id.
        on_idle: called while nothing runs, when Ray's controller asks for a trial in a loop and calls nothing
            else (:_update_trial_queue).
    """

    def __init__(self, controller: StudyController, retries: OOMRetries) -> None:
        self.controller, self.retries = controller, retries
        self.on_idle: Callable[[], None] = lambda: None
        self.live: dict[str, Trial] = {}
        self._spec: dict[str, Any] = {}
        self._parser = _make_parser()
        self._finished = False

    @property
    def total_samples(self) -> int:
        """Number of trials of the study, which Ray prints."""
        return self.controller.sweep.trials

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Ignore metric and mode, which the scheduler has."""
        return True

    def add_configurations(self, experiments: Any) -> None:
        """Keep the experiment's spec, from which every trial is made."""
        first = experiments[0] if isinstance(experiments, list) else experiments
        self._spec = first.spec

    def next_trial(self) -> Trial | None:
        """The next trial to add, or None if none is due now."""
        self.live = {name: trial for name, trial in self.live.items() if not trial.is_finished()}
        if not self.busy():
            self.on_idle()
        if self.controller.stop.requested:
            return None
        to_resume = self.controller.to_resume
        if to_resume and (to_resume[0].status == "paused" or self._has_room()):
            return self._resume(to_resume.pop(0))
        if to_resume or not self._has_room() or self.controller.rule.resume(self._paused()) is not None:
            return None
        asked = self.controller.ask()
        return self._make(*asked) if asked is not None else None

    def is_finished(self) -> bool:
        """Whether no trial is left to add and all have ended.

        Not earlier, since Ray tears down its cached actors when the search is finished.
        """
        none_live = all(trial.is_finished() for trial in self.live.values())
        none_left = self.controller.all_asked and not self.controller.to_resume
        return self._finished or ((self.controller.stop.requested or none_left) and none_live)

    def busy(self) -> int:
        """Number of trials that hold a slot or are about to."""
        return sum(trial.status in (Trial.RUNNING, Trial.PENDING) for trial in self.live.values())

    def _has_room(self) -> bool:
        return self.busy() < self.controller.slots

    def _paused(self) -> list[str]:
        return sorted(name for name, trial in self.live.items() if trial.status == Trial.PAUSED)

    def _resume(self, record: TrialRecord) -> Trial:
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
        is_uri = bool(checkpoint and self.controller.folder.storage_uri)
        if checkpoint is not None and not is_uri:
            spec["restore"] = checkpoint
        trial = _create_trial_from_spec(
            spec, self._parser, evaluated_params=dict(flat), experiment_tag=name, trial_id=name
        )
        if is_uri:  # `restore` accepts paths only
            start_at(trial, checkpoint)
        trial.init_local_path()  # Ray asks for it in the end, also for a trial that never started
        # Ray's averages of each metric and its snapshot of every trial take 50 KB a trial, and are not read.
        trial.run_metadata.update_metric, trial.get_json_state = _no_averages, _no_snapshot
        self.live[name] = trial
        return trial


def _no_averages(metric: str, value: float, step: int | None = 1) -> None:
    pass


def _no_snapshot() -> tuple[str, str]:
    return "{}", "{}"
