"""Subscribers of the user's own: which calls they get, and what happens if one fails."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from raysweep.config import Sweep, SweepError, read_sweep
from raysweep.study.execution.study_subscriber import StudySubscriber, SubscriberThread, subscribed
from raysweep.study.journal.events import AttemptStarted, EpochReported, Event
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.storage.layout import StudyFolder
from tests.builders import epoch_reported, trial_created, trial_ended, trial_started

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"optimizer_config.lr": 0.1, "trial.seed": 7}


def reported(epoch: int, *, again: bool = False) -> EpochReported:
    return epoch_reported("00000", epoch, -0.5, metrics={"accuracy": 0.5}, again=again)


EVENTS: list[Event] = [
    AttemptStarted(t=0, attempt=1, slots=1, trials=1),
    trial_created("00000", CONFIG),
    trial_started("00000"),
    reported(1),
    reported(1, again=True),
    trial_ended("00000", "stopped", "rank 9 of 12"),
]


class Listening(StudySubscriber):
    """Records its calls, and their threads."""

    heard: list[Any]
    threads: set[str]

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        Listening.heard, Listening.threads = [], set()

    def note(self, name: str, *words: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if name == self.fails_at:
            raise OSError("no route\nto host")
        self.heard.append((name, *words))

    def study_began(self, name: str, folder: Path, metric: str) -> None:
        self.note("study_began", name, metric)

    def trial_began(self, trial: int, config: Mapping[str, Any]) -> None:
        self.note("trial_began", trial, config)

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.note("epoch_reported", trial, epoch, metrics)

    def trial_ended(self, trial: int, outcome: str, reason: str) -> None:
        self.note("trial_ended", trial, outcome, reason)

    def study_ended(self) -> None:
        self.note("study_ended")


def tell(tmp_path: Path, past: list[Any], events: list[Any], **kwargs: Any) -> list[str]:
    """Tell the sweep's subscriber of these events; what it said of failures."""
    named = {"name": f"{__name__}.Listening", "kwargs": kwargs}
    run = {"data": "trainables.data.load_digits"}
    words = {"study_name": "s", "metric": "accuracy", "direction": "maximize"}
    sweep = Sweep.model_validate({**words, "subscribers": [named], "run": run})
    folder, messages = StudyFolder(tmp_path / "s"), list[str]()
    with subscribed(sweep, folder, lambda: fold(past), messages.append) as threads:
        for event in events:
            for thread in threads:
                thread(event)
    return messages


def test_it_hears_of_each_event_in_order_and_in_a_thread_of_its_own(tmp_path: Path) -> None:
    """An epoch that is reported again after a loss of the worker is none; a trial's seed is no setting."""
    assert tell(tmp_path, [], EVENTS) == []
    assert Listening.heard == [
        ("study_began", "s", "accuracy"),
        ("trial_began", 0, {"optimizer_config.lr": 0.1}),
        ("epoch_reported", 0, 1, {"accuracy": 0.5}),
        ("trial_ended", 0, "stopped", "rank 9 of 12"),
        ("study_ended",),
    ]
    assert {f"subscriber {__name__}.Listening"} == Listening.threads


def test_after_a_resume_it_knows_the_settings_of_earlier_trials(tmp_path: Path) -> None:
    assert tell(tmp_path, EVENTS[:4], [trial_started("00000", attempt=2)]) == []
    assert ("trial_began", 0, {"optimizer_config.lr": 0.1}) in Listening.heard


@pytest.mark.parametrize("fails_at", ["study_began", "epoch_reported", "study_ended"])
def test_one_that_raises_is_reported_once_and_not_called_again(fails_at: str, tmp_path: Path) -> None:
    messages = tell(tmp_path, [], EVENTS, fails_at=fails_at)
    assert messages == [
        f"subscriber {__name__}.Listening: OSError: no route to host; it is not called again in this study"
    ]
    assert fails_at not in [name for name, *_ in Listening.heard]


def test_one_that_hangs_holds_nothing_up() -> None:
    release, messages = threading.Event(), list[str]()

    class Hanging(StudySubscriber):
        def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, Any]) -> None:
            release.wait()

    thread = SubscriberThread(Hanging(), "mine.Hanging", StudyRecord(), messages.append)
    thread.begin("s", Path(), "loss")
    for event in EVENTS:
        thread(event)
    thread.close(patience_s=0.05)
    release.set()
    assert messages == ["subscriber mine.Hanging: still busy after 0.05 s; its last events are lost"]


def test_a_misspelt_subscriber_is_a_line_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "trials: 1\nrun: {data: trainables.data.load_digits, scheduler: null}\n"
        "subscribers: [raysweep.study.execution.study_subscriber.StudySubscribe]\n"
    )
    with pytest.raises(SweepError) as caught:
        read_sweep(file)
    assert str(caught.value).startswith(f"{file}:3: subscribers")
    assert str(caught.value).endswith(".StudySubscriber'?")


def test_tensorboards_example_writes_a_run_for_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    from tensorboard_subscriber import TensorBoard  # type: ignore[import-not-found]

    _follow(TensorBoard(), tmp_path)
    (file,) = (tmp_path / "tensorboard" / "trial-00000").glob("events.out.tfevents.*")
    content = file.read_bytes()
    assert all(word in content for word in (b"accuracy", b"rank 9 of 12", b"optimizer_config.lr"))


@pytest.mark.nightly
def test_wandbs_example_writes_a_run_for_each_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the network: what is synchronised later stands in a file."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    from wandb_subscriber import WandB  # type: ignore[import-not-found]

    _follow(WandB(), tmp_path)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-s-00000.wandb")
    content = file.read_bytes()
    assert all(word in content for word in (b"accuracy", b"rank 9 of 12", b"optimizer_config.lr"))


def _follow(subscriber: StudySubscriber, folder: Path) -> None:
    """Tell a subscriber of one trial."""
    messages: list[str] = []
    thread = SubscriberThread(subscriber, "example", StudyRecord(), messages.append)
    thread.begin("s", folder, "accuracy")
    for event in EVENTS:
        thread(event)
    thread.close(patience_s=60)
    assert messages == []
