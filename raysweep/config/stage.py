"""One stage of a staged sweep: what it does, and which of the sweep's words it changes for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from raysweep.config.component import Component
from raysweep.config.study_stop import StudyStop
from trainables.run_config import flatten

Kind = Literal["lr_range", "explore", "refine", "validate"]
KINDS: tuple[str, ...] = get_args(Kind)
SEARCHES = ("explore", "refine")
"""Kinds that are sweeps with a sampler."""

OVERLAYS = (
    *("trials", "sampler", "trial_scheduler", "max_concurrent_trials", "time_budget_s", "max_failures"),
    *("trial_timeout_s", "stop", "duplicates", "ordered", "run"),
)
"""Words of a sweep that a stage may have of its own."""

LR = "optimizer_config.lr"
_LIMITS = ("max_concurrent_trials", "time_budget_s", "max_failures", "trial_timeout_s")
WORDS: Mapping[str, tuple[str, ...]] = {
    "lr_range": ("name", "kind", "seeds", "run"),
    "explore": ("name", "kind", "tune", *OVERLAYS),
    "refine": ("name", "kind", "tune", "top", "margin", *OVERLAYS),
    "validate": ("name", "kind", "top", "seeds", *_LIMITS, "run"),
}
"""Words that mean something to a stage, by its kind."""


class Stage(BaseModel):
    """A part of a sweep that is a study of its own and begins with what the stages before it found.

    Attributes:
        name: its folder under the study's stages/; the kind's name where it is left out.
        kind: `lr_range` finds the learning rates worth searching, `explore` searches the ranges as they
            stand, `refine` searches ranges narrowed around the best trials before it, `validate` trains
            the best anew over several seeds. The name tells it where it is one of these.
        tune: what is searched, parameters by flat key or whole groups (`net_config`); the others are
            fixed at the best values so far. null for all.
        top: how many trials of the search before it count: those to narrow around, or to train anew.
        margin: by how much of their spread the ranges around the best trials are widened on either side.
        seeds: trainings of each configuration (`validate`), or curves (`lr_range`).
        trials: how many configurations are tried; the sweep's `trials` where it is left out.
        sampler: what is tried next; the sweep's where it is left out.
        trial_scheduler: who goes on; the sweep's where it is left out.
        max_concurrent_trials: the sweep's where it is left out.
        time_budget_s: wall-clock seconds of this stage; the next one then begins with what was found.
        max_failures: the sweep's where it is left out.
        trial_timeout_s: the sweep's where it is left out.
        stop: when this stage ends before all its trials; the sweep's where it is left out.
        duplicates: the sweep's where it is left out.
        ordered: the sweep's where it is left out.
        run: words of the run that are laid over the sweep's for this stage: {epochs: 10}.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    def _name_and_kind_tell_each_other(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return value
        words = dict(value)
        if words.get("name") in KINDS:
            words.setdefault("kind", words["name"])
        elif isinstance(words.get("kind"), str):
            words.setdefault("name", words["kind"])
        return words

    @property
    def searches(self) -> bool:
        """Whether it is a sweep with a sampler."""
        return self.kind in SEARCHES

    @property
    def trainings(self) -> int:
        """Of a validation: how many, the run as it was among what is trained."""
        return (self.top + 1) * self.seeds

    def own_words(self) -> dict[str, Any]:
        """The sweep's words that it has of its own, but for those of the run, as plain data."""
        return self.model_dump(mode="json", include={*OVERLAYS} - {"run"}, exclude_none=True)

    def own_run(self) -> dict[str, Any]:
        """The words of the run that it has of its own, flat: {"optimizer_config.lr": 0.1}."""
        return flatten(self.run)


def tuned(stage: Stage, keys: Iterable[str]) -> tuple[str, ...]:
    """Which of the searched parameters a stage searches, in the order of the file.

    >>> tuned(Stage(kind="explore", tune=("net_config",)), ("optimizer_config.lr", "net_config.nodes"))
    ('net_config.nodes',)
    """
    wanted = stage.tune
    return tuple(key for key in keys if wanted is None or any(names(word, key) for word in wanted))


def names(word: str, key: str) -> bool:
    """Whether a word of `tune` is a searched parameter, or its group."""
    return word == key or key.startswith(f"{word}.")
