"""The subscriber that keeps MLflow in step with a study, without ever being waited for.

An event costs the sweep one `deque.append`. A thread of its own folds events into what MLflow is
owed, sends it in batches, and tries again for as long as the store is away. The backlog is the
study's journal, in which every event already stands; `tracking.json` says how far MLflow has it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from raysweep.study.journal.events import Event
from raysweep.tracking import cursor, sweep_page
from raysweep.tracking.address import shown, without_login
from raysweep.tracking.parent_run import FinalState, close_parent_run, open_parent_run
from raysweep.tracking.projection import PARENT, RunProjection, RunUpdate
from raysweep.tracking.runs import SweepFacts, ui_link
from raysweep.tracking.store import Refused, Store, Unreachable

PROGRESS_S = 2.0  # between two looks at whether the last words get on
LONGEST_S = 900.0  # for them, however well they get on; `launch.py sync` sends the rest
CHUNK = 2000  # events folded at a time: bounds what is sent again if the store goes away in the middle


class Tracker:
    """Tells MLflow what happens in a study.

    Call `start` with the journal's events before the first new one comes, then subscribe it to the
    stream: it must see every event of the journal once, in order. Start it after the driver's heavy
    imports: its thread imports mlflow.

    Args:
        folder: the study's; `tracking.json` stands there.
        facts: what of the sweep is shown.
        uri: MLflow's tracking URI, see `runs.store_uri`.
        interval_s: between two looks at the queue.
        retry_s: wait after the first failure, and the longest; doubled in between.
        summary_s: how often the leaderboard and the note are written while the sweep runs.
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
    ) -> None:
        uri = self.uri = without_login(uri)
        self.facts = facts
        self.refused = 0
        self._file = folder / cursor.FILE
        self._cursor, self.trouble = cursor.load(self._file)
        if self._cursor.uri != uri:
            self._cursor = cursor.Cursor()
        self._interval_s, self._retry_s, self._summary_s = interval_s, retry_s, summary_s
        self._queue: deque[Event] = deque()
        self._outbox: deque[RunUpdate] = deque()
        self._delivered: list[RunUpdate] = []  # sent again if it turns out that nobody has them
        self._folded = 0
        self._mirror: RunProjection | None = None
        self._store: Store | None = None
        self._summary_at = time.monotonic()
        self._closing = self._abandoned = False
        self._progress = 0
        self._parent = ""
        self._final_state: FinalState | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self, past: Sequence[Event] = ()) -> None:
        """Begin sending, first of `past` (the whole journal so far) what MLflow has not yet."""
        self._cursor.sent = min(self._cursor.sent, len(past))  # a power cut may cost the journal its end
        self._queue.extend(past)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take note of one event; returns at once and never raises."""
        self._queue.append(event)

    @property
    def unsent(self) -> int:
        """Events of the journal that MLflow does not have yet; what is owed to an parent is one more."""
        owed = max(0, self._folded + len(self._queue) - self._cursor.sent)
        return owed + (self._final_state is not None)

    @property
    def link(self) -> str:
        """The page worth opening; empty while the store has not been reached."""
        experiment_id = self._cursor.experiment_id
        return ui_link(self.uri, experiment_id, self.facts) if experiment_id else ""

    def close(
        self,
        timeout_s: float = 20.0,
        final_state: FinalState | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Send what is left, for as long as that gets on; gives up at once on a store that does not answer.

        Args:
            timeout_s: how long it may take to get on.
            final_state: of a stage, what its parent is told in the end.
            on_progress: told the events left, now and then.

        Returns:
            Events unsent: a later `start` with the journal sends them. `trouble` says why.
        """
        self._final_state = final_state if self.facts.parent is not None else None
        self._closing = True
        self._wake.set()
        began = moved = time.monotonic()
        progress = self._progress
        while self._thread.is_alive():
            self._thread.join(min(PROGRESS_S, timeout_s))
            now = time.monotonic()
            if self._progress != progress:
                progress, moved = self._progress, now
                on_progress(self.unsent)
            if now - moved >= timeout_s or now - began >= max(timeout_s, LONGEST_S):
                break
        self._abandoned = True
        if self.unsent and not self.trouble:
            self.trouble = f"{shown(self.uri)} took longer than {time.monotonic() - began:.0f} s"
        return self.unsent

    def _run(self) -> None:
        failures = 0
        while not self._abandoned:
            try:
                self._flush()
                failures = 0
            except Unreachable as error:
                self.trouble = str(error)
                failures += 1
                if self._closing and self._store is None:
                    return
                self._store = None  # also: what was created without an answer is then looked up
            if self._closing and not failures and not self.unsent:
                return
            self._wake.wait(self._pause(failures))
            self._wake.clear()

    def _pause(self, failures: int) -> float:
        first, longest = self._retry_s
        return min(first * 2 ** min(failures - 1, 30), longest) if failures else self._interval_s

    def _flush(self) -> None:
        """Send all there is; returns with nothing left.

        Raises:
            Unreachable: if the store is away; what was not sent is kept.
        """
        while (self._queue or self._outbox or self._folded > self._cursor.sent) and not self._abandoned:
            store = self._store or self._connect()
            if not self._outbox:
                self._fold()
            while self._outbox and not self._abandoned:
                self._deliver(store, self._outbox[0])
                self._delivered.append(self._outbox.popleft())
                self._progress += 1
            if not self._abandoned:
                self._summarise(store)
                self._confirm(store)
        if self._final_state is not None and not self._abandoned:
            self._close_parent(self._store or self._connect(), self._final_state)

    def _connect(self) -> Store:
        if self._mirror is None:
            # The same wherever the study's folder is moved; another for a new study of the same name.
            words = f"{self.facts.study} {self._queue[0].t!r}"
            self._mirror = RunProjection(self.facts, hashlib.sha256(words.encode()).hexdigest()[:16])
        try:
            store = Store(self.uri, self._mirror.study_id)
            experiment_id = store.experiment(self.facts.experiment)
            if self._folded == 0:
                self._take_up(store, experiment_id, self._mirror.study_id)
            self._parent = open_parent_run(store, experiment_id, self.facts.parent)
            found = store.find(experiment_id)
        except Refused as error:  # no driver for this kind of store, say: nothing can be told at all
            raise Unreachable(str(error)) from error
        self._cursor.parent = found.pop(PARENT, self._cursor.parent)
        self._cursor.runs |= found
        self._store = store
        return store

    def _take_up(self, store: Store, experiment_id: str, study_id: str) -> None:
        """Go on where the cursor stands, unless it speaks of another store, or of one made anew."""
        known = self._cursor
        same = (known.uri, known.study_id, known.experiment_id) == (self.uri, study_id, experiment_id)
        if not (same and known.parent and store.has_run(known.parent)):
            self._cursor = cursor.Cursor(self.uri, study_id, experiment_id)

    def _fold(self) -> None:
        """Turn events into changes; those that MLflow has already only bring the mirror up to date."""
        assert self._mirror is not None
        for _ in range(min(len(self._queue), CHUNK)):
            self._mirror.apply(self._queue.popleft())
            self._folded += 1
            if self._folded == self._cursor.sent:
                self._mirror.take()
        changes = self._mirror.take()
        if self._folded > self._cursor.sent:
            self._outbox.extend(changes)

    def _deliver(self, store: Store, change: RunUpdate) -> None:
        """Write a change into its run, creating the run if need be; what is refused is counted and left."""
        assert self._mirror is not None
        known = self._cursor
        run_id = known.parent if change.trial == PARENT else known.runs.get(change.trial, "")
        try:
            fresh = not run_id
            if fresh:
                identity = self._mirror.identity(change.trial)
                parent = self._parent if change.trial == PARENT else known.parent
                run_id = store.create(known.experiment_id, change, identity, parent)
                if change.trial == PARENT:
                    known.parent = run_id
                else:
                    known.runs[change.trial] = run_id
            store.write(run_id, change, fresh=fresh)
        except Refused as error:
            self._count(error)

    def _close_parent(self, store: Store, final_state: FinalState) -> None:
        """Tell the parent how things stand now that this stage ends."""
        assert self.facts.parent is not None
        try:
            store.write(self._parent, close_parent_run(self.facts.parent, final_state), fresh=False)
        except Refused as error:
            self._count(error)
        self._final_state = None

    def _count(self, refused: Refused) -> None:
        self.refused += 1
        self.trouble = f"refused: {refused}"

    def _summarise(self, store: Store) -> None:
        """Bring the parent's leaderboard and note up to date, now and then and at the end."""
        assert self._mirror is not None
        record, now = self._mirror.record, time.monotonic()
        due = record.closed is not None or now - self._summary_at >= self._summary_s
        if not due or self._folded <= self._cursor.sent:
            return
        known = self._cursor
        text = sweep_page.note(record, self.facts, self.uri, known.experiment_id, known.runs, known.parent)
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
        """Write down how far MLflow has the journal.

        Raises:
            Unreachable: if the store does not know the sweep's run: then it has none of it.
        """
        if self._folded <= self._cursor.sent:
            return
        try:
            store.check_run(self._cursor.parent)
        except Unreachable:
            self._outbox.extendleft(reversed(self._delivered))
            self._delivered.clear()
            raise
        except Refused as error:  # somebody deleted it
            self._count(error)
        self._delivered.clear()
        self._cursor.sent = self._folded
        try:
            self._cursor.save(self._file)
        except OSError as error:  # costs only work: the next start looks the runs up and sends again
            self.trouble = f"{self._file}: {error.strerror}"
