"""The config that a trial's process gets, from a flat configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysweep.config.sweep import RESERVED, Sweep
from trainables.run_config import overlay


def searched(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's configuration without the keys of the trial itself (seed, candidate in a retraining)."""
    return {key: value for key, value in flat.items() if not key.startswith(RESERVED)}


def trial_config(sweep: Sweep, flat: Mapping[str, Any], trial: str, **run: Any) -> dict[str, Any]:
    """The trainable's config: the run config with the searched values.

    Args:
        sweep: the sweep.
        flat: the configuration; keys that begin with `trial.` are of the trial itself (`SEED_KEY` in a
            replicate or a retraining, the candidate in a retraining).
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
