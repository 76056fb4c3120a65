"""Rules of thumb on how to search, each with its reason, its source and the line that mends it.

A file that cannot run is told so by `service.spec`. What is said here is about files that would run, and
might waste the night: it is advice, it stops nobody, and `ignore_advice` in the file silences it by name.
"""

from service.before.advice.advise import Advice, advise, headline
from service.before.advice.rules import RULES
from service.before.advice.thumb import Rule

__all__ = ["RULES", "Advice", "Rule", "advise", "headline"]
