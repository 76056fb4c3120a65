"""The Python API: studies in a program or a notebook, run by the same runner as the commands."""
