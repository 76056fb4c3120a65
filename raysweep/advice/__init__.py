"""Rules of thumb on how to search, each with its reason, its source and the `--set` that fixes it.

`raysweep.config` reports what makes a file invalid. Advice is about valid files that might waste time; it
never stops a sweep, and `ignore_advice` in the file silences it by name.
"""

from raysweep.advice.advise import Advice, advise, headline
from raysweep.advice.catalog import RULES
from raysweep.advice.rule import AdviceRule

__all__ = ["RULES", "Advice", "AdviceRule", "advise", "headline"]
