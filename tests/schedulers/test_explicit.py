"""The scheduler classes write out what their rules and the adapter take; a type checker reads them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from mypy import api

import schedulers
from schedulers import RuleScheduler
from schedulers.tune import schedulers as explicit

ROOT = Path(__file__).resolve().parents[2]

every_class = pytest.mark.parametrize("name", schedulers.RULES)


def settings_of(function: type[Any]) -> dict[str, Any]:
    """Name -> parameter, annotation included, without `self` and the adapter's `rule`."""
    parameters = dict(inspect.signature(function, eval_str=True).parameters)
    parameters.pop("rule", None)
    return parameters


@every_class
def test_a_class_names_its_rules_settings_and_the_adapters(name: str) -> None:
    """The same names, types and defaults, all of them keyword-only."""
    scheduler = getattr(schedulers, name)
    assert settings_of(scheduler) == settings_of(scheduler.rule_class) | settings_of(RuleScheduler)


@every_class
def test_every_setting_arrives_under_its_own_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = getattr(schedulers, name)
    given = {word: object() for word in settings_of(scheduler)}
    arrived = {}
    monkeypatch.setattr(explicit, f"{name}Rule", lambda **settings: arrived.update(settings) or "the rule")
    monkeypatch.setattr(RuleScheduler, "__init__", lambda self, rule, **rest: arrived.update(rest, rule=rule))
    scheduler(**given)
    assert arrived == given | {"rule": "the rule"}


def test_mypy_rejects_a_misspelt_setting_or_name(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import schedulers
from schedulers import ASHA, PFL
ASHA(max_resource=27, grace_period=3, mode="min", audit_fraction=0.05)
ASHA(max_resource=27, grace_perid=3)
PFL(max_resource="27")
schedulers.ASHA(max_resource=27, mode="up")
schedulers.ASAH
""",
        encoding="utf-8",
    )
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--no-pretty"]
    output, _, _ = api.run([*options, str(program)])
    assert [line.partition("error: ")[2] for line in output.splitlines() if "error: " in line] == [
        'Unexpected keyword argument "grace_perid" for "ASHA"; did you mean "grace_period"?  [call-arg]',
        'Argument "max_resource" to "PFL" has incompatible type "str"; expected "int"  [arg-type]',
        'Argument "mode" to "ASHA" has incompatible type "Literal[\'up\']"; '
        "expected \"Literal['min', 'max'] | None\"  [arg-type]",
        'Module has no attribute "ASAH"  [attr-defined]',
    ]


def test_completion_offers_the_scheduler_classes() -> None:
    assert {*schedulers.RULES, "RuleScheduler", "ASHARule"} <= set(dir(schedulers))
