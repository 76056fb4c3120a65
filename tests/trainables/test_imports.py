"""Dotted paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainables.imports import add_paths, call, resolve
from trainables.run_config import RunError


@pytest.mark.parametrize(
    ("dotted", "sentence"),
    [
        ("no_such_module_here.Net", "no module 'no_such_module_here'"),
        ("torch.nn.Linaer", "torch.nn has no 'Linaer'"),
        ("trainables.mlpp.MLP", "trainables has no 'mlpp'"),
    ],
)
def test_what_cannot_be_found_is_named(dotted: str, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        resolve(dotted)


def test_a_module_in_an_added_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "beside_the_sweep.py").write_text("ANSWER = 42\n")
    add_paths([tmp_path])
    assert resolve("beside_the_sweep.ANSWER") == 42


def test_the_first_of_two_added_folders_wins(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "in_both_folders.py").write_text(f"WHERE = {name!r}\n")
    add_paths([tmp_path / "first", tmp_path / "second"])
    assert resolve("in_both_folders.WHERE") == "first"


def test_a_missing_import_inside_a_users_module_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    add_paths([tmp_path])
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        resolve("needs_more.Net")


def test_keywords_that_do_not_fit_are_an_error_before_anything_is_called() -> None:
    with pytest.raises(RunError, match=r"fractions\.Fraction: got an unexpected keyword argument 'top'"):
        call("fractions.Fraction", given={"top": 1})


def test_what_is_given_wins_over_what_is_offered() -> None:
    assert call("fractions.Fraction", given={"numerator": 1}, offered={"numerator": 5, "other": 1}) == 1


@pytest.mark.parametrize("module", ["torch.distributed.tensor", "transformers"])
@pytest.mark.parametrize("in_use", [False, True])
def test_optimizers_come_without_optional_modules_unless_in_use(module: str, in_use: bool) -> None:
    script = f"""
import sys
if {in_use}:
    import {module}
from trainables.imports import resolve
resolve("pytorch_optimizer.SPlus")
print("{module}" in sys.modules)
import {module}
print({module}.__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(in_use), module], done.stderr
