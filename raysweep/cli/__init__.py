"""The commands of launch.py, grouped by purpose; each parses, calls and prints."""
