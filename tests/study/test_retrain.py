"""A retraining: which configurations are trained, in which order, and with which result."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.config import Sweep, SweepError
from raysweep.study.journal.events import AttemptStarted
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.results.retrain import candidates, prepare, retraining, shown_keys
from raysweep.study.results.retrain_result import evaluate_retraining, interval, p_best
from raysweep.study.results.seed_race import SeedRaceSearcher
from raysweep.study.results.test_set_access import list_test_set_accesses, record_test_set_access
from raysweep.study.storage.layout import StudyExists, StudyFolder
from tests.builders import epoch_reported, trial_created, trial_ended
from tests.study.test_best import CONFIG, record_of, template_sweep

LR = "optimizer_config.lr"


def searched_sweep(**words: Any) -> Sweep:
    space = {LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True}}
    return Sweep.model_validate(template_sweep().model_dump(mode="json") | {"search_space": space} | words)


def trial(
    number: int, lr: float, loss: float | None, outcome: str = "completed", **words: Any
) -> TrialRecord:
    trial_record = TrialRecord(
        number, f"{number:05d}", {LR: lr}, words.pop("source", "sampler"), 0.0, outcome=outcome
    )
    trial_record.first_config, trial_record.last_loss, trial_record.best_loss = {LR: lr}, loss, loss
    return trial_record


def record(*trials: TrialRecord) -> StudyRecord:
    return StudyRecord(trials={each.trial: each for each in trials})


@pytest.mark.parametrize(
    ("trials", "names"),
    [
        ([trial(0, 0.3, 0.5), trial(1, 0.2, 0.4), trial(2, 0.4, 0.6)], ["t1", "t0", "baseline"]),
        ([trial(0, 0.3, 0.5), trial(1, 0.3, 0.4), trial(2, 0.4, 0.6)], ["t1", "t2", "baseline"]),  # a twin
        ([trial(0, 0.1, 0.5, source="baseline"), trial(1, 0.2, 0.4)], ["t1", "baseline"]),
        ([trial(0, 0.1, 0.3, source="baseline"), trial(1, 0.2, 0.4)], ["baseline", "t1"]),  # it won
        ([trial(0, 0.3, 0.1, "stopped"), trial(1, 0.2, 0.4)], ["t1", "t0", "baseline"]),  # whole ones first
        ([trial(0, 0.3, 0.1, "diverged"), trial(1, 0.2, 0.4)], ["t1", "baseline"]),
    ],
)
def test_the_top_k_and_the_baseline_are_trained_again(trials: list[Any], names: list[str]) -> None:
    assert [each.name for each in candidates(searched_sweep(), record(*trials), top_k=2)] == names


def test_a_populations_winner_runs_under_its_schedule_and_last_settings() -> None:
    chosen = candidates(searched_sweep(), record_of(CONFIG, copied=True), top_k=1)
    assert [each.name for each in chosen] == ["t1", "t1-last", "baseline"]
    assert chosen[0].config["schedule"][0]["config"][LR] == 0.2
    assert "schedule" not in chosen[1].config
    assert chosen[1].config[LR] == 0.2


def test_the_sweep_of_a_retraining_is_one_like_any_other() -> None:
    """It can be written into a study's folder and read back, with all it needs to go on."""
    sweep = retraining(searched_sweep(), record(trial(0, 0.3, 0.5)), top_k=1, seeds=3)
    assert Sweep.model_validate(sweep.model_dump(mode="json")) == sweep
    assert (sweep.trials, sweep.run.epochs, sweep.run.seeds) == (6, 150, [58, 89, 231])
    assert sweep.sampler.kwargs["seeds"] == [58, 89, 231]
    assert shown_keys(sweep) == ("trial.candidate", "trial.seed", LR)


def test_the_schedules_lengths_follow_an_overridden_number_of_epochs() -> None:
    sweep = retraining(searched_sweep(), record(trial(0, 0.3, 0.5)), overrides=["epochs=20", "batch_size=8"])
    assert (sweep.run.epochs, sweep.run.scheduler_config["total_steps"], sweep.run.batch_size) == (20, 20, 8)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("epochs=few", "--set epochs: 'few' is no whole number above 0; write --set run.epochs=50"),
        ("run.epoch=3", "--set run.epoch: unknown; did you mean 'epochs'?"),
        ("run.batch_size=0", "run.batch_size"),
        ("nonsense", "--set nonsense: is no key=value"),
    ],
)
def test_an_override_that_cannot_be_is_one_line(override: str, line: str) -> None:
    with pytest.raises(SweepError) as caught:
        retraining(searched_sweep(), record(trial(0, 0.3, 0.5)), overrides=[override])
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A study of two completed trials."""
    from raysweep.study.journal.log import Journal

    folder = StudyFolder.create(tmp_path, "small", searched_sweep(), "")
    journal = Journal(folder.journal_dir, "small")
    for event in events():
        journal.append(event)
    journal.close()
    return folder


def events() -> list[Any]:
    return [
        AttemptStarted(t=0, attempt=1, slots=1, trials=1),
        trial_created("00000", {LR: 0.3}),
        epoch_reported("00000", 1, 0.5, metrics={"val_loss": 0.5}, decision="stop"),
        trial_ended("00000"),
    ]


def test_a_retraining_is_carried_on_and_never_mixed_with_another(study: StudyFolder) -> None:
    first = prepare(study, "retrain", top_k=1, seeds=3)
    assert prepare(study, "retrain") == first
    assert prepare(study, "retrain", top_k=1, seeds=3) == first
    with pytest.raises(StudyExists, match="--name"):
        prepare(study, "retrain", seeds=4)
    assert prepare(study, "other", seeds=4) != first


RACE = [{"name": name, "config": {LR: lr}, "value": lr} for name, lr in (("a", 0.1), ("b", 0.2), ("c", 0.3))]


def raced(losses: Mapping[str, Any], seeds: tuple[Any, ...] = (1, 2, 3, 4, 5)) -> list[Any]:
    """The order in which a race begins trainings that end at once."""
    race = SeedRaceSearcher(RACE, seeds)
    begun: list[Any] = []
    while (proposal := race.ask(len(begun))) is not None:
        name, seed = proposal.config["trial.candidate"], proposal.config["trial.seed"]
        loss = losses[name][seed]
        outcome = "completed" if math.isfinite(loss) else "diverged"
        race.tell(f"{len(begun):05d}", outcome, loss, "")
        begun.append((name, seed))
    return begun


def test_seeds_are_run_in_rounds() -> None:
    noise = {
        name: {seed: 0.1 * ((seed * k) % 3) for seed in range(1, 6)}
        for name, k in (("a", 1), ("b", 2), ("c", 4))
    }
    assert raced(noise)[:6] == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("c", 2)]
    assert len(raced(noise)) == 15


def test_no_further_seed_of_a_loser_is_begun() -> None:
    losses = {
        name: {seed: base + 0.01 * (seed % 2) for seed in range(1, 6)}
        for name, base in (("a", 0.1), ("b", 0.1))
    }
    losses["c"] = {seed: 5.0 + 0.1 * seed for seed in range(1, 6)}
    begun = raced(losses)
    assert [seed for name, seed in begun if name == "c"] == [1, 2, 3]
    assert [seed for name, seed in begun if name == "a"] == [1, 2, 3, 4, 5]


def test_a_resumed_race_continues_as_if_it_had_not_stopped() -> None:
    live, again = SeedRaceSearcher(RACE, (1, 2)), SeedRaceSearcher(RACE, (1, 2))
    for number in range(3):
        proposal = live.ask(number)
        assert proposal is not None
        again.replay_asked(number, proposal.config, proposal.source)
    assert live.ask(3) == again.ask(3)


def finished(losses: Mapping[str, Any], direction: str = "minimize") -> tuple[Any, ...]:
    """A retraining whose candidates had these values on seeds 1, 2, ..."""
    sampler = {
        "name": "raysweep.study.results.seed_race.SeedRaceSearcher",
        "kwargs": {"candidates": RACE, "seeds": [1, 2, 3, 4, 5]},
    }
    sweep = searched_sweep(sampler=sampler, direction=direction, metrics=None, metric="val_loss")
    trials: list[Any] = []
    for name, values in losses.items():
        for seed, value in enumerate(values, start=1):
            one = trial(len(trials), 0.1, sweep.sign * value if math.isfinite(value) else None)
            one.config |= {"trial.candidate": name, "trial.seed": seed}
            one.outcome, one.ended_at = (
                "completed" if math.isfinite(value) else "diverged",
                float(len(trials)),
            )
            trials.append(one)
    return sweep, record(*trials)


def test_the_verdict_ranks_by_the_mean_over_seeds() -> None:
    verdict = evaluate_retraining(
        *finished({"a": [0.3, 0.5, 0.4], "b": [0.2, 0.3, 0.25], "c": [0.35, 0.45, 0.5]})
    )
    winner = verdict.winner
    assert winner is not None
    assert [one.name for one in verdict.standings] == ["b", "a", "c"]
    assert (winner.mean, round(winner.std, 6)) == (0.25, 0.05)
    assert (round(winner.low, 4), round(winner.high, 4)) == (0.0292, 0.4708)  # of three: t(2) = 7.649
    assert verdict.margin == pytest.approx(0.15)


def test_what_is_maximised_is_mirrored() -> None:
    values = {"a": [0.3, 0.5, 0.4], "b": [0.2, 0.3, 0.25]}
    up, down = evaluate_retraining(*finished(values, "maximize")), evaluate_retraining(*finished(values))
    assert [one.name for one in up.standings[:2]] == ["a", "b"]
    assert up.margin == pytest.approx(down.margin)
    assert up.standings[0].p_best == pytest.approx(down.standings[0].p_best, abs=0.02)


@pytest.mark.parametrize(
    ("means", "tau"),
    [([0.1, 0.2, 0.3], 1.0), ([0.3, 0.2, 0.1], -1.0), ([0.1, 0.3, 0.2], pytest.approx(1 / 3))],
)
def test_rank_stability_is_kendalls_tau_against_the_sweep(means: list[float], tau: Any) -> None:
    values = {name: [mean, mean + 0.01] for name, mean in zip("abc", means, strict=True)}
    assert evaluate_retraining(*finished(values)).tau == tau


def test_a_lead_within_the_noise_is_not_called_clear() -> None:
    assert not evaluate_retraining(*finished({"a": [0.3, 0.5, 0.4], "b": [0.35, 0.4, 0.5]})).clear
    assert evaluate_retraining(*finished({"a": [0.30, 0.31, 0.32], "b": [0.40, 0.42, 0.41]})).clear


@pytest.mark.parametrize(("seeds", "candidates"), [(2, 2), (3, 2), (5, 3)])
def test_of_equal_candidates_few_are_called_better(seeds: int, candidates: int) -> None:
    """At most 5% clear winners, and 5% with P(best) of nine tenths; 300 races tell 8% from that."""
    rng, clear, sure = np.random.default_rng(1), 0, 0
    for _ in range(300):
        table = np.exp(0.5 * rng.standard_normal((candidates, seeds)))
        verdict = evaluate_retraining(*finished(dict(zip("abc", table.tolist(), strict=False))))
        clear += verdict.clear
        sure += verdict.standings[0].p_best >= 0.9
    assert clear / 300 <= 0.08
    assert sure / 300 <= 0.08


def test_a_winner_that_leads_by_far_is_both() -> None:
    rng, clear, sure = np.random.default_rng(2), 0, 0
    for _ in range(50):
        table = rng.standard_normal((3, 5)) + np.array([[0.0], [8.0], [9.0]])
        verdict = evaluate_retraining(*finished(dict(zip("abc", table.tolist(), strict=True))))
        clear += verdict.clear
        sure += verdict.standings[0].p_best >= 0.9
    assert clear >= 45
    assert sure >= 48


@pytest.mark.parametrize(("seeds", "candidates"), [(2, 2), (5, 2), (3, 4), (5, 4)])
def test_the_winners_interval_holds_its_mean_though_it_was_chosen(seeds: int, candidates: int) -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        table = rng.standard_normal((candidates, seeds))
        low, high = interval(table[table.mean(1).argmin()].tolist(), candidates)
        held += low <= 0 <= high
    assert held >= 950


def test_a_candidate_that_diverged_on_a_seed_cannot_win() -> None:
    verdict = evaluate_retraining(*finished({"a": [0.1, math.nan, 0.1], "b": [0.4, 0.5, 0.4]}))
    assert verdict.winner is not None
    assert verdict.winner.name == "b"
    assert "diverged on seed 2" in verdict.standings[-1].out or "diverged" in verdict.standings[1].out


def test_no_candidate_wins_a_race_that_none_finished() -> None:
    assert evaluate_retraining(*finished({})).winner is None


def test_the_chance_to_be_best_of_one_alone_is_one_and_of_equals_a_half() -> None:
    values = {1: 0.1, 2: 0.4, 3: 0.2, 4: 0.3}
    assert p_best({"a": values}, 1) == {"a": 1.0}
    mirrored = dict(zip(values, reversed(values.values()), strict=True))
    assert p_best({"a": values, "b": mirrored}, 1)["a"] == pytest.approx(0.5, abs=0.02)


def test_one_seed_has_no_interval() -> None:
    assert all(map(math.isnan, interval([0.1])))


def test_the_door_is_written_before_it_opens_and_remembers(tmp_path: Path) -> None:
    """A second access is told of the first, and its time."""
    ticks = iter([10.0, 20.0])
    assert record_test_set_access(tmp_path, by="retrain a", why="a: trial 1", clock=ticks.__next__) == []
    before = record_test_set_access(tmp_path, by="retrain b", why="b: trial 2", clock=ticks.__next__)
    assert [(opening.t, opening.by) for opening in before] == [(10.0, "retrain a")]
    assert len(list_test_set_accesses(tmp_path)) == 2


def test_a_torn_line_still_counts_as_an_opening(tmp_path: Path) -> None:
    (tmp_path / "test_access.jsonl").write_text(json.dumps({"t": 1.0, "by": "x", "why": "y"}) + '\n{"t": 2')
    assert len(list_test_set_accesses(tmp_path)) == 2
