"""Every command that a finding prints works where it is printed, tried with `--dry-run`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import launch
from raysweep.config import read_sweep
from raysweep.config.natural_limits import natural_limits
from raysweep.launch_command import Command
from raysweep.report.boundary import Edge, further, widen_assignment, widening
from raysweep.report.findings import Evidence, evidence, space, stopping, training
from raysweep.report.importance import Importance
from raysweep.report.subject import Subject
from raysweep.report.tables import tables
from schedulers.space import Categorical
from tests.report import stories

RATE = "optimizer_config: {lr: {type: float, min: 1e-3, max: 1.0, log: true}}"
SPACES = {
    "a rate": RATE,
    "rates to choose from": "optimizer_config: {lr: {type: categorical, choices: [0.001, 0.01, 0.1]}}",
    "names, and none": "net_config: {norm: {type: categorical, choices: [batch, layer, null]}}",
    "yes and no": "optimizer_config: {nesterov: {type: categorical, choices: [true, false]}}",
    "whole numbers": """net_config:
    layers: {type: int, min: 1, max: 6}
    nodes: {type: int, min: 16, max: 256, log: true}""",
    "shares and steps": """net_config: {dropout: {type: float, min: 0.0, max: 0.5}}
  optimizer_config: {weight_decay: {type: float, min: 0.0, max: 0.1, step: 0.01}}""",
    "a range for each case": """optimizer: {type: categorical, choices: [torch.optim.AdamW, torch.optim.SGD]}
  optimizer_config:
    lr:
      - {type: float, min: 1e-4, max: 1e-2, log: true, when: {optimizer: torch.optim.AdamW}}
      - {type: float, min: 1e-2, max: 1e-1, log: true, when: {optimizer: torch.optim.SGD}}""",
}
RULES = {
    "FIFO": "{name: schedulers.FIFO}",
    "PFL": "{name: schedulers.PFL}",
    "ASHA": "{name: schedulers.ASHA, kwargs: {grace_period: 1}}",
    "ClassicPFL": "{name: schedulers.ClassicPFL}",
    "MedianStopping": "{name: schedulers.MedianStopping}",
    "Hyperband": "{name: schedulers.Hyperband}",  # takes no new trials
    "PBT": "{name: schedulers.PBT, kwargs: {perturbation_interval: 2}}",  # nor does a population
}
SWEEP = """\
study_name: told
trials: 30
trial_scheduler: {rule}
run:
  data: trainables.data.load_diabetes
  net: trainables.mlp.MLP
  net_config: {{nodes: 32, layers: 2}}
  optimizer: {optimizer}
  optimizer_config: {{lr: 0.01, weight_decay: 0.01}}
  scheduler: null
  epochs: 4
search_space:
  {space}
"""


def study(root: Path, *, space: str = RATE, rule: str = "{name: schedulers.FIFO}", optimizer: str) -> Subject:
    """Thirty trials spread over a space, outside ./runs, with their sweep file beside it."""
    file = root / "sweeps/told.yaml"
    file.parent.mkdir()
    file.write_text(SWEEP.format(space=space, rule=rule, optimizer=optimizer))
    sweep = read_sweep(file).sweep
    events = []
    for number in range(30):
        unit = (number * 0.618) % 1.0
        config = {
            key: domain.choices[number % len(domain.choices)]
            if isinstance(domain, Categorical)
            else domain.from_unit(unit)
            for key, domain in sweep.space.items()
        }
        events += stories.trial(number, 0.1 + unit, config)
    return stories.subject(root / "elsewhere", events, sweep)


def seen(subject: Subject) -> Evidence:
    return Evidence(subject, tables(subject, 10), (), Importance())


def narrower(subject: Subject) -> list[str]:
    """For each parameter, around the values of three trials."""
    lines: list[str] = []
    for key in subject.parameters:
        configs = [subject.config(trial) for trial in subject.trials if key in trial.config][:3]
        lines.append(evidence.again(subject, evidence.narrowed(seen(subject), key, configs)))
    return lines


def wider(subject: Subject) -> list[str]:
    """For each parameter with bounds, beyond the upper and beyond the lower."""
    lines: list[str] = []
    for key, domain in subject.domains.items():
        for upper in (True, False):
            beyond = further(domain, upper, natural_limits(key))
            if beyond is None or subject.parameters[key].cases:  # `edges` widens no case
                continue
            widen = widen_assignment(key, domain, upper, beyond)
            edge = Edge(key, "upper" if upper else "lower", 0, 0, True, 5, 5, True, widen, "")
            lines.append(widening(subject, [edge]) or "")
    return lines


BUILDERS: dict[str, Callable[[Subject], list[str]]] = {
    "narrower": narrower,
    "wider": wider,
    "a tenth of the rate": lambda subject: [evidence.rates_times(subject, 0.1)],
    "regularised": lambda subject: [training._regularise(subject)],
    "a lower top rate": lambda subject: [space._capped(subject, key, 0.02) for key in subject.parameters],
    "larger": lambda subject: [training._larger(subject)],
    "a shorter average": lambda subject: [training._shorter_average(subject)],
    "more epochs": lambda subject: [training._more_epochs(subject)],
    "a milder rule": lambda subject: [stopping._milder(seen(subject))],
}


OF_A_SPACE = ("narrower", "wider", "a tenth of the rate", "a lower top rate", "regularised", "larger")
OF_A_RULE = ("wider", "more epochs", "a milder rule", "a shorter average")
CASES = {
    f"{build}, {name}": (build, {"space": space, "optimizer": "torch.optim.SGD"})
    for name, space in SPACES.items()
    for build in OF_A_SPACE
} | {
    f"{build}, {name}": (build, {"rule": rule, "optimizer": "pytorch_optimizer.SPlus"})
    for name, rule in RULES.items()
    for build in OF_A_RULE
}


@pytest.mark.parametrize(("build", "settings"), CASES.values(), ids=CASES)
def test_what_a_finding_prints_would_run(
    build: str,
    settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For every kind of space and every rule."""
    monkeypatch.chdir(tmp_path)
    for line in BUILDERS[build](study(tmp_path, **settings)):
        if isinstance(line, Command):
            args = shlex.split(line)[2:]
            assert launch.main([*args, "--dry-run"]) == 0, (line, capsys.readouterr().err)
