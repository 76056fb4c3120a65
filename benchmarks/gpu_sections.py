"""What `gpu_acceptance.py` holds, a function for each subject; all runs on the CPU too, in a small form.

A section yields rows: `ok` and `fails` are of what must hold, `measured` is a figure, `not here` needs a GPU,
or Ray. Nothing here imports Ray, or `raysweep`; one section looks whether it can.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from trainables import device as devices  # noqa: E402
from trainables.data import load  # noqa: E402
from trainables.run_config import RunConfig  # noqa: E402
from trainables.training import Epoch, Training, train  # noqa: E402
from trainables.trial import Trial  # noqa: E402

HERE = Path(__file__).resolve().parent
CHILD_S = 240.0
OPTIMIZERS = {
    "SPlus": ("pytorch_optimizer.SPlus", 0.1),
    "AdamW": ("torch.optim.AdamW", 1e-3),
    "SGD": ("torch.optim.SGD", 1e-2),
}
LOSS_TOLERANCE = 1e-4
"""Relative difference of a lane's loss at a step from that of the trial alone; on the CPU it is 0."""
UPDATE_TOLERANCE = 0.05
"""The same of its first update, root mean square: SPlus takes signs, which a rounding turns near 0."""
PRECISION_TOLERANCE = 0.05
"""Relative difference of the loss after a few epochs, in another precision than fp32."""
Verdict = Literal["ok", "fails", "measured", "not here"]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    found: Any
    verdict: Verdict = "measured"


@dataclass(frozen=True)
class Bench:
    """Where sections run, and in what form."""

    device: torch.device

    @property
    def gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    def sync(self) -> None:
        """Wait until what was asked of a GPU is done."""
        if self.gpu:
            torch.cuda.synchronize(self.device)

    def size(self, on_gpu: int, on_cpu: int) -> int:
        """How large something is made here."""
        return on_gpu if self.gpu else on_cpu


def held(what: str, found: Any, good: bool) -> Row:
    return Row(what, found, "ok" if good else "fails")


def run_of(optimizer: str = "AdamW", **words: Any) -> RunConfig:
    name, lr = OPTIMIZERS[optimizer]
    base = {
        "data": "trainables.data.load_synthetic",
        "data_config": {"rows": 8000},
        "epochs": 4,
        "scheduler": None,
        "net_config": {"nodes": 64, "layers": 3},
        "optimizer": name,
        "optimizer_config": {"lr": lr},
    }
    return RunConfig(**(base | words))


def child(code: str, bench: Bench, **environment: str) -> Any:
    """What a process of its own says last, as JSON; its `code` finds `bench` and `share`, 1 GPU or 0."""
    head = f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom gpu_sections import *\n"
    head += f"share = {int(bench.gpu)}; bench = Bench(torch.device({str(bench.device)!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        env={**os.environ, **environment},
    )
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"exit code": done.returncode, "said": done.stderr.strip()[-400:]}


def facts(bench: Bench) -> Iterator[Row]:
    """Versions, the card, MIG, and whether NVML tells how busy it is."""
    yield Row("python, torch", f"{platform.python_version()}, {torch.__version__}")
    yield Row(
        "CUDA, ROCm, cuDNN", f"{torch.version.cuda}, {torch.version.hip}, {torch.backends.cudnn.version()}"
    )
    yield Row("cores", os.cpu_count())
    if not bench.gpu:
        yield Row("card", "none asked for", "not here")
        return
    card = torch.cuda.get_device_properties(bench.device)
    yield Row(
        "card", f"{card.name}, {card.total_memory / 2**20:.0f} MiB, {card.multi_processor_count} processors"
    )
    query = "driver_version,mig.mode.current,compute_mode,persistence_mode"
    asked = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        said = repr(error)
    yield Row("driver, MIG, compute mode, persistence", said)
    began = time.perf_counter()
    busy = [devices.utilisation(bench.device) for _ in range(20)][-1]
    yield Row("utilisation, % (None: NVML cannot tell)", busy)
    yield Row("a look at it, ms", round((time.perf_counter() - began) * 50, 2))


FILL = """
free, total = torch.cuda.mem_get_info()
device = devices.device_for(0.25)
x = torch.randn(2048, 2048, device=device)
torch.linalg.eigh(x @ x.T)
torch.cuda.synchronize()
outside = (free - torch.cuda.mem_get_info()[0] - torch.cuda.memory_reserved()) / 2**20
blocks = []
try:
    while True:
        blocks.append(torch.empty(2**26, dtype=torch.uint8, device=device))
except RuntimeError as error:
    oom = devices.is_out_of_memory(error)
used = (free - torch.cuda.mem_get_info()[0]) / 2**20
print(json.dumps({"outside": outside, "used": used, "quarter": total / 4 / 2**20, "oom": oom}))
"""
NO_HANDLE = """
blocks, size = [], 2**30
x = torch.ones(64, 64, device="cuda")
while size >= 2**16:
    try:
        blocks.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    except RuntimeError:
        size //= 2
try:
    (x @ x).sum().item()
    print(json.dumps({"said": "nothing: there was room", "oom": True}))
except RuntimeError as error:
    print(json.dumps({"said": str(error).splitlines()[0][:120], "oom": devices.is_out_of_memory(error)}))
"""
WORDS = (
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDA error: out of memory",
    "HIP error: out of memory",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4398046511104 bytes",
)


def memory(bench: Bench) -> Iterator[Row]:
    """The cap of a share counts the context; memory that runs out is known by its words, costs one trial."""
    total = 16384.0
    kept = devices.memory_cap(0.25, total) * total + devices.CONTEXT_MB
    yield held("cap and context of a quarter of 16 GiB, MiB", kept, math.isclose(kept, total / 4))
    missed = [word for word in WORDS if not devices.is_out_of_memory(RuntimeError(word))]
    yield held("words of memory that ran out, not known", missed, not missed)
    innocent = devices.is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    yield held("an assertion taken for one", innocent, not innocent)
    trial = Trial()
    trial.begin(config_of(net_config={"nodes": 2**20, "layers": 3}), float(bench.gpu))
    ended = trial.step()
    yield held("a trial of 4 TiB ends as", ended.get("outcome"), ended.get("outcome") == "oom")
    yield after_it(trial, bench)
    if not bench.gpu:
        yield Row("a real context, a real cap", "", "not here")
        return
    seen = child(FILL, bench)
    yield Row("outside of torch's allocator, MiB", seen)
    yield held(
        "a quarter fills no more than a quarter",
        seen.get("used"),
        seen.get("used", math.inf) <= seen.get("quarter", 0),
    )
    seen = child(NO_HANDLE, bench)
    yield held("a full card, told by cuBLAS", seen, seen.get("oom") is True)


def config_of(**words: Any) -> dict[str, Any]:
    """A trial's config, as Ray would hand it over."""
    run = run_of(**words).model_dump(mode="json", exclude_defaults=True)
    return {**run, "import_paths": [str(HERE)], "trial": {"seed": 1}}


def after_it(trial: Trial, bench: Bench) -> Row:
    trial.begin(config_of(), float(bench.gpu))
    result = trial.step()
    return held("the next trial of that process", result.get("outcome", "trains"), "outcome" not in result)


class OutOfRange(nn.Module):
    """Looks behind the end of its own outputs: an IndexError on the CPU, a failed assertion on a GPU."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raise; x: (batch, features)."""
        out = self.layer(x)
        where = torch.full((out.shape[1],), 10**6, device=out.device)
        return out.index_select(1, where)


STICKY = """
trial = Trial()
trial.begin(config_of(net="gpu_sections.OutOfRange", net_config={}), share)
result = trial.step()
lost = trial.device_lost
trial.begin(config_of(), share)
print(json.dumps({"outcome": result.get("outcome"), "reason": str(result.get("reason")), "lost": lost,
                  "next": trial.step().get("outcome", "trains")}))
"""


def sticky_error(bench: Bench) -> Iterator[Row]:
    """An assertion that fails on the device: its trial says so in a line, its process is known to be lost."""
    seen = child(STICKY, bench)
    yield held("the trial ends as", seen.get("outcome", seen), seen.get("outcome") == "failed")
    reason = str(seen.get("reason"))
    yield held("its reason", reason[:90], bool(reason) and "TORCH_USE_CUDA_DSA" not in reason)
    yield held("its process must end", seen.get("lost"), seen.get("lost") is bench.gpu)
    if bench.gpu:
        fresh = child("print(json.dumps(after_it(Trial(), bench).found))", bench)
        yield held("a trial of another process", fresh, fresh == "trains")
    else:
        yield held("the next trial of that process", seen.get("next"), seen.get("next") == "trains")


def settings_loop(run: Any, data: Any, *, device: Any, seed: int) -> Iterator[Epoch]:
    """A training loop that tells what its process was set to."""
    told = {
        "deterministic": float(torch.are_deterministic_algorithms_enabled()),
        "workspace": float(os.environ.get("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"),
        "threads": float(torch.get_num_threads()),
    }
    yield Epoch(1, 1.0, 1.0, told)


LOOP = {
    "train": "gpu_sections.settings_loop",
    "net_config": {},
    "optimizer_config": {},
    "deterministic": True,
    "epochs": 1,
}
SETTINGS = """
trial = Trial()
trial.begin(config_of(**LOOP), share)
print(json.dumps(trial.step(), default=str))
"""
WORKER = """
import ray
from ray import tune
from trainables.tune import TorchTrainable
config = config_of(**LOOP)
del config["trial"]  # without a study, it says itself when it is done
ray.init(num_cpus=1, num_gpus=share, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
placed = tune.with_resources(TorchTrainable, {"cpu": 1, "gpu": share})
quiet = tune.RunConfig(verbose=0, storage_path=sys.argv[0])
results = tune.Tuner(placed, param_space=config, run_config=quiet).fit()
ray.shutdown()
print(json.dumps(results[0].metrics, default=str))
"""


def settings(bench: Bench) -> Iterator[Row]:
    """What makes curves equal to the bit reaches the process of a trial, alone and as a worker of Ray."""
    wanted = {"deterministic": 1.0, "workspace": 1.0, "threads": 1.0}
    places = {"a trial's process": SETTINGS}
    if importlib.util.find_spec("ray") is not None:
        places["a worker of Ray"] = WORKER
    else:
        yield Row("a worker of Ray", "Ray is not installed", "not here")
    with tempfile.TemporaryDirectory() as folder:
        for where, code in places.items():
            code = code.replace("sys.argv[0]", repr(folder))
            said = child(code, bench, RAY_AUTH_MODE="disabled", TUNE_DISABLE_STRICT_METRIC_CHECKING="1")
            seen = {name: said.get(name) for name in wanted}
            yield held(where, seen if seen["threads"] else said, seen == wanted)


def numbers(epoch: Epoch) -> Any:
    return epoch.number, epoch.train_loss, epoch.val_loss, epoch.grad_norm, sorted(epoch.metrics.items())


def repeatable(bench: Bench) -> Iterator[Row]:
    """A training again, and cut and resumed, is the same to the last bit."""
    for name in OPTIMIZERS:
        for precision in ("fp32", "bf16"):
            run = run_of(name, precision=precision, net_config={"nodes": 64, "layers": 3, "dropout": 0.2})
            data = load(run)
            whole, again = (
                [numbers(each) for each in train(run, data, device=bench.device)] for _ in range(2)
            )
            with tempfile.TemporaryDirectory() as folder:
                first = Training(run, data, device=bench.device)
                before = [numbers(next(first)) for _ in range(2)]
                first.save(folder)
                torch.rand(7, device=bench.device)
                after = [numbers(each) for each in train(run, data, device=bench.device, resume=folder)]
            yield held(f"{name}, {precision}", "", whole == again == before + after)
