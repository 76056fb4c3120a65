"""The published schema and page match what the reader accepts and are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from raysweep.authoring.schema import descriptions, sweep_schema
from raysweep.authoring.schema_docs import PAGE, SCHEMA, generated_files
from raysweep.config import Sweep, read_sweep
from raysweep.config.document import parse, read
from raysweep.config.parameter import FIELDS
from raysweep.config.template import OLD_SWEEP_KEYS
from tests.sound_sweep import WELL
from trainables.run_config import RunConfig

CLONE = Path(__file__).parents[2]
SHIPPED = sorted((CLONE / "sweeps").glob("*.yaml"))
FILES = CLONE / "tests" / "config" / "files"
VALIDATOR = jsonschema.Draft202012Validator(sweep_schema())


def complaints(value: Any) -> list[str]:
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(value)]


@pytest.mark.parametrize("name", [SCHEMA, PAGE])
def test_what_is_published_is_up_to_date(name: str) -> None:
    """`python launch.py schema --write` brings it up to date."""
    assert (CLONE / name).read_text(encoding="utf-8") == generated_files(CLONE)[CLONE / name]


def test_the_schema_is_a_sound_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(sweep_schema())


@pytest.mark.parametrize("file", [*SHIPPED, FILES / "full.yaml"], ids=lambda file: file.stem)
def test_a_sound_sweep_validates(file: Path) -> None:
    assert complaints(read(file).value) == []


def test_the_templates_second_file_with_its_run_validates() -> None:
    both = read(FILES / "opt.yaml").value | {"run": read(FILES / "run.yaml").value}
    assert complaints(both) == []


@pytest.mark.parametrize("file", [*SHIPPED, FILES / "full.yaml"], ids=lambda file: file.stem)
def test_a_sweep_written_out_validates(file: Path) -> None:
    """What a study keeps of its sweep can be edited and run again."""
    value = read_sweep(file).sweep.model_dump(mode="json")
    assert complaints(value) == []


@pytest.mark.parametrize(
    ("sound", "unsound", "key"),
    [
        ("trials: 60", "trails: 60", ""),
        ("trials: 60", "trials: many", "trials"),
        ("trials: 60", "trials: 0", "trials"),
        ("epochs: 20", "epoch: 20", "run"),
        ("type: float", "type: uniform", "search_space.optimizer_config.lr.type"),
        ("min: 1e-4", "low: 1e-4", "search_space.optimizer_config.lr"),
        ("  optimizer_config:\n", "  optimiser_config:\n", "search_space"),
        ("kwargs: {grace", "kwarg: {grace", "trial_scheduler"),
        ("study_name: well", "study_name: ../well", "study_name"),
    ],
)
def test_a_slip_is_marked_in_the_editor_where_it_stands(sound: str, unsound: str, key: str) -> None:
    assert complaints(parse(WELL.encode(), "well.yaml").value) == []
    slip = parse(WELL.replace(sound, unsound).encode(), "well.yaml").value
    assert any(place.startswith(key) for place in complaints(slip))


@pytest.mark.parametrize(
    "space",
    [
        "optimizer_config.lr: {type: float, min: 1e-4, max: 1}",
        "batch_size: {type: int, min: 1, max: 9, step: 2}",
        "net_config: {norm: {type: categorical, choices: [null, a]}}",
        "net_config: {block: {kind: {type: categorical, choices: [a, b], ordered: true}}}",
        "net_config: {type: {type: categorical, choices: [a, b]}}",
        "net_config: {a: {type: int, min: 1, max: 2, when: {net_config.b: 1}}}",
    ],
)
def test_a_space_may_be_nested_flat_and_conditional(space: str) -> None:
    value = parse(f"{WELL.partition('search_space')[0]}search_space: {{{space}}}".encode(), "well.yaml").value
    assert complaints(value) == []


def test_every_word_is_described() -> None:
    """A field missing from a docstring would be missing from the page and in every editor."""
    schema = sweep_schema()
    own = {
        name: definition for name, definition in schema["properties"].items() if name not in OLD_SWEEP_KEYS
    }
    assert [name for name, definition in own.items() if not definition.get("description")] == []
    run = schema["$defs"]["RunConfig"]["properties"]
    assert [name for name, definition in run.items() if not definition.get("description")] == []


@pytest.mark.parametrize("model", [Sweep, RunConfig])
def test_descriptions_are_of_existing_keys(model: type[Sweep | RunConfig]) -> None:
    assert descriptions(model).keys() <= model.model_fields.keys()


def test_a_parameters_keys_are_the_readers() -> None:
    shapes = [shape["then"] for shape in sweep_schema()["$defs"]["Parameter"]["allOf"]]
    assert {one["properties"]["type"]["const"]: set(one["properties"]) for one in shapes} == {
        kind: set(names) for kind, names in FIELDS.items()
    }


def test_the_shipped_sweeps_name_the_schema() -> None:
    for file in SHIPPED:
        assert "# yaml-language-server: $schema=../docs/sweep.schema.json\n" in file.read_text(), file


def test_the_published_schema_is_json() -> None:
    assert json.loads((CLONE / SCHEMA).read_text(encoding="utf-8")) == sweep_schema()
