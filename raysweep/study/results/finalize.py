"""The end of a retraining: the winner, its scores on validation and test rows, and the model.

The driver loads torch here, once all trainings are over: the winner's nets are loaded from their best
checkpoints and scored, alone and as an ensemble, on the validation rows and then, once, on the test rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from raysweep.config import Sweep
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.results.best_config import NoWinner
from raysweep.study.results.model_card import model_card
from raysweep.study.results.retrain_fields import RetrainFields
from raysweep.study.results.retrain_result import CandidateResult, RetrainResult, evaluate_retraining
from raysweep.study.results.test_set_access import record_test_set_access
from raysweep.study.storage.files import Unreadable, read_json, write_json
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import checkpoint_lookup, fetch_checkpoint
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY
from trainables.run_config import RunConfig, overlay

if TYPE_CHECKING:
    from trainables.data import Data
    from trainables.evaluate import Nets

VERSION = 1
FILE, CARD = "retrain.json", "MODEL_CARD.md"
MODEL, ENSEMBLE = "model", "ensemble"  # folders: of the best seed's net, and of all seeds' nets together


@dataclass(frozen=True, slots=True)
class Winner:
    """The winner of a race and its trainings.

    Attributes:
        result: in the race.
        run: its run config.
        trials: its whole trainings by seed.
        checkpoints: folders with the best epoch's weights by seed, if they still exist.
        seed: of the net that becomes the model, the best on the validation rows.
    """

    result: CandidateResult
    run: RunConfig
    trials: Mapping[int, TrialRecord]
    checkpoints: Mapping[int, Path]
    seed: int


def finalize_retraining(
    folder: StudyFolder, home: Path, *, by: str, clock: Callable[[], float]
) -> RetrainFields:
    """Score the winner of a retraining and save the model; the result is written to `retrain.json`.

    If that file has the result already, it is returned and nothing is scored again.

    Args:
        folder: of the retraining, whose trainings have ended.
        home: the folder of the study that was retrained, which records accesses to the test set.
        by: the command, for that record.
        clock: unix seconds.

    Raises:
        NoWinner: if no candidate has a whole training.
        RunError: if the data cannot be loaded, or a checkpoint is damaged.
    """
    sweep = folder.sweep()
    record = fold(read_events(folder.journal_dir), sweep.objective)
    file = folder.path / FILE
    with suppress(FileNotFoundError, Unreadable):  # a damaged file is written again
        fields = read_json(file, version=VERSION, kind="retraining")
        if fields.get("epochs_run") == record.epochs:
            return cast(RetrainFields, fields)
    race = evaluate_retraining(sweep, record)
    winner = winner_of(sweep, record, race, folder)
    result = {
        "version": VERSION,
        "study": sweep.study_name,
        "metric": sweep.metric,
        "direction": sweep.direction,
        "epochs": sweep.run.epochs,
        "epochs_run": record.epochs,
        "trainings": len(record.trials),
        "provenance": dict(record.provenance),
        **race_as_dict(race),
        "model_seed": winner.seed,
        **_score_and_save(winner, sweep, folder, home, by, clock),
    }
    if result["model"] is not None:
        card = model_card(result, winner.run, winner.trials, sweep)
        (folder.path / MODEL / CARD).write_text(card, encoding="utf-8")
    result = {key: nan_to_none(value) for key, value in result.items()}
    write_json(file, "retraining", result)
    return cast(RetrainFields, result)


def winner_of(sweep: Sweep, record: StudyRecord, race: RetrainResult, folder: StudyFolder) -> Winner:
    """The winner of a race with its trainings.

    Raises:
        NoWinner: if no candidate has a whole training.
    """
    first = race.winner
    if first is None:
        raise NoWinner(f"{sweep.study_name}: no candidate was trained to its end on any seed")
    trials = {
        int(trial.config[BLOCK_KEY]): trial
        for trial in record.trials.values()
        if trial.config[CANDIDATE_KEY] == first.name and trial.outcome == "completed"
    }
    wanted = sweep.run.checkpoint_config
    checkpoints, exists = {}, checkpoint_lookup(folder)
    for seed, trial in trials.items():
        trial.checkpoints = {key: path for key, path in trial.checkpoints.items() if exists(path)}
        if trial.checkpoints:
            key = trial.best_checkpoint(wanted.monitor, wanted.sign)
            checkpoints[seed] = fetch_checkpoint(folder, trial.checkpoints[key])
    seed = min(trials, key=lambda each: sweep.sign * first.seeds[each])
    run = RunConfig.model_validate(overlay(sweep.run.model_dump(mode="json"), first.config))
    return Winner(first, run, trials, checkpoints, seed)


def _score_and_save(
    winner: Winner,
    sweep: Sweep,
    folder: StudyFolder,
    home: Path,
    by: str,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """Score the winner's nets on validation and test rows and save the model, or say in `note` why not."""
    nothing: dict[str, Any] = {
        "val": None,
        "test": None,
        "opened_before": [],
        "model": None,
        "ensemble": None,
    }
    if winner.run.train is not None:
        loop = winner.run.command or winner.run.train
        return nothing | {"note": f"{loop} is a training loop of its own: its weights cannot be loaded here"}
    if winner.seed not in winner.checkpoints:
        return nothing | {"note": "no checkpoint of the winner exists; set checkpoint_config.enabled"}
    from trainables.data import load, load_test
    from trainables.evaluate import as_plain, load_nets

    data = load(winner.run, sweep.import_paths)
    nets = load_nets(winner.run, data, winner.checkpoints)
    val = as_plain(nets.evaluate(data.parts[0].val))
    saved = _save_models(winner, sweep, folder, data, nets, val)
    before = record_test_set_access(home, by=by, why=f"{sweep.study_name}: {winner.result.what}", clock=clock)
    rows = load_test(winner.run, sweep.import_paths)
    test = None if rows is None or not len(rows) else as_plain(nets.evaluate(rows))
    return {
        "val": val,
        "test": test,
        "opened_before": [asdict(access) for access in before],
        "model": MODEL,
        "ensemble": ENSEMBLE if ENSEMBLE in saved else None,
        "meaning": asdict(nets.learners[winner.seed].meaning),
        "rows": {
            "train": len(data.parts[0].train),
            "val": len(data.parts[0].val),
            "test": 0 if rows is None else len(rows),
        },
        "note": "" if test is not None else f"{winner.run.data} has no test rows",
    }


def _save_models(
    winner: Winner, sweep: Sweep, folder: StudyFolder, data: Data, nets: Nets, val: Mapping[str, Any]
) -> list[str]:
    """Save the net of the best seed and, if there are several, those of all; returns the folders' names."""
    from trainables.columns import Columns
    from trainables.model import save_model

    columns = Columns.of(winner.run, data, sweep.import_paths)
    models = {MODEL: ([winner.seed], val["members"][str(winner.seed)])}
    if len(nets.learners) > 1:
        models[ENSEMBLE] = (sorted(nets.learners), val["ensemble"])
    for name, (seeds, scores) in models.items():
        save_model(
            folder.path / name,
            winner.run,
            data,
            [nets.weights(seed) for seed in seeds],
            columns,
            call=nets.learners[winner.seed].call,
            import_paths=sweep.import_paths,
            about={
                "study": sweep.study_name,
                "configuration": winner.result.what,
                "seeds": seeds,
                "metrics": [metric.name for metric in sweep.metrics],
                "val": scores,
            },
        )
    return list(models)


def race_as_dict(race: RetrainResult) -> dict[str, Any]:
    """The result of a race as plain data, which may hold NaN: see `nan_to_none`."""
    standings = [
        asdict(one) | {"seeds": {str(seed): value for seed, value in one.seeds.items()}}
        for one in race.standings
    ]
    return {
        "standings": standings,
        "winner": None if race.winner is None else race.winner.name,
        "runner_up": race.runner_up,
        "margin": race.margin,
        "margin_error": race.margin_error,
        "margin_p": race.margin_p,
        "looks": race.looks,
        "clear": race.clear,
        "tau": race.tau,
    }


def nan_to_none(value: Any) -> Any:
    """Nested data with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, Mapping):
        return {key: nan_to_none(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
