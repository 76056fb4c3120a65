"""Live export of a running study to an Optuna storage, so that optuna-dashboard shows it."""

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
PATIENCE_S = 60.0  # how long to wait for the rest when the study has ended


class StorageExport:
    """A context manager whose thread copies the changes of a study to a storage.

    It never raises, since the study itself is in its journal.

    Args:
        study: in memory.
        trials: returns all of its trials, from any thread; a changed trial is a new object.
        url: of the storage.
        signs: see `StudyCopy`.
        say: called with one line the first time that the storage refuses.
        every_s: time between two copies.
        retry_s: time between two attempts after the storage has refused.
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
        """Why the last copy failed; "" if it did not."""

    def __enter__(self) -> Self:
        """Start copying."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Copy the rest, and close the storage; `trouble` says whether that failed."""
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
                self._say(f"optuna_storage: {error}; retrying every {self._retry_s:g} s")
        else:
            self.trouble = ""

    def _copy_changes(self) -> None:
        trials = {trial.number: trial for trial in self._trials()}
        if self._copy is None:
            self._copy = StudyCopy(self._url, self._study, self._signs)
            self._copy.replace(list(trials.values()))
        else:
            changed = [trial for number, trial in trials.items() if self._written.get(number) is not trial]
            self._copy.update(changed)
        self._written = trials
