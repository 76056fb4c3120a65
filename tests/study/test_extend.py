"""A living study: more trials, more epochs, a wider space; refused where it would be dishonest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.config import Sweep, SweepError
from raysweep.study.execution.extend import (
    CannotExtend,
    as_overrides,
    check_extension,
    earlier_sweeps,
    journal_revisions,
    not_wider,
    revised,
    schedule_tied_to_epochs,
)
from raysweep.study.journal.events import EpochReported, StudyExtended, TrialCreated, TrialReopened
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.storage.journal_files import make_journal
from raysweep.study.storage.layout import StudyFolder
from schedulers.asha import ASHARule
from schedulers.classic_pfl import ClassicPFLRule
from schedulers.fifo import FIFORule
from schedulers.hyperband import HyperbandRule
from schedulers.margin import MarginRule
from schedulers.median import MedianStoppingRule
from schedulers.patience import PatienceRule
from schedulers.pbt import PBTRule
from schedulers.pfl import PFLRule
from schedulers.rule import Rule
from schedulers.space import Categorical, Float, Int
from tests.builders import LR, small_sweep
from tests.study.slot import Slot
from trainables.run_config import RunConfig

SWEEP = small_sweep(run={"data": "trainables.data.load_digits", "epochs": 6, "scheduler": None})
RULES: dict[str, Callable[[Sweep], Rule]] = {
    "FIFO": lambda sweep: FIFORule(max_resource=sweep.run.epochs),
    "ASHA stopping": lambda sweep: ASHARule(
        max_resource=sweep.run.epochs, grace_period=2, reduction_factor=3
    ),
    "ASHA promotion": lambda sweep: ASHARule(
        max_resource=sweep.run.epochs, grace_period=2, reduction_factor=3, variant="promotion"
    ),
    "MedianStopping": lambda sweep: MedianStoppingRule(max_resource=sweep.run.epochs, n_startup_trials=2),
    "PBT": lambda sweep: PBTRule(
        max_resource=sweep.run.epochs,
        perturbation_interval=2,
        space=sweep.space,
        population_size=sweep.trials,
    ),
    "PBT asynchronous": lambda sweep: PBTRule(
        max_resource=sweep.run.epochs,
        perturbation_interval=2,
        space=sweep.space,
        population_size=sweep.trials,
        synchronous=False,
    ),
}


class Study:
    """A study of tests/study/slot.py that can be extended."""

    def __init__(self, root: Path, rule: Callable[[Sweep], Rule], sweep: Sweep = SWEEP) -> None:
        self.folder = StudyFolder.create(root, "small", sweep, "")
        self.rule = rule

    def slot(self) -> Slot:
        """One more attempt, as `run_tuner` begins one."""
        sweep = self.folder.sweep()
        past = list(read_events(self.folder.journal_dir))
        journal_revisions(self.folder, sweep, past, self.rule(sweep), now=1e6)
        return self.again(self.folder.path)

    def again(self, folder: Path) -> Slot:
        """The study as rebuilt from a folder; no event is added."""
        sweep = self.folder.sweep()
        earlier = [self.rule(before) for before in earlier_sweeps(self.folder, sweep)]
        return Slot(folder, sweep, self.rule(sweep), earlier)

    def run(self) -> Slot:
        slot = self.slot()
        for _ in slot.run():
            pass
        return slot

    def extend(self, **words: Any) -> None:
        old = self.folder.stored_sweep()
        new = old.model_copy(update=words)
        self.folder.revise(new, {"what": list(words)}, t=5e5)

    @property
    def events(self) -> list[Any]:
        return list(read_events(self.folder.journal_dir))


def longer(epochs: int) -> dict[str, Any]:
    return {"run": SWEEP.run.model_copy(update={"epochs": epochs})}


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> Callable[[Sweep], Rule]:
    return RULES[request.param]


@pytest.fixture
def study(tmp_path: Path, rule: Callable[[Sweep], Rule]) -> Study:
    study = Study(tmp_path / "lived", rule)
    study.run()
    return study


def test_more_epochs_take_the_completed_on_from_where_they_were(study: Study) -> None:
    """Each continues, or ends with a reason; none ends as completed with fewer epochs than there are now."""
    before = fold(study.events)
    study.extend(**longer(18))
    record = study.run().record
    assert record.revision == 1
    reopened = {event.trial for event in study.events if isinstance(event, TrialReopened)}
    assert reopened == {trial.trial for trial in before.trials.values() if trial.outcome == "completed"}
    assert record.unfinished() == []
    completed = [trial for trial in record.trials.values() if trial.outcome == "completed"]
    assert all(trial.epoch == 18 for trial in completed)
    for trial in before.trials.values():  # as text: nan is not equal to itself
        assert repr(record.trials[trial.trial].curve[: trial.work]) == repr(trial.curve)


def test_no_epoch_is_run_twice(study: Study) -> None:
    study.extend(**longer(18))
    study.run()
    seen = [
        (event.trial, event.generation, event.epoch)
        for event in study.events
        if isinstance(event, EpochReported)
    ]
    assert len(set(seen)) == len(seen)


def test_an_extended_study_rebuilt_at_any_moment_is_as_the_one_that_lived(
    study: Study, tmp_path: Path
) -> None:
    study.extend(**longer(9))
    slot = study.slot()
    for _ in slot.run():
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(study.folder.path, tmp_path / "copy")
        again = study.again(tmp_path / "copy")
        assert again.rule.state() == slot.rule.state()
        assert again.searcher.waiting == slot.searcher.waiting
        assert again.searcher.told == slot.searcher.told


def test_an_extended_study_cut_in_any_line_ends_every_trial_once(study: Study, tmp_path: Path) -> None:
    """Also between the events of the extension itself."""
    study.extend(**longer(9))
    whole = fold(study.run().record and study.events)  # type: ignore[arg-type]
    for folder in _cuts(study.folder, tmp_path):
        copy = Study.__new__(Study)
        copy.folder, copy.rule = folder, study.rule
        slot = copy.run()
        assert slot.record.unfinished() == []
        assert slot.record.revision == 1
        assert {trial.outcome for trial in slot.record.trials.values()} == {
            trial.outcome for trial in whole.trials.values()
        }
        epochs = [
            (event.trial, event.generation, event.epoch)
            for event in copy.events
            if isinstance(event, EpochReported)
        ]
        assert len(set(epochs)) == len(epochs)


def _cuts(whole: StudyFolder, tmp_path: Path) -> Iterator[StudyFolder]:
    """The study with its journal cut after every line, the next one torn."""
    segments = sorted(whole.journal_dir.glob("*.jsonl"))
    texts = {segment.name: segment.read_bytes().splitlines(keepends=True) for segment in segments}
    for number, segment in enumerate(segments[1:], start=1):  # the first is of before the extension
        for cut in range(1, len(texts[segment.name])):
            folder = StudyFolder(tmp_path / f"cut-{number}-{cut}")
            make_journal(folder.journal_dir)
            shutil.copy(whole.meta_file, folder.meta_file)
            for earlier in segments[:number]:
                shutil.copy(earlier, folder.journal_dir)
            lines = texts[segment.name]
            torn = lines[cut][: len(lines[cut]) // 2]
            (folder.journal_dir / segment.name).write_bytes(b"".join(lines[:cut]) + torn)
            yield folder


GROWING: dict[str, Callable[[Sweep], Rule]] = {
    **{name: make for name, make in RULES.items() if "PBT" not in name},
    "PFL": lambda sweep: PFLRule(max_resource=sweep.run.epochs, population_size=sweep.trials, min_finished=2),
    "ClassicPFL": lambda sweep: ClassicPFLRule(
        max_resource=sweep.run.epochs, n_startup_trials=2, n_warmup_epochs=2, top_k=2
    ),
    "Margin": lambda sweep: MarginRule(max_resource=sweep.run.epochs),
    "Patience": lambda sweep: PatienceRule(max_resource=sweep.run.epochs, patience=2),
}


@pytest.mark.parametrize("name", GROWING)
def test_more_trials_join_under_any_rule_that_takes_them(tmp_path: Path, name: str) -> None:
    study = Study(tmp_path, GROWING[name])
    before = study.run().record
    study.extend(trials=10)
    slot = study.run()
    assert (len(slot.record.trials), slot.record.unfinished()) == (10, [])
    for trial in before.trials.values():
        assert (slot.record.trials[trial.trial].outcome, trial.work) == (trial.outcome, trial.work)
    assert study.again(study.folder.path).rule.state() == slot.rule.state()


@pytest.mark.parametrize("name", ["Margin", "Patience"])
def test_more_epochs_under_a_rule_whose_thresholds_move_with_them(tmp_path: Path, name: str) -> None:
    """Recorded decisions stand: a trial that continued is not stopped later."""
    study = Study(tmp_path, GROWING[name])
    before = study.run().record.counts()
    study.extend(**longer(18))
    record = study.run().record
    assert record.unfinished() == []
    assert record.counts()["completed"] + record.counts()["stopped"] == sum(
        before[word] for word in ("completed", "stopped")
    )


def test_more_trials_are_drawn_under_the_new_revision(tmp_path: Path) -> None:
    study = Study(tmp_path, RULES["FIFO"])
    study.run()
    study.extend(trials=9)
    record = study.run().record
    assert [trial.revision for trial in record.trials.values()] == [0] * 6 + [1] * 3
    kinds = [event for event in study.events if isinstance(event, StudyExtended | TrialCreated)]
    assert [each.kind for each in kinds] == ["trial_created"] * 6 + ["study_revised"] + ["trial_created"] * 3


def test_a_reopened_trial_is_running_to_the_searcher_until_it_ends_again(tmp_path: Path) -> None:
    study = Study(tmp_path, RULES["FIFO"])
    study.run()
    study.extend(**longer(9))
    slot = study.slot()
    diverged = {trial for trial, outcome in slot.searcher.told.items() if outcome == "diverged"}
    assert set(slot.searcher.told) == diverged
    reopened = fold(study.events)
    assert {trial.trial for trial in reopened.unfinished()} == set(reopened.trials) - diverged


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder.create(tmp_path, "small", SWEEP, "")


def refused(folder: StudyFolder, overrides: list[str], rule: Rule | None = None) -> str:
    new = revised(folder, overrides)
    with pytest.raises(CannotExtend) as error:
        check_extension(folder, new, StudyRecord(), rule or FIFORule(max_resource=6))
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trials=6", "nothing would change"),
        ("trials=5", "trials: 5 is less than the 6 of the study"),
        ("run.epochs=5", "epochs: 5 is less than the 6 of the study"),
        ("metric=train_loss", "metric: trials of small before and after could not be compared"),
        ("run.batch_size=8", "run.batch_size: trials of small before and after"),
        ("seed=1", "seed: trials of small before and after"),
        (f"search_space.{LR}.max=0.5", "does not contain [0.001, 1.0]; a space can only be widened"),
        (f"search_space.{LR}.log=false", "another scale or step"),
        ("search_space.net_config.layers={type: int, min: 1, max: 3}", "earlier trials have no value of it"),
    ],
)
def test_what_would_be_dishonest_is_refused_with_its_reason(
    folder: StudyFolder, override: str, reason: str
) -> None:
    assert reason in refused(folder, [override])


@pytest.mark.parametrize(
    ("rule", "override", "reason"),
    [
        (PFLRule(max_resource=6), "run.epochs=9", "by what they would be worth at R"),
        (ClassicPFLRule(max_resource=6), "run.epochs=9", "by what they would be worth at R"),
        (HyperbandRule(max_resource=6, population_size=6), "trials=9", "its brackets were laid out"),
        (HyperbandRule(max_resource=6, population_size=6), "run.epochs=9", "its brackets were laid out"),
        (RULES["PBT"](SWEEP), "trials=9", "the population has a fixed size"),
    ],
)
def test_a_rule_whose_decisions_would_have_been_others_refuses(
    folder: StudyFolder, rule: Rule, override: str, reason: str
) -> None:
    assert reason in refused(folder, [override], rule)


def test_a_schedule_laid_out_over_the_epochs_refuses_and_says_the_cost(tmp_path: Path) -> None:
    words = {"data": "trainables.data.load_digits", "epochs": 6, "scheduler_config": {"upper_bound": 250}}
    folder = StudyFolder.create(tmp_path, "small", small_sweep(run=words), "")
    assert refused(folder, ["run.epochs=9"]).startswith(
        "run.scheduler pytorch_scheduler.ExpHyperbolicLRScheduler (total_steps) is tied to 6 epochs"
    )
    assert refused(folder, ["run.epochs=9"]).endswith("(6 trials, at most 54 epochs)")


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ({"scheduler": None}, ""),
        ({"scheduler": None, "warmup": 0.1}, "warmup"),
        ({"scheduler": None, "warmup": 2}, ""),
        ({"scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR"}, "T_max"),
        ({"scheduler": "torch.optim.lr_scheduler.OneCycleLR"}, "total_steps"),
        ({"scheduler": "torch.optim.lr_scheduler.ReduceLROnPlateau"}, ""),
        ({"scheduler": "torch.optim.lr_scheduler.StepLR", "scheduler_config": {"step_size": 3}}, ""),
    ],
)
def test_a_schedule_is_laid_out_over_the_epochs_if_it_takes_their_number(
    words: dict[str, Any], word: str
) -> None:
    sweep = small_sweep(run={"data": "trainables.data.load_digits", **words})
    assert word in schedule_tied_to_epochs(sweep)
    assert bool(word) == bool(schedule_tied_to_epochs(sweep))


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        (Float(0.1, 1.0), Float(0.1, 2.0), True),
        (Float(0.1, 1.0), Float(0.2, 2.0), False),
        (Float(0.0, 1.0, step=0.25), Float(-0.5, 1.0, step=0.25), True),
        (Float(0.0, 1.0, step=0.25), Float(-0.1, 1.0, step=0.25), False),
        (Int(1, 5), Int(1, 9), True),
        (Int(1, 5), Float(1, 9), False),
        (Categorical(("a", "b")), Categorical(("a", "b", "c")), True),
        (Categorical(("a", "b")), Categorical(("a",)), False),
        (Categorical((1, 2)), Int(1, 2), False),
    ],
)
def test_a_space_can_be_widened_only(old: Any, new: Any, wider: bool) -> None:
    assert bool(not_wider(old, new)) != wider


def test_a_wider_range_more_trials_and_another_budget_are_honest(folder: StudyFolder) -> None:
    words = as_overrides(folder.stored_sweep(), "+4", None)
    new = revised(folder, [*words, f"search_space.{LR}.max=2.0", "time_budget_s=60"])
    extension = check_extension(folder, new, StudyRecord(), FIFORule(max_resource=6))
    assert new.trials == 10
    assert sorted(extension.changes) == [f"search_space.{LR}", "time_budget_s", "trials"]
    assert not (folder.path / "sweep.revised.yaml").exists()


def test_a_change_of_a_range_is_printed_as_in_the_sweep_file(folder: StudyFolder) -> None:
    new = revised(folder, [f"search_space.{LR}.max=2.0"])
    line, *_ = check_extension(folder, new, StudyRecord(), FIFORule(max_resource=6)).lines(StudyRecord())
    assert line.endswith("max: 1.0, log: true} -> {type: float, min: 0.001, max: 2.0, log: true}")


def test_the_cost_of_more_epochs_is_reported(tmp_path: Path) -> None:
    study = Study(tmp_path, RULES["FIFO"])
    record = study.run().record
    completed = record.counts()["completed"]
    new = revised(study.folder, ["run.epochs=9"])
    extension = check_extension(study.folder, new, record, RULES["FIFO"](SWEEP))
    assert list(extension.lines(record)) == [
        "run.epochs: 6 -> 9",
        f"{completed} completed trials continue: at most {completed * 9} epochs, {completed * 6} of them "
        "once more: their checkpoint is gone",
    ]


def test_a_member_of_a_population_without_its_last_checkpoint_cannot_go_on(tmp_path: Path) -> None:
    """Its weights were trained under other settings than it has now: they cannot be made again."""
    study = Study(tmp_path, RULES["PBT"])
    record = study.run().record
    new = revised(study.folder, ["run.epochs=9"])
    with pytest.raises(CannotExtend, match="copied others and its last checkpoint is gone"):
        check_extension(study.folder, new, record, RULES["PBT"](SWEEP))


@pytest.mark.parametrize(("text", "words"), [("+4", ["trials=10"]), ("40", ["trials=40"])])
def test_trials_are_given_in_all_or_as_so_many_more(folder: StudyFolder, text: str, words: list[str]) -> None:
    assert as_overrides(folder.stored_sweep(), text, None) == words


def test_a_word_that_is_no_number_and_a_wrong_key_are_named(folder: StudyFolder) -> None:
    with pytest.raises(CannotExtend, match=r"--trials some: give the total, 100, or how many more"):
        as_overrides(folder.stored_sweep(), "some", None)
    with pytest.raises(SweepError, match="--set trails: unknown"):
        revised(folder, ["trails=9"])


def test_what_was_wanted_before_is_kept(folder: StudyFolder) -> None:
    new = folder.stored_sweep().model_copy(update={"trials": 9})
    folder.revise(new, {"trials": [6, 9]}, t=1.0)
    [before] = folder.revisions()
    assert before["changes"] == {"trials": [6, 9]}
    assert (folder.stored_sweep().trials, before["sweep"]["trials"]) == (9, 6)


@pytest.mark.parametrize(
    ("loop", "word"),
    [
        ({"command": "./train {lr}"}, ""),
        ({"train": "tests.trainables.test_function_loop.plain"}, ""),
        (
            {"train": "trainables.ddp.DistributedTraining"},
            "scheduler pytorch_scheduler.ExpHyperbolicLRScheduler (total_steps)",
        ),
    ],
)
def test_a_loop_that_sees_no_scheduler_is_laid_out_over_nothing(loop: dict[str, str], word: str) -> None:
    run = RunConfig.model_validate({"data": "trainables.data.load_digits", **loop})
    assert schedule_tied_to_epochs(SWEEP.model_copy(update={"run": run})) == word
