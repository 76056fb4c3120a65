"""Hypothesis without a clock: on a shared machine a slow example is no wrong one."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
