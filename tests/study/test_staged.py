"""A staged study on disk: what is begun, what is over, what it has come to. Real journals, no Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.config import Sweep
from raysweep.search.initial_points import Proposal
from raysweep.study.journal.status_file import StatusFile, read_status
from raysweep.study.results.best_config import NoWinner
from raysweep.study.results.retrain import prepare
from raysweep.study.results.seed_race import SeedRaceSearcher
from raysweep.study.stages.state import (
    FILE,
    StageState,
    begin_stage,
    best_of_stages,
    end_stage,
    stage_states,
    staged_best,
    staged_retraining,
    write_stage_state,
    write_staged_best,
)
from raysweep.study.stages.status_file import StagesStatusFile
from raysweep.study.storage.files import read_json, write_json
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from schedulers.fifo import FIFORule
from schedulers.racing import RacingRule
from tests.builders import LR, small_sweep
from tests.study.slot import Slot

STAGES = [
    {"name": "explore", "trials": 4, "run": {"epochs": 2}},
    {"name": "refine", "trials": 3, "top": 2, "margin": 0.0},
    {"name": "validate", "top": 2, "seeds": 2},
]


class Drawn:
    """Proposes rates within what is searched now, the baseline first."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def __call__(self, number: int) -> Proposal:
        if number == 0:
            return Proposal({LR: self.sweep.run.optimizer_config["lr"]}, "baseline")
        return Proposal({LR: self.sweep.space[LR].from_unit(0.31 * number % 1.0)}, "sampler")


def play(part: StageState) -> None:
    """Run a stage's study to its end."""
    sweep = part.folder.sweep()
    racing = part.stage.kind == "validate"
    rule = RacingRule(max_resource=sweep.run.epochs) if racing else FIFORule(max_resource=sweep.run.epochs)
    slot = Slot(part.folder.path, sweep, rule)
    if racing:
        slot.controller.searcher = slot.controller.bus.searcher = SeedRaceSearcher(**sweep.sampler.kwargs)
    else:
        slot.searcher.ask = Drawn(sweep)  # type: ignore[method-assign]
    slot.controller.bus.subscribers = [StatusFile(part.folder, slot.record, sweep.metric, sweep.sign)]
    for _ in slot.run():
        pass


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    sweep = small_sweep(study_name="whole", stages=STAGES)
    return StudyFolder.create(tmp_path, "whole", sweep, "# mine\n")


def carried_to(study: StudyFolder, name: str) -> StudyFolder:
    """The study with every stage over up to this one, itself included."""
    for number, part in enumerate(stage_states(study)):
        if part.over:
            continue
        begun = begin_stage(study, study.stored_sweep(), part, clock=lambda number=number: 100.0 + number)  # type: ignore[misc]
        play(begun)
        end_stage(begun, "all trials ended", 200.0)
        if part.stage.name == name:
            break
    return study


def test_each_stage_is_a_study_of_its_own_with_what_it_was_made_of(study: StudyFolder) -> None:
    carried_to(study, "explore")
    first, second, third = stage_states(study)
    assert (first.over, second.trains, third.facts) == (True, False, {})
    second = begin_stage(study, study.stored_sweep(), second, clock=lambda: 5.0)
    folder = StudyFolder.open(study.path / "stages" / "refine")
    assert folder.stored_sweep().warm_start == ("explore",)
    assert second.facts["begun_at"] == 5.0
    assert second.facts["lines"][0].startswith(f"{LR}: 0.001..1 log -> ")
    text = (folder.path / "sweep.yaml").read_text()
    assert text.startswith(
        "# stage refine of whole, derived from the stages before it\n# optimizer_config.lr: "
    )
    assert yaml.safe_load(text)["trials"] == 3


def test_a_stage_that_has_begun_is_never_derived_again(study: StudyFolder) -> None:
    """Whatever the stages before it have become since: its trials were drawn under what it was."""
    carried_to(study, "explore")
    begun = begin_stage(study, study.stored_sweep(), stage_states(study)[1], clock=lambda: 5.0)
    before = begun.folder.meta_file.read_bytes()
    other = small_sweep(study_name="whole", stages=STAGES, seed=7)
    assert begin_stage(study, other, stage_states(study)[1], clock=lambda: 6.0).facts == begun.facts
    assert begun.folder.meta_file.read_bytes() == before


def test_a_stage_begins_whole_or_not_at_all(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of making its folder leaves none."""
    carried_to(study, "explore")
    part = stage_states(study)[1]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raysweep.study.stages.state.keep_code", killed)
    with pytest.raises(KeyboardInterrupt):
        begin_stage(study, study.stored_sweep(), part, clock=lambda: 1.0)
    monkeypatch.undo()
    assert not part.folder.path.exists()
    again = begin_stage(study, study.stored_sweep(), part, clock=lambda: 2.0)
    assert again.trains
    assert again.facts["lines"][0].startswith(LR)


def test_the_incumbent_is_the_last_searchs_best_then_the_validations(study: StudyFolder) -> None:
    sweep = study.stored_sweep()
    assert best_of_stages(sweep, stage_states(study)) is None
    carried_to(study, "refine")
    best = best_of_stages(sweep, stage_states(study))
    assert best is not None
    assert best.trial is not None
    assert best.where == f"trial {best.trial.number} of refine"
    carried_to(study, "validate")
    proven = best_of_stages(sweep, stage_states(study))
    assert proven is not None
    assert proven.validated is not None
    assert len(proven.validated["seeds"]) == 2
    assert proven.where == f"{proven.validated['what']}, over 2 seeds"


def test_best_yaml_says_which_stage_and_takes_fresh_seeds(study: StudyFolder) -> None:
    with pytest.raises(NoWinner, match="no trial of any stage"):
        staged_best(study)
    write_staged_best(study)
    assert not study.best_file.exists()
    carried_to(study, "validate")
    write_staged_best(study)
    text = study.best_file.read_text()
    assert text.startswith("# study whole, stage validate: trial ")
    assert "python launch.py retrain whole " in text
    used = stage_states(study)[-1].folder.stored_sweep().sampler.kwargs["seeds"]
    assert not set(yaml.safe_load(text)["seeds"]) & {*used, *study.stored_sweep().run.seeds}


def test_where_nothing_beats_the_run_as_it_was_best_yaml_is_that_run(study: StudyFolder) -> None:
    carried_to(study, "validate")
    part = stage_states(study)[-1]
    standings = part.facts["verdict"]["standings"]
    mine = {**standings[-1], "name": "baseline", "what": "the run as it was"}
    write_stage_state(part, verdict={**part.facts["verdict"], "standings": [mine, *standings]})
    derived, text = staged_best(study)
    assert derived.run["optimizer_config"]["lr"] == 0.1
    assert "no trial of the search beat it" in text


def test_a_retraining_begins_with_the_validations_order_and_other_seeds(study: StudyFolder) -> None:
    carried_to(study, "validate")
    sweep = staged_retraining(study, top_k=1, seeds=3)
    facts = stage_states(study)[-1].facts["verdict"]
    searched = [one["name"] for one in facts["standings"] if one["name"] != "baseline"]
    names = [each["name"] for each in sweep.sampler.kwargs["candidates"]]
    assert names == [searched[0], "baseline"]
    used = stage_states(study)[-1].folder.stored_sweep().sampler.kwargs["seeds"]
    assert not set(sweep.sampler.kwargs["seeds"]) & set(used)
    assert (sweep.study_name, sweep.stages) == ("whole_retrain", ())
    folder = prepare(study, "retrain", make=staged_retraining, top_k=1)
    assert folder.path == study.path / "retrain"


def test_the_status_is_that_of_all_stages_together(study: StudyFolder) -> None:
    file = StagesStatusFile(study, study.stored_sweep())
    file.write("running")
    fresh = read_status(study.path)
    assert (fresh["state"], fresh["stage"], fresh["best"]) == ("interrupted", "explore", None)
    assert fresh["trials"] == {"wanted": 4 + 3 + 3 * 2, "asked": 0}
    carried_to(study, "refine")
    file.write("interrupted", 130, "SIGINT")
    half = read_status(study.path)
    assert [one["state"] for one in half["stages"]] == ["done", "done", "waiting"]
    assert (half["stage"], half["best"]["stage"], half["reason"]) == ("validate", "refine", "SIGINT")  # type: ignore[index]
    carried_to(study, "validate")
    file.write("done", 0, "all stages ended")
    whole = read_status(study.path)
    assert (whole["best"]["status"], whole["best"]["stage"]) == ("validated", "validate")  # type: ignore[index]
    assert whole["trials"]["asked"] == whole["trials"]["wanted"]
    json.dumps(whole, allow_nan=False)


def test_a_stage_of_a_killed_driver_runs_no_more(study: StudyFolder) -> None:
    """The file of the whole was written while it lived."""
    carried_to(study, "explore")
    StagesStatusFile(study, study.stored_sweep()).write("running")
    words = read_json(study.status_file, version=1, kind="status")
    words["stages"][1]["state"] = "running"
    write_json(study.status_file, "status", words)
    assert [one["state"] for one in read_status(study.path)["stages"]] == ["done", "interrupted", "waiting"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("{}", "its checksum does not match"), ("nonsense", "cannot be read"), ('{"version": 9}', "format 9")],
)
def test_what_cannot_be_read_is_one_line(study: StudyFolder, text: str, line: str) -> None:
    place = study.stage("explore").path
    place.mkdir(parents=True)
    (place / FILE).write_text(text)
    with pytest.raises(NotAStudy, match=line):
        stage_states(study)


def test_earlier_studies_are_found_from_within_a_stage(study: StudyFolder) -> None:
    """A stage's own neighbours are the other stages: the user's are named by their paths."""
    sweep: Any = study.stored_sweep().model_copy(update={"warm_start": ("old", "elsewhere/older")})
    (study.path.parent / "old").mkdir()
    part = begin_stage(study, sweep, stage_states(study)[0], clock=lambda: 0.0)
    assert part.folder.stored_sweep().warm_start == (str(study.path.parent / "old"), "elsewhere/older")
