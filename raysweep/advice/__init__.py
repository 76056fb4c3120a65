"""Rules of thumb on how to search, each with its reason, its source and the line that fixes it.

A file that cannot run is told so by `raysweep.config`. What is said here is about files that would run, and
might waste the night: it is advice, it stops nobody, and `ignore_advice` in the file silences it by name.
"""

from raysweep.advice.advise import Advice, advise, headline
from raysweep.advice.catalog import RULES
from raysweep.advice.rule import AdviceRule

__all__ = ["RULES", "Advice", "AdviceRule", "advise", "headline"]
