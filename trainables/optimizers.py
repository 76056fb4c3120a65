"""Facts about the classes of torch and pytorch_optimizer that their signatures do not show.

Imports no torch: a sweep file is checked by it. tests/trainables/test_optimizers.py compares it with the
libraries, class by class (nightly), and writes docs/optimizers.md.
"""

from __future__ import annotations

LIBRARIES = ("torch", "pytorch_optimizer")

CLOSURES = frozenset({"AliG", "BSAM", "FriendlySAM", "LBFGS", "LookSAM", "SAM", "WSAM"})
"""Classes whose `step` computes the loss again, once or more."""

DECOMPOSES = frozenset(
    """
    Alice APOLLO Conda DASH Fira GaLore Kron LoRARite RACS SaRA ScalableShampoo Shampoo SOAP SPlus
    """.split()  # noqa: SIM905 - a list of words to be read
)
"""Classes that decompose matrices of gradients. With a NaN, the decomposition returns finite numbers on a
CPU, and raises an error on a GPU that may make the GPU unusable for the process."""

AVERAGING = frozenset(
    {"SPlus", "ScheduleFreeAdamW", "ScheduleFreeRAdam", "ScheduleFreeSGD", "ScheduleFreeWrapper"}
)
"""Classes that are validated with an average of the weights, and also report `val_loss_raw`."""

WRAPPED = ("optimizer", "base_optimizer")
"""Parameters for another optimizer's class, whose dotted path is given in a sweep file."""

MATRICES_BY = "adamw_lr"
"""Parameter of constructors that take matrices and other parameters in separate groups (`use_muon`)."""

GROUP_OF_MATRICES = "use_muon"
"""Key that marks a group of matrices."""

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
"""(package, class) of optimizers and schedulers that cannot be used -> why."""


def why_unusable(dotted: str) -> str:
    """Why an optimizer or a scheduler cannot be used; empty if there is no known reason.

    >>> why_unusable("torch.optim.sparse_adam.SparseAdam")
    'it takes sparse gradients only; torch.optim.Adam'
    >>> why_unusable("torch.optim.AdamW"), why_unusable("my_optimizers.Muon")
    ('', '')
    """
    return UNUSABLE.get((dotted.partition(".")[0], dotted.rpartition(".")[2]), "")
