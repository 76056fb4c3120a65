"""What a decision costs, and whether it costs more the longer a sweep has run: every rule, no Ray.

10,000 trials of up to 50 epochs on 64 virtual slots, each rule in its defaults. A rule is asked what the
adapter asks it: `report` at every epoch, `resume` whenever a slot is free, `next_unresumable` after that. The
first tenth of the calls is held against the last one (in order of time, so that it is the state that
has grown). Means, not medians: a decision that settles a whole population is in them.

    python benchmarks/rules.py
    python benchmarks/rules.py --trials 2000 --only ASHA "PBT asynchronous"

`report` and `resume` are microseconds of CPU time a call, first tenth -> last tenth; `ratio` is their
quotient. (CPU time: what else runs on the machine is not counted.)
`waiting` is the largest number of trials that waited at once: `resume` is given all their names, so it
cannot be cheaper than to look through them.
"""

from __future__ import annotations

import argparse
import math
from array import array
from bisect import insort
from collections import deque
from collections.abc import Callable
from statistics import fmean
from time import thread_time_ns
from typing import Any

import numpy as np

from schedulers import RULES, Continue, Exploit, Float, Pause, Report, Resume, Rule, Stop
from schedulers.stop_audit import AuditedRule
from trainables.imports import resolve

EPOCHS, SLOTS = 50, 64
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ASHA promotion": ("ASHA", {"variant": "promotion"}),
    "PBT asynchronous": ("PBT", {"synchronous": False}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", help="names as in the table")
    args = parser.parse_args()
    makers = rules(args.trials)
    print("| rule | reports | report, µs | ratio | resume, µs | ratio | waiting |")
    print("|---|---|---|---|---|---|---|")
    for name in args.only or makers:
        print(Bench(makers[name](), curves(args.trials)).run().row(name), flush=True)


def rules(trials: int) -> dict[str, Callable[[], Rule]]:
    """Every rule that the sweep file knows, its variants, and one under audit."""
    needed = {
        "population_size": trials,
        "space": {"lr": Float(1e-3, 1.0, log=True)},
        "perturbation_interval": 10,
        "seed": 0,
    }

    def maker(method: str, **words: Any) -> Callable[[], Rule]:
        rule: type[Rule] = resolve(RULES[method])
        known = rule.__init__.__annotations__
        filled = {word: value for word, value in needed.items() if word in known}
        return lambda: rule(max_resource=EPOCHS, **{**filled, **words})

    makers = {method: maker(method) for method in RULES}
    makers |= {name: maker(method, **words) for name, (method, words) in VARIANTS.items()}
    makers["ASHA audited"] = lambda: AuditedRule(makers["ASHA"](), audit_fraction=0.05)
    return makers


def curves(trials: int) -> np.ndarray:
    """Decays with noise, (trials, epochs); one in a hundred diverges."""
    rng = np.random.default_rng(0)
    floor, height, pace = rng.uniform(0.1, 1, trials), rng.uniform(0.1, 2, trials), rng.uniform(2, 20, trials)
    epoch = np.arange(1, EPOCHS + 1)
    made = floor[:, None] + height[:, None] * np.exp(-epoch / pace[:, None])
    made *= np.exp(rng.normal(0, 0.02, made.shape))
    made[rng.random(trials) < 0.01, EPOCHS // 3] = math.nan
    return made


class Bench:
    """The virtual slots: they take turns, an epoch each."""

    def __init__(self, rule: Rule, losses: np.ndarray) -> None:
        self.rule, self.losses = rule, losses
        self.names = [f"{trial:05d}" for trial in range(len(losses))]
        self.epoch = dict.fromkeys(self.names, 0)
        self.running: deque[str] = deque()
        self.paused: list[str] = []
        self.started = self.most = 0
        self.report_ns, self.resume_ns = array("q"), array("q")

    def run(self) -> Bench:
        """All of it."""
        while self.fill():
            name = self.running.popleft()
            self.epoch[name] += 1
            loss = float(self.losses[int(name), self.epoch[name] - 1])
            report = Report(name, self.epoch[name], loss, {"lr": 0.1})
            begun = thread_time_ns()
            decision = self.rule.report(report)
            self.report_ns.append(thread_time_ns() - begun)
            if isinstance(decision, Continue):
                self.running.append(name)
            elif isinstance(decision, Pause):
                insort(self.paused, name)
                self.most = max(self.most, len(self.paused))
            elif isinstance(decision, Exploit):
                self.resumed(Resume(name, decision.reason, decision))
            else:
                assert isinstance(decision, Stop)
        return self

    def fill(self) -> bool:
        """Give free slots to whom the rule resumes, then to new trials; whether anything runs."""
        while len(self.running) < SLOTS:
            begun = thread_time_ns()
            resume = self.rule.resume(self.paused)
            if self.paused:
                self.resume_ns.append(thread_time_ns() - begun)
            while resume is None and (name := self.rule.next_unresumable(self.paused)) is not None:
                self.end(name)
            if resume is not None:
                self.paused.remove(resume.trial_id)
                self.resumed(resume)
            elif self.started < len(self.names):
                self.running.append(self.names[self.started])
                self.started += 1
                if self.started == len(self.names):
                    self.rule.no_more_trials(self.names)
            else:
                break
        return bool(self.running)

    def resumed(self, resume: Resume) -> None:
        """It goes on, at its own epoch or its donor's."""
        self.rule.resumed(resume)
        if resume.exploit is not None:
            self.epoch[resume.trial_id] = resume.exploit.resource
        self.running.append(resume.trial_id)

    def end(self, name: str) -> None:
        """Nothing can make it go on."""
        self.rule.end(name, self.rule.last_decision(name).ending)
        self.paused.remove(name)

    def row(self, name: str) -> str:
        """A line of the table."""
        cells = [name, f"{len(self.report_ns):,}"]
        for ns in (self.report_ns, self.resume_ns):
            tenth = len(ns) // 10
            if not tenth:
                cells += ["-", "-"]
                continue
            first, last = fmean(ns[:tenth]) / 1e3, fmean(ns[-tenth:]) / 1e3
            cells += [f"{first:.1f} -> {last:.1f}", f"{last / first:.2f}"]
        return f"| {' | '.join([*cells, f'{self.most:,}'])} |"


if __name__ == "__main__":
    main()
