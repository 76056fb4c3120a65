"""Keeps pytest from importing the user modules that stand beside the tests' sweep files."""

collect_ignore = ["files"]
