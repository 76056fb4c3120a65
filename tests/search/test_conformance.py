"""What every sampler must hold, over all of them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from raysweep.search.ray_optuna_search import RayOptunaSearch
from tests.search.scripted import SWEEPS, TRIALS, play, rebuild, script, sweep

NO_DUPLICATES = [name for name in SWEEPS if "duplicates" in SWEEPS[name] or name in ("Grid", "BruteForce")]
BASELINE = {"opt.lr": 0.3, "net.layers": 2, "net.norm": None, "opt.name": "sgd", "opt.momentum": 0.5}


def played(name: str, **more: Any) -> tuple[Any, ...]:
    steps = list(script(TRIALS.get(name, 24)))
    asked: dict[Any, Any] = {}
    searcher = sweep(name, **more)
    play(searcher, steps, asked)
    return searcher, asked, steps


@pytest.mark.parametrize("name", SWEEPS)
def test_suggestions_lie_in_the_space_and_no_trial_is_left_running(name: str) -> None:
    searcher, asked, _ = played(name)
    assert searcher.space is not None
    for answer in asked.values():
        assert searcher.space.contains(answer[0]), answer
    states = {trial.state for trial in searcher.study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}


@pytest.mark.parametrize("name", SWEEPS)
def test_the_same_seed_gives_the_same_trials_and_another_seed_others(name: str) -> None:
    first, again, other = (played(name, seed=seed)[1] for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", SWEEPS)
def test_a_study_rebuilt_at_any_cut_asks_what_the_uninterrupted_asks(name: str) -> None:
    """Running trials, the baseline and the user's points included."""
    more = {} if name == "Grid" else {"baseline": BASELINE, "points_to_evaluate": [{"opt.lr": 0.2}]}
    _, asked, steps = played(name, **more)
    for cut in range(1, len(steps), 41 if name == "GP" else 9):
        rebuilt = rebuild(sweep(name, **more), steps[:cut], asked)
        carried_on = dict(asked)
        play(rebuilt, steps[cut:], carried_on)
        assert carried_on == asked, f"cut at step {cut}"


@pytest.mark.parametrize("name", SWEEPS)
def test_a_searcher_saved_and_restored_by_ray_asks_on_as_before(name: str, tmp_path: Path) -> None:
    _, asked, steps = played(name)
    half = len(steps) // 2
    before, after, carried_on = sweep(name), sweep(name, seed=99), dict(asked)
    play(before, steps[:half], {})
    before.save(str(tmp_path / "searcher.pkl"))
    after.restore(str(tmp_path / "searcher.pkl"))
    play(after, steps[half:], carried_on)
    assert carried_on == asked


@pytest.mark.parametrize("name", [name for name in SWEEPS if not name.startswith("Random")])
def test_the_sampler_really_ran(name: str) -> None:
    """After its random start it asks for other trials than random search with the same seed."""
    _, asked, _ = played(name)
    words = {key: SWEEPS[name][key] for key in ("space", "when", "others") if key in SWEEPS[name]}
    searcher = RayOptunaSearch(**words, sampler="optuna.samplers.RandomSampler", seed=7)
    at_random: dict[int, Any] = {}
    play(searcher, script(TRIALS.get(name, 24)), at_random)
    differing = [number for number in asked if asked[number] != at_random[number]]
    assert len(differing) > len(asked) / 4


@pytest.mark.parametrize("name", NO_DUPLICATES)
def test_where_duplicates_are_skipped_every_trial_is_another(name: str) -> None:
    _, asked, _ = played(name)
    assert len({tuple(sorted(answer[0].items(), key=str)) for answer in asked.values()}) == len(asked)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_searcher_pickles(name: str) -> None:
    searcher, _, _ = played(name)
    assert len(pickle.loads(pickle.dumps(searcher)).study.trials) == TRIALS.get(name, 24)
