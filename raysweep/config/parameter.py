"""One searched parameter: its words in a sweep file, read into a domain with its conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from raysweep.config.problem import how_to_write_number, nearest, shown, suggestion
from schedulers.errors import InvalidSetting
from schedulers.space import Categorical, Domain, Float, Int

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
        domain: what it may be; of one with cases, all that it may be in any of them.
        when: values (flat key -> value, or a list of values) that other searched parameters must have
            for this one to exist.
        cases: a range for each choice of another parameter, of which at most one applies; written as a
            list. Each has a `when` and no cases of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Domain
    when: dict[str, Any] = Field(default_factory=dict)
    cases: tuple[Parameter, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """Read the words of a sweep file, which are also how a parameter is written out."""
        if isinstance(value, list):
            cases = tuple(Parameter.model_validate(case) for case in value)
            return {"domain": hull([case.domain for case in cases]), "cases": cases}
        if not isinstance(value, Mapping) or "type" not in value:
            return value
        faults: list[ValueFault] = []
        domain = read_domain(dict(value), faults)
        if faults:
            raise ValueError("; ".join(fault.what for fault in faults))
        return {"domain": domain, "when": value.get("when") or {}}

    @model_serializer(mode="wrap")
    def _in_words(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any] | list[dict[str, Any]]:
        if self.cases:
            return [case.model_dump(mode="json") for case in self.cases]
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


def hull(domains: Sequence[Domain]) -> Domain:
    """The least domain that holds all of several.

    Raises:
        ValueError: where some are ranges and others choices.

    >>> hull([Float(1e-4, 1e-2, log=True), Float(1e-2, 1e-1, log=True)])
    Float(low=0.0001, high=0.1, log=True, step=None)
    """
    choices = [domain for domain in domains if isinstance(domain, Categorical)]
    ranges = [domain for domain in domains if not isinstance(domain, Categorical)]
    if choices and ranges:
        raise InvalidSetting(
            "", "ranges and choices in one parameter", "give all its cases as the one or the other"
        )
    if choices:
        return Categorical(tuple(dict.fromkeys(choice for domain in choices for choice in domain.choices)))
    low, high = min(domain.low for domain in ranges), max(domain.high for domain in ranges)
    log = all(domain.log for domain in ranges)
    if all(isinstance(domain, Int) for domain in ranges):
        return Int(int(low), int(high), log)
    return Float(low, high, log)


@dataclass(frozen=True, slots=True)
class ValueFault:
    """What is wrong with one word of one parameter."""

    word: str
    what: str
    fix: str = ""


def wanted(value: Any) -> list[Any]:
    """The values that a condition allows: the one given, or each of a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def meets(value: Any, condition: Any) -> bool:
    """Whether a value is what a condition asks for, or one of what it asks for.

    >>> meets("batch", ["batch", "layer"]), meets(1, True)
    (True, False)
    """
    if alike(value, condition):
        return True
    return isinstance(condition, (list, tuple)) and any(alike(value, one) for one in condition)


def holds(when: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether all conditions hold in a flat configuration; one on what is not there does not.

    >>> holds({"optimizer": "torch.optim.SGD"}, {"optimizer": "torch.optim.AdamW"})
    False
    """
    return all(key in config and meets(config[key], value) for key, value in when.items())


def alike(one: Any, other: Any) -> bool:
    """Equal, but `true` is not 1: in a sweep file the two are different choices."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def read_domain(words: dict[str, Any], faults: list[ValueFault]) -> Domain | None:
    """Read one parameter's words; None, with the reason in `faults`, if they are not sound."""
    words = _known_words(words, faults)
    before = len(faults)
    kind = words.get("type")
    if not isinstance(kind, str) or kind not in WORDS:
        faults.append(_unknown_type(words))
        return None
    faults += [
        ValueFault(word, f"means nothing for type '{kind}'", f"drop it; known here: {', '.join(WORDS[kind])}")
        for word in words
        if word not in WORDS[kind]
    ]
    read = _categorical if kind == "categorical" else _range
    domain = read(words, faults)
    return domain if len(faults) == before else None


def _known_words(words: dict[str, Any], faults: list[ValueFault]) -> dict[str, Any]:
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
        fix = f"did you mean '{alias}'?" if alias else f"known here: {', '.join(_ALL_WORDS)}"
        faults.append(ValueFault(word, "unknown", fix))
        if alias:
            known.setdefault(alias, value)
    return known


def _unknown_type(words: dict[str, Any]) -> ValueFault:
    kind = words.get("type")
    if kind is None:
        guess = "categorical" if "choices" in words else "float"
        return ValueFault(
            "" if "type" not in words else "type", "has no type", f"write 'type: {guess}', int or categorical"
        )
    if not isinstance(kind, str):
        return ValueFault("type", f"{shown(kind)} is no type", "float, int or categorical")
    same = _ELSEWHERE.get(kind.lower())
    fix = f"here it is '{same}'" if same else suggestion(kind, WORDS, "float, int or categorical")
    return ValueFault("type", f"{shown(kind)} is no type", fix)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number, and not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _expect(
    words: dict[str, Any],
    word: str,
    sound: Callable[[Any], bool],
    expected: str,
    faults: list[ValueFault],
    default: Any,
) -> Any:
    """Return a word's value if it is sound, else report it and return the default."""
    value = words.get(word)
    if word not in words:
        return default
    if sound(value):
        return value
    fix = how_to_write_number(value) if isinstance(value, str) else ""
    faults.append(ValueFault(word, f"{shown(value)} is not {expected}", fix))
    return default


def _range(words: dict[str, Any], faults: list[ValueFault]) -> Float | Int | None:
    whole = words["type"] == "int"
    expected = "a whole number" if whole else "a number"

    def sound(value: Any) -> bool:
        return is_number(value) and (not whole or float(value).is_integer())

    before = len(faults)
    missing = [word for word in ("min", "max") if word not in words]
    if missing:
        faults.append(
            ValueFault("", f"has no {' and no '.join(missing)}", f"a {words['type']} needs min and max")
        )
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
    except InvalidSetting as error:
        faults.append(ValueFault(error.parameter, error.what, error.fix))
        return None


def _categorical(words: dict[str, Any], faults: list[ValueFault]) -> Categorical | None:
    before = len(faults)
    ordered = _expect(words, "ordered", lambda value: isinstance(value, bool), "true or false", faults, False)
    if "choices" not in words:
        faults.append(ValueFault("", "has no choices", "a categorical needs 'choices: [a, b, …]'"))
        return None
    choices = _expect(words, "choices", lambda value: isinstance(value, list), "a list", faults, [])
    if len(faults) > before:
        return None
    try:
        return Categorical(tuple(choices), ordered)
    except InvalidSetting as error:
        faults.append(ValueFault(error.parameter, error.what, error.fix))
        return None
