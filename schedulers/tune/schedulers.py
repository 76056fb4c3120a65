"""The scheduler classes for Ray Tune: one per rule, with all settings in its signature.

The signatures are written out, not derived from the rules, so that a type checker rejects a misspelt
setting and an editor shows them all. `tests/schedulers/test_explicit.py` compares each class with its
rule and the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ray.tune.result import TRAINING_ITERATION

from schedulers.asha import ASHARule, Variant
from schedulers.classic_pfl import ClassicPFLRule
from schedulers.fifo import FIFORule
from schedulers.hyperband import HyperbandRule, Sizes, SuccessiveHalvingRule
from schedulers.margin import MarginRule
from schedulers.median import MedianStoppingRule
from schedulers.patience import PatienceRule
from schedulers.pbt import PBTRule
from schedulers.pfl import PFLRule
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY, RacingRule
from schedulers.rule import Objective
from schedulers.space import FACTORS, Domain
from schedulers.tune.adapter import RuleScheduler
from schedulers.tune.listener import Listener
from schedulers.tune.results import Mode


class ASHA(RuleScheduler):
    """A trial goes on from a rung if it is in the top 1/eta of all that ever reached it.

    Settings as in `schedulers.ASHARule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = ASHARule

    def __init__(
        self,
        *,
        max_resource: int,
        grace_period: int = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        seed: int = 0,
        variant: Variant = "stopping",
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            ASHARule(
                max_resource=max_resource,
                grace_period=grace_period,
                reduction_factor=reduction_factor,
                brackets=brackets,
                seed=seed,
                variant=variant,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class SuccessiveHalving(RuleScheduler):
    """Synchronous successive halving: equal brackets, whose first rung is at r epochs.

    Settings as in `schedulers.SuccessiveHalvingRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = SuccessiveHalvingRule

    def __init__(
        self,
        *,
        max_resource: int,
        grace_period: int = 1,
        reduction_factor: float = 3,
        bracket_size: int | Literal["sweep"] | None = None,
        population_size: int | None = None,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            SuccessiveHalvingRule(
                max_resource=max_resource,
                grace_period=grace_period,
                reduction_factor=reduction_factor,
                bracket_size=bracket_size,
                population_size=population_size,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class Hyperband(RuleScheduler):
    """Hyperband: brackets from the most to the least aggressive, again and again.

    Settings as in `schedulers.HyperbandRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = HyperbandRule

    def __init__(
        self,
        *,
        max_resource: int,
        grace_period: int = 1,
        reduction_factor: float = 3,
        sizes: Sizes = "algorithm",
        population_size: int | None = None,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            HyperbandRule(
                max_resource=max_resource,
                grace_period=grace_period,
                reduction_factor=reduction_factor,
                sizes=sizes,
                population_size=population_size,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class MedianStopping(RuleScheduler):
    """Stop a trial whose best loss so far is worse than the median of the others' running averages.

    Settings as in `schedulers.MedianStoppingRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = MedianStoppingRule

    def __init__(
        self,
        *,
        max_resource: int,
        n_startup_trials: int = 5,
        n_warmup_steps: int | None = None,
        interval_steps: int = 1,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            MedianStoppingRule(
                max_resource=max_resource,
                n_startup_trials=n_startup_trials,
                n_warmup_steps=n_warmup_steps,
                interval_steps=interval_steps,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class Margin(RuleScheduler):
    """Stop a trial that is worse than the best loss of any trial at any epoch by more than a margin.

    Settings as in `schedulers.MarginRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = MarginRule

    def __init__(
        self,
        *,
        max_resource: int,
        margins: Mapping[int, float | None] | None = None,
        relative: bool = False,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            MarginRule(
                max_resource=max_resource,
                margins=margins,
                relative=relative,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class Patience(RuleScheduler):
    """End a trial that has not improved on its own best loss by `min_delta` for `patience` epochs.

    Settings as in `schedulers.PatienceRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = PatienceRule

    def __init__(
        self,
        *,
        max_resource: int,
        patience: int = 10,
        min_delta: float = 0.0,
        grace_period: int = 0,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            PatienceRule(
                max_resource=max_resource,
                patience=patience,
                min_delta=min_delta,
                grace_period=grace_period,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class PBT(RuleScheduler):
    """At every milestone the worst quantile copies the best quantile and perturbs the copied configuration.

    Settings as in `schedulers.PBTRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = PBTRule

    def __init__(
        self,
        *,
        max_resource: int,
        perturbation_interval: int,
        space: Mapping[str, Domain],
        population_size: int,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = FACTORS,
        seed: int = 0,
        synchronous: bool = True,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            PBTRule(
                max_resource=max_resource,
                perturbation_interval=perturbation_interval,
                space=space,
                population_size=population_size,
                quantile_fraction=quantile_fraction,
                resample_probability=resample_probability,
                perturbation_factors=perturbation_factors,
                seed=seed,
                synchronous=synchronous,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class PFL(RuleScheduler):
    """A trial goes on while its rank is within the room and its predicted final loss is promising.

    Settings as in `schedulers.PFLRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = PFLRule

    def __init__(
        self,
        *,
        max_resource: int,
        population_size: int | None = None,
        can_pause: bool = True,
        keep: float = 0.13,
        min_chance: float = 0.01,
        min_finished: int | None = None,
        hope: float = 0.1,
        early: float = 0.2,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            PFLRule(
                max_resource=max_resource,
                population_size=population_size,
                can_pause=can_pause,
                keep=keep,
                min_chance=min_chance,
                min_finished=min_finished,
                hope=hope,
                early=early,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class ClassicPFL(RuleScheduler):
    """Stop a trial whose predicted final loss is worse than the worst of the K best finished ones.

    Settings as in `schedulers.ClassicPFLRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = ClassicPFLRule

    def __init__(
        self,
        *,
        max_resource: int,
        n_startup_trials: int = 10,
        n_warmup_epochs: int = 10,
        top_k: int = 10,
        target_epoch: int | None = None,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            ClassicPFLRule(
                max_resource=max_resource,
                n_startup_trials=n_startup_trials,
                n_warmup_epochs=n_warmup_epochs,
                top_k=top_k,
                target_epoch=target_epoch,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class Racing(RuleScheduler):
    """Stop the trials of a candidate that is significantly worse than another; whole trials are compared.

    Settings as in `schedulers.RacingRule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = RacingRule

    def __init__(
        self,
        *,
        max_resource: int,
        candidate: str = CANDIDATE_KEY,
        block: str = BLOCK_KEY,
        alpha: float = 0.05,
        min_blocks: int = 3,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            RacingRule(
                max_resource=max_resource,
                candidate=candidate,
                block=block,
                alpha=alpha,
                min_blocks=min_blocks,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )


class FIFO(RuleScheduler):
    """Stops no trial for being worse than others; only a non-finite loss ends one early.

    Settings as in `schedulers.FIFORule`; from `metric` on as in `RuleScheduler`.
    """

    rule_class = FIFORule

    def __init__(
        self,
        *,
        max_resource: int,
        objective: Objective = "last",
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__(
            FIFORule(
                max_resource=max_resource,
                objective=objective,
            ),
            metric=metric,
            mode=mode,
            time_attr=time_attr,
            slots=slots,
            listener=listener,
            audit_fraction=audit_fraction,
            audit_seed=audit_seed,
        )
