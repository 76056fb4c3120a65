"""`search_space`: nested or flat, three types, conditions; all of its slips at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.config.document import parse
from raysweep.config.parameter import Parameter
from raysweep.config.search_space import SearchSpace, condition_problems, read_space
from schedulers.space import Categorical, Float, Int


def space_of(text: str) -> SearchSpace:
    lines = ["search_space:", *(f"  {line}" for line in text.splitlines())]
    document = parse("\n".join(lines).encode(), "f")
    space = read_space(document)
    space.problems += condition_problems(document, space)
    return space


@pytest.mark.parametrize(
    "text",
    [
        "net_config: {layers: {type: int, min: 3, max: 6}}",
        "net_config.layers: {type: int, min: 3, max: 6}",
        "net_config:\n  layers:\n    type: int\n    min: 3\n    max: 6",
    ],
)
def test_nested_and_flat_are_the_same(text: str) -> None:
    space = space_of(text)
    assert space.parameters == {"net_config.layers": Parameter(domain=Int(3, 6))}


@pytest.mark.parametrize(
    ("words", "domain"),
    [
        ("type: float, min: 1e-3, max: 1, log: true", Float(1e-3, 1.0, log=True)),
        ("type: float, min: 0, max: 1, step: 0.25", Float(0.0, 1.0, step=0.25)),
        ("type: int, min: 1, max: 1e2", Int(1, 100)),
        ("type: int, min: 2, max: 8, step: 2", Int(2, 8, step=2)),
        ("type: categorical, choices: [relu, tanh]", Categorical(("relu", "tanh"))),
        ("type: categorical, choices: [32, 64], ordered: true", Categorical((32, 64), ordered=True)),
        ("type: categorical, choices: [null, no, true]", Categorical((None, "no", True))),
        ("type: categorical, choices: [[0.9, 0.99], [0.9, 0.999]]", Categorical(([0.9, 0.99], [0.9, 0.999]))),
    ],
)
def test_the_three_types(words: str, domain: Float | Int | Categorical) -> None:
    assert space_of(f"warmup: {{{words}}}").parameters["warmup"].domain == domain


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("type: int, min: 6, max: 3", "warmup.min: min (6) exceeds max (3); swap them"),
        (
            "type: float, min: 0, max: 1, log: true",
            "warmup.min: a log range needs min > 0, not 0.0; raise min or drop log",
        ),
        ("type: float, min: 0", "warmup: has no max; a float needs min and max"),
        ("type: float, mim: 0, max: 1", "warmup.mim: unknown; did you mean 'min'?"),
        (
            "type: float, low: 0, high: 1",
            "warmup.low: unknown; did you mean 'min'?\nwarmup.high: unknown; did you mean 'max'?",
        ),
        ("type: [float], min: 0, max: 1", 'warmup.type: ["float"] is no type; float, int or categorical'),
        ("type: flot, min: 0, max: 1", "warmup.type: 'flot' is no type; did you mean 'float'?"),
        (
            "type: loguniform, min: 1, max: 2",
            "warmup.type: 'loguniform' is no type; here it is 'float' with 'log: true'",
        ),
        ("min: 0, max: 1", "warmup: has no type; write 'type: float', int or categorical"),
        ("type: int, min: 0.5, max: 1", "warmup.min: 0.5 is not a whole number"),
        ("type: float, min: '1e-3', max: 1", "warmup.min: '1e-3' is not a number; remove the quotes"),
        ("type: float, min: true, max: 1", "warmup.min: true is not a number"),
        ("type: float, min: 0, max: 1, log: yes", "warmup.log: 'yes' is not true or false"),
        ("type: categorical", "warmup: has no choices; a categorical needs 'choices: [a, b, …]'"),
        (
            "type: categorical, choices: []",
            "warmup.choices: a categorical parameter needs at least one choice",
        ),
        ("type: categorical, choices: [1, 1]", "warmup.choices: the choice 1 is given twice"),
        (
            "type: categorical, choices: [1], min: 0",
            "warmup.min: means nothing for type 'categorical'; "
            "drop it; known here: type, choices, ordered, when",
        ),
    ],
)
def test_what_is_wrong_with_a_range_is_reported(words: str, message: str) -> None:
    problems = space_of(f"warmup: {{{words}}}").problems
    assert "\n".join(map(str, problems)) == "\n".join(
        f"f:2: search_space.{line}" for line in message.splitlines()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "init: {type: int, min: 0, max: 1, when: {net: x}}\nnet: {type: categorical, choices: [y]}",
            "f:2: search_space.init.when.net: net can never be 'x'; it is one of [\"y\"]",
        ),
        (
            "init: {type: int, min: 0, max: 1, when: {net: x}}",
            "f:2: search_space.init.when.net: 'net' is not searched; known here: a",
        ),
    ],
)
def test_a_condition_names_a_searched_parameter_and_a_value_it_can_have(text: str, message: str) -> None:
    assert str(space_of(text).problems[0]).startswith(message.split("; known")[0])


def test_conditions_that_wait_for_each_other_are_refused() -> None:
    text = (
        "net: {type: int, min: 0, max: 1, when: {init: 0}}\ninit: {type: int, min: 0, max: 1, when: {net: 0}}"
    )
    assert [problem.what for problem in space_of(text).problems] == [
        "'net' and 'init' depend on each other",
        "'init' and 'net' depend on each other",
    ]


def test_the_same_parameter_twice_is_refused() -> None:
    text = "net_config.a: {type: int, min: 0, max: 1}\nnet_config: {a: {type: int, min: 0, max: 1}}"
    assert [str(problem) for problem in space_of(text).problems] == [
        "f:3: search_space.net_config.a: the same parameter as search_space.net_config.a; keep one of the two"
    ]


finite = st.floats(-1e6, 1e6)
domains = st.one_of(
    st.tuples(finite, finite).map(lambda pair: Float(min(pair), max(pair))),
    st.tuples(st.floats(1e-9, 1.0), st.floats(1.0, 1e9)).map(lambda pair: Float(*pair, log=True)),
    st.tuples(st.integers(-99, 0), st.integers(0, 99), st.integers(1, 5)).map(
        lambda three: Int(three[0], three[1], step=three[2])
    ),
    st.lists(
        st.one_of(st.text(), st.integers(), st.booleans(), st.none(), finite),
        min_size=1,
        max_size=5,
        unique_by=repr,
    )
    .filter(lambda choices: 0.0 not in choices)  # 0.0 and -0.0 are one choice with two spellings
    .map(lambda choices: Categorical(tuple(choices), ordered=True)),
)


@given(domains, st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.integers(), st.booleans())))
def test_a_parameter_written_out_and_read_again_is_the_same(
    domain: Float | Int | Categorical, when: dict[str, object]
) -> None:
    parameter = Parameter(domain=domain, when=when)
    assert Parameter.model_validate(parameter.model_dump(mode="json")) == parameter
