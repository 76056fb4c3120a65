"""Every rule of thumb there is; to add one is to add a function to a file of its subject."""

from raysweep.advice import data, ranges, relations, stopping, trial_budget
from raysweep.advice.rule import AdviceRule

RULES: tuple[AdviceRule, ...] = (*ranges.RULES, *relations.RULES, *trial_budget.RULES, *stopping.RULES)
"""Those that ask the file alone; `data.RULES` ask the data too."""

NAMES: tuple[str, ...] = tuple(rule.name for rule in (*RULES, *data.RULES))
"""What `ignore_advice` may name."""
