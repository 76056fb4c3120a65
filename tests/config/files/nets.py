"""A user's own module beside a sweep file. Importing it is an error: checking must not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

raise RuntimeError("a sweep file was checked by running the code it names")


class Base(nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()


class HandsOn(Base):
    def __init__(self, colour: str, **kwargs: int) -> None:
        super().__init__(**kwargs)


class Inherits(Base):
    pass


class Drops(nn.Module):
    def __init__(self, width: int, **kwargs: int) -> None:
        super().__init__()
        self.width = width


class Takes(nn.Module):
    def __init__(self, width: int, **kwargs: int) -> None:
        super().__init__()
        self.extra = kwargs["extra"]


class Template(nn.Module):
    def __init__(self, hparams: dict, device: str) -> None:  # type: ignore[type-arg]
        super().__init__()


@dataclass
class Settings:
    rows: int
    noise: float = 0.1


Renamed = Inherits


def load(path: str, *, rows: int = 10) -> tuple:  # type: ignore[type-arg]
    return path, rows


def accuracy_at(prediction: Any, target: Any) -> Any:
    return 0.0
