"""The adapter to Ray Tune: `adapter.RuleScheduler`, and `schedulers`, a Ray Tune scheduler for each rule.

What the adapter knows lies in files of its own: `exploits` (weights that go from one trial to another),
`slots` (whose process still starts), `results` (what a result says), `hooks` (what a service lends it). None
of them branches on an algorithm's name: what an algorithm needs, it says through the methods of
`schedulers.rule.Rule`.

Line numbers in them are of ray 2.60.0, tune/execution/tune_controller.py.
"""
