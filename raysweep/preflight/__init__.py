"""Checks before a run: the sweep file, the data, dry runs of probe configurations, the range test."""
