"""The device of a trial: what was allocated to it, or a reason why that cannot be used."""

from __future__ import annotations

import torch

from trainables.run_config import RunError


def device_for(share: float) -> torch.device:
    """The device for a trial that was given `share` of a GPU; memory is capped at that share.

    Whoever places trials shows each only its own GPU (CUDA_VISIBLE_DEVICES), so it is always cuda:0.

    Raises:
        RunError: if there is a share but no CUDA: never a silent run on the CPU.

    >>> device_for(0)
    device(type='cpu')
    """
    if share <= 0:
        return torch.device("cpu")
    if torch.version.cuda is None:
        raise RunError(
            f"the trial was given {share:g} GPU, but torch {torch.__version__} is built without CUDA; "
            "install the CUDA build of torch on every node"
        )
    if not torch.cuda.is_available():
        raise RunError(
            f"the trial was given {share:g} GPU, but torch {torch.__version__} sees no CUDA device; "
            "look at nvidia-smi and CUDA_VISIBLE_DEVICES on that node"
        )
    device = torch.device("cuda:0")
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
    torch.cuda.reset_peak_memory_stats(device)
    # One algorithm for one shape, every time: what bit-equal curves need.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return device


def utilisation(device: torch.device) -> float | None:
    """Percent of time the GPU was busy of late, or None where NVIDIA's library cannot tell."""
    try:
        return float(torch.cuda.utilization(device))
    except (ImportError, RuntimeError):  # no nvidia-ml-py, or a driver without it (MIG, WSL)
        return None
