"""The adapter to Ray Tune: `adapter.RuleScheduler`, and `schedulers`, a Ray Tune scheduler for each rule.

The adapter's parts are in files of their own: `exploits` (copying weights between trials), `slots` (filling
all slots with processes), `results` (from results to reports), `hooks` (what a service provides). None of
them branches on an algorithm: rules differ only by their methods of `schedulers.rule.Rule`.

Line numbers in them are of ray 2.60.0, tune/execution/tune_controller.py.
"""
