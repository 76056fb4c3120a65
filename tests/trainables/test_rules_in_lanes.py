"""Every trial scheduler with trials that share a process sees and decides the same as without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from schedulers import RULES, Continue, Exploit, Pause, Report, Stop
from schedulers.rule import Resume, Rule
from tests.schedulers.test_every_rule import RULES as SMALL_RULES
from tests.trainables.test_lane_host import Driver, Lane, config, timeless
from trainables.fused_trials import FusedTrials
from trainables.lane_host import LaneHost

NAMES = [f"{number:05d}" for number in range(4)]
OF_RULE = {
    "ASHA": "asha stopping",
    "Hyperband": "hyperband",
    "SuccessiveHalving": "successive halving",
    "MedianStopping": "median",
    "Margin": "margin relative",
    "Patience": "patience",
    "PBT": "pbt",
    "PFL": "pfl",
    "ClassicPFL": "classic pfl",
    "Racing": "racing",
    "FIFO": "fifo",
}

EVERY_TIME = ("Hyperband", "PBT")  # they pause, and copy


class Processes(Protocol):
    """Where trials run."""

    def create(self, name: str, config: dict[str, Any], checkpoint: Path | None) -> None: ...
    def train(self, names: Iterable[str]) -> dict[str, dict[str, Any]]: ...
    def save(self, name: str, folder: Path) -> None: ...
    def stop(self, name: str) -> None: ...


class Alone:
    """A process each."""

    def __init__(self) -> None:
        self.trials: dict[str, Lane] = {}

    def create(self, name: str, config: dict[str, Any], checkpoint: Path | None) -> None:
        self.trials[name] = Lane(config)
        if checkpoint is not None:
            self.trials[name].load_checkpoint(str(checkpoint))

    def train(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {name: self.trials[name].train() for name in names}

    def save(self, name: str, folder: Path) -> None:
        self.trials[name].save_checkpoint(str(folder))

    def stop(self, name: str) -> None:
        self.trials.pop(name).stop()


class Shared:
    """Lanes of one process, trained together."""

    def __init__(self) -> None:
        self.driver = Driver(LaneHost(Lane, FusedTrials()))

    def create(self, name: str, config: dict[str, Any], checkpoint: Path | None) -> None:
        self.driver.ask(int(name), "create", config)
        if checkpoint is not None:
            self.driver.ask(int(name), "load_checkpoint", str(checkpoint))

    def train(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        due = {int(name): name for name in names}
        for lane in due:
            self.driver.answers.pop((lane, "train"), None)
            self.driver.ask(lane, "train")
        while any((lane, "train") not in self.driver.answers for lane in due):
            self.driver.turn()
        return {name: self.driver.answers[lane, "train"] for lane, name in due.items()}

    def save(self, name: str, folder: Path) -> None:
        self.driver.ask(int(name), "save_checkpoint", str(folder))
        self.driver.turn()

    def stop(self, name: str) -> None:
        self.driver.ask(int(name), "stop")


class Study:
    """Four trials under a rule, an epoch of each running one at a time; all that happens is recorded."""

    def __init__(self, rule: Rule, processes: Processes, folder: Path) -> None:
        self.rule, self.processes, self.folder = rule, processes, folder
        self.rates = {name: 0.01 * (1 + int(name)) for name in NAMES}
        self.running, self.paused, self.epochs = list[str](), list[str](), dict.fromkeys(NAMES, 0)
        self.story: list[Any] = []

    def run(self) -> list[Any]:
        for name in NAMES:
            self._begin(name, None)
        self.rule.no_more_trials(NAMES)
        while self.running or self._resume():
            results = self.processes.train(self.running)
            for name in sorted(results):
                self._report(name, results[name])
            while self._resume():
                pass
        return self.story

    def _begin(self, name: str, checkpoint: Path | None) -> None:
        net = {"nodes": 8, "layers": 2, "dropout": 0.1}  # the same: PBT copies weights
        fields = config(int(name), data_config={"rows": 40}, epochs=9, net_config=net)
        fields["optimizer_config"] = {**fields["optimizer_config"], "lr": self.rates[name]}
        self.processes.create(name, fields, checkpoint)
        self.running.append(name)

    def _report(self, name: str, result: Mapping[str, Any]) -> None:
        self.epochs[name] = epoch = result["epoch"]
        decision = self.rule.report(Report(name, epoch, result["val_loss"], {"lr": self.rates[name]}))
        self.story.append((name, timeless([result]), decision))
        if isinstance(decision, Pause) or self.rule.is_exploit_source(epoch):
            self.processes.save(name, self._checkpoint(name, epoch))
        if isinstance(decision, Continue):
            return
        self.processes.stop(name)
        self.running.remove(name)
        if isinstance(decision, Exploit):
            self._go_on(Resume(name, decision.reason, decision))
        elif isinstance(decision, Pause):
            self.paused = sorted([*self.paused, name])

    def _resume(self) -> bool:
        """Resume a paused trial, if the rule names one."""
        resume = self.rule.resume(self.paused)
        if resume is None:
            return False
        self.paused.remove(resume.trial_id)
        self._go_on(resume)
        return True

    def _go_on(self, resume: Resume) -> None:
        """From its own checkpoint, or from another's under other settings."""
        self.rule.resumed(resume)
        self.story.append(resume)
        name, exploit = resume.trial_id, resume.exploit
        if exploit is not None:
            self.rates[name] = exploit.config["lr"]
            self._begin(name, self._checkpoint(exploit.donor, exploit.resource))
        else:
            self._begin(name, self._checkpoint(name, self.epochs[name]))

    def _checkpoint(self, name: str, epoch: int) -> Path:
        folder = self.folder / name / str(epoch)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def test_the_table_has_every_rule() -> None:
    assert set(OF_RULE) == set(RULES)


@pytest.mark.parametrize(
    "rule",
    [pytest.param(name, marks=[] if name in EVERY_TIME else pytest.mark.nightly) for name in RULES],
)
def test_a_rule_decides_on_lanes_as_on_trials_alone(rule: str, tmp_path: Path) -> None:
    """Equal results to the last bit, equal decisions with their reasons; some end early, some copy."""
    make = SMALL_RULES[OF_RULE[rule]]
    shared = Shared()
    alone = Study(make(), Alone(), tmp_path / "alone").run()  # type: ignore[no-untyped-call]
    lanes = Study(make(), shared, tmp_path / "lanes").run()  # type: ignore[no-untyped-call]
    assert lanes == alone
    assert shared.driver.fused > 1
    assert any(isinstance(part[2], Stop) for part in lanes if isinstance(part, tuple))
    copies = [part for part in lanes if isinstance(part, Resume) and part.exploit is not None]
    assert bool(copies) == (rule == "PBT")
