"""The code that a trial runs: the only package that depends on torch.

Importing the package imports neither torch nor ray: import its modules instead
(`trainables.run_config`, `trainables.training`, `trainables.tune`).
"""
