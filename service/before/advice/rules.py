"""Every rule of thumb there is; to add one is to add a function to a file of its subject."""

from service.before.advice import budget, data, ranges, relations, stopping
from service.before.advice.thumb import Rule

RULES: tuple[Rule, ...] = (*ranges.RULES, *relations.RULES, *budget.RULES, *stopping.RULES)
"""Those that ask the file alone; `data.RULES` ask the data too."""

NAMES: tuple[str, ...] = tuple(rule.name for rule in (*RULES, *data.RULES))
"""What `ignore_advice` may name."""
