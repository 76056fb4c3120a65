"""What `--dry-run` prints: what would run, and how many trials at once."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from raysweep.config import Sweep
from raysweep.config.component import Component
from raysweep.config.stage import Stage, tuned
from raysweep.console.formatting import settings
from raysweep.console.rows import print_row
from raysweep.formatting import counted, short_keys, sweep_size
from schedulers.space import Categorical, Domain


def print_preview(console: Console, sweep: Sweep, *, slots: int, gpu: float) -> None:
    """Print the sweep: its sampler, its trial scheduler, what a trial runs, how many at once and at most.

    Args:
        console: where to print.
        sweep: what would run.
        slots: trials at once on this machine.
        gpu: GPUs of one trial on this machine.
    """
    rounds = math.ceil(sweep.trials / slots)
    cpu, epochs = sweep.resources_per_trial.cpu, sweep.run.epochs
    rows = {
        "study": sweep.study_name,
        "metric": _metric(sweep),
        "sampler": _component(sweep.sampler),
        "trial scheduler": _component(sweep.trial_scheduler),
        "trials": f"{sweep.trials} of at most {counted(epochs, 'epoch')}: {sweep.trials * epochs} in all",
        "at once": f"{slots} ({cpu:g} CPU, {gpu:g} GPU each): {counted(rounds, 'round')} if none is stopped",
        **_run(sweep),
    }
    for label, text in rows.items():
        print_row(console, label, text)
    console.print()
    console.print(_space(sweep), highlight=False)


def print_stages_preview(console: Console, sweep: Sweep, *, slots: int) -> None:
    """Print the stages of a sweep, as far as they are known before the first has run.

    Args:
        console: where to print.
        sweep: what would run.
        slots: trials at once on this machine.
    """
    rows = {
        "study": sweep.study_name,
        "stages": f"{len(sweep.stages)}, one after the other; {counted(slots, 'trial')} at once",
        "metric": _metric(sweep),
        **_run(sweep),
    }
    for label, text in rows.items():
        print_row(console, label, text)
    before = ""
    for stage in sweep.stages:
        console.print()
        for index, line in enumerate(_stage(sweep, stage, before)):
            print_row(console, "" if index else stage.name, line)
        before = stage.name if stage.searches else before
    console.print()
    console.print(_space(sweep), highlight=False)


def _stage(sweep: Sweep, stage: Stage, before: str) -> Iterator[str]:
    """What one stage would do, line by line; `before` is the last stage before it that searches."""
    own = sweep.in_stage(stage)
    epochs = own.run.epochs
    if stage.kind == "lr_range":
        yield f"finds the learning rates worth searching, over {counted(stage.seeds, 'seed')}"
    elif stage.kind == "validate":
        last = next(each for each in sweep.stages if each.name == before)
        epochs = stage.run.get("epochs", sweep.in_stage(last).run.epochs)
        count = stage.trainings
        seeds = counted(stage.seeds, "seed")
        yield f"trains the best {stage.top} of {before}, and the run as it is, over {seeds}"
        yield f"{counted(count, 'training')} of {counted(epochs, 'epoch')} at most: {count * epochs} in all"
    else:
        keys = tuned(stage, tuple(sweep.search_space))
        rest = [key for key in sweep.search_space if key not in keys]
        yield f"{sweep_size(own.trials, epochs)}: {own.trials * epochs} in all"
        yield f"{_component(own.sampler)}, {_component(own.trial_scheduler)}"
        yield f"searches {', '.join(short_keys(keys).values())}"
        if rest:
            yield f"at the best values so far: {', '.join(short_keys(rest).values())}"
        if stage.kind == "refine":
            margin = f"widened by {stage.margin:.0%} of their spread"
            yield f"in ranges around the best {stage.top} of the last search, {margin}"


def _metric(sweep: Sweep) -> str:
    return f"{sweep.direction} {sweep.metric} ({sweep.objective} epoch counts)"


def _run(sweep: Sweep) -> dict[str, str]:
    """What every trial runs."""
    return {
        "net": sweep.run.net,
        "data": f"{sweep.run.data} {settings(sweep.run.data_config)}".rstrip(),
        "optimizer": sweep.run.optimizer,
    }


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
