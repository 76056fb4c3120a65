"""The device of a trial, and the detection of its failures."""

from __future__ import annotations

import contextlib
import gc
import os

import torch

from trainables.deferred_compiler import defer_compiler
from trainables.run_config import RunError

CONTEXT_MB = 512.0
"""GPU memory of a process besides its tensors (context, kernels, the libraries' handles), MiB, which torch's
cap does not count."""

OUT_OF_MEMORY = (
    "can't allocate memory",  # torch's allocator of the CPU
    "CUDA error: out of memory",
    "HIP error: out of memory",
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE, cuFFT
    "ALLOCATION_FAILED",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no memory for its handle
    "CUSOLVER_STATUS_NOT_INITIALIZED",
)
"""Texts of RuntimeErrors that mean that memory ran out."""


def settle_process() -> None:
    """Make the settings of every training process, before its first use of a GPU.

    A trial uses one thread: two gain nothing, and slow other trials down. Without a workspace of fixed size
    (unless the user sets another) the matrix products of cuBLAS differ from run to run.
    """
    torch.set_num_threads(1)
    defer_compiler()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def device_for(share: float) -> torch.device:
    """The device for a trial with a share of a GPU; its memory is capped at that share.

    Ray shows each trial only its own GPUs (CUDA_VISIBLE_DEVICES), so its first is always cuda:0. For a trial
    with several whole GPUs this is the first; `devices_beside` returns all.

    Raises:
        RunError: if there is a share but no GPU that torch can use, rather than using the CPU silently.

    >>> device_for(0)
    device(type='cpu')
    """
    if share <= 0:
        return torch.device("cpu")
    if torch.version.cuda is None and torch.version.hip is None:
        raise RunError(
            f"the trial was given {share:g} GPU, but torch {torch.__version__} is built without CUDA or ROCm"
            "; install the build of torch for your GPUs on every node"
        )
    if not torch.cuda.is_available():
        raise RunError(
            f"the trial was given {share:g} GPU, but torch {torch.__version__} sees no GPU; "
            "look at nvidia-smi (rocm-smi) and CUDA_VISIBLE_DEVICES on that node"
        )
    device = torch.device("cuda:0")
    if share < 1:
        total_mb = torch.cuda.get_device_properties(device).total_memory / 2**20
        torch.cuda.set_per_process_memory_fraction(memory_cap(share, total_mb), device)
    else:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    torch.cuda.reset_peak_memory_stats(device)
    # Bit-equal curves need the same algorithm for a shape every time.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return device


def devices_beside(device: torch.device) -> list[torch.device]:
    """All devices of the trial with this one: every GPU visible to its process, or the CPU.

    >>> devices_beside(torch.device("cpu"))
    [device(type='cpu')]
    """
    if device.type != "cuda":
        return [device]
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


def memory_cap(share: float, total_mb: float) -> float:
    """The fraction of a GPU for a process's tensors, such that they and its context keep to its share.

    Args:
        share: share of the GPU, in (0, 1).
        total_mb: memory of the whole GPU, MiB.

    Raises:
        RunError: if the share is no larger than the context.

    >>> memory_cap(0.25, 16384)
    0.21875
    """
    if share * total_mb <= CONTEXT_MB:
        raise RunError(
            f"a share of {share:g} of a GPU with {total_mb:.0f} MiB is {share * total_mb:.0f} MiB, and a "
            f"process takes {CONTEXT_MB:.0f} MiB before its first tensor; give each trial a larger share"
        )
    return share - CONTEXT_MB / total_mb


def is_lost(device: torch.device) -> bool:
    """Whether an earlier error (a failed assertion, an illegal address, an XID) has left a GPU unusable.

    Every later call of the process then fails; a new process can use the GPU.
    """
    if device.type != "cuda" or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; except for its CUDA allocator's, torch's errors say so only in their text.

    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    True
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in OUT_OF_MEMORY)


def free_memory() -> None:
    """Free unreferenced GPU memory; never raises.

    Without a GPU nothing is done: a full collection would cost a short trial a third of its time.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        with contextlib.suppress(RuntimeError):  # the GPU is lost, which `is_lost` tells
            torch.cuda.empty_cache()


def process_facts(device: torch.device) -> dict[str, str]:
    """Facts about this process: its version of torch, and the name of its GPU, or ""."""
    name = ""
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # the GPU is lost
            name = torch.cuda.get_device_name(device)
    return {"torch": str(torch.__version__), "gpu": name}


def utilisation(device: torch.device) -> float | None:
    """Recent utilisation of the GPU, percent; None if its driver cannot tell.

    Any error of NVIDIA's or AMD's library (slices of MIG, vGPU, WSL, a lost GPU) is ignored, as it is no
    reason to end a trial.
    """
    try:
        return float(torch.cuda.utilization(device))
    except Exception:
        return None
