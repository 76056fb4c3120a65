"""A team's Optuna storage kept in step with a study while it runs, so that optuna-dashboard shows it live."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from optuna.study import Study
from optuna.trial import FrozenTrial

from raysweep.search.export import CannotExport, Signs, StudyCopy
from raysweep.search.samplers import quiet

EVERY_S = 2.0
RETRY_S = 30.0  # after the storage has refused
PATIENCE_S = 60.0  # for what is left to write when the study is over


class StorageExport:
    """A thread that copies what has changed of a study into a storage; a context manager around the run.

    Nothing is raised: the study is in its journal, whatever becomes of the copy.

    Args:
        study: in memory.
        trials: all of its trials as they stand, from any thread. A trial that changes is another object.
        url: of the storage.
        signs: see `StudyCopy`.
        say: told one line the first time that the storage refuses.
        every_s: between two looks at the study.
        retry_s: between two attempts to reach a storage that refused.
    """

    def __init__(
        self,
        study: Study,
        trials: Callable[[], Sequence[FrozenTrial]],
        url: str,
        signs: Signs | None = None,
        *,
        say: Callable[[str], None],
        every_s: float = EVERY_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._study, self._trials, self._url, self._signs = study, trials, url, signs
        self._say, self._every_s, self._retry_s = say, every_s, retry_s
        self._copy: StudyCopy | None = None
        self._written: Mapping[int, FrozenTrial] = {}
        self._over = threading.Event()
        self._has_refused = False
        self._thread = threading.Thread(target=self._run, name="optuna storage", daemon=True)
        self.trouble = ""
        """Why the storage lacks something; empty while it has all that it was given."""

    def __enter__(self) -> Self:
        """Start copying."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Copy what is left, and let go of the storage; `trouble` says what came of it."""
        self._over.set()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self.trouble = self.trouble or f"still being written after {PATIENCE_S:g} s"

    def _run(self) -> None:
        while not self._over.wait(self._retry_s if self.trouble else self._every_s):
            self._update()
        self._update()
        if self._copy is not None:
            self._copy.close()

    def _update(self) -> None:
        try:
            with quiet():
                self._copy_changes()
        except CannotExport as error:
            self.trouble = str(error)
            if self._copy is not None:
                self._copy.close()
            self._copy = None
            if not self._has_refused and not self._over.is_set():
                self._has_refused = True
                self._say(f"optuna_storage: {error}; it is tried again every {self._retry_s:g} s")
        else:
            self.trouble = ""

    def _copy_changes(self) -> None:
        now = {trial.number: trial for trial in self._trials()}
        if self._copy is None:
            self._copy = StudyCopy(self._url, self._study, self._signs)
            self._copy.replace(list(now.values()))
        else:
            changed = [trial for number, trial in now.items() if self._written.get(number) is not trial]
            self._copy.update(changed)
        self._written = now
