"""Reads the stages of a sweep file, each as the sweep file with the stage's own settings.

So every stage is checked like a sweep, and problems are reported at the stage's own lines. The order of the
stages is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysweep.config.call_checks import ConfigCheck, ConfigFinding
from raysweep.config.document import Document
from raysweep.config.field_errors import unknown_keys
from raysweep.config.parameter import Parameter
from raysweep.config.problem import Key, Problem, suggestion
from raysweep.config.search_space import SearchSpace
from raysweep.config.stage import KEYS_OF_KIND, LR, OVERLAYS, Stage, names, tuned
from raysweep.config.sweep import Sweep
from raysweep.config.template import OLD_RUN_KEYS
from raysweep.config.validation import findings_of, validated
from schedulers.space import Float
from trainables.run_config import RunConfig

FEWEST_SEEDS = 2


@dataclass(slots=True)
class LoadedStages:
    """The stages of a sweep file.

    Attributes:
        searches: document, sweep and search space of every stage that searches.
        problems: of invalid stages.
        findings: of the checks.
    """

    searches: list[tuple[Document, Sweep, SearchSpace]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    findings: list[ConfigFinding] = field(default_factory=list)


def read_stages(
    document: Document, sweep: Sweep, space: SearchSpace, folders: Sequence[Path]
) -> LoadedStages:
    """Read every stage of a valid sweep.

    Args:
        document: the sweep file, with positions.
        sweep: its values.
        space: its search space.
        folders: of the files.
    """
    loaded = LoadedStages(findings=list(_Order(document, sweep, space).findings()))
    for index, stage in enumerate(sweep.stages):
        if not stage.searches and not stage.run:
            continue
        loaded.problems += unknown_keys(document, ("stages", index, "run"), RunConfig, OLD_RUN_KEYS)
        stage_document = with_stage(document, index)
        stage_space = _tuned_space(space, stage)
        stage_sweep, problems, broken = validated(stage_document, stage_space, folders)
        loaded.problems += problems
        if stage_sweep is None or not stage.searches:
            continue
        loaded.findings += [
            each
            for each in findings_of(stage_document, stage_sweep, stage_space)
            if not any(each.key[: len(key)] == key for key in broken)
        ]
        loaded.searches.append((stage_document, stage_sweep, stage_space))
    return loaded


def with_stage(document: Document, index: int) -> Document:
    """The sweep file with the settings of a stage in place of the sweep's, and their positions."""
    own = Document(document.file, deepcopy(document.value), dict(document.locations))
    stage = own.value.pop("stages")[index]
    for field_name in OVERLAYS if isinstance(stage, dict) else ():
        if field_name == "run" and isinstance(stage.get(field_name), dict):
            for path in _paths(stage["run"]):
                _copy_setting(own, ("run", *path), ("stages", index, "run", *path), stage)
        elif stage.get(field_name) is not None:
            _copy_setting(own, (field_name,), ("stages", index, field_name), stage)
    return own


def _paths(nested: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of every value in nested mappings; an empty mapping is a value."""
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from ((key, *rest) for rest in _paths(value))
        else:
            yield (key,)


def _copy_setting(document: Document, target: Key, source: Key, stage: dict[str, Any]) -> None:
    value: Any = stage
    for part in source[2:]:
        value = value[part]
    holder: Any = document.value
    for part in target[:-1]:
        if not isinstance(holder.get(part), dict):
            holder[part] = {}
        holder = holder[part]
    holder[target[-1]] = value
    for key in [key for key in document.locations if key[: len(target)] == target]:
        del document.locations[key]
    for key in [key for key in document.locations if key[: len(source)] == source]:
        document.locations[target + key[len(source) :]] = document.locations[key]
    for length in range(1, len(target)):  # a group that only the stage has
        location = document.locations.get(source[: 2 + length], document.locations[("stages",)])
        document.locations.setdefault(target[:length], location)


def _tuned_space(space: SearchSpace, stage: Stage) -> SearchSpace:
    """The part of the space that a stage searches, without conditions on parameters that it fixes."""
    keys = tuned(stage, tuple(space.parameters))

    def own(parameter: Parameter) -> Parameter:
        when = {key: value for key, value in parameter.when.items() if key in keys}
        cases = tuple(own(case) for case in parameter.cases)
        if cases and not all(case.when for case in cases):
            cases = ()  # which one holds is known only when the stage begins
        return Parameter(domain=parameter.domain, when=when, cases=cases)

    parameters = {key: own(space.parameters[key]) for key in keys}
    return SearchSpace(parameters, {key: space.keys[key] for key in keys})


class _Order(ConfigCheck):
    """Checks how the stages follow one another."""

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace) -> None:
        super().__init__(document, sweep, space)
        self.keys = tuple(space.parameters)

    def findings(self) -> Iterator[ConfigFinding]:
        """Yield the findings of all checks."""
        stages = self.sweep.stages
        if not any(stage.searches for stage in stages):
            yield self.error(("stages",), "no stage searches", "begin with an 'explore'")
        if self.sweep.budget is not None:
            what, fix = "is for one search, but there are stages", "drop it: time_budget_s limits them all"
            yield self.error(("budget",), what, fix)
        for index, stage in enumerate(stages):
            yield from self._keys_of_kind(index, stage)
            yield from self._tune(index, stage)
            before = [earlier for earlier in stages[:index] if earlier.searches]
            if stage.kind in ("refine", "validate") and not before:
                what = "nothing was searched before it"
                yield self.error(("stages", index), what, "put an 'explore' before it")
            elif stage.kind == "refine":
                yield from self._refine(index, stage, before)
            elif stage.kind == "validate":
                yield from self._validate(index, stage, before)
            elif stage.kind == "lr_range":
                yield from self._lr_range(index)
        for key in self.keys if any(stage.searches for stage in stages) else ():
            if not any(stage.searches and key in tuned(stage, self.keys) for stage in stages):
                what, fix = "no stage searches it", "add it to the 'tune' of one, or drop it"
                yield self.warning(self.space.keys[key], what, fix)

    def _keys_of_kind(self, index: int, stage: Stage) -> Iterator[ConfigFinding]:
        raw = self.document.at(("stages", index))
        allowed = KEYS_OF_KIND[stage.kind]
        for key in [key for key in raw if key not in allowed] if isinstance(raw, dict) else ():
            what = f"means nothing to a stage of kind {stage.kind}"
            yield self.error(("stages", index, key), what, "drop it")
        if stage.name in [other.name for other in self.sweep.stages[:index]]:
            what, fix = f"'{stage.name}' is the name of an earlier stage", "give it a 'name' of its own"
            yield self.error(("stages", index, "name"), what, fix)
        whole, own = self.sweep.time_budget_s, stage.time_budget_s
        if whole is not None and own is not None and own >= whole:
            what = f"{own:g} s is not below the sweep's own time_budget_s ({whole:g}): it has no effect"
            yield self.warning(("stages", index, "time_budget_s"), what, "lower it")

    def _tune(self, index: int, stage: Stage) -> Iterator[ConfigFinding]:
        known = [*self.keys, *dict.fromkeys(key.split(".")[0] for key in self.keys if "." in key)]
        if stage.searches and not self.keys:
            yield self.error(("stages", index), "there is nothing to search", "give a search_space")
        for position, entry in enumerate(stage.tune or ()):
            if stage.searches and not any(names(entry, key) for key in self.keys):
                at: Key = ("stages", index, "tune", position)
                yield self.error(at, f"'{entry}' is not searched", suggestion(entry, known))

    def _refine(self, index: int, stage: Stage, before: Sequence[Stage]) -> Iterator[ConfigFinding]:
        own = set(tuned(stage, self.keys))
        relevant = [earlier for earlier in before if own & set(tuned(earlier, self.keys))]
        if not relevant:
            those = " and ".join(f"'{earlier.name}'" for earlier in before)
            what = f"{those} searched nothing that it searches: there is nothing to narrow"
            yield self.warning(("stages", index), what, "make it an 'explore'")
            return
        trials = relevant[-1].trials or self.sweep.trials
        if stage.top >= trials:
            what = f"top ({stage.top}) is not below the {trials} trials of '{relevant[-1].name}'"
            fix = f"narrowed around all of them it would not be narrower; try {max(1, trials // 5)}"
            yield self.warning(self._at(index, "top"), what, fix)

    def _validate(self, index: int, stage: Stage, before: Sequence[Stage]) -> Iterator[ConfigFinding]:
        if index + 1 < len(self.sweep.stages):
            what = "comes after a validation, which must be the last stage"
            yield self.error(("stages", index + 1), what, "put it before")
        if stage.seeds < FEWEST_SEEDS:
            what = f"seeds ({stage.seeds}) is less than {FEWEST_SEEDS}: chance would decide"
            yield self.error(self._at(index, "seeds"), what, "write 3 or more")
        trials = before[-1].trials or self.sweep.trials
        if stage.top > trials and self._at(index, "top")[2:]:
            what = f"top ({stage.top}) is more than the {trials} trials of '{before[-1].name}'"
            yield self.warning(self._at(index, "top"), what, f"try {max(1, trials // 4)}")

    def _lr_range(self, index: int) -> Iterator[ConfigFinding]:
        at: Key = ("stages", index)
        rate = self.space.parameters.get(LR)
        if rate is None:
            what = f"{LR} is not searched, so there is no range to set"
            yield self.error(at, what, "search it, or drop this stage")
            return
        domain = rate.domain
        if rate.cases or not (isinstance(domain, Float) and domain.log):
            what = f"'{self.sweep.stages[index].name}' sets one range of {{type: float, log: true}}"
            yield self.error(self.space.keys[LR], what, "write it so, or drop the stage")
        elif domain.high < 10 * domain.low:
            what = f"spans less than a decade: there is nothing for '{self.sweep.stages[index].name}' to find"
            yield self.error(self.space.keys[LR], what, "widen it, or drop the stage")
        if "optimizer" in self.space.parameters:
            what = "tests the run's own optimizer, but 'optimizer' is searched"
            yield self.error(at, what, "drop this stage, or fix the optimizer")
        if self.sweep.run.train is not None:
            what = f"{self.sweep.run.train} is a loop of its own, whose rate cannot be raised step by step"
            yield self.error(at, what, "drop this stage")
        later = [stage for stage in self.sweep.stages[index + 1 :] if stage.searches]
        if not any(LR in tuned(stage, self.keys) for stage in later):
            what = f"no stage after it searches {LR}: its result is never used"
            yield self.warning(at, what, "put it first")

    def _at(self, index: int, field_name: str) -> Key:
        """The key of a stage's field; of the stage if the field has its default."""
        key: Key = ("stages", index, field_name)
        return key if self.document.at(key) is not None else key[:2]
