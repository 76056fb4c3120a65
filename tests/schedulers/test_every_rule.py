"""Properties of every rule. A new rule is added by a line in RULES."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schedulers
from schedulers import (
    ASHARule,
    ClassicPFLRule,
    Continue,
    Exploit,
    FIFORule,
    Float,
    HyperbandRule,
    MarginRule,
    MedianStoppingRule,
    PatienceRule,
    Pause,
    PBTRule,
    PFLRule,
    RacingRule,
    Report,
    Stop,
    SuccessiveHalvingRule,
)
from schedulers.rule import Rule
from schedulers.stop_audit import AuditedRule

R = 9
SPACE = {"lr": Float(1e-3, 1.0, log=True)}
RULES = {
    "fifo": lambda: FIFORule(max_resource=R),
    "asha stopping": lambda: ASHARule(max_resource=R, reduction_factor=3, brackets=2),
    "asha promotion": lambda: ASHARule(max_resource=R, reduction_factor=3, variant="promotion"),
    "asha audited": lambda: AuditedRule(ASHARule(max_resource=R, reduction_factor=3), audit_fraction=0.5),
    "asha promotion audited": lambda: AuditedRule(
        ASHARule(max_resource=R, reduction_factor=3, variant="promotion"), audit_fraction=0.5
    ),
    "asha best": lambda: ASHARule(max_resource=R, reduction_factor=2, objective="best"),
    "pbt": lambda: PBTRule(max_resource=R, perturbation_interval=2, space=SPACE, population_size=4),
    "pbt asynchronous": lambda: PBTRule(
        max_resource=R, perturbation_interval=2, space=SPACE, population_size=4, synchronous=False
    ),
    "classic pfl": lambda: ClassicPFLRule(max_resource=R, n_startup_trials=1, n_warmup_epochs=2, top_k=2),
    "pfl": lambda: PFLRule(max_resource=R, population_size=4, min_finished=1),
    "pfl stop only": lambda: PFLRule(max_resource=R, population_size=4, min_finished=1, can_pause=False),
    "hyperband": lambda: HyperbandRule(max_resource=R, population_size=5),
    "hyperband best": lambda: HyperbandRule(max_resource=R, grace_period=3, sizes="table", objective="best"),
    "successive halving": lambda: SuccessiveHalvingRule(max_resource=R, reduction_factor=2, bracket_size=2),
    "successive halving whole": lambda: SuccessiveHalvingRule(max_resource=R, population_size=4),
    "median": lambda: MedianStoppingRule(max_resource=R, n_startup_trials=2, n_warmup_steps=1),
    "median interval": lambda: MedianStoppingRule(
        max_resource=R, n_startup_trials=1, n_warmup_steps=0, interval_steps=3, objective="best"
    ),
    "margin": lambda: MarginRule(max_resource=R),
    "margin relative": lambda: MarginRule(max_resource=R, margins={1: 1.0, 3: 0.5, 7: None}, relative=True),
    "patience": lambda: PatienceRule(max_resource=R, patience=2),
    "racing": lambda: RacingRule(max_resource=R, candidate="lr", min_blocks=2),
}
BY_VALUE = ("classic pfl", "pfl", "median", "margin", "racing")  # these decide by the losses themselves
RANK_RULES = [name for name in RULES if not name.startswith(BY_VALUE)]
every_rule = pytest.mark.parametrize("name", RULES)
every_rank_rule = pytest.mark.parametrize("name", RANK_RULES)
few = settings(max_examples=25)  # times every rule

losses = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, None]), st.floats(0.001, 1e3), st.floats(0.001, 1e3)
)
happenings = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["report"] * 9 + ["end"]), losses), max_size=60
)


class Simulation:
    """A simulation around a rule with four trials, which records all decisions."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.epoch: dict[Any, Any] = {}
        self.paused: list[Any] = []
        self.over: set[Any] = set()
        self.record: list[Any] = []

    def happen(
        self, number: int, what: str, loss: float | None, change: Callable[..., Any] = lambda loss: loss
    ) -> None:
        """Apply one event to a trial, if possible; then resume all trials that may be resumed."""
        trial = f"{number:05d}"
        if trial in self.over:
            return
        if what == "end":
            self.rule.end(trial, "failed")
            self.over.add(trial)
            self.paused = [other for other in self.paused if other != trial]
        elif what == "report" and trial not in self.paused:
            self.epoch[trial] = self.epoch.get(trial, 0) + 1
            sound = loss is not None and math.isfinite(loss)
            decision = self.rule.report(
                Report(trial, self.epoch[trial], change(loss) if sound else loss, {"lr": 0.1 * (number + 1)})
            )
            self.record.append((trial, self.epoch[trial], decision))
            if isinstance(decision, Stop):
                self.over.add(trial)
            if isinstance(decision, Pause | Exploit):
                self.paused = sorted([*self.paused, trial])
        while (resume := self.rule.resume(self.paused)) is not None:
            self.rule.resumed(resume)
            self.paused.remove(resume.trial_id)
            self.record.append(resume)
            if resume.exploit is not None:
                self.epoch[resume.trial_id] = resume.exploit.resource
        while (hopeless := self.rule.next_unresumable(self.paused)) is not None:
            self.rule.end(hopeless, self.rule.last_decision(hopeless).ending)
            self.over.add(hopeless)
            self.paused.remove(hopeless)
            self.record.append((hopeless, self.epoch[hopeless], self.rule.last_decision(hopeless)))

    def decided(self) -> Any:
        """The kinds of decisions, without the numbers in their reasons."""
        return [
            (part[0], part[1], type(part[2]).__name__)
            if isinstance(part, tuple)
            else (part.trial_id, "resumed")
            for part in self.record
        ]


class TrainAheadSimulation(Simulation):
    """The same simulation, but trials report only at epochs at which the rule may decide."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.held: dict[str, list[Any]] = {}
        self.asked = {f"{n:05d}": rule.next_decision(f"{n:05d}", 0) for n in range(4)}

    def happen(self, number: int, what: str, loss: Any, change: Any = None) -> None:
        trial = f"{number:05d}"
        if what == "end":
            self.held.pop(trial, None)  # trained and never handed over: its process is gone
        elif trial not in self.over and trial not in self.paused:
            held = self.held.setdefault(trial, [])
            held.append(loss)
            far = self.epoch.get(trial, 0) + len(held)
            if loss is not None and math.isfinite(loss) and far < self.asked[trial]:
                what, loss = "nothing", None
            else:
                for earlier in self.held.pop(trial)[:-1]:
                    recorded = len(self.record)
                    super().happen(number, "report", earlier)
                    assert self.record[recorded][2] == Continue()
        super().happen(number, what, loss)
        for other, epoch in self.epoch.items():
            if not self.held.get(other):
                self.asked[other] = self.rule.next_decision(other, epoch)


def simulate(name: str, happened: Any, **changes: Any) -> Simulation:
    simulation = Simulation(RULES[name]())  # type: ignore[no-untyped-call]
    for happening in happened:
        simulation.happen(*happening, **changes)
    return simulation


@every_rule
@few
@given(happened=happenings)
def test_the_same_reports_give_the_same_decisions(name: str, happened: Any) -> None:
    assert simulate(name, happened).record == simulate(name, happened).record


@every_rule
@few
@given(happened=happenings, cut=st.integers(0, 60))
def test_state_saved_and_loaded_midway_decides_alike(name: str, happened: Any, cut: int) -> None:
    """Through JSON, as in a file."""
    simulation = Simulation(RULES[name]())  # type: ignore[no-untyped-call]
    for happening in happened[:cut]:
        simulation.happen(*happening)
    fresh = RULES[name]()  # type: ignore[no-untyped-call]
    fresh.load(json.loads(json.dumps(simulation.rule.state())))
    assert fresh.state() == simulation.rule.state()
    simulation.rule = fresh
    for happening in happened[cut:]:
        simulation.happen(*happening)
    assert simulation.record == simulate(name, happened).record


@every_rule
@settings(max_examples=50)  # times every rule
@given(happened=happenings)
def test_reports_handed_over_together_are_decided_as_one_by_one(name: str, happened: list[Any]) -> None:
    """Whatever other trials report meanwhile: the reports held back would only have got a Continue."""
    together = TrainAheadSimulation(RULES[name]())  # type: ignore[no-untyped-call]
    for happening in happened:
        together.happen(*happening)
    assert decisive(together.record) == decisive(simulate(name, happened).record)


def decisive(record: list[Any]) -> list[Any]:
    """The record without epochs at which nothing was decided."""
    return [part for part in record if not (isinstance(part, tuple) and part[2] == Continue())]


@every_rule
@few
@given(happened=happenings)
def test_the_next_decision_is_a_question_about_a_later_epoch(name: str, happened: list[Any]) -> None:
    simulation = simulate(name, happened)
    before = simulation.rule.state()
    for trial, epoch in simulation.epoch.items():
        assert epoch < simulation.rule.next_decision(trial, epoch) <= max(R, epoch + 1)
        assert (
            simulation.rule.next_decision(trial, epoch - 1) == epoch
        )  # run again, each epoch is handed over
    assert simulation.rule.state() == before


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("fifo", [9]),
        ("asha stopping", [1, 3, 9]),
        ("asha promotion", [1, 3, 9]),
        ("asha audited", [1, 3, 9]),
        ("pbt", [1, 2, 4, 6, 8, 9]),
        ("classic pfl", [1, 9]),
        ("pfl", [1, 2, 3, 4, 6, 8, 9]),
        ("hyperband", [1, 3, 9]),
        ("successive halving", [1, 2, 4, 8, 9]),
        ("median interval", [1, 4, 7, 9]),
        ("margin", list(range(1, 10))),
        ("patience", [3, 5, 7, 9]),
        ("racing", list(range(1, 10))),
    ],
)
def test_a_lone_trial_is_asked_for_reports_where_its_rule_may_decide(name: str, asked: list[int]) -> None:
    rule: Rule = RULES[name]()  # type: ignore[no-untyped-call]
    epoch, judged = 0, []
    while epoch < R:
        decides = rule.next_decision("00000", epoch)
        while epoch < decides:
            epoch += 1
            if isinstance(rule.report(Report("00000", epoch, 1 / epoch, {"lr": 0.1})), Pause):
                rule.resumed(schedulers.Resume("00000", "its turn"))
        judged.append(epoch)
    assert judged == asked


@every_rank_rule
@pytest.mark.parametrize("increasing", [lambda x: 3 * x + 7, math.log, lambda x: x**3, lambda x: -1 / x])
@few
@given(happened=happenings)
def test_a_rank_rule_is_unchanged_under_increasing_maps_of_the_loss(
    name: str, increasing: Callable[..., Any], happened: Any
) -> None:
    # Two digits: so that what differs still differs after the map, in floating point.
    rounded = [
        (n, what, x if x is None or not math.isfinite(x) else float(f"{x:.2g}")) for n, what, x in happened
    ]
    assert simulate(name, rounded, change=increasing).decided() == simulate(name, rounded).decided()


@every_rule
@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, None])
@few
@given(happened=happenings)
def test_a_non_finite_loss_ends_the_trial_or_has_it_replaced(
    name: str, loss: float | None, happened: Any
) -> None:
    """At once: it never trains on, and is never a donor."""
    simulation = simulate(name, happened)
    trial = "00007"
    decision = simulation.rule.report(Report(trial, 1, loss, {"lr": 0.1}))
    assert isinstance(decision, Exploit | Pause) or decision.ending == "diverged"
    if isinstance(decision, Pause):
        assert not decision.save
    for number in range(4):
        simulation.happen(number, "report", 1.0)
    assert trial not in [
        part[2].donor
        for part in simulation.record
        if isinstance(part, tuple) and isinstance(part[2], Exploit)
    ]


@every_rule
@few
@given(happened=happenings)
def test_a_resource_reported_again_teaches_nothing(name: str, happened: Any) -> None:
    """After a recovery a trial of Ray runs the epochs since its last checkpoint again."""
    simulation = simulate(name, happened)
    before = simulation.rule.state()
    for trial, epoch in simulation.epoch.items():
        for again in range(1, epoch + 1):
            simulation.rule.report(Report(trial, again, 0.0, {"lr": 0.5}))
    assert simulation.rule.state() == before


@every_rule
@few
@given(
    happened=happenings, ends=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["failed", "stopped"])))
)
def test_anybody_may_end_at_any_time_and_twice(name: str, happened: Any, ends: Any) -> None:
    simulation = simulate(name, happened)
    for number, ending in [*ends, *ends]:
        simulation.rule.end(f"{number:05d}", ending)
    ended = {f"{number:05d}" for number, _ in ends}
    resume = simulation.rule.resume([trial for trial in simulation.paused if trial not in ended])
    assert resume is None or resume.trial_id not in ended


@every_rule
@few
@given(happened=happenings)
def test_whoever_is_stopped_paused_or_copies_is_told_why(name: str, happened: Any) -> None:
    simulation = simulate(name, happened)
    for part in simulation.record:
        decision = part[2] if isinstance(part, tuple) else part
        assert decision.reason or isinstance(decision, schedulers.Continue)
    for trial in simulation.paused:
        assert simulation.rule.last_decision(trial).reason


@every_rule
@few
@given(happened=happenings)
def test_resume_is_a_question(name: str, happened: Any) -> None:
    """Called twice it returns the same, and changes nothing."""
    simulation = simulate(name, happened)
    paused = [f"{number:05d}" for number in range(4)]
    before = simulation.rule.state()
    assert simulation.rule.resume(paused) == simulation.rule.resume(paused)
    assert simulation.rule.next_unresumable(paused) == simulation.rule.next_unresumable(paused)
    assert simulation.rule.state() == before


@every_rule
def test_at_R_a_trial_has_completed(name: str) -> None:
    rule = RULES[name]()  # type: ignore[no-untyped-call]
    assert rule.report(Report("00000", R, 0.5, {"lr": 0.1})) == Stop(f"finished all {R} epochs", "completed")


@every_rule
def test_who_has_ended_ends_again(name: str) -> None:
    """Its worker died before the decision was carried out; run again, it must not run on."""
    rule = RULES[name]()  # type: ignore[no-untyped-call]
    rule.report(Report("00000", R, 0.5, {"lr": 0.1}))
    assert rule.report(Report("00000", R - 1, 0.5, {"lr": 0.1})).ending == "completed"


@every_rule
@few
@given(happened=happenings)
def test_whoever_waits_in_the_end_goes_on_or_is_told_its_end(name: str, happened: Any) -> None:
    """If no more trials come and all others have ended, no trial waits for ever."""
    simulation = simulate(name, happened)
    for trial in [t for t in simulation.epoch if t not in simulation.paused and t not in simulation.over]:
        simulation.happen(int(trial), "end", None)
    simulation.rule.no_more_trials(sorted(simulation.epoch))
    for _ in range(100 * R):
        resume = simulation.rule.resume(simulation.paused)
        if resume is None:
            break
        simulation.rule.resumed(resume)
        simulation.paused.remove(resume.trial_id)
        if resume.exploit is not None:
            simulation.epoch[resume.trial_id] = resume.exploit.resource
        while resume.trial_id not in simulation.paused and resume.trial_id not in simulation.over:
            simulation.happen(int(resume.trial_id), "report", 1.0)
    assert simulation.rule.resume(simulation.paused) is None
    assert all(simulation.rule.last_decision(trial).reason for trial in simulation.paused)


@every_rule
@few
@given(happened=happenings)
def test_who_is_over_is_not_judged_again(name: str, happened: Any) -> None:
    """Nothing is learnt from an epoch that was running when the trial was stopped from outside."""
    simulation = simulate(name, happened)
    for trial, epoch in simulation.epoch.items():
        simulation.rule.end(trial, "stopped")
        before = simulation.rule.state()
        simulation.rule.report(Report(trial, epoch + 1, 0.0, {"lr": 0.5}))
        assert simulation.rule.state() == before


def test_every_scheduler_class_has_its_rule() -> None:
    """Sweep files are checked against the mapping, so it must be correct."""
    for name, rule in schedulers.RULES.items():
        assert f"{getattr(schedulers, name).rule_class.__module__}.{name}Rule" == rule


def test_rules_import_and_replay_with_ray_blocked() -> None:
    script = """
import sys
class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ray":
            raise ImportError("ray is blocked")
sys.meta_path.insert(0, NoRay())
import importlib
from schedulers import RULES, Float, Report
needed = {"PBT": dict(perturbation_interval=3, space={"lr": Float(0.1, 1.0)}, population_size=2)}
for name, path in RULES.items():
    module, _, rule = path.rpartition(".")
    rule = getattr(importlib.import_module(module), rule)(max_resource=9, **needed.get(name, {}))
    print(type(rule.report(Report("00000", 9, 0.5))).__name__)
assert not [name for name in sys.modules if name.split(".")[0] == "ray"]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["Stop"] * len(schedulers.RULES), "")
