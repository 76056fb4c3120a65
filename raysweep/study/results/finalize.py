"""The end of a retraining: who won, what the winner is worth on rows nobody chose by, and the model.

Here, once all trainings are over, torch comes into the driver: the winner's nets are loaded from their
best checkpoints, scored on the validation rows alone and together, and then, once, on the test rows.
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
from raysweep.study.results.model_card import card
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
    """The winner's trainings, and how they are trained.

    Attributes:
        standing: in the race.
        run: its run config.
        trials: seed -> its training.
        checkpoints: seed -> the best epoch's weights; those that stand.
        seed: of the single net that is the model: best on the validation rows.
    """

    standing: CandidateResult
    run: RunConfig
    trials: Mapping[int, TrialRecord]
    checkpoints: Mapping[int, Path]
    seed: int


def finalize_retraining(
    folder: StudyFolder, home: Path, *, by: str, clock: Callable[[], float]
) -> RetrainFields:
    """What a retraining has shown, as plain data; written to `retrain.json`, and read from there again.

    Args:
        folder: of the retraining, whose trainings have ended.
        home: the folder of the study that was retrained: its test set is the one behind the door.
        by: the command, for the record of who opened it.
        clock: wall-clock seconds.

    Raises:
        NoWinner: if no candidate has a whole training.
        RunError: if its data cannot be loaded, or a checkpoint is damaged.
    """
    sweep, record = folder.sweep(), fold(read_events(folder.journal_dir), folder.sweep().objective)
    file = folder.path / FILE
    with suppress(FileNotFoundError, Unreadable):  # one that is damaged is made anew
        known = read_json(file, version=VERSION, kind="retraining")
        if known.get("epochs_run") == record.epochs:
            return cast(RetrainFields, known)
    found = evaluate_retraining(sweep, record)
    winner = winner_of(sweep, record, found, folder)
    result = {
        "version": VERSION,
        "study": sweep.study_name,
        "metric": sweep.metric,
        "direction": sweep.direction,
        "epochs": sweep.run.epochs,
        "epochs_run": record.epochs,
        "trainings": len(record.trials),
        "provenance": dict(record.provenance),
        **plain(found),
        "model_seed": winner.seed,
        **_scored(winner, sweep, folder, home, by, clock),
    }
    words = card(result, winner.run, winner.trials, sweep)
    if result["model"] is not None:
        (folder.path / MODEL / CARD).write_text(words, encoding="utf-8")
    result = {key: finite(value) for key, value in result.items()}
    write_json(file, "retraining", result)
    return cast(RetrainFields, result)


def winner_of(sweep: Sweep, record: StudyRecord, found: RetrainResult, folder: StudyFolder) -> Winner:
    """The winner with its trainings.

    Raises:
        NoWinner: if no candidate has a whole training.
    """
    first = found.winner
    if first is None:
        raise NoWinner(f"{sweep.study_name}: no candidate was trained to its end on any seed")
    trials = {
        int(trial.config[BLOCK_KEY]): trial
        for trial in record.trials.values()
        if trial.config[CANDIDATE_KEY] == first.name and trial.outcome == "completed"
    }
    wish = sweep.run.checkpoint_config
    checkpoints, exists = {}, checkpoint_lookup(folder)
    for seed, trial in trials.items():
        trial.checkpoints = {key: path for key, path in trial.checkpoints.items() if exists(path)}
        if trial.checkpoints:
            key = trial.best_checkpoint(wish.monitor, wish.sign)
            checkpoints[seed] = fetch_checkpoint(folder, trial.checkpoints[key])
    seed = min(trials, key=lambda each: sweep.sign * first.seeds[each])
    run = RunConfig.model_validate(overlay(sweep.run.model_dump(mode="json"), first.config))
    return Winner(first, run, trials, checkpoints, seed)


def _scored(
    winner: Winner,
    sweep: Sweep,
    folder: StudyFolder,
    home: Path,
    by: str,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """The winner's nets on validation and test rows, and the model written; or why not."""
    nothing: dict[str, Any] = {
        "val": None,
        "test": None,
        "opened_before": [],
        "model": None,
        "ensemble": None,
    }
    if winner.run.train is not None:
        loop = winner.run.command or winner.run.train
        return nothing | {"note": f"{loop} trains by itself: only it knows its weights"}
    if winner.seed not in winner.checkpoints:
        return nothing | {"note": "no checkpoint of the winner exists; set checkpoint_config.enabled"}
    from trainables.data import load, load_test
    from trainables.evaluate import as_plain, load_nets

    data = load(winner.run, sweep.import_paths)
    nets = load_nets(winner.run, data, winner.checkpoints)
    val = as_plain(nets.evaluate(data.parts[0].val))
    saved = _save_models(winner, sweep, folder, data, nets, val)
    before = record_test_set_access(
        home, by=by, why=f"{sweep.study_name}: {winner.standing.what}", clock=clock
    )
    rows = load_test(winner.run, sweep.import_paths)
    test = None if rows is None or not len(rows) else as_plain(nets.evaluate(rows))
    return {
        "val": val,
        "test": test,
        "opened_before": [asdict(opening) for opening in before],
        "model": MODEL,
        "ensemble": ENSEMBLE if ENSEMBLE in saved else None,
        "meaning": asdict(nets.learners[winner.seed].meaning),
        "rows": {
            "train": len(data.parts[0].train),
            "val": len(data.parts[0].val),
            "test": 0 if rows is None else len(rows),
        },
        "note": "" if test is not None else f"{winner.run.data} sets no test rows apart",
    }


def _save_models(
    winner: Winner, sweep: Sweep, folder: StudyFolder, data: Data, nets: Nets, val: Mapping[str, Any]
) -> list[str]:
    """Write the net of the best seed and, where there are more, those of all; the names of their folders."""
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
                "configuration": winner.standing.what,
                "seeds": seeds,
                "metrics": [metric.name for metric in sweep.metrics],
                "val": scores,
            },
        )
    return list(models)


def plain(found: RetrainResult) -> dict[str, Any]:
    """A verdict for a JSON file."""
    standings = [
        asdict(one) | {"seeds": {str(seed): value for seed, value in one.seeds.items()}}
        for one in found.standings
    ]
    return {
        "standings": standings,
        "winner": None if found.winner is None else found.winner.name,
        "runner_up": found.runner_up,
        "margin": found.margin,
        "margin_error": found.margin_error,
        "margin_p": found.margin_p,
        "looks": found.looks,
        "clear": found.clear,
        "tau": found.tau,
    }


def finite(value: Any) -> Any:
    """The same with None for what is no number: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
