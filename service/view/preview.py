"""What `--dry-run` prints: what would run, and where, before anything does."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from schedulers.space import Categorical, Domain
from service.spec import Sweep
from service.spec.component import Component
from service.view.rows import put
from service.view.words import settings


def print_preview(console: Console, sweep: Sweep, *, slots: int, gpu: float) -> None:
    """Print the sweep: who searches, who stops, what runs, how much at once and at most.

    Args:
        console: where to.
        sweep: what would run.
        slots: trials at once on this machine.
        gpu: GPUs of one trial on this machine.
    """
    rounds = math.ceil(sweep.trials / slots)
    cpu, epochs = sweep.resources_per_trial.cpu, sweep.run.epochs
    rows = {
        "study": sweep.study_name,
        "metric": f"{sweep.direction} {sweep.metric} ({sweep.objective} epoch counts)",
        "sampler": _component(sweep.sampler),
        "trial scheduler": _component(sweep.trial_scheduler),
        "trials": f"{sweep.trials} of at most {epochs} epochs: {sweep.trials * epochs} in all",
        "at once": f"{slots} ({cpu:g} CPU, {gpu:g} GPU each): {rounds} rounds if none stops",
        "net": sweep.run.net,
        "data": f"{sweep.run.data} {settings(sweep.run.data_config)}".rstrip(),
        "optimizer": sweep.run.optimizer,
    }
    for label, text in rows.items():
        put(console, label, text)
    console.print()
    console.print(_space(sweep), highlight=False)


def _component(component: Component) -> str:
    return f"{component.name} {settings(component.kwargs)}".rstrip()


def _space(sweep: Sweep) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("parameter", "kind", "range"):
        table.add_column(heading)
    for key, domain in sweep.space.items():
        table.add_row(key, type(domain).__name__.lower(), _range(domain))
    return table


def _range(domain: Domain) -> str:
    if isinstance(domain, Categorical):
        return " ".join(map(str, domain.choices)) + (" (ordered)" if domain.ordered else "")
    step = f" step {domain.step:g}" if domain.step not in (None, 1) else ""
    return f"{domain.low:g} .. {domain.high:g}" + (" log" if domain.log else "") + step
