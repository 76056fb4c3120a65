"""What a trial runs: the only package that knows torch.

Importing the package imports neither torch nor ray: take what you need from its modules
(`trainables.run_config`, `trainables.training`, `trainables.tune`).
"""
