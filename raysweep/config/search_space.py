"""Reads `search_space`: parameters nested by group or flat, with cases and conditions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysweep.config.document import Document
from raysweep.config.parameter import Parameter, ValueFault, domain_fields, hull, read_domain, wanted
from raysweep.config.problem import Key, Problem, dotted, nearest, shown, suggestion
from schedulers.errors import InvalidSetting
from schedulers.space import Domain
from trainables.run_config import CONFIGS, GROUPS, flatten

HEADS = (
    *GROUPS,
    *CONFIGS,
    "param_groups",
    "batch_size",
    "accumulate",
    "warmup",
    "grad_clip",
    "precision",
    "init",
)
"""Keys of a run that may differ between trials; of the configs, the parameters in them."""

NEVER_SEARCHED = {
    "epochs": "trials are compared at it; use a trial scheduler to end the poor ones early",
    "seeds": "a seed is not a setting to be tuned",
    "data": "trials on different data cannot be compared",
    "data_config": "trials on different data cannot be compared",
    "data_fraction": "more data is nearly always better; run a cheap study at a small one, and `warm_start`",
}
SPACE_KEY: Key = ("search_space",)


@dataclass(slots=True)
class SearchSpace:
    """A `search_space` with positions.

    Attributes:
        parameters: valid parameters by flat key.
        keys: key in the document by flat key.
        problems: of the other parameters.
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_space(document: Document) -> SearchSpace:
    """Read the search space of a document."""
    space = SearchSpace()
    raw = document.at(SPACE_KEY)
    if raw is None:
        return space
    if not isinstance(raw, dict):
        fix = "group parameters as in 'optimizer_config: {lr: {type: float, …}}'"
        space.problems.append(document.problem(SPACE_KEY, f"{shown(raw)} is no mapping", fix))
        return space
    for name in [name for name in raw if name.split(".")[0] not in (*HEADS, *NEVER_SEARCHED)]:
        _misspelt_group(document, space, name)
    for key, value in _leaves(raw, SPACE_KEY):
        _read_parameter(document, space, key, value, ".".join(map(str, key[1:])))
    return space


def _misspelt_group(document: Document, space: SearchSpace, name: str) -> None:
    """Report a parameter or group that a run does not have, and replace it by the nearest known one."""
    head, dot, rest = name.partition(".")
    known = [
        *HEADS,
        *(f"{config}.{kwarg}" for config in GROUPS for kwarg in document.at(("run", config)) or ()),
    ]
    fix = suggestion(head, known, "name its group as well, as in 'optimizer_config.lr'")
    what = f"a run has no '{head}' that could be searched"
    space.problems.append(document.problem((*SPACE_KEY, name), what, fix))
    near = nearest(head, known)
    group = document.at(SPACE_KEY)
    if near is None or near + dot + rest in group:
        del group[name]
    else:
        document.move((*SPACE_KEY, name), (*SPACE_KEY, near + dot + rest))


def _leaves(group: dict[str, Any], key: Key) -> Iterator[tuple[Key, Any]]:
    """Yield the parameters: a config or a mapping of mappings or lists of cases is a group, all else one."""
    for name, value in group.items():
        inner = (*key, name)
        if isinstance(value, dict) and value and _is_group(name, value):
            yield from _leaves(value, inner)
        else:
            yield inner, value


def _is_group(name: str, value: dict[str, Any]) -> bool:
    return (name in GROUPS and "type" not in value) or all(map(_is_nested, value.values()))


def _is_nested(value: Any) -> bool:
    cases = isinstance(value, list) and bool(value) and all(isinstance(case, dict) for case in value)
    return cases or isinstance(value, dict)


def _read_parameter(document: Document, space: SearchSpace, key: Key, value: Any, name: str) -> None:
    if isinstance(value, list) and any(isinstance(case, dict) for case in value):
        _read_cases(document, space, key, value, name)
        return
    if not isinstance(value, dict) or not value:
        fix = "write {type: float, min: …, max: …}, {type: int, …} or {type: categorical, choices: […]}"
        space.problems.append(document.problem(key, f"{shown(value)} is no range", fix))
        return
    if name in space.keys:
        where = dotted(space.keys[name])
        space.problems.append(document.problem(key, f"the same parameter as {where}", "keep one of the two"))
        return
    space.keys[name] = key
    faults: list[ValueFault] = []
    domain = read_domain(value, faults)
    when = value.get("when") or {}
    if not isinstance(when, dict):
        faults.append(
            ValueFault("when", f"{shown(when)} is no condition", "write 'when: {net_config.norm: batch}'")
        )
    for fault in faults:
        at = (*key, fault.field) if fault.field else key
        space.problems.append(document.problem(at, fault.what, fault.fix))
    if domain is not None and isinstance(when, dict):
        space.parameters[name] = Parameter(domain=domain, when=flatten(when))


def _read_cases(document: Document, space: SearchSpace, key: Key, values: list[Any], name: str) -> None:
    """Read a parameter that is a list: a range for each case, with conditions that exclude each other."""
    cases: list[Parameter] = []
    for index, case in enumerate(values):
        each = SearchSpace()
        _read_parameter(document, each, (*key, index), case, name)
        parameter = each.parameters.get(name)
        if parameter is not None and not parameter.when:
            fix = "say when it applies: 'when: {optimizer: torch.optim.SGD}'"
            each.problems.append(document.problem((*key, index), "one case of several has no condition", fix))
        space.problems += each.problems
        cases += [parameter] if parameter is not None and not each.problems else []
    if name in space.keys:
        where = dotted(space.keys[name])
        space.problems.append(document.problem(key, f"the same parameter as {where}", "keep one of the two"))
        return
    space.keys[name] = key
    if len(cases) < len(values):
        return
    for second, case in enumerate(cases):
        for first, other in enumerate(cases[:second]):
            if not _exclusive(case.when, other.when):
                what = f"applies where case {first + 1} does"
                fix = "give each case another value of the same parameter in 'when'"
                space.problems.append(document.problem((*key, second), what, fix))
    try:
        space.parameters[name] = Parameter(domain=hull([case.domain for case in cases]), cases=tuple(cases))
    except InvalidSetting as error:
        space.problems.append(document.problem(key, error.what, error.fix))


def _exclusive(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two conditions can never both hold, as they require different values of some parameter."""
    return any(
        not any(value == twin for value in wanted(one[key]) for twin in wanted(other[key]))
        for key in one.keys() & other.keys()
    )


def condition_problems(
    document: Document, space: SearchSpace, suspect: Collection[str] = ()
) -> list[Problem]:
    """The problems of every parameter's conditions.

    Args:
        document: the sweep file, with positions.
        space: the search space.
        suspect: parameters that are most likely misspelt, which has been reported.
    """
    return [
        document.problem((*space.keys[name], *index, "when", fault.field), fault.what, fault.fix)
        for name, parameter in space.parameters.items()
        for index, case in _cases(parameter)
        for fault in _condition_faults(name, case, space)
        if not (fault.field not in space.keys and nearest(fault.field, space.keys) in suspect)
    ]


def _cases(parameter: Parameter) -> list[tuple[Key, Parameter]]:
    """A parameter's cases with their indices; the parameter itself if it has none."""
    return [((index,), case) for index, case in enumerate(parameter.cases)] or [((), parameter)]


def _condition_faults(name: str, parameter: Parameter, space: SearchSpace) -> Iterator[ValueFault]:
    """Yield the faults of one parameter's conditions: unsearched parameters, impossible values, cycles."""
    for other, value in parameter.when.items():
        if other in space.keys and other not in space.parameters:
            continue  # that parameter has a problem of its own
        if other not in space.parameters:
            fix = suggestion(other, [key for key in space.parameters if key != name])
            yield ValueFault(other, f"'{other}' is not searched", fix)
        elif not _can_be(space.parameters[other].domain, value):
            fields = domain_fields(space.parameters[other].domain)
            yield ValueFault(other, f"{other} can never be {shown(value)}", f"it is {_describe(fields)}")
        elif _leads_back(name, other, space.parameters):
            yield ValueFault(
                other, f"'{name}' and '{other}' depend on each other", "drop one of the conditions"
            )


def _can_be(domain: Domain, value: Any) -> bool:
    """Whether a condition's value lies in a domain, or each value of its list; a list may be a choice."""
    return domain.contains(value) or (
        isinstance(value, list) and bool(value) and all(domain.contains(one) for one in value)
    )


def _describe(fields: dict[str, Any]) -> str:
    if "choices" in fields:
        return f"one of {shown(fields['choices'])}"
    return f"in [{shown(fields['min'])}, {shown(fields['max'])}]"


def _leads_back(name: str, other: str, parameters: Mapping[str, Parameter]) -> bool:
    """Whether `other`'s own conditions lead to `name`."""
    visited: set[str] = set()
    queue = [other]
    while queue:
        key = queue.pop()
        if key == name:
            return True
        if key in parameters and key not in visited:
            visited.add(key)
            queue += [parent for _, case in _cases(parameters[key]) for parent in case.when]
    return False
