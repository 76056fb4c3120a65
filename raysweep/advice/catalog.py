"""All rules of thumb; to add one, add a function to the file of its subject."""

from raysweep.advice import data, ranges, relations, stopping, trial_budget
from raysweep.advice.rule import AdviceRule

RULES: tuple[AdviceRule, ...] = (*ranges.RULES, *relations.RULES, *trial_budget.RULES, *stopping.RULES)
"""The rules that need only the file; `data.RULES` need the data too."""

NAMES: tuple[str, ...] = tuple(rule.name for rule in (*RULES, *data.RULES))
"""The names that `ignore_advice` may hold."""
