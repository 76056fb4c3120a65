"""Settings are filled into the placeholders of `run.command`."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.command import fill_command, split_command
from trainables.run_config import COMMAND_LOOP, RunConfig, RunError, read


@pytest.mark.parametrize(
    ("command", "settings", "argv"),
    [
        ("train --lr {lr}", {"lr": 1e-05}, ["train", "--lr", "1e-05"]),
        ("train --lr={lr}", {"lr": 0.5}, ["train", "--lr=0.5"]),
        ("train {args}", {"lr": 0.5, "act": "relu"}, ["train", "--lr=0.5", "--act=relu"]),
        ("train {args}", {}, ["train"]),
        ("train {opt.lr}", {"opt": {"lr": 0.5}}, ["train", "0.5"]),
        ("train {name}", {"name": "a b; rm -r x"}, ["train", "a b; rm -r x"]),  # no shell: one argument
        ("train '{lr} {n}'", {"lr": 1, "n": 2}, ["train", "1 2"]),
        ('train {"a":1} ${HOME} {}', {"HOME": 3}, ["train", "{a:1}", "$3", "{}"]),
        ("train {epochs}", {}, ["train", "9"]),
        ("train {epochs}", {"epochs": 2}, ["train", "2"]),  # the user's own setting wins
        ("python x.py", {}, [sys.executable, "x.py"]),
    ],
)
def test_settings_are_written_into_the_words_of_a_command(
    command: str, settings: dict[str, Any], argv: list[str]
) -> None:
    assert fill_command(command, settings, {"epochs": "9"}) == argv


@given(st.text().filter(lambda text: "\x00" not in text))
def test_any_text_is_one_argument_unchanged(text: str) -> None:
    assert fill_command("train -x {x}", {"x": text}, {}) == ["train", "-x", text]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "run.command: empty; as in 'python train.py --lr {lr}'"),
        ("train 'a", 'run.command: No closing quotation in "train \'a"; close it'),
        ("train {n}", "run.command: {n} has no value in this trial; set train_config.n"),
    ],
)
def test_what_is_wrong_with_a_command_is_one_line(command: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        fill_command(command, {}, {})
    assert str(caught.value) == message


def test_a_placeholder_with_quotes_around_it_is_one_word() -> None:
    assert split_command("a '{b} c'") == ["a", "{b} c"]


def test_a_command_is_run_by_a_loop_of_ones_own() -> None:
    run = read({"command": "train"})
    assert run.train == COMMAND_LOOP
    assert RunConfig.model_validate(run.model_dump()) == run


def test_a_command_beside_another_loop_is_refused() -> None:
    with pytest.raises(RunError) as caught:
        read({"command": "train", "train": "mine.train"})
    assert str(caught.value) == "run: 'command' and 'train' are both the training; drop one of them"
