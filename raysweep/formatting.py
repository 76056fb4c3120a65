"""Keys, values, times and messages as text for people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import yaml


def printable(text: str, keep: str = "") -> str:
    r"""The text with unprintable characters, except those in `keep`, written as escapes.

    >>> printable("one\x1b[2Jtwo")
    'one\\x1b[2Jtwo'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text)


def one_line(message: object, most: int | None = None) -> str:
    r"""A message on one line, cut to its first `most` characters.

    >>> one_line(ValueError("no such\n  file"), most=10)
    'no such fi'
    """
    return " ".join(str(message).split())[:most]


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Flat key -> its last part if that is unique among the keys, else the whole key.

    >>> short_keys(["optimizer_config.lr", "scheduler_config.min_lr"])
    {'optimizer_config.lr': 'lr', 'scheduler_config.min_lr': 'min_lr'}
    >>> short_keys(["optimizer_config.eps", "net_config.eps"])
    {'optimizer_config.eps': 'optimizer_config.eps', 'net_config.eps': 'net_config.eps'}
    """
    keys = list(keys)
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: part if last.count(part) == 1 else key for key, part in zip(keys, last, strict=True)}


def setting(value: object) -> str:
    """A parameter's value as text: floats to four digits, text unchanged, anything else as in YAML.

    >>> setting(0.0342199), setting(64), setting("relu"), setting(None), setting([64, 32])
    ('0.03422', '64', 'relu', 'null', '[64, 32]')
    """
    if value is None or isinstance(value, bool | list | tuple | dict):
        return in_yaml(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def in_yaml(value: object) -> str:
    """A value as YAML in one line.

    >>> in_yaml({"type": "float", "log": True}), in_yaml(None)
    ('{type: float, log: true}', 'null')
    """
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()


def counted(number: int, noun: str) -> str:
    """A number with its noun, in singular or plural.

    >>> counted(1, "parameter"), counted(2, "parameter")
    ('1 parameter', '2 parameters')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sweep_size(trials: int, epochs: int) -> str:
    """A number of trials with the most epochs of each.

    >>> sweep_size(40, 27), sweep_size(1, 1)
    ('40 trials of at most 27 epochs', '1 trial of at most 1 epoch')
    """
    return f"{counted(trials, 'trial')} of at most {counted(epochs, 'epoch')}"


def duration(seconds: float | None) -> str:
    """A time as seconds, minutes and seconds, or hours and minutes; "-" if it is not known.

    >>> duration(4.2), duration(75), duration(3 * 3600 + 120), duration(None)
    ('4 s', '1 min 15 s', '3 h 02 min', '-')
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


_SIGNS = re.compile(r"[\\`*\[\]<|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#>+=-]")


def markdown_text(text: str) -> str:
    r"""The text escaped for Markdown, so that it makes no link, image, tag or emphasis.

    >>> markdown_text("[x](http://y) <b> lr_max")
    '\\[x\\](http&colon;//y) \\<b> lr_max'
    """
    escaped = _SIGNS.sub(r"\\\g<0>", printable(one_line(text)))
    return escaped.replace("://", "&colon;//")  # or GitHub and MLflow make a link of it
