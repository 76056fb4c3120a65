"""Sweeps of several stages: each stage is a study of its own, derived from those before it."""
