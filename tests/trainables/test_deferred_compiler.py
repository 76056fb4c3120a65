"""torch's compiler is imported only if something is compiled."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from trainables import deferred_compiler
from trainables.deferred_compiler import ASKED, METHODS, _call_plainly, defer_compiler

SPLUS = """
import sys
from tests.trainables.samples import BASE, OPTIMIZERS
from trainables.trial import Trial
trial = Trial()
trial.begin(BASE | OPTIMIZERS["SPlus"], 0.0)
assert trial.step()["epoch"] == 1
assert "torch._dynamo" not in sys.modules
"""


def test_torch_wraps_these_methods_and_no_others() -> None:
    """If a new torch wraps one more method, it would import the compiler again."""
    where = {name: getattr(method, "__code__", None) for name, method in vars(torch.optim.Optimizer).items()}
    wrapped = {name for name, code in where.items() if code and code.co_filename == torch._compile.__file__}
    assert wrapped == set(METHODS)


def test_a_method_is_called_plainly_until_the_compiler_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def method() -> None:
        calls.append("plain")

    def wrapper() -> None:
        calls.append("as the compiler has it")

    monkeypatch.setattr(deferred_compiler, "COMPILER", "the_compiler")
    setattr(method, ASKED, call := _call_plainly(method, wrapper))
    call()
    assert calls == ["plain"]
    monkeypatch.setitem(sys.modules, "the_compiler", sys)
    call()
    assert calls == ["plain", "as the compiler has it"]
    assert not hasattr(method, ASKED)  # from here on the wrapper asks the compiler itself


def test_what_the_compiler_was_asked_before_stays() -> None:
    defer_compiler()
    methods = [getattr(torch.optim.Optimizer, name).__wrapped__ for name in METHODS]
    asked = [getattr(method, ASKED) for method in methods]
    defer_compiler()
    assert [getattr(method, ASKED) for method in methods] == asked


@pytest.mark.nightly
def test_a_process_that_trains_with_splus_imports_no_compiler() -> None:
    subprocess.run([sys.executable, "-c", SPLUS], check=True)
