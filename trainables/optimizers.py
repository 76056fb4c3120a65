"""What is known of torch's and pytorch_optimizer's classes that their signatures do not say.

Knows no torch: a sweep file is checked by it. tests/trainables/test_optimizers.py holds it against the
libraries, class by class (nightly), and writes docs/optimizers.md.
"""

from __future__ import annotations

LIBRARIES = ("torch", "pytorch_optimizer")

CLOSURES = frozenset({"AliG", "BSAM", "FriendlySAM", "LBFGS", "LookSAM", "SAM", "WSAM"})
"""Classes whose `step` computes the loss anew, once or more."""

DECOMPOSES = frozenset(
    """
    Alice APOLLO Conda DASH Fira GaLore Kron LoRARite RACS SaRA ScalableShampoo Shampoo SOAP SPlus
    """.split()  # noqa: SIM905 - a list of words to be read
)
"""Classes that decompose matrices of gradients. Of a NaN a CPU's decomposition is something finite, and a
GPU's an error that may cost the process its GPU."""

AVERAGING = frozenset(
    {"SPlus", "ScheduleFreeAdamW", "ScheduleFreeRAdam", "ScheduleFreeSGD", "ScheduleFreeWrapper"}
)
"""Classes that are validated by an average of their weights, and report `val_loss_raw` beside `val_loss`."""

WRAPPED = ("optimizer", "base_optimizer")
"""Parameters that take another optimizer's class: in a sweep file, its dotted path."""

MATRICES_BY = "adamw_lr"
"""Parameter of the constructors that want their matrices and the rest in groups of their own (`use_muon`)."""

GROUP_OF_MATRICES = "use_muon"
"""Key of a group by which they tell matrices from the rest."""

_MATRICES = "it takes matrices only; pytorch_optimizer.Muon takes whole nets"
_SECOND = "it needs second derivatives (backward with create_graph)"
_FUSED = "it updates within the backward pass (fused_backward)"
_OF_OTHERS = (
    "it is made of other schedulers; `warmup` puts a linear rise before any, a class of yours the rest"
)
_FUNCTION = "it needs a function, which a sweep file cannot hold; name a class of your own that has it"

UNUSABLE = {
    ("torch", "Muon"): _MATRICES,
    ("torch", "SparseAdam"): "it takes sparse gradients only; torch.optim.Adam",
    ("pytorch_optimizer", "AdaHessian"): _SECOND,
    ("pytorch_optimizer", "AdaLOMO"): _FUSED,
    ("pytorch_optimizer", "DeMo"): "it needs einops and torch.distributed",
    ("pytorch_optimizer", "DistributedMuon"): "it needs torch.distributed; pytorch_optimizer.Muon",
    ("pytorch_optimizer", "FlashAdamW"): "its kernels need Triton on a GPU; torch.optim.AdamW",
    ("pytorch_optimizer", "GSAM"): "it needs a rho_scheduler and set_closure; pytorch_optimizer.SAM",
    ("pytorch_optimizer", "LOMO"): _FUSED,
    ("pytorch_optimizer", "PCGrad"): "it combines the losses of several tasks; there is one here",
    ("pytorch_optimizer", "SafeFP16Optimizer"): "it keeps half-precision weights; set precision: bf16",
    ("pytorch_optimizer", "SophiaH"): _SECOND,
    ("pytorch_optimizer", "SpectralSphere"): _MATRICES,
    ("torch", "ChainedScheduler"): _OF_OTHERS,
    ("torch", "SequentialLR"): _OF_OTHERS,
    ("pytorch_scheduler", "WarmupScheduler"): _OF_OTHERS,
    ("pytorch_optimizer", "ProportionScheduler"): _OF_OTHERS,
    ("torch", "LambdaLR"): _FUNCTION,
    ("torch", "MultiplicativeLR"): _FUNCTION,
    ("pytorch_optimizer", "MultiplicativeLR"): _FUNCTION,
}
"""(package, class) of optimizers and schedulers that cannot be trained with here, and why."""


def why_unusable(dotted: str) -> str:
    """Why an optimizer or a scheduler cannot be trained with; empty if nothing is known against it.

    >>> why_unusable("torch.optim.sparse_adam.SparseAdam")
    'it takes sparse gradients only; torch.optim.Adam'
    >>> why_unusable("torch.optim.AdamW"), why_unusable("my_optimizers.Muon")
    ('', '')
    """
    return UNUSABLE.get((dotted.partition(".")[0], dotted.rpartition(".")[2]), "")
