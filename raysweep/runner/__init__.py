"""Carries a command out: resolves what will run, then runs it."""
