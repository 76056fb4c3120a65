"""The types of plain scalars by YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from yaml.resolver import BaseResolver

TAG = "tag:yaml.org,2002:"
_PLAIN: tuple[tuple[str, re.Pattern[str]], ...] = (
    (TAG + "null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (TAG + "bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (TAG + "int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (TAG + "float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")),
    (TAG + "float", re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.nan|\.NaN|\.NAN)\Z")),
    (TAG + "merge", re.compile(r"<<\Z")),
)


class CoreSchema(BaseResolver):
    """Resolves the type of a plain scalar by YAML 1.2's core schema."""


for _tag, _pattern in _PLAIN:
    CoreSchema.add_implicit_resolver(_tag, _pattern, None)


def _null(text: str) -> None:
    if text not in ("", "~", "null", "Null", "NULL"):
        raise ValueError("is not null")


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


def _int(text: str) -> int:
    if len(text) > 40:
        raise ValueError("is too large a number")
    try:
        number = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    except ValueError as error:
        raise ValueError("is not a whole number") from error
    if abs(number) >= 1 << 63:
        raise ValueError("is too large a number (63 bits at most)")
    return number


def _float(text: str) -> float:
    try:
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise ValueError("is not a number") from error
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number


SCALARS: dict[str, Callable[[str], Any]] = {
    "null": _null,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": str,
    "merge": str,  # `<<` as a value is a string
}
