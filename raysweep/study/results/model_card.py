"""The model card: what to know about a model before using it (Mitchell et al., FAT* 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raysweep.config import Sweep
from raysweep.study.journal.records import TrialRecord
from trainables.run_config import RunConfig

EPOCHS_SHOWN = 6

OUTPUTS: Mapping[str, str] = {
    "logits": "logits",
    "probabilities": "probabilities",
    "log_probabilities": "logarithms of probabilities",
    "scores": "scores, the highest of which is the answer",
    "log_numbers": "logarithms of the predicted numbers",
}


def model_card(
    result: Mapping[str, Any], run: RunConfig, trials: Mapping[int, TrialRecord], sweep: Sweep
) -> str:
    """The model card as Markdown.

    Args:
        result: of the retraining, see `raysweep.study.results.finalize`.
        run: the winner's run config.
        trials: the winner's trainings by seed.
        sweep: of the retraining.
    """
    parts = [
        f"# {sweep.study_name.removesuffix('_retrain')}",
        _what(result, run),
        "## Use\n\n" + _use(result, run),
        "## Data\n\n" + _data(result, run),
        "## How it was found\n\n" + _budget(result, sweep),
        "## Scores\n\n" + _scores(result, sweep),
        "## Curves\n\n" + _curves(trials, sweep),
        "## Limits\n\n" + _limits(result, sweep),
        "## Provenance\n\n" + _provenance(result["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def validation_test_gap(result: Mapping[str, Any]) -> float | None:
    """Mean test score minus mean validation score of the winner's nets; None without both."""
    key = score_key(str(result["metric"]))
    means = [mean_of(result.get(split), key) for split in ("test", "val")]
    return None if means[0] is None or means[1] is None else means[0] - means[1]


def score_key(metric: str) -> str:
    """The name of a metric among the scores of an evaluation, where every loss is `loss`."""
    return "loss" if metric in ("val_loss", "train_loss") else metric


def mean_of(evaluation: Mapping[str, Any] | None, key: str) -> float | None:
    """The mean of a score over the nets of an evaluation; None if no net has it."""
    values = [each[key] for each in evaluation["members"].values() if key in each] if evaluation else []
    return sum(values) / len(values) if values else None


def _what(result: Mapping[str, Any], run: RunConfig) -> str:
    winner = result["standings"][0]
    return (
        f"`{run.net}` trained with `{run.optimizer}` on `{run.data}`: {winner['what']} of the sweep, seed "
        f"{result['model_seed']}, the weights of its best epoch."
    )


def _use(result: Mapping[str, Any], run: RunConfig) -> str:
    message = OUTPUTS.get(str((result.get("meaning") or {}).get("outputs", "")), "")
    meaning = f" The net's outputs are {message}, as `{run.criterion}` takes them." if message else ""
    return (
        "    python launch.py predict THIS_FOLDER table.csv -o predictions.csv\n\n"
        "`model.json` names the columns and how they are scaled; `weights.pt` is a torch state dict."
        + meaning
    )


def _data(result: Mapping[str, Any], run: RunConfig) -> str:
    settings = "".join(f", {key} {value}" for key, value in run.data_config.items())
    rows = result.get("rows") or {}
    counts = ", ".join(f"{count} {split}" for split, count in rows.items())
    fingerprint = str(result["provenance"].get("data_fingerprint", ""))[:16]
    return (
        f"`{run.data}`{settings}. Rows: {counts or 'unknown'}. "
        f"Fingerprint of the training and validation rows: `{fingerprint}`."
    )


def _budget(result: Mapping[str, Any], sweep: Sweep) -> str:
    space = "\n".join(f"- `{key}`: {_domain(parameter)}" for key, parameter in sweep.search_space.items())
    return (
        f"{len(result['standings'])} configurations raced over {len(sweep.run.seeds)} seeds, "
        f"{result['trainings']} trainings of at most {result['epochs']} epochs, "
        f"{result['epochs_run']} epochs in all.\n\nSearched before:\n\n{space or '- nothing'}"
    )


def _scores(result: Mapping[str, Any], sweep: Sweep) -> str:
    winner = result["standings"][0]
    spread = f"{_number(winner['mean'])} ± {_number(winner['std'])}"
    lines = [
        f"| {sweep.metric} | value |",
        "|---|---|",
        f"| validation, mean ± std of {len(winner['seeds'])} seeds | {spread} |",
    ]
    for split, name in (("val", "validation"), ("test", "test")):
        evaluation = result.get(split) or {}
        for key in evaluation.get("ensemble", ()):
            single, together = evaluation["members"][str(result["model_seed"])], evaluation["ensemble"]
            lines.append(f"| {name} {key}, this model | {_number(single[key])} |")
            lines.append(f"| {name} {key}, all seeds averaged | {_number(together[key])} |")
    return "\n".join(lines)


def _curves(trials: Mapping[int, TrialRecord], sweep: Sweep) -> str:
    longest = max((trial.epoch for trial in trials.values()), default=0)
    shown = sorted({max(1, round(longest * step / EPOCHS_SHOWN)) for step in range(1, EPOCHS_SHOWN + 1)})
    lines = [
        f"{sweep.metric} by epoch:",
        "",
        "| seed | " + " | ".join(map(str, shown)) + " | best, at epoch |",
        "|---" * (len(shown) + 2) + "|",
    ]
    for seed, trial in sorted(trials.items()):
        values = {point.epoch: sweep.sign * point.loss for point in trial.curve}
        cells = [_number(values.get(epoch)) if epoch in values else "" for epoch in shown]
        best = math.nan if trial.best_loss is None else sweep.sign * trial.best_loss
        lines.append(f"| {seed} | " + " | ".join(cells) + f" | {_number(best)}, {trial.best_epoch} |")
    return "\n".join(lines)


def _limits(result: Mapping[str, Any], sweep: Sweep) -> str:
    limits = [
        "The configuration and the epoch were chosen by the validation scores, so these are optimistic. "
        "The test scores were computed after the choice.",
        "It was trained and tested on rows of this data set only.",
    ]
    difference = validation_test_gap(result)
    if difference is not None:
        limits.append(
            f"Test minus validation, mean over seeds: {difference:+.3g} ({score_key(sweep.metric)})."
        )
    if result["opened_before"]:
        times = len(result["opened_before"])
        limits.append(
            f"The test rows had been used {times} times before: the test scores may be optimistic, too."
        )
    if not result["clear"] and len(result["standings"]) > 1:
        limits.append("Its lead over the next configuration may be due to the choice of seeds.")
    if result["note"]:
        limits.append(f"{result['note']}.")
    return "\n".join(f"- {limit}" for limit in limits)


def _provenance(facts: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in (facts.get("versions") or {}).items())
    keys = ("git_commit", "git_dirty", "python", "host", "data_fingerprint")
    lines = [f"- {key}: {facts[key]}" for key in keys if facts.get(key) not in (None, "")]
    return "\n".join([*lines, f"- versions: {versions}"])


def _domain(parameter: Any) -> str:
    shown = parameter.domain
    choices = getattr(shown, "choices", None)
    if choices is not None:
        return ", ".join(map(str, choices))
    return f"{shown.low:g} .. {shown.high:g}{' log' if getattr(shown, 'log', False) else ''}"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.6g}"
