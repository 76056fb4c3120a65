"""Runs commands: resolves what will run, then runs it."""
