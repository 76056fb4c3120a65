"""Events of small studies, built by hand."""

from raysweep.study.journal.events import EpochReported, TrialCreated, TrialEnded, TrialStarted

LR = "optimizer_config.lr"


def asked(trial, lr=0.1):
    return TrialCreated(t=0.0, trial=trial, config={LR: lr}, source="sampler")


def reported(trial, epoch, loss):
    return EpochReported(
        t=0.0, trial=trial, generation=0, epoch=epoch, work=epoch, loss=loss, metrics={}, decision="continue"
    )


def trained(trial, losses, lr=0.1):
    """The events of a trial that runs and has reported `losses`."""
    reports = [reported(trial, epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    return [asked(trial, lr), TrialStarted(t=0.0, trial=trial, attempt=1), *reports]


def ended(trial, outcome, reason=""):
    return TrialEnded(t=0.0, trial=trial, outcome=outcome, reason=reason)
