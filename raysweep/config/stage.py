"""One stage of a staged sweep: its kind, and its own values of the sweep's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from raysweep.config.component import Component
from raysweep.config.study_stop import StudyStop
from trainables.run_config import Section, flatten

Kind = Literal["lr_range", "explore", "refine", "validate"]
KINDS: tuple[str, ...] = get_args(Kind)
SEARCHES = ("explore", "refine")
"""Kinds that search with a sampler."""

OVERLAYS = (
    *("trials", "sampler", "trial_scheduler", "max_concurrent_trials", "time_budget_s", "max_failures"),
    *("trial_timeout_s", "stop", "duplicates", "ordered", "run"),
)
"""Keys of a sweep that a stage may have, too."""

LR = "optimizer_config.lr"
_LIMITS = ("max_concurrent_trials", "time_budget_s", "max_failures", "trial_timeout_s")
KEYS_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "lr_range": ("name", "kind", "seeds", "run"),
    "explore": ("name", "kind", "tune", *OVERLAYS),
    "refine": ("name", "kind", "tune", "top", "margin", *OVERLAYS),
    "validate": ("name", "kind", "top", "seeds", *_LIMITS, "run"),
}
"""Keys that a stage may have, by its kind."""


class Stage(Section):
    """A part of a sweep that is a study of its own and starts from the results of the stages before it.

    Attributes:
        name: its folder under the study's stages/; by default its kind.
        kind: `lr_range` finds the learning rates worth searching, `explore` searches the declared ranges,
            `refine` searches ranges narrowed around the best trials before it, `validate` trains the best
            again over several seeds. May be left out if the name is one of these.
        tune: the parameters to search, by flat key or as whole groups (`net_config`); the others are fixed
            at the best values so far. null for all.
        top: how many of the best trials of the search before it are used, to narrow around or to train again.
        margin: share of their spread by which the ranges around the best trials are widened on either side.
        seeds: trainings of each configuration (`validate`), or curves (`lr_range`).
        trials: how many configurations are tried; by default the sweep's.
        sampler: proposes the configurations; by default the sweep's.
        trial_scheduler: decides which trials go on; by default the sweep's.
        max_concurrent_trials: by default the sweep's.
        time_budget_s: wall-clock seconds of this stage; the next one then starts from its results.
        max_failures: by default the sweep's.
        trial_timeout_s: by default the sweep's.
        stop: when this stage ends before all its trials were tried; by default the sweep's.
        duplicates: by default the sweep's.
        ordered: by default the sweep's.
        run: settings of the run that replace the sweep's in this stage: {epochs: 10}.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)
    kind: Kind
    tune: tuple[str, ...] | None = Field(None, min_length=1)
    top: int = Field(5, ge=1)
    margin: float = Field(0.25, ge=0, allow_inf_nan=False)
    seeds: int = Field(3, ge=1)
    trials: int | None = Field(None, ge=1)
    sampler: Component | None = None
    trial_scheduler: Component | None = None
    max_concurrent_trials: int | None = Field(None, ge=1)
    time_budget_s: float | None = Field(None, gt=0)
    max_failures: int | None = Field(None, ge=0)
    trial_timeout_s: float | None = Field(None, gt=0)
    stop: StudyStop | None = None
    duplicates: Literal["skip", "reuse", "replicate", "allow"] | None = None
    ordered: bool | None = None
    run: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_name_or_kind(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return value
        fields = dict(value)
        if fields.get("name") in KINDS:
            fields.setdefault("kind", fields["name"])
        elif isinstance(fields.get("kind"), str):
            fields.setdefault("name", fields["kind"])
        return fields

    @property
    def searches(self) -> bool:
        """Whether it searches with a sampler."""
        return self.kind in SEARCHES

    @property
    def trainings(self) -> int:
        """Number of trainings of a validation, with those of the run as it was."""
        return (self.top + 1) * self.seeds

    def own_settings(self) -> dict[str, Any]:
        """Its own values of the sweep's settings, without those of the run, as plain data."""
        return self.model_dump(mode="json", include={*OVERLAYS} - {"run"}, exclude_none=True)

    def own_run(self) -> dict[str, Any]:
        """Its own settings of the run, flat: {"optimizer_config.lr": 0.1}."""
        return flatten(self.run)


def tuned(stage: Stage, keys: Iterable[str]) -> tuple[str, ...]:
    """The searched parameters that a stage searches, in the order of the file.

    >>> tuned(Stage(kind="explore", tune=("net_config",)), ("optimizer_config.lr", "net_config.nodes"))
    ('net_config.nodes',)
    """
    tune = stage.tune
    return tuple(key for key in keys if tune is None or any(names(entry, key) for entry in tune))


def names(entry: str, key: str) -> bool:
    """Whether an entry of `tune` is a searched parameter, or its group."""
    return entry == key or key.startswith(f"{entry}.")
