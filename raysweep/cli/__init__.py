"""The commands of launch.py, by what they are for: parse, call, print."""
