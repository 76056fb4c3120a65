"""Exit codes of the command, and the errors that a user can mend."""

from __future__ import annotations

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import CannotPlace
from raysweep.config import SweepError
from raysweep.preflight.check import PreflightFailed
from raysweep.report.errors import CannotReport, NothingFound
from raysweep.study.execution.extend import CannotExtend
from raysweep.study.journal.log import JournalError
from raysweep.study.results.best_config import NoWinner
from raysweep.study.results.counterfactual import CannotReplay
from raysweep.study.storage.layout import NotAStudy, StudyExists
from raysweep.study.storage.lock import CannotWrite, StudyBusy
from raysweep.study.storage.trust import NotTrusted
from trainables.run_config import RunError

# What a user can mend -> exit code. Anything else is a defect of ours: a traceback and exit code 1.
EXIT_CODES: dict[type[Exception], int] = {
    SweepError: 2,
    RunError: 2,
    StudyExists: 2,
    NotAStudy: 2,
    StudyBusy: 2,
    NotTrusted: 2,
    JournalError: 2,
    CannotExtend: 2,
    CannotReplay: 2,
    CannotReport: 2,
    PreflightFailed: 3,
    NoWinner: 4,
    NothingFound: 4,
    CannotPlace: 6,
    ClusterError: 6,
    CannotWrite: 6,
}
INTERRUPTED = 130
CANNOT_WRITE = EXIT_CODES[CannotWrite]
