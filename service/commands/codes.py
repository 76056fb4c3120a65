"""Exit codes of the command, and the errors that a user can mend."""

from __future__ import annotations

from service.before.check import NotFit
from service.cluster.machine import CannotPlace
from service.cluster.trouble import ClusterError
from service.report.errors import CannotReport, NothingFound
from service.spec import SweepError
from service.study.best import NoWinner
from service.study.extend import CannotExtend
from service.study.folder import NotAStudy, StudyExists
from service.study.journal import JournalError
from service.study.lock import CannotWrite, StudyBusy
from service.study.replay import CannotReplay
from service.study.trust import NotTrusted
from trainables.run import RunError

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
    NotFit: 3,
    NoWinner: 4,
    NothingFound: 4,
    CannotPlace: 6,
    ClusterError: 6,
    CannotWrite: 6,
}
INTERRUPTED = 130
CANNOT_WRITE = EXIT_CODES[CannotWrite]
