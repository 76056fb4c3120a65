"""The Python API: from a program or a notebook to a study, by the same runner as the commands."""
