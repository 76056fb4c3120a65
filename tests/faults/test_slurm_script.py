"""What a Slurm job does when its sweep ends, is stopped, or does not stop; Slurm and Ray are stand-ins here.

tests/cluster/test_slurm_hosts.py has the same on a real Slurm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from raysweep.cluster.slurm import SlurmJob, SlurmRequest, job_script

STANDS_IN = {
    "scontrol": """
case $1 in
    show) echo node1 ;;
    requeue) echo "$2" > "$FOLDER/requeued" ;;
esac
""",
    "getent": "echo '10.0.0.1 STREAM node1'\n",
    "srun": """
while [[ $1 == --* ]]; do shift; done
[[ $1 == rm ]] && exec "$@"
scratch=${@: -1}
echo 10.0.0.1:6379 > "${scratch#--temp-dir=}/ray_current_cluster"
echo "$scratch" > "$FOLDER/ray"
exec sleep 60
""",
    "driver": """
shift
echo "$@" > "$FOLDER/asked"
mkdir -p "$FOLDER/study/journal"
report() { echo '{"event":"reported"}' >> "$FOLDER/study/journal/000001.jsonl"; }
terms=0
case $MOOD in
    done) report && exit 0 ;;
    failing) exit 5 ;;
    polite) report && trap 'exit 130' TERM ;;
    idle) trap 'exit 130' TERM ;;
    stubborn) report && trap '((++terms > 1)) && exit 130' TERM ;;
esac
touch "$FOLDER/ready"
while :; do sleep 0.05; done
""",
}
WAITS_S = 30.0

pytestmark = pytest.mark.faults


def job_that(
    mood: str, folder: Path, sent: signal.Signals | None = None, there: bool = False
) -> tuple[int, str]:
    """Run a job's script to its end, sent a signal once its driver is at work; exit code and words."""
    (folder / "bin").mkdir()
    for name, body in STANDS_IN.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{body}")
        (folder / "bin" / name).chmod(0o755)
    if there:
        (folder / "study").mkdir()
        (folder / "study/study.json").touch()
    study, driver = folder / "study", folder / "bin/driver"
    job = SlurmJob(study, ("run", "a.yaml"), (), driver, folder / "launch.py", folder)
    (folder / "job.sh").write_text(job_script(job, SlurmRequest(grace_s=3)))
    environment = {
        **os.environ,
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "FOLDER": str(folder),
        "MOOD": mood,
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_NODELIST": "node1",
    }
    with (folder / "log").open("w") as log:
        script = subprocess.Popen(
            ["bash", folder / "job.sh"], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    deadline = time.monotonic() + WAITS_S
    while sent and not (folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if sent:
        script.send_signal(sent)
    return script.wait(WAITS_S), (folder / "log").read_text()


@pytest.mark.parametrize(
    ("mood", "sent", "code", "again", "said"),
    [
        ("done", None, 0, False, "1 epochs, exit code 0"),
        ("failing", None, 5, False, "0 epochs, exit code 5"),
        ("polite", signal.SIGTERM, 130, True, "1 epochs, exit code 130"),
        ("stubborn", signal.SIGTERM, 130, True, "1 epochs, exit code 130"),  # aborted before Slurm kills it
        ("polite", signal.SIGINT, 130, False, "1 epochs, exit code 130"),
        ("idle", signal.SIGTERM, 130, False, "no epoch ended within this allocation"),
    ],
)
def test_a_job_queues_again_where_its_time_was_up_and_it_got_on(
    mood: str, sent: signal.Signals | None, code: int, again: bool, said: str, tmp_path: Path
) -> None:
    ended, words = job_that(mood, tmp_path, sent)
    assert ended == code, words
    assert (tmp_path / "requeued").exists() == again, words
    assert said in words
    scratch = Path((tmp_path / "ray").read_text().strip().removeprefix("--temp-dir="))
    assert not scratch.exists()


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (False, "run a.yaml --address 10.0.0.1:6379"),
        (True, "resume {}/study --trust --address 10.0.0.1:6379"),
    ],
)
def test_a_study_that_is_there_is_carried_on(there: bool, asked: str, tmp_path: Path) -> None:
    job_that("done", tmp_path, there=there)
    assert (tmp_path / "asked").read_text().strip() == asked.format(tmp_path)
