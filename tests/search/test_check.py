"""What is said of a search before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.config import Sweep
from raysweep.search.search_checks import Unsearchable, check_search

S = "optuna.samplers."
LR = {"optimizer_config.lr": {"type": "float", "min": 1e-3, "max": 1.0, "log": True}}
LISTED = {"net_config.layers": {"type": "int", "min": 1, "max": 4}}
TWO = [{"name": "val_loss"}, {"name": "parameters"}]


def sweep(sampler: str = "TPESampler", **words: Any) -> Sweep:
    given = {"study_name": "s", "run": {"data": "trainables.data.load_digits"}, "search_space": LR}
    return Sweep.model_validate({**given, "sampler": sampler if "." in sampler else S + sampler, **words})


@pytest.mark.parametrize(
    ("words", "key", "sentence"),
    [
        (
            {"sampler": S + "CmaEsSampler", "metrics": TWO, "search_space": {**LR, **LISTED}},
            "sampler",
            "handles one objective only, not 2; use optuna.samplers.NSGAIISampler or TPESampler",
        ),
        ({"sampler": S + "GridSampler"}, "sampler", "give a step or choices"),
        ({"points_to_evaluate": [{"optimizer_config.lr": 7.0}]}, "points_to_evaluate", "is never 7.0"),
        (
            {
                "sampler": S + "GridSampler",
                "search_space": LISTED,
                "points_to_evaluate": [{"net_config.layers": 2}],
            },
            "points_to_evaluate",
            "tries its grid and nothing else",
        ),
    ],
)
def test_what_cannot_be_searched_names_the_key_to_mend(
    words: dict[str, Any], key: str, sentence: str
) -> None:
    with pytest.raises(Unsearchable) as caught:
        check_search(sweep(**words))
    assert caught.value.key == key
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (
            {"sampler": S + "CmaEsSampler", "constraints": ["parameters <= 9"]},
            ("sampler", "ignores constraints"),
        ),
        ({"constraints": ["parameters <= 9"]}, None),
        (
            {"metrics": TWO, "trial_scheduler": "schedulers.ASHA"},
            ("trial_scheduler", "uses val_loss only, the first of"),
        ),
        (
            {"sampler": S + "GPSampler", "trial_scheduler": "schedulers.ASHA"},
            ("sampler", "learns from completed trials only"),
        ),
        ({"trial_scheduler": "schedulers.ASHA"}, None),
        (
            {"ordered": True, "trial_scheduler": "schedulers.ASHA"},
            ("ordered", "two runs propose the same as long as"),
        ),
        ({"ordered": True}, None),
        ({"search_space": LISTED}, ("trials", "there are only 4 configurations")),
        ({"search_space": LISTED, "trials": 4}, None),
        ({"search_space": LISTED, "duplicates": "replicate"}, None),
        ({"search_space": {}, "sampler": "mine.Sampler"}, None),
    ],
)
def test_what_may_surprise_is_noted_at_its_key(words: dict[str, Any], note: tuple[str, str] | None) -> None:
    notes = check_search(sweep(**words))
    assert len(notes) == (note is not None), notes
    assert note is None or (note[0] == notes[0][0] and note[1] in notes[0][1])


@pytest.mark.parametrize(
    "sampler", ["RandomSampler", "QMCSampler", "TPESampler", "GPSampler", "NSGAIISampler", "NSGAIIISampler"]
)
def test_most_samplers_take_several_metrics(sampler: str) -> None:
    check_search(sweep(sampler, metrics=TWO))
