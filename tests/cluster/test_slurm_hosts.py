"""A sweep on a real Slurm of two nodes, over two allocations.

apt-get install slurm-wlm munge; pytest -n 0 -m 'cluster and nightly' tests/cluster/test_slurm_hosts.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.slurm import SlurmJob, SlurmRequest, job_script
from raysweep.study.journal.events import AttemptStarted, EpochReported
from raysweep.study.journal.log import read_events
from tests.cluster.hosts import SHARED, Hosts, missing, wait_until
from tests.cluster.slurm_on_hosts import ENVIRONMENT, lacking, slurm_up

REPO = Path(__file__).resolve().parents[2]
PROJECT = f"{SHARED}/project"
LAUNCH = f"cd {PROJECT} && python {REPO}/launch.py"
SWEEP = """
study_name: batch
trials: 8
resources_per_trial: {cpu: 1, gpu: 0}
trial_scheduler: {name: schedulers.FIFO}
run:
  data: trainables.data.load_digits
  criterion: torch.nn.CrossEntropyLoss
  train: slow.train
  epochs: 10
  scheduler: null
  net_config: {step_s: 0.5}
  checkpoint_config: {enabled: true, save_every_n_epochs: 1}
search_space:
  optimizer_config: {lr: {type: float, min: 1.e-3, max: 1.e-1, log: true}}
"""
SLOW = (REPO / "tests/study/toy.py").read_text(encoding="utf-8")
REASON = missing() or lacking()

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.nightly,  # minutes each, and Debian's Slurm
    pytest.mark.skipif(bool(REASON), reason=f"no Slurm can be made here: {REASON}"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Hosts(tmp_path_factory.mktemp("hosts"), Path(sys.prefix), REPO) as made, slurm_up(made):
        (made.shared / "project").mkdir()
        for name, text in (("batch.yaml", SWEEP), ("slow.py", SLOW)):
            (made.shared / "project" / name).write_text(text, encoding="utf-8")
        yield made


def submit(hosts: Any, options: str) -> tuple[str, Any]:
    """The number of a submitted job, and the command's stderr."""
    done = hosts.run("laptop", f"{LAUNCH} {options} --slurm --nodes 2", ENVIRONMENT)
    return done.stdout.strip(), done.stderr


def events_of(hosts: Any, study: str) -> list[Any]:
    folder = hosts.shared / "project/runs" / study / "journal"
    return list(read_events(folder)) if folder.is_dir() else []


def reported(hosts: Any, study: str) -> list[Any]:
    return [event for event in events_of(hosts, study) if isinstance(event, EpochReported)]


def log_of(hosts: Any, study: str, job: str) -> str:
    file = hosts.shared / "project/runs" / f"{study}.slurm" / f"{job}.log"
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else "no log"


def state_of(hosts: Any, job: str) -> str:
    output = hosts.run("laptop", f"scontrol show job {job}", ENVIRONMENT, check=False).stdout
    return "".join(re.findall(r"JobState=(\w+)", output))


def ended(hosts: Any, study: str, job: str, seconds: float = 200.0) -> str:
    """The state in which a job has ended."""
    running = ("", "PENDING", "RUNNING", "COMPLETING", "REQUEUED")  # "": the controller did not answer
    seen = ""

    def over() -> bool:
        nonlocal seen
        seen = state_of(hosts, job)
        return seen not in running

    wait_until(over, seconds, lambda: log_of(hosts, study, job)[-3000:])
    return seen


def test_a_sweep_continues_in_a_second_allocation_and_trains_nothing_twice(hosts: Any) -> None:
    """Slurm sends the signal that it sends before a time limit, but earlier."""
    job, output = submit(hosts, "batch.yaml --time 30")
    assert f"batch: Slurm job {job}, log runs/batch.slurm/{job}.log; follow it: `tail -F " in output
    wait_until(lambda: len(reported(hosts, "batch")) >= 12, 120, lambda: log_of(hosts, "batch", job))
    hosts.run("laptop", f"scancel --batch --signal=TERM {job}", ENVIRONMENT)
    assert ended(hosts, "batch", job) == "COMPLETED", log_of(hosts, "batch", job)
    log = log_of(hosts, "batch", job)
    assert re.search(r"allocation 1 of job \d+: \d+ epochs, exit code 130", log)
    assert re.search(r"allocation 2 of job \d+: \d+ epochs, exit code 0", log)
    assert "8 completed" in log
    epochs = [(event.trial, event.epoch) for event in reported(hosts, "batch")]
    assert len(epochs) == len(set(epochs)) == 80
    assert {event.worker.split(":")[0] for event in reported(hosts, "batch")} == {"host-w1", "host-w2"}
    for host in ("w1", "w2"):
        left = hosts.run(host, "ls -d /tmp/ray* 2>/dev/null; pgrep -f 'raylet|gcs_server'", check=False)
        assert left.stdout == "", "its Ray is gone, and what that wrote"


PROBE = """
import sys
import time
import ray

ray.init(address=sys.argv[-1], log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.5)
print("Ray has", ray.cluster_resources()["CPU"], "cores and", ray.cluster_resources().get("GPU", 0.0), "GPUs")
"""


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (SlurmRequest(nodes=2), "Ray has 4.0 cores and 4.0 GPUs"),
        (SlurmRequest(nodes=2, cpus=2, gpus=1), "Ray has 4.0 cores and 2.0 GPUs"),
        (SlurmRequest(nodes=2, cpus=1), "Ray has 2.0 cores and 0.0 GPUs"),
    ],
)
def test_a_jobs_ray_has_what_slurm_gave_the_job(hosts: Any, request_: SlurmRequest, said: str) -> None:
    """The nodes have two GPUs each according to their configuration; the sweep is a probe."""
    (hosts.shared / "probe.py").write_text(PROBE, encoding="utf-8")
    study = Path(SHARED) / "project/runs" / f"probe{request_.cpus}{request_.gpus}"
    python, launch = Path(sys.prefix) / "bin/python", Path(SHARED) / "probe.py"
    job = SlurmJob(study, ("run",), (), python, launch, Path(SHARED))
    folder = hosts.shared / "project/runs" / job.folder.name
    folder.mkdir(parents=True)
    (folder / "job.sh").write_text(job_script(job, request_), encoding="utf-8")
    number = hosts.run("laptop", f"sbatch --parsable {job.script}", ENVIRONMENT).stdout.strip()
    assert ended(hosts, study.name, number) == "COMPLETED", log_of(hosts, study.name, number)
    assert said in log_of(hosts, study.name, number)


def test_a_stopped_job_is_not_requeued_and_its_study_continues_in_another(hosts: Any) -> None:
    job, _ = submit(hosts, "batch.yaml --name stopped")
    wait_until(lambda: len(reported(hosts, "stopped")) >= 4, 120, lambda: log_of(hosts, "stopped", job))
    hosts.run("laptop", f"scancel --batch --signal=INT {job}", ENVIRONMENT)
    assert ended(hosts, "stopped", job) == "FAILED"
    assert "exit code 130" in log_of(hosts, "stopped", job)
    assert len(reported(hosts, "stopped")) < 80
    job, _ = submit(hosts, "resume stopped")
    assert ended(hosts, "stopped", job) == "COMPLETED", log_of(hosts, "stopped", job)
    epochs = [(event.trial, event.epoch) for event in reported(hosts, "stopped")]
    assert len(epochs) == len(set(epochs)) == 80


@pytest.mark.timeout(1000)
def test_a_time_limit_ends_an_allocation_in_good_order(hosts: Any) -> None:
    job, _ = submit(hosts, "batch.yaml --name limited --time 3 --grace 60 --set trials=96")
    assert ended(hosts, "limited", job, 900) == "COMPLETED", log_of(hosts, "limited", job)
    attempts = [event for event in events_of(hosts, "limited") if isinstance(event, AttemptStarted)]
    assert len(attempts) >= 2
    epochs = [(event.trial, event.epoch) for event in reported(hosts, "limited")]
    assert len(epochs) == len(set(epochs)) == 960


def test_what_slurm_refuses_is_one_line_and_leaves_no_study(hosts: Any) -> None:
    options = "batch.yaml --name refused --slurm --partition nosuch"
    done = hosts.run("laptop", f"{LAUNCH} {options}", ENVIRONMENT, check=False)
    assert done.returncode == 6
    assert "Slurm refused the job: " in done.stderr.strip().splitlines()[-1]
    assert "Invalid partition" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (hosts.shared / "project/runs/refused").exists()
