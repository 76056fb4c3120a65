"""The stages of a sweep file: each read as the file with the stage's own words laid over it.

So whatever is checked of a sweep is checked of every stage, and said at the line of the stage that
brought it about. How stages follow one another is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysweep.config.call_checks import ConfigFinding
from raysweep.config.document import Document
from raysweep.config.field_errors import unknown_words
from raysweep.config.parameter import Parameter
from raysweep.config.problem import Key, Problem, suggestion
from raysweep.config.search_space import SearchSpace
from raysweep.config.stage import LR, OVERLAYS, WORDS, Stage, names, tuned
from raysweep.config.sweep import Sweep
from raysweep.config.template import OLD_RUN_WORDS
from raysweep.config.validation import findings_of, validated
from schedulers.space import Float
from trainables.run_config import RunConfig

FEWEST_SEEDS = 2


@dataclass(slots=True)
class LoadedStages:
    """What was found on reading the stages.

    Attributes:
        parts: of every stage that searches, its document, its sweep and its space.
        problems: what makes a stage unsound.
        findings: what the checks say.
    """

    parts: list[tuple[Document, Sweep, SearchSpace]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    findings: list[ConfigFinding] = field(default_factory=list)


def read_stages(
    document: Document, sweep: Sweep, space: SearchSpace, folders: Sequence[Path]
) -> LoadedStages:
    """Read every stage of a sweep whose words are sound by themselves.

    Args:
        document: the file.
        sweep: what it says.
        space: its search space.
        folders: where the files are.
    """
    found = LoadedStages(findings=list(_Order(document, sweep, space).findings()))
    for index, stage in enumerate(sweep.stages):
        if not stage.searches and not stage.run:
            continue
        found.problems += unknown_words(document, ("stages", index, "run"), RunConfig, OLD_RUN_WORDS)
        own = with_stage(document, index)
        part = _part(space, stage)
        mine, wrong, broken = validated(own, part, folders)
        found.problems += wrong
        if mine is None or not stage.searches:
            continue
        found.findings += [
            each
            for each in findings_of(own, mine, part)
            if not any(each.key[: len(key)] == key for key in broken)
        ]
        found.parts.append((own, mine, part))
    return found


def with_stage(document: Document, index: int) -> Document:
    """The file as a stage has it: its words stand where the sweep's stood, under the stage's own lines."""
    own = Document(document.file, deepcopy(document.value), dict(document.places))
    words = own.value.pop("stages")[index]
    for word in OVERLAYS if isinstance(words, dict) else ():
        if word == "run" and isinstance(words.get(word), dict):
            for path in _paths(words["run"]):
                _lay(own, ("run", *path), ("stages", index, "run", *path), words)
        elif words.get(word) is not None:
            _lay(own, (word,), ("stages", index, word), words)
    return own


def _paths(nested: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The place of every value in mappings of mappings; an empty mapping is a value."""
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from ((key, *rest) for rest in _paths(value))
        else:
            yield (key,)


def _lay(document: Document, target: Key, source: Key, words: dict[str, Any]) -> None:
    value: Any = words
    for part in source[2:]:
        value = value[part]
    holder: Any = document.value
    for part in target[:-1]:
        if not isinstance(holder.get(part), dict):
            holder[part] = {}
        holder = holder[part]
    holder[target[-1]] = value
    for key in [key for key in document.places if key[: len(target)] == target]:
        del document.places[key]
    for key in [key for key in document.places if key[: len(source)] == source]:
        document.places[target + key[len(source) :]] = document.places[key]
    for length in range(1, len(target)):  # a group that only the stage has
        document.places.setdefault(target[:length], document.places.get(source[: 2 + length], _top(document)))


def _top(document: Document) -> Any:
    return document.places[("stages",)]


def _part(space: SearchSpace, stage: Stage) -> SearchSpace:
    """What of the space a stage searches; conditions on what it leaves alone are not its own."""
    keys = tuned(stage, tuple(space.parameters))

    def own(parameter: Parameter) -> Parameter:
        when = {key: value for key, value in parameter.when.items() if key in keys}
        cases = tuple(own(case) for case in parameter.cases)
        if cases and not all(case.when for case in cases):
            cases = ()  # which one holds is known when the stage begins
        return Parameter(domain=parameter.domain, when=when, cases=cases)

    parameters = {key: own(space.parameters[key]) for key in keys}
    return SearchSpace(parameters, {key: space.keys[key] for key in keys})


class _Order:
    """How the stages follow one another."""

    def __init__(self, document: Document, sweep: Sweep, space: SearchSpace) -> None:
        self.document, self.sweep, self.space = document, sweep, space
        self.keys = tuple(space.parameters)

    def findings(self) -> Iterator[ConfigFinding]:
        """Errors are what could not run; warnings are stages that can never act."""
        stages = self.sweep.stages
        if not any(stage.searches for stage in stages):
            yield self._say(("stages",), "no stage searches", "begin with an 'explore'", fatal=True)
        if self.sweep.budget is not None:
            what, fix = "is one search's, and there are stages", "drop it: time_budget_s ends them all"
            yield self._say(("budget",), what, fix, fatal=True)
        for index, stage in enumerate(stages):
            yield from self._words(index, stage)
            yield from self._tune(index, stage)
            before = [earlier for earlier in stages[:index] if earlier.searches]
            if stage.kind in ("refine", "validate") and not before:
                what = "nothing was searched before it"
                yield self._say(("stages", index), what, "put an 'explore' before it", fatal=True)
            elif stage.kind == "refine":
                yield from self._refine(index, stage, before)
            elif stage.kind == "validate":
                yield from self._validate(index, stage, before)
            elif stage.kind == "lr_range":
                yield from self._lr_range(index)
        for key in self.keys if any(stage.searches for stage in stages) else ():
            if not any(stage.searches and key in tuned(stage, self.keys) for stage in stages):
                what, fix = "no stage searches it", "add it to the 'tune' of one, or drop it"
                yield self._say(self.space.keys[key], what, fix)

    def _words(self, index: int, stage: Stage) -> Iterator[ConfigFinding]:
        raw = self.document.at(("stages", index))
        for word in [word for word in raw if word not in WORDS[stage.kind]] if isinstance(raw, dict) else ():
            what = f"means nothing to a stage of kind {stage.kind}"
            yield self._say(("stages", index, word), what, "drop it", fatal=True)
        if stage.name in [other.name for other in self.sweep.stages[:index]]:
            what, fix = f"'{stage.name}' is the name of an earlier stage", "give it a 'name' of its own"
            yield self._say(("stages", index, "name"), what, fix, fatal=True)
        whole, own = self.sweep.time_budget_s, stage.time_budget_s
        if whole is not None and own is not None and own >= whole:
            what = f"{own:g} s is not below the sweep's own time_budget_s ({whole:g}): it can never act"
            yield self._say(("stages", index, "time_budget_s"), what, "lower it")

    def _tune(self, index: int, stage: Stage) -> Iterator[ConfigFinding]:
        known = [*self.keys, *dict.fromkeys(key.split(".")[0] for key in self.keys if "." in key)]
        if stage.searches and not self.keys:
            fix = "give a search_space"
            yield self._say(("stages", index), "there is nothing to search", fix, fatal=True)
        for place, word in enumerate(stage.tune or ()):
            if stage.searches and not any(names(word, key) for key in self.keys):
                at: Key = ("stages", index, "tune", place)
                yield self._say(at, f"'{word}' is not searched", suggestion(word, known), fatal=True)

    def _refine(self, index: int, stage: Stage, before: Sequence[Stage]) -> Iterator[ConfigFinding]:
        mine = tuned(stage, self.keys)
        known = [earlier for earlier in before if set(tuned(earlier, self.keys)) & set(mine)]
        if not known:
            those = " and ".join(f"'{earlier.name}'" for earlier in before)
            what = f"{those} searched nothing that it searches: there is nothing to narrow"
            yield self._say(("stages", index), what, "make it an 'explore'")
            return
        trials = known[-1].trials or self.sweep.trials
        if stage.top >= trials:
            what = f"top ({stage.top}) is not below the {trials} trials of '{known[-1].name}'"
            fix = f"narrowed around all of them it would not be narrower; try {max(1, trials // 5)}"
            yield self._say(self._at(index, "top"), what, fix)

    def _validate(self, index: int, stage: Stage, before: Sequence[Stage]) -> Iterator[ConfigFinding]:
        if index + 1 < len(self.sweep.stages):
            what = "comes after a validation, which is the last word on the search"
            yield self._say(("stages", index + 1), what, "put it before", fatal=True)
        if stage.seeds < FEWEST_SEEDS:
            what = f"seeds ({stage.seeds}) is less than {FEWEST_SEEDS}: chance would decide"
            yield self._say(self._at(index, "seeds"), what, "write 3 or more", fatal=True)
        trials = before[-1].trials or self.sweep.trials
        if stage.top > trials and self._at(index, "top")[2:]:
            what = f"top ({stage.top}) is more than the {trials} trials of '{before[-1].name}'"
            yield self._say(self._at(index, "top"), what, f"try {max(1, trials // 4)}")

    def _lr_range(self, index: int) -> Iterator[ConfigFinding]:
        at: Key = ("stages", index)
        rate = self.space.parameters.get(LR)
        if rate is None:
            what = f"{LR} is not searched, so there is no range to set"
            yield self._say(at, what, "search it, or drop this stage", fatal=True)
            return
        domain = rate.domain
        if rate.cases or not (isinstance(domain, Float) and domain.log):
            what = f"'{self.sweep.stages[index].name}' sets one range of {{type: float, log: true}}"
            yield self._say(self.space.keys[LR], what, "write it so, or drop the stage", fatal=True)
        elif domain.high < 10 * domain.low:
            what = f"spans less than a decade: there is nothing for '{self.sweep.stages[index].name}' to find"
            yield self._say(self.space.keys[LR], what, "widen it, or drop the stage", fatal=True)
        if "optimizer" in self.space.parameters:
            what = "tests the run's own optimizer, and 'optimizer' is searched"
            yield self._say(at, what, "drop this stage, or fix the optimizer", fatal=True)
        if self.sweep.run.train is not None:
            what = f"{self.sweep.run.train} trains by itself: its learning rate cannot be raised step by step"
            yield self._say(at, what, "drop this stage", fatal=True)
        later = [stage for stage in self.sweep.stages[index + 1 :] if stage.searches]
        if not any(LR in tuned(stage, self.keys) for stage in later):
            what = f"no stage after it searches {LR}: what it finds is never used"
            yield self._say(at, what, "put it first")

    def _at(self, index: int, word: str) -> Key:
        """Where a stage's word stands; the stage, where its default is meant."""
        key: Key = ("stages", index, word)
        return key if self.document.at(key) is not None else key[:2]

    def _say(self, key: Key, what: str, fix: str, *, fatal: bool = False) -> ConfigFinding:
        return ConfigFinding(self.document.problem(key, what, fix), key, fatal)
