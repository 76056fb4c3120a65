"""From a flat configuration, as it was asked for, to the config that a trial's process gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysweep.config.sweep import RESERVED, Sweep
from trainables.run_config import overlay


def searched(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's configuration without what is the trial's own: its seed, its place in a retraining."""
    return {key: value for key, value in flat.items() if not key.startswith(RESERVED)}


def trial_config(sweep: Sweep, flat: Mapping[str, Any], trial: str, **run: Any) -> dict[str, Any]:
    """What the trainable gets: the run config with the searched values laid over it.

    Args:
        sweep: what runs.
        flat: the configuration; keys that begin with `trial.` are the trial's own (`SEED_KEY`: a replicate, a
            retraining; its candidate in a retraining).
        trial: its id.
        run: keys of the run config to be replaced.
    """
    own = {key.removeprefix(RESERVED): flat[key] for key in flat if key.startswith(RESERVED)}
    return {
        **overlay(sweep.run.model_dump(mode="json"), searched(flat)),
        **run,
        "trial": {"id": trial, "seed": sweep.run.seeds[0], **own},
        "import_paths": [str(path) for path in sweep.import_paths],
    }
