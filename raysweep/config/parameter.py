"""One searched parameter: its domain and conditions, and reading them from a sweep file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from raysweep.config.problem import how_to_write_number, nearest, shown, suggestion
from schedulers.errors import InvalidSetting
from schedulers.space import Categorical, Domain, Float, Int
from trainables.run_config import Section

FIELDS = {
    "float": ("type", "min", "max", "log", "step", "when"),
    "int": ("type", "min", "max", "log", "step", "when"),
    "categorical": ("type", "choices", "ordered", "when"),
}

_ALL_FIELDS = ("type", "min", "max", "log", "step", "choices", "ordered", "when")

# Names of the types elsewhere (Ray Tune, W&B, Optuna, NNI).
_ELSEWHERE = {
    **dict.fromkeys(("uniform", "number", "double", "real", "quniform"), "float"),
    **dict.fromkeys(("loguniform", "log_uniform", "qloguniform"), "float' with 'log: true"),
    **dict.fromkeys(("integer", "randint", "int_uniform", "qrandint"), "int"),
    **dict.fromkeys(("choice", "choices", "category", "bool", "boolean", "str", "constant"), "categorical"),
}


class Parameter(Section):
    """One searched parameter.

    Attributes:
        domain: its values; with cases, the values of all of them.
        when: by flat key, the value or list of values that other searched parameters must have for this
            one to exist.
        cases: a range for each choice of another parameter, of which at most one applies; written as a
            list. Each has a `when` and no cases of its own.
    """

    domain: Domain
    when: dict[str, Any] = Field(default_factory=dict)
    cases: tuple[Parameter, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_fields(cls, value: Any) -> Any:
        """Read the fields of a sweep file, as which a parameter is also written."""
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
    def _as_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any] | list[dict[str, Any]]:
        if self.cases:
            return [case.model_dump(mode="json") for case in self.cases]
        when = {"when": handler(self)["when"]} if self.when else {}
        return domain_fields(self.domain) | when


def domain_fields(domain: Domain) -> dict[str, Any]:
    """A domain as written in a sweep file.

    >>> domain_fields(Int(3, 6))
    {'type': 'int', 'min': 3, 'max': 6}
    """
    if isinstance(domain, Categorical):
        fields: dict[str, Any] = {"type": "categorical", "choices": list(domain.choices)}
        return fields | ({"ordered": True} if domain.ordered else {})
    fields = {"type": "int" if isinstance(domain, Int) else "float", "min": domain.low, "max": domain.high}
    if domain.log:
        fields["log"] = True
    if domain.step is not None and not (isinstance(domain, Int) and domain.step == 1):
        fields["step"] = domain.step
    return fields


def hull(domains: Sequence[Domain]) -> Domain:
    """The smallest domain that contains all of several.

    Raises:
        ValueError: if some are ranges and others choices.

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
    """A problem with one field of a parameter; `field` is "" if it is with the parameter as a whole."""

    field: str
    what: str
    fix: str = ""


def wanted(value: Any) -> list[Any]:
    """The values that a condition allows: the given one, or each of a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def meets(value: Any, condition: Any) -> bool:
    """Whether a condition allows a value.

    >>> meets("batch", ["batch", "layer"]), meets(1, True)
    (True, False)
    """
    if alike(value, condition):
        return True
    return isinstance(condition, (list, tuple)) and any(alike(value, one) for one in condition)


def holds(when: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether all conditions hold in a flat configuration; a condition on a missing key does not.

    >>> holds({"optimizer": "torch.optim.SGD"}, {"optimizer": "torch.optim.AdamW"})
    False
    """
    return all(key in config and meets(config[key], value) for key, value in when.items())


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal; `true` and 1 are not, being different choices in a sweep file."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def read_domain(fields: dict[str, Any], faults: list[ValueFault]) -> Domain | None:
    """Read a parameter's domain; None, with the reasons added to `faults`, if it is invalid."""
    fields = _known_fields(fields, faults)
    before = len(faults)
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in FIELDS:
        faults.append(_unknown_type(fields))
        return None
    faults += [
        ValueFault(
            field, f"means nothing for type '{kind}'", f"drop it; known here: {', '.join(FIELDS[kind])}"
        )
        for field in fields
        if field not in FIELDS[kind]
    ]
    read = _categorical if kind == "categorical" else _range
    domain = read(fields, faults)
    return domain if len(faults) == before else None


def _known_fields(fields: dict[str, Any], faults: list[ValueFault]) -> dict[str, Any]:
    """Report unknown fields, and replace them by the nearest known ones."""
    known: dict[str, Any] = {}
    for field, value in fields.items():
        if field in _ALL_FIELDS:
            known[field] = value
            continue
        near = nearest(field, [other for other in _ALL_FIELDS if other not in fields])
        alias = {"low": "min", "lower": "min", "high": "max", "upper": "max", "values": "choices"}.get(
            field, near
        )
        fix = f"did you mean '{alias}'?" if alias else f"known here: {', '.join(_ALL_FIELDS)}"
        faults.append(ValueFault(field, "unknown", fix))
        if alias:
            known.setdefault(alias, value)
    return known


def _unknown_type(fields: dict[str, Any]) -> ValueFault:
    kind = fields.get("type")
    if kind is None:
        guess = "categorical" if "choices" in fields else "float"
        at = "type" if "type" in fields else ""
        return ValueFault(at, "has no type", f"write 'type: {guess}', int or categorical")
    if not isinstance(kind, str):
        return ValueFault("type", f"{shown(kind)} is no type", "float, int or categorical")
    same = _ELSEWHERE.get(kind.lower())
    fix = f"here it is '{same}'" if same else suggestion(kind, FIELDS, "float, int or categorical")
    return ValueFault("type", f"{shown(kind)} is no type", fix)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number, and not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _expect(
    fields: dict[str, Any],
    field: str,
    is_valid: Callable[[Any], bool],
    expected: str,
    faults: list[ValueFault],
    default: Any,
) -> Any:
    """Return a field's value if it is valid; else report it and return the default."""
    if field not in fields:
        return default
    value = fields[field]
    if is_valid(value):
        return value
    fix = how_to_write_number(value) if isinstance(value, str) else ""
    faults.append(ValueFault(field, f"{shown(value)} is not {expected}", fix))
    return default


def _range(fields: dict[str, Any], faults: list[ValueFault]) -> Float | Int | None:
    whole = fields["type"] == "int"
    expected = "a whole number" if whole else "a number"

    def is_valid(value: Any) -> bool:
        return is_number(value) and (not whole or float(value).is_integer())

    before = len(faults)
    missing = [field for field in ("min", "max") if field not in fields]
    if missing:
        faults.append(
            ValueFault("", f"has no {' and no '.join(missing)}", f"a {fields['type']} needs min and max")
        )
    low = _expect(fields, "min", is_valid, expected, faults, 0)
    high = _expect(fields, "max", is_valid, expected, faults, 1)
    log = _expect(fields, "log", lambda value: isinstance(value, bool), "true or false", faults, False)
    step = _expect(fields, "step", lambda value: value is None or is_valid(value), expected, faults, None)
    if len(faults) > before:
        return None
    try:
        if whole:
            return Int(int(low), int(high), log, 1 if step is None else int(step))
        return Float(float(low), float(high), log, None if step is None else float(step))
    except InvalidSetting as error:
        faults.append(ValueFault(error.parameter, error.what, error.fix))
        return None


def _categorical(fields: dict[str, Any], faults: list[ValueFault]) -> Categorical | None:
    before = len(faults)
    ordered = _expect(
        fields, "ordered", lambda value: isinstance(value, bool), "true or false", faults, False
    )
    if "choices" not in fields:
        faults.append(ValueFault("", "has no choices", "a categorical needs 'choices: [a, b, …]'"))
        return None
    choices = _expect(fields, "choices", lambda value: isinstance(value, list), "a list", faults, [])
    if len(faults) > before:
        return None
    try:
        return Categorical(tuple(choices), ordered)
    except InvalidSetting as error:
        faults.append(ValueFault(error.parameter, error.what, error.fix))
        return None
