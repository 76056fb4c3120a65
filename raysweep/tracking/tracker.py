"""Keeps MLflow up to date with a study's journal: one plain object, called by a loop.

The journal is the backlog, since it has every event; `tracking.json` says up to which one MLflow has it. So
nothing is lost while a store is away, and what is sent twice is stored once.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from raysweep.study.journal.events import Event
from raysweep.study.journal.log import JournalError, Tail
from raysweep.study.storage.secrets import hide_passwords
from raysweep.tracking import cursor, sweep_page
from raysweep.tracking.address import without_login
from raysweep.tracking.parent_run import FinalState, close_parent_run, open_parent_run
from raysweep.tracking.projection import PARENT, RunProjection, RunUpdate
from raysweep.tracking.runs import SweepFacts, ui_link, view_key, view_state
from raysweep.tracking.store import Refused, Store, Unreachable

JOURNAL = "journal"
LONGEST_S = 900.0  # for everything left at the end, even with progress; `launch.py sync` sends the rest
CHUNK = 2000  # events sent at a time, which limits what is sent again if the store goes away meanwhile


class Tracker:
    """Sends a study's events to MLflow, in the order of the journal.

    Call `advance` repeatedly while the study runs, then `finish`. Errors of MLflow are never raised.

    Args:
        folder: of the study, with its journal and `tracking.json`.
        facts: about the sweep.
        uri: MLflow's tracking URI, see `runs.store_uri`.
        interval_s: wait between two calls of `advance` without failures.
        retry_s: wait after the first failure, and the longest; doubled in between.
        summary_s: time between two updates of the leaderboard and the note while the sweep runs.
        on_progress: called after every update of a run with the number of unsent events.

    Attributes:
        trouble: the last error, or "".
        refused: number of updates that MLflow did not accept.
    """

    def __init__(
        self,
        folder: Path,
        facts: SweepFacts,
        *,
        uri: str,
        interval_s: float = 1.5,
        retry_s: tuple[float, float] = (1.0, 60.0),
        summary_s: float = 20.0,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.uri, self.facts, self.refused = without_login(uri), facts, 0
        self._interval_s, self._retry_s, self._summary_s = interval_s, retry_s, summary_s
        self._on_progress = on_progress
        self._file = folder / cursor.FILE
        self._cursor, self.trouble = cursor.load(self._file)
        self._tail, self._journal_error = Tail(folder / JOURNAL), ""
        self._pending: deque[tuple[Event, int]] = deque()  # events read but not yet folded, with their sums
        self._folded = self._sum = 0  # number of the last event in the projection, and its sum
        self._projection: RunProjection | None = None
        self._outbox: deque[RunUpdate] = deque()
        self._delivered: list[RunUpdate] = []  # since the last confirmation
        self._store: Store | None = None
        self._failures = 0  # attempts in a row
        self._summary_at = self._moved_at = time.monotonic()
        self._deadline: float | None = None  # of `finish`
        self._parent = ""
        self._view = ""  # key of the view of this study that is stored in the experiment
        self._final_state: FinalState | None = None

    @property
    def unsent(self) -> int:
        """Number of events read that MLflow lacks; a final state counts as one more."""
        unsent = max(0, self._folded + len(self._pending) - self._cursor.sent)
        return unsent + (self._final_state is not None)

    @property
    def link(self) -> str:
        """The link to the trials; "" until the store has been reached."""
        experiment_id = self._cursor.experiment_id
        return ui_link(self.uri, experiment_id, self.facts, self._view) if experiment_id else ""

    def advance(self) -> float:
        """Send the journal's new events; returns the seconds to wait before the next call."""
        self._read_journal()
        self._try_to_send()
        return self._pause()

    def finish(self, timeout_s: float = 20.0, final_state: FinalState | None = None) -> int:
        """Send the rest, as long as there is progress; gives up at once if the store is unreachable.

        A call to the store is not interrupted: the process's watchdog and the driver limit it.

        Args:
            timeout_s: the longest time without progress.
            final_state: of the parent run, if this is a stage.

        Returns:
            Number of unsent events, which a later tracker sends; at least 1 if the journal cannot be read to
            its end. `trouble` says why.
        """
        self._read_journal()
        if self.facts.parent is not None and self._projection is not None:
            self._final_state = final_state
        self._moved_at = time.monotonic()
        self._deadline = self._moved_at + max(timeout_s, LONGEST_S)
        while self.unsent or self._pending:  # pending events that MLflow has are folded once it is connected
            reached, wait_s = self._try_to_send(), self._pause()
            give_up_at = min(self._moved_at + timeout_s, self._deadline)
            if not reached or not self.unsent or time.monotonic() + wait_s > give_up_at:
                break
            time.sleep(wait_s)
        self.trouble = self._journal_error or self.trouble
        return max(self.unsent, bool(self._journal_error))

    def _read_journal(self) -> None:
        """Read the new events; if the journal is damaged or gone, only what was read before is sent."""
        if self._journal_error:
            return
        try:
            for event in self._tail.read():
                self._pending.append((event, self._tail.position.sum))
        except JournalError as error:
            self._journal_error = error.problem
        if self._projection is None and self._pending:
            # The same if the study's folder is moved, and different for a new study of the same name.
            identity = f"{self.facts.study} {self._pending[0][0].t!r}"
            self._projection = RunProjection(self.facts, hashlib.sha256(identity.encode()).hexdigest()[:16])
            self._check_cursor()

    def _check_cursor(self) -> None:
        """Start over if the cursor is for another store, or its last event is not in the journal.

        A power cut may destroy the last second of a journal that MLflow has already.
        """
        last, sums = self._cursor, [chain_sum for _, chain_sum in self._pending]
        in_journal = 0 < last.sent <= len(sums) and sums[last.sent - 1] == last.last_sum
        if last.uri != self.uri or not in_journal:
            self._cursor = cursor.Cursor()

    def _try_to_send(self) -> bool:
        """Send everything; False if the store could not be reached."""
        try:
            self._send()
            self._failures = 0
        except Unreachable as error:
            self.trouble = str(error)
            self._failures += 1
            # A new connection also finds runs whose creation was not answered.
            reached, self._store = self._store is not None, None
            return reached
        return True

    def _pause(self) -> float:
        first, longest = self._retry_s
        failures = self._failures
        return min(first * 2 ** min(failures - 1, 30), longest) if failures else self._interval_s

    def _send(self) -> None:
        """Send everything.

        Raises:
            Unreachable: if the store does not answer; what was not sent is kept.
        """
        while self._pending or self._outbox or self._folded > self._cursor.sent:
            store = self._store or self._connect()
            if not self._outbox:
                self._fold()
            while self._outbox:
                self._deliver(store, self._outbox[0])
                self._delivered.append(self._outbox.popleft())
                self._note_progress()
            self._summarise(store)
            self._confirm(store)
        if self._final_state is not None:
            self._close_parent(self._store or self._connect(), self._final_state)

    def _note_progress(self) -> None:
        now = self._moved_at = time.monotonic()
        self._on_progress(self.unsent)
        if self._deadline is not None and now > self._deadline:
            raise Unreachable(f"{hide_passwords(self.uri)} is too slow for what is left")

    def _connect(self) -> Store:
        assert self._projection is not None, "there is an event to send"
        study_id = self._projection.study_id
        try:
            store = Store(self.uri, study_id)
            experiment_id = store.experiment(self.facts.experiment)
            if self._folded == 0:
                self._continue_from_cursor(store, experiment_id, study_id)
            self._parent = open_parent_run(store, experiment_id, self.facts.parent)
            runs = store.find(experiment_id)
        except Refused as error:  # for example no driver for this kind of store: nothing can be sent
            raise Unreachable(str(error)) from error
        self._cursor.parent = runs.pop(PARENT, self._cursor.parent)
        self._cursor.runs |= runs
        self._view = self._share_view(store, experiment_id, view_key(study_id))
        self._store = store
        return store

    def _share_view(self, store: Store, experiment_id: str, key: str) -> str:
        """Store the view of this study in the experiment; returns its key, "" if that is refused."""
        try:
            store.share_view(experiment_id, key, view_state(self.facts))
        except Refused:
            return ""
        return key

    def _continue_from_cursor(self, store: Store, experiment_id: str, study_id: str) -> None:
        """Fold the events that MLflow has according to the cursor; start over if its runs are not there."""
        last = self._cursor
        same = (last.study_id, last.experiment_id) == (study_id, experiment_id)
        if same and last.parent and store.has_run(last.parent):
            self._fold_events(last.sent)
            assert self._projection is not None
            self._projection.take()
        else:
            self._cursor = cursor.Cursor(self.uri, study_id, experiment_id)

    def _fold(self) -> None:
        """Turn the next events into updates of runs."""
        assert self._projection is not None
        if self._pending:
            self._fold_events(min(len(self._pending), CHUNK))
            self._outbox.extend(self._projection.take())

    def _fold_events(self, count: int) -> None:
        assert self._projection is not None
        for _ in range(count):
            event, self._sum = self._pending.popleft()
            self._projection.apply(event)
            self._folded += 1

    def _deliver(self, store: Store, update: RunUpdate) -> None:
        """Write an update to its run, which is created if there is none; refusals are counted."""
        assert self._projection is not None
        state = self._cursor
        run_id = state.parent if update.trial == PARENT else state.runs.get(update.trial, "")
        try:
            is_new = not run_id
            if is_new:
                identity = self._projection.identity(update.trial)
                parent = self._parent if update.trial == PARENT else state.parent
                run_id = store.create(state.experiment_id, update, identity, parent)
                if update.trial == PARENT:
                    state.parent = run_id
                else:
                    state.runs[update.trial] = run_id
            store.write(run_id, update, is_new=is_new)
        except Refused as error:
            self._count_refusal(error)

    def _close_parent(self, store: Store, final_state: FinalState) -> None:
        """Write the final state of this stage to the parent run."""
        assert self.facts.parent is not None
        try:
            store.write(self._parent, close_parent_run(self.facts.parent, final_state), is_new=False)
        except Refused as error:
            self._count_refusal(error)
        self._final_state = None

    def _count_refusal(self, error: Refused) -> None:
        self.refused += 1
        self.trouble = f"refused: {error}"

    def _summarise(self, store: Store) -> None:
        """Update the sweep's leaderboard and note, now and then and at the end."""
        assert self._projection is not None
        record, now = self._projection.record, time.monotonic()
        due = record.closed is not None or now - self._summary_at >= self._summary_s
        if not due or self._folded <= self._cursor.sent:
            return
        state = self._cursor
        text = sweep_page.note(record, self.facts, self.link, state.experiment_id, state.runs, state.parent)
        tags = {
            "mlflow.note.content": text,
            **sweep_page.TABLE_TAG,
            **sweep_page.front_tag(record, self.facts),
        }
        summary = RunUpdate(PARENT, self.facts.study, 0, tags=tags)
        summary.texts[sweep_page.TABLE_FILE] = sweep_page.table(record, self.facts)
        self._deliver(store, summary)
        self._summary_at = now

    def _confirm(self, store: Store) -> None:
        """Move the cursor to the last folded event, if the store has the sweep's run.

        Raises:
            Unreachable: if it does not, so that nothing was written.
        """
        if self._folded <= self._cursor.sent:
            return
        try:
            store.check_run(self._cursor.parent)
        except Unreachable:
            self._outbox.extendleft(reversed(self._delivered))
            self._delivered.clear()
            raise
        except Refused as error:  # a user deleted it
            self._count_refusal(error)
        self._delivered.clear()
        self._cursor.sent, self._cursor.last_sum = self._folded, self._sum
        try:
            self._cursor.save(self._file)
        except OSError as error:  # the next tracker finds the runs by their tags and sends all again
            self.trouble = f"{self._file}: {error.strerror}"
