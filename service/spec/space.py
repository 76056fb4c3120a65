"""The words under `search_space`, read into domains; nested by group or flat, with conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from schedulers.space import Categorical, Domain, Float, Int
from service.spec.document import Document
from service.spec.problem import Key, Problem, dotted, nearest, shown, suggestion
from trainables.run import CONFIGS, flatten

HEADS = (*CONFIGS.values(), *CONFIGS, "batch_size", "warmup", "grad_clip", "precision", "init")
"""Words of a run that may differ between trials; of the configs, the parameters in them."""

NEVER_SEARCHED = {
    "epochs": "it is what trials are compared at; a trial scheduler ends the poor ones early",
    "seeds": "a seed is not a setting to be tuned",
    "data": "trials on different data cannot be compared",
    "data_config": "trials on different data cannot be compared",
}

WORDS = {
    "float": ("type", "min", "max", "log", "step", "when"),
    "int": ("type", "min", "max", "log", "step", "when"),
    "categorical": ("type", "choices", "ordered", "when"),
}
_ALL_WORDS = ("type", "min", "max", "log", "step", "choices", "ordered", "when")
# What the same thing is called elsewhere (Ray Tune, W&B, Optuna, NNI).
_ELSEWHERE = {
    **dict.fromkeys(("uniform", "number", "double", "real", "quniform"), "float"),
    **dict.fromkeys(("loguniform", "log_uniform", "qloguniform"), "float' with 'log: true"),
    **dict.fromkeys(("integer", "randint", "int_uniform", "qrandint"), "int"),
    **dict.fromkeys(("choice", "choices", "category", "bool", "boolean", "str", "constant"), "categorical"),
}


class Parameter(BaseModel):
    """One searched parameter.

    Attributes:
        domain: what it may be.
        when: values (flat key -> value) that other searched parameters must have for this one to exist.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Domain
    when: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """Read the words of a sweep file, which are also how a parameter is written out."""
        if not isinstance(value, Mapping) or "type" not in value:
            return value
        faults: list[Fault] = []
        domain = _domain(dict(value), faults)
        if faults:
            raise ValueError("; ".join(fault.what for fault in faults))
        return {"domain": domain, "when": value.get("when") or {}}

    @model_serializer(mode="wrap")
    def _in_words(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        when = {"when": handler(self)["when"]} if self.when else {}
        return words_of(self.domain) | when


def words_of(domain: Domain) -> dict[str, Any]:
    """Write a domain as it stands in a sweep file.

    >>> words_of(Int(3, 6))
    {'type': 'int', 'min': 3, 'max': 6}
    """
    if isinstance(domain, Categorical):
        words: dict[str, Any] = {"type": "categorical", "choices": list(domain.choices)}
        return words | ({"ordered": True} if domain.ordered else {})
    words = {"type": "int" if isinstance(domain, Int) else "float", "min": domain.low, "max": domain.high}
    if domain.log:
        words["log"] = True
    if domain.step is not None and not (isinstance(domain, Int) and domain.step == 1):
        words["step"] = domain.step
    return words


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one word of one parameter."""

    word: str
    what: str
    mend: str = ""


@dataclass(slots=True)
class Space:
    """A `search_space` as read.

    Attributes:
        parameters: by flat key.
        keys: where each stands in the document.
        problems: everything found wrong; those parameters are left out.
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_space(document: Document, root: Key = ("search_space",)) -> Space:
    """Read the search space that stands at `root` of a document."""
    space = Space()
    raw = document.at(root)
    if raw is None:
        return space
    if not isinstance(raw, dict):
        mend = "group parameters as in 'optimizer_config: {lr: {type: float, …}}'"
        space.problems.append(document.problem(root, f"{shown(raw)} is no mapping", mend))
        return space
    for name in [name for name in raw if name.split(".")[0] not in (*HEADS, *NEVER_SEARCHED)]:
        _misspelt_group(document, space, root, name)
    for key, words in _leaves(raw, root):
        _read_parameter(document, space, key, words, ".".join(map(str, key[len(root) :])))
    return space


def _misspelt_group(document: Document, space: Space, root: Key, name: str) -> None:
    """Report a parameter or group that a run does not have; go on as if the nearest known one stood there."""
    head, dot, rest = name.partition(".")
    space.problems.append(
        document.problem(
            (*root, name), f"a run has no '{head}' that could be searched", suggestion(head, HEADS)
        )
    )
    near = nearest(head, HEADS)
    group = document.at(root)
    if near is None or near + dot + rest in group:
        del group[name]
    else:
        document.move((*root, name), (*root, near + dot + rest))


def _leaves(group: dict[str, Any], key: Key) -> Iterator[tuple[Key, Any]]:
    """Find the parameters: a mapping of mappings is a group, anything else is meant as a parameter."""
    for name, value in group.items():
        inner = (*key, name)
        if isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values()):
            yield from _leaves(value, inner)
        else:
            yield inner, value


def _read_parameter(document: Document, space: Space, key: Key, words: Any, name: str) -> None:
    if not isinstance(words, dict) or not words:
        mend = "write {type: float, min: …, max: …}, {type: int, …} or {type: categorical, choices: […]}"
        space.problems.append(document.problem(key, f"{shown(words)} is no range", mend))
        return
    if name in space.keys:
        where = dotted(space.keys[name])
        space.problems.append(document.problem(key, f"the same parameter as {where}", "keep one of the two"))
        return
    space.keys[name] = key
    faults: list[Fault] = []
    domain = _domain(words, faults)
    when = words.get("when") or {}
    if not isinstance(when, dict):
        faults.append(
            Fault("when", f"{shown(when)} is no condition", "write 'when: {net_config.norm: batch}'")
        )
    for fault in faults:
        at = (*key, fault.word) if fault.word else key
        space.problems.append(document.problem(at, fault.what, fault.mend))
    if domain is not None and isinstance(when, dict):
        space.parameters[name] = Parameter(domain=domain, when=flatten(when))


def _domain(words: dict[str, Any], faults: list[Fault]) -> Domain | None:
    """Read one parameter's words; None, with the reason in `faults`, if they are not sound."""
    words = _known_words(words, faults)
    before = len(faults)
    kind = words.get("type")
    if kind not in WORDS or not isinstance(kind, str):
        faults.append(_unknown_type(words))
        return None
    faults += [
        Fault(word, f"means nothing for type '{kind}'", f"drop it; known here: {', '.join(WORDS[kind])}")
        for word in words
        if word not in WORDS[kind]
    ]
    read = _categorical if kind == "categorical" else _range
    domain = read(words, faults)
    return domain if len(faults) == before else None


def _known_words(words: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """Report words that nobody knows; go on as if the nearest known one stood there."""
    known: dict[str, Any] = {}
    for word, value in words.items():
        if word in _ALL_WORDS:
            known[word] = value
            continue
        near = nearest(word, [other for other in _ALL_WORDS if other not in words])
        alias = {"low": "min", "lower": "min", "high": "max", "upper": "max", "values": "choices"}.get(
            word, near
        )
        mend = f"did you mean '{alias}'?" if alias else f"known here: {', '.join(_ALL_WORDS)}"
        faults.append(Fault(word, "unknown", mend))
        if alias:
            known.setdefault(alias, value)
    return known


def _unknown_type(words: dict[str, Any]) -> Fault:
    kind = words.get("type")
    if kind is None:
        guess = "categorical" if "choices" in words else "float"
        return Fault(
            "" if "type" not in words else "type", "has no type", f"write 'type: {guess}', int or categorical"
        )
    if not isinstance(kind, str):
        return Fault("type", f"{shown(kind)} is no type", "float, int or categorical")
    same = _ELSEWHERE.get(kind.lower())
    mend = f"here it is '{same}'" if same else suggestion(kind, WORDS, "float, int or categorical")
    return Fault("type", f"{shown(kind)} is no type", mend)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _expect(
    words: dict[str, Any],
    word: str,
    sound: Callable[[Any], bool],
    expected: str,
    faults: list[Fault],
    default: Any,
) -> Any:
    """Return a word's value if it is sound, else report it and return the default."""
    value = words.get(word)
    if word not in words:
        return default
    if sound(value):
        return value
    mend = "remove the quotes" if isinstance(value, str) and _looks_numeric(value) else ""
    faults.append(Fault(word, f"{shown(value)} is not {expected}", mend))
    return default


def _looks_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _range(words: dict[str, Any], faults: list[Fault]) -> Float | Int | None:
    whole = words["type"] == "int"
    expected = "a whole number" if whole else "a number"

    def sound(value: Any) -> bool:
        return _is_number(value) and (not whole or float(value).is_integer())

    before = len(faults)
    missing = [word for word in ("min", "max") if word not in words]
    if missing:
        faults.append(Fault("", f"has no {' and no '.join(missing)}", f"a {words['type']} needs min and max"))
    low = _expect(words, "min", sound, expected, faults, 0)
    high = _expect(words, "max", sound, expected, faults, 1)
    log = _expect(words, "log", lambda value: isinstance(value, bool), "true or false", faults, False)
    step = _expect(words, "step", lambda value: value is None or sound(value), expected, faults, None)
    if len(faults) > before:
        return None
    try:
        if whole:
            return Int(int(low), int(high), log, 1 if step is None else int(step))
        return Float(float(low), float(high), log, None if step is None else float(step))
    except ValueError as error:
        faults.append(_domain_fault(str(error)))
        return None


def _categorical(words: dict[str, Any], faults: list[Fault]) -> Categorical | None:
    before = len(faults)
    ordered = _expect(words, "ordered", lambda value: isinstance(value, bool), "true or false", faults, False)
    if "choices" not in words:
        faults.append(Fault("", "has no choices", "a categorical needs 'choices: [a, b, …]'"))
        return None
    choices = _expect(words, "choices", lambda value: isinstance(value, list), "a list", faults, [])
    if len(faults) > before:
        return None
    try:
        return Categorical(tuple(choices), ordered)
    except ValueError as error:
        faults.append(Fault("choices", *_halves(str(error))))
        return None


def _domain_fault(sentence: str) -> Fault:
    """Place the domain's own sentence at the word it speaks of."""
    word = "step" if "step" in sentence else "min" if "min" in sentence else ""
    return Fault(word, *_halves(sentence))


def _halves(sentence: str) -> tuple[str, str]:
    what, _, mend = sentence.partition("; ")
    return what, mend


def condition_problems(document: Document, space: Space, suspect: Collection[str] = ()) -> list[Problem]:
    """Check every parameter's conditions.

    Args:
        document: where everything stands.
        space: the search space.
        suspect: parameters that are most likely misspelt; that one is told already.
    """
    return [
        document.problem((*space.keys[name], "when", fault.word), fault.what, fault.mend)
        for name, parameter in space.parameters.items()
        for fault in _condition_faults(name, parameter, space)
        if not (fault.word not in space.keys and nearest(fault.word, space.keys) in suspect)
    ]


def _condition_faults(name: str, parameter: Parameter, space: Space) -> Iterator[Fault]:
    """Check one parameter's conditions: on searched parameters, values they can have, no circle."""
    for other, value in parameter.when.items():
        if other in space.keys and other not in space.parameters:
            continue  # that parameter has a problem of its own
        if other not in space.parameters:
            mend = suggestion(other, [key for key in space.parameters if key != name])
            yield Fault(other, f"'{other}' is not searched", mend)
        elif not space.parameters[other].domain.contains(value):
            within = words_of(space.parameters[other].domain)
            yield Fault(other, f"{other} can never be {shown(value)}", f"it is {_described(within)}")
        elif _leads_back(name, other, space.parameters):
            yield Fault(other, f"'{name}' and '{other}' wait for each other", "drop one of the conditions")


def _described(words: dict[str, Any]) -> str:
    if "choices" in words:
        return f"one of {shown(words['choices'])}"
    return f"in [{shown(words['min'])}, {shown(words['max'])}]"


def _leads_back(name: str, other: str, parameters: Mapping[str, Parameter]) -> bool:
    """Whether `other`'s own conditions lead to `name`."""
    seen: set[str] = set()
    queue = [other]
    while queue:
        key = queue.pop()
        if key == name:
            return True
        if key in parameters and key not in seen:
            seen.add(key)
            queue += parameters[key].when
    return False
