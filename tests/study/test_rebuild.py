"""A study rebuilt from its journal continues as if it had never been interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from raysweep.study.journal.events import EpochReported
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.storage.journal_files import make_journal
from schedulers.asha import ASHARule
from schedulers.classic_pfl import ClassicPFLRule
from schedulers.fifo import FIFORule
from schedulers.hyperband import HyperbandRule, SuccessiveHalvingRule
from schedulers.margin import MarginRule
from schedulers.median import MedianStoppingRule
from schedulers.patience import PatienceRule
from schedulers.pbt import PBTRule
from schedulers.pfl import PFLRule
from schedulers.rule import Rule
from schedulers.stop_audit import AuditedRule
from tests.builders import LR, small_sweep
from tests.study.slot import Slot

SWEEP = small_sweep()
RULES: dict[str, Callable[[], Rule]] = {
    "FIFO": lambda: FIFORule(max_resource=6),
    "ASHA stopping": lambda: ASHARule(max_resource=6, grace_period=1, reduction_factor=2),
    "ASHA promotion": lambda: ASHARule(
        max_resource=6, grace_period=1, reduction_factor=2, variant="promotion"
    ),
    "ASHA audited": lambda: AuditedRule(ASHARule(max_resource=6, reduction_factor=2), audit_fraction=0.5),
    "successive halving audited": lambda: AuditedRule(
        SuccessiveHalvingRule(max_resource=6, reduction_factor=2, population_size=6), audit_fraction=0.5
    ),
    "PBT": lambda: PBTRule(
        max_resource=6, perturbation_interval=2, space=SWEEP.space, population_size=SWEEP.trials, seed=1
    ),
    "PFL": lambda: PFLRule(max_resource=6, population_size=SWEEP.trials, min_finished=2),
    "ClassicPFL": lambda: ClassicPFLRule(max_resource=6, n_startup_trials=2, n_warmup_epochs=2, top_k=2),
    "Hyperband": lambda: HyperbandRule(max_resource=6, reduction_factor=2, population_size=SWEEP.trials),
    "SuccessiveHalving": lambda: SuccessiveHalvingRule(
        max_resource=6, reduction_factor=2, bracket_size=3, population_size=SWEEP.trials
    ),
    "SuccessiveHalving, population unknown": lambda: SuccessiveHalvingRule(max_resource=6),
    "MedianStopping": lambda: MedianStoppingRule(max_resource=6, n_startup_trials=1, n_warmup_steps=1),
    "Margin": lambda: MarginRule(max_resource=6, margins={2: 0.5, 4: 0.1}),
    "Patience": lambda: PatienceRule(max_resource=6, patience=1, min_delta=0.3),
}


@pytest.fixture(params=RULES)
def make_rule(request: pytest.FixtureRequest) -> Callable[[], Rule]:
    return RULES[request.param]


def history(folder: Path) -> list[tuple[Any, ...]]:
    """Every epoch that counted, with the decision on it."""
    return [
        (event.trial, event.epoch, event.generation, event.work, repr(event.loss), event.decision)
        for event in read_events(folder / "journal")
        if isinstance(event, EpochReported) and not event.again
    ]


def test_a_rule_rebuilt_at_any_moment_is_as_the_one_that_lived(
    tmp_path: Path, make_rule: Callable[[], Rule]
) -> None:
    slot = Slot(tmp_path / "lived", SWEEP, make_rule())
    for _ in slot.run():
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "lived", tmp_path / "copy")
        again = Slot(tmp_path / "copy", SWEEP, make_rule())
        assert again.rule.state() == slot.rule.state()
        assert again.searcher.waiting == slot.searcher.waiting


def test_a_study_cut_after_any_epoch_has_the_uninterrupted_ones_history(
    tmp_path: Path, make_rule: Callable[[], Rule]
) -> None:
    for _ in Slot(tmp_path / "whole", SWEEP, make_rule()).run():
        pass
    whole = history(tmp_path / "whole")
    for cut in range(1, len(whole)):
        folder = tmp_path / f"cut-{cut}"
        first = Slot(folder, SWEEP, make_rule()).run()
        for _ in range(cut):
            next(first, None)
        for _ in Slot(folder, SWEEP, make_rule()).run():
            pass
        assert sorted(history(folder)) == sorted(whole)


def test_a_journal_cut_in_any_line_leads_to_each_trial_ended_once(
    tmp_path: Path, make_rule: Callable[[], Rule]
) -> None:
    for _ in Slot(tmp_path / "whole", SWEEP, make_rule()).run():
        pass
    [segment] = (tmp_path / "whole/journal").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines)):
        folder = tmp_path / f"cut-{cut}"
        make_journal(folder / "journal")
        torn = lines[cut][: len(lines[cut]) // 2]
        (folder / "journal" / segment.name).write_bytes(b"".join(lines[:cut]) + torn)
        slot = Slot(folder, SWEEP, make_rule())
        for _ in slot.run():
            pass
        record = fold(read_events(folder / "journal"))
        assert len(record.trials) == SWEEP.trials
        assert record.unfinished() == []
        epochs = [(trial, epoch) for trial, epoch, *_ in history(folder)]
        assert len(set(epochs)) == len(epochs)
        assert slot.searcher.asked == list(range(SWEEP.trials))
        assert set(slot.searcher.told) == set(record.trials)


def test_the_searcher_of_a_resumed_study_heard_what_the_first_heard(tmp_path: Path) -> None:
    slot = Slot(tmp_path, SWEEP, RULES["ASHA stopping"]())
    for _ in slot.run():
        pass
    again = Slot(tmp_path, SWEEP, RULES["ASHA stopping"]())
    assert again.searcher.told == slot.searcher.told
    assert repr(again.searcher.reports) == repr(slot.searcher.reports)  # nan is not equal to itself


def test_an_exploit_is_in_the_journal_once_with_donor_and_configuration(tmp_path: Path) -> None:
    for _ in Slot(tmp_path, SWEEP, RULES["PBT"]()).run():
        pass
    record = fold(read_events(tmp_path / "journal"))
    copies = [(trial.trial, step.epoch) for trial in record.trials.values() for step in trial.lineage]
    assert copies
    assert len(set(copies)) == len(copies)
    for trial in record.trials.values():
        assert trial.generation == len(trial.lineage)
        assert all(step.donor != trial.trial and 1e-3 <= step.config[LR] <= 1.0 for step in trial.lineage)


def fates(record: StudyRecord) -> list[tuple[Any, ...]]:
    return [
        (trial.status, trial.awaits_copy, trial.failures_before_copy, trial.lineage)
        for trial in record.trials.values()
    ]


def fragile(config: Mapping[str, Any], epoch: int) -> bool:
    """The members that begin with a low rate fail in their third epoch."""
    return bool(config[LR] < 10**-1.5 and epoch == 3)


@pytest.mark.parametrize("synchronous", [True, False])
def test_failed_members_are_replaced_and_counted_across_any_cut(tmp_path: Path, synchronous: bool) -> None:
    """The rebuilt rule is that which lived; no failure counts twice; the population stays whole."""

    def pbt() -> Rule:
        return PBTRule(
            max_resource=6,
            perturbation_interval=2,
            space=SWEEP.space,
            population_size=SWEEP.trials,
            seed=1,
            synchronous=synchronous,
        )

    lived = Slot(tmp_path / "lived", SWEEP, pbt(), fails=fragile)
    cuts = 0
    for _ in lived.run():
        cuts += 1
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "lived", tmp_path / "copy")
        again = Slot(tmp_path / "copy", SWEEP, pbt(), fails=fragile)
        assert again.rule.state() == lived.rule.state()
        assert again.searcher.waiting == lived.searcher.waiting
        assert fates(again.record) == fates(lived.record)
    fallen = [trial for trial in lived.record.trials.values() if trial.failures_before_copy]
    assert fallen
    assert lived.record.failures >= len(fallen)
    assert {trial.outcome for trial in fallen} <= {"completed", "failed"}
    assert "completed" in {trial.outcome for trial in fallen}
    whole = history(tmp_path / "lived")
    for cut in range(1, cuts - 1):
        folder = tmp_path / f"cut-{cut}"
        first = Slot(folder, SWEEP, pbt(), fails=fragile).run()
        for _ in range(cut):
            next(first, None)
        second = Slot(folder, SWEEP, pbt(), fails=fragile)
        for _ in second.run():
            pass
        assert sorted(history(folder)) == sorted(whole)
        assert second.record.failures == lived.record.failures
