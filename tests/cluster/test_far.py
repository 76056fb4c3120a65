"""A sweep on a cluster of several hosts, from a laptop: up, run, cut off, lost nodes, stop, resume, refusals.

One cluster for all: brought up by `ray up clusters/onprem.yaml`, as the docs say, over SSH.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from raysweep.study.journal.events import (
    AttemptStarted,
    EpochReported,
    TrialPlaced,
    TrialRecovered,
    TrialStarted,
)
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.results.reproduce import first_difference, reproduction_config, run_again
from raysweep.study.storage.layout import StudyFolder
from tests.cluster.hosts import ADDRESSES, CLUSTER, NET, SHARED, Hosts, cluster_up, missing, wait_until

REPO = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)
LAUNCH = f"cd /root/project && python {REPO}/launch.py"
SWEEP = """
study_name: far
trials: {trials}
resources_per_trial: {{cpu: 1, gpu: 0}}
trial_scheduler: {{name: schedulers.FIFO}}
run:
  data: trainables.data.load_digits
  criterion: torch.nn.CrossEntropyLoss
  train: slow.train
  epochs: {epochs}
  scheduler: null
  net_config: {{step_s: {step_s}}}
  checkpoint_config: {{enabled: true, save_every_n_epochs: 1}}
search_space:
  optimizer_config: {{lr: {{type: float, min: 1.e-3, max: 1.e-1, log: true}}}}
"""
S3_PORT = 5566
S3 = {
    "AWS_ENDPOINT_URL": f"http://{ADDRESSES['head']}:{S3_PORT}",
    "AWS_ACCESS_KEY_ID": "mock",
    "AWS_SECRET_ACCESS_KEY": "mock",
    "AWS_DEFAULT_REGION": "us-east-1",
}
FAKE_CLOUD = """
cluster_name: fake
max_workers: 2
upscaling_speed: 1.0
idle_timeout_minutes: 5
provider: {type: fake_multinode, use_node_id_as_ip: true, disable_node_updaters: true,
           disable_launch_config_check: true}
head_node_type: ray.head.default
available_node_types:
  ray.head.default: {resources: {CPU: 0}, node_config: {}, max_workers: 0}
  gpu: {resources: {CPU: 2, GPU: 1}, node_config: {}, min_workers: 0, max_workers: 2}
auth: {}
docker: {}
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: []
worker_start_ray_commands: []
file_mounts: {}
cluster_synced_files: []
file_mounts_sync_continuously: false
rsync_exclude: []
rsync_filter: []
"""
SLOW = (REPO / "tests/study/toy.py").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(missing()), reason=f"no hosts can be made here: {missing()}"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Hosts(tmp_path_factory.mktemp("hosts"), VENV, REPO) as made:
        server = made.start("head", f"exec moto_server -H {ADDRESSES['head']} -p {S3_PORT}", made.work / "s3")
        with cluster_up(made, " ".join(f"{name}={value}" for name, value in S3.items())):
            yield made
        server.kill()
        server.wait()


@pytest.fixture
def sweep(hosts: Any, tmp_path: Path) -> Any:
    """Puts a sweep and the loop it names into the laptop's project; returns the file's name."""

    def write(name: str = "far", trials: int = 6, epochs: int = 3, step_s: float = 0.1) -> Any:
        text = SWEEP.format(trials=trials, epochs=epochs, step_s=step_s)
        for file, content in ((f"{name}.yaml", text), ("slow.py", SLOW)):
            (hosts.shared / file).write_text(content, encoding="utf-8")
            hosts.run("laptop", f"cp {SHARED}/{file} /root/project/")
        return f"{name}.yaml"

    return write


def events_of(hosts: Any, study: Any) -> Any:
    """What a study's journal has; nothing before there is one."""
    folder = hosts.shared / "runs" / study
    return list(read_events(folder / "journal")) if folder.exists() else []


def reported(hosts: Any, study: Any) -> Any:
    return [event for event in events_of(hosts, study) if isinstance(event, EpochReported)]


def log_of(hosts: Any, study: Any) -> Any:
    return hosts.run("laptop", f"{LAUNCH} logs {study} --cluster {CLUSTER}", check=False).stdout


def make_bucket(hosts: Any, name: Any) -> None:
    make = f"import boto3; boto3.client('s3').create_bucket(Bucket='{name}')"
    hosts.run("head", f'python -c "{make}"', S3)


def journal_has(hosts: Any, study: Any, epochs: Any) -> Any:
    folder = hosts.shared / "runs" / study / "journal"
    return folder.is_dir() and len(reported(hosts, study)) >= epochs


def test_a_sweep_from_the_laptop_runs_on_the_nodes_tracked_on_the_head(hosts: Any, sweep: Any) -> None:
    end = f"--set 'on_end=cp /dev/stdin {SHARED}/ended.json'"
    ann = {"LOGNAME": "ann"}
    commit = subprocess.run(["git", "-C", REPO, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    done = hosts.run("laptop", f"{LAUNCH} {sweep()} --name first {end} --cluster {CLUSTER}", ann, timeout=200)
    assert "6 completed" in done.stdout
    begun = next(event for event in events_of(hosts, "first") if isinstance(event, AttemptStarted))
    assert (begun.provenance["user"], begun.provenance["raysweep_commit"]) == ("ann", commit.strip())
    assert "git_commit" not in begun.provenance  # her project is in no repository
    placed = [event for event in events_of(hosts, "first") if isinstance(event, TrialPlaced)]
    assert {event.trial for event in placed} == {f"{number:05d}" for number in range(6)}
    assert {event.torch for event in placed} == {torch.__version__}
    ended = json.loads((hosts.shared / "ended.json").read_text(encoding="utf-8"))
    assert (ended["study"], ended["state"], ended["exit_code"]) == ("first", "done", 0)
    machines = {event.worker.split(":")[0] for event in reported(hosts, "first")}
    assert len(machines) >= 2
    query = (
        "import mlflow; runs = mlflow.search_runs(search_all_experiments=True, output_format='list');"
        "print(sorted(run.data.tags.get('kind', '') for run in runs if run.data.tags['study'] == 'first'))"
    )
    kinds = hosts.run("head", f'python -c "{query}"', {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}).stdout
    assert kinds.count("'trial'") == 6
    assert len(eval(kinds.strip().splitlines()[-1])) == 7


@pytest.mark.nightly
def test_trials_that_share_cores_are_lanes_on_every_node(hosts: Any, sweep: Any) -> None:
    """Trained together there, each gets the same losses as alone here."""
    options = "--set run.train=null --set 'run.net_config={nodes: 8}'"
    options += " --set 'resources_per_trial={cpu: 0.25, gpu: 0}'"
    hosts.run(
        "laptop", f"{LAUNCH} {sweep(trials=16)} --name lanes {options} --cluster {CLUSTER}", timeout=200
    )
    study, folder = fold(events_of(hosts, "lanes")), StudyFolder(hosts.shared / "runs/lanes")
    assert (study.lanes, study.counts()) == (4, {"completed": 16})
    assert {trial.lane_obstacle for trial in study.trials.values()} == {""}
    assert len({event.worker.split(":")[0] for event in reported(hosts, "lanes")}) >= 2
    for name, trial in study.trials.items():
        alone = list(run_again(reproduction_config(folder.sweep(), study, name), 3, 0.0))
        assert first_difference(trial.curve, alone) is None


def test_commands_on_a_study_of_a_cluster_run_there(hosts: Any, sweep: Any) -> None:
    """Uses the study `first` of the test above: its best, its report, and its retraining."""
    far = f"--cluster {CLUSTER}"
    best = hosts.run("laptop", f"{LAUNCH} best first {far} --json").stdout
    assert json.loads(best)["optimizer_config"]["lr"] > 0
    assert "val_loss" in hosts.run("laptop", f"{LAUNCH} report first {far}").stdout
    assert (hosts.shared / "runs/first/report/report.html").stat().st_size > 10_000
    hosts.run("laptop", f"{LAUNCH} retrain first --top-k 1 --seeds 2 --set run.epochs=4 {far}", timeout=200)
    trained = {event.trial for event in reported(hosts, "first/retrain")}
    assert len(trained) == 2, "the best, over two seeds"
    listed = json.loads(hosts.run("laptop", f"{LAUNCH} list --json {far}").stdout)
    assert {job["id"] for job in listed} >= {"first", "first.best", "first.report", "first.retrain"}
    status = json.loads(hosts.run("laptop", f"{LAUNCH} status first --json {far}").stdout)
    assert (status["id"], status["status"]) == ("first", "SUCCEEDED")
    log = json.loads(hosts.run("laptop", f"{LAUNCH} logs first --json {far}").stdout)
    assert "6 completed" in log["log"]


def test_the_data_reach_a_node_once_however_many_processes_it_has(hosts: Any, sweep: Any) -> None:
    megabytes = 32.0  # four fifths of the rows, two float32 each

    def received(host: Any) -> Any:
        line = next(
            line for line in hosts.run(host, "cat /proc/net/dev").stdout.splitlines() if "eth0:" in line
        )
        return int(line.split()[1]) / 1e6

    before = {host: received(host) for host in ("w1", "w2")}
    options = (
        f"--set run.data=trainables.data.load_synthetic run.data_config.rows={megabytes * 1e6 / 6.4:.0f}"
    )
    options += " run.criterion=torch.nn.MSELoss"
    hosts.run("laptop", f"{LAUNCH} {sweep(trials=8)} --name data {options} --cluster {CLUSTER}", timeout=200)
    processes = {event.worker for event in reported(hosts, "data")}
    several = [host for host in before if sum(each.startswith(f"host-{host}:") for each in processes) > 1]
    assert several, f"no worker had two processes: {processes}"
    for host in several:
        assert megabytes < received(host) - before[host] < 1.6 * megabytes


def test_a_study_in_object_storage_outlives_its_driver_and_its_disk(hosts: Any, sweep: Any) -> None:
    """A real S3 server: nodes store checkpoints there themselves, and the next driver has nothing else."""
    make_bucket(hosts, "studies")
    file, uri = sweep(trials=4, epochs=26, step_s=0.5), "s3://studies/far"
    hosts.run("laptop", f"{LAUNCH} {file} --name kept --runs {uri} --no-wait --cluster {CLUSTER}")
    find = "ls -d /tmp/ray/session_latest/runtime_resources/working_dir_files/*/project/runs/kept"

    def folder() -> Any:
        return hosts.run("head", find, check=False).stdout.strip()

    count = "grep -c checkpointed {}/journal/000001.jsonl"
    wait_until(
        lambda: folder() and int(hosts.run("head", count.format(folder()), check=False).stdout or 0) >= 6,
        or_say=lambda: log_of(hosts, "kept"),
    )
    time.sleep(8)  # one round of the sync
    holder = json.loads(hosts.run("head", f"cat {folder()}/lock").stdout)
    hosts.run("head", f"kill -9 {holder['pid']}; rm -rf {folder()}")
    done = hosts.run("laptop", f"{LAUNCH} resume {uri}/kept --trust --cluster {CLUSTER}", timeout=200)
    assert "4 completed" in done.stdout
    journal = f"cat {SHARED}/runs/kept/journal/*.jsonl"  # where the head's studies are
    lines = [json.loads(line) for line in hosts.run("head", journal).stdout.splitlines()]
    epochs = [
        (line["trial"], line["epoch"])
        for line in lines
        if line["event"] == "reported" and not line.get("again")
    ]
    assert len(epochs) == len(set(epochs)) == 104
    cut = max(n for n, line in enumerate(lines) if line["event"] == "journal")
    saved = {line["trial"] for line in lines[:cut] if line["event"] == "checkpointed"}
    again = {line["trial"]: line["epoch"] for line in reversed(lines[cut:]) if line["event"] == "reported"}
    assert saved
    assert all(again[trial] > 1 for trial in saved & again.keys()), "from checkpoints"


def test_stop_now_waits_for_nothing(hosts: Any, sweep: Any) -> None:
    file = sweep(trials=2, epochs=3, step_s=30)
    hosts.run("laptop", f"{LAUNCH} {file} --name now --no-wait --cluster {CLUSTER}")
    folder = hosts.shared / "runs/now/journal"
    wait_until(lambda: folder.is_dir() and any(isinstance(e, TrialStarted) for e in events_of(hosts, "now")))
    stopped = hosts.run("laptop", f"{LAUNCH} stop now --now --json --cluster {CLUSTER}")
    assert json.loads(stopped.stdout)["exit_code"] == 130
    assert reported(hosts, "now") == []


@pytest.mark.nightly
def test_a_staged_study_in_object_storage_goes_through_its_stages(hosts: Any, sweep: Any) -> None:
    """From a laptop without its files, after the driver's disk has lost them."""
    make_bucket(hosts, "staged")
    far, uri = f"--cluster {CLUSTER}", "s3://staged/far"
    stages = (
        "[{name: explore, trials: 4}, {name: refine, trials: 3, top: 2}, {name: validate, top: 1, seeds: 2}]"
    )
    options = f"--name steps --runs {uri} --set 'stages={stages}'"
    done = hosts.run("laptop", f"{LAUNCH} {sweep()} {options} {far}", timeout=300)
    assert "stage 3 of 3: validate" in done.stdout
    done = hosts.run("laptop", f"{LAUNCH} status {uri}/steps --json {far}")
    assert json.loads(done.stdout)["status"] == "SUCCEEDED"
    hosts.run("head", f"rm -rf {SHARED}/runs/steps")
    done = hosts.run("laptop", f"{LAUNCH} resume {uri}/steps --trust {far}", timeout=200)
    assert "all stages ended" in " ".join(done.stdout.split())
    done = hosts.run("laptop", f"{LAUNCH} best {uri}/steps {far} --json")
    assert json.loads(done.stdout)["optimizer_config"]["lr"] > 0


@pytest.mark.nightly
def test_a_growing_cluster_has_room_for_nodes_to_come_or_says_why_none_do(hosts: Any, sweep: Any) -> None:
    """A Ray with an autoscaler of its own on the laptop; its cloud is Ray's fake one, the rest is real."""
    home = {"HOME": "/root/fake"}
    hosts.run("laptop", "mkdir -p /root/fake")
    (hosts.shared / "fake.yaml").write_text(FAKE_CLOUD, encoding="utf-8")
    config = "/root/fake/ray_bootstrap_config.yaml"
    hosts.run("laptop", f"cp {SHARED}/fake.yaml {config}")
    start = "ray start --head --num-cpus=0 --dashboard-host=127.0.0.1 --include-dashboard=false"
    own = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    hosts.run("laptop", f"{start} --autoscaling-config={config}", home | own)
    run = f"{LAUNCH} run {sweep(trials=4)} --address auto --runs {SHARED}/fake"
    try:
        done = hosts.run("laptop", f"{run} --name large --set resources_per_trial.gpu=2", home, check=False)
        assert done.returncode == 6
        assert "the largest of 3 nodes that the cluster can have offers 2 CPU and 1 GPU" in done.stderr
        done = hosts.run("laptop", f"{run} --name grown", home, timeout=200)
        assert "4 completed" in done.stdout
        more = FAKE_CLOUD.replace(
            "  gpu:", "  none: {resources: {CPU: 16}, node_config: {}, max_workers: 1}\n  gpu:"
        )
        (hosts.shared / "fake.yaml").write_text(more, encoding="utf-8")
        hosts.run("laptop", f"cp {SHARED}/fake.yaml {config}")
        options = "--set resources_per_trial.cpu=8 stall_timeout_s=5"
        done = hosts.run("laptop", f"{run} --name stalled {options}", home, check=False)
        assert done.returncode == 6
        output = " ".join(done.stdout.split())
        assert "no trial could be placed for" in output
        assert "nodes are up, with 4 CPU (4 free) and 2 GPU (2 free)" in output
    finally:
        hosts.run("laptop", "ray stop --force", home, check=False)  # inside the host: nobody else's


def test_a_cut_connection_leaves_the_job_running_and_is_found_again(
    hosts: Any, sweep: Any, tmp_path: Path
) -> None:
    """Disconnected long enough for ssh to give up and for the first reconnection to fail."""
    log = tmp_path / "follower"
    follower = hosts.start(
        "laptop", f"{LAUNCH} {sweep(trials=8, epochs=12, step_s=0.5)} --name cut --cluster {CLUSTER}", log
    )
    wait_until(lambda: journal_has(hosts, "cut", 4))
    hosts.cut("laptop")
    wait_until(lambda: "connection lost" in log.read_text(encoding="utf-8"))
    time.sleep(10)
    hosts.heal("laptop")
    assert follower.wait(200) == 0
    output = log.read_text(encoding="utf-8")
    assert "connected again" in output
    assert "8 completed" in output
    assert "Traceback" not in output


def test_processes_that_a_node_terminates_cost_their_trials_nothing(hosts: Any, sweep: Any) -> None:
    """SIGTERM to every training process of one node, as by a spot notice or `scancel`."""
    file = sweep(trials=6, epochs=14, step_s=0.4)
    hosts.run("laptop", f"{LAUNCH} {file} --name asked --no-wait --cluster {CLUSTER}")
    wait_until(lambda: any(e.worker.startswith("host-w2:") and e.epoch > 2 for e in reported(hosts, "asked")))
    workers = {e.worker for e in reported(hosts, "asked") if e.worker.startswith("host-w2:")}
    pids = " ".join(worker.rpartition(":")[2] for worker in sorted(workers))
    hosts.run("w2", f"kill -TERM {pids}")
    wait_until(lambda: "6 completed" in log_of(hosts, "asked"), 200, lambda: log_of(hosts, "asked"))
    lost = [event for event in events_of(hosts, "asked") if isinstance(event, TrialRecovered)]
    assert lost
    assert all(event.terminated for event in lost)
    epochs = [(event.trial, event.epoch) for event in reported(hosts, "asked")]
    assert len(epochs) == len(set(epochs)) == 84, "none was trained twice"


@pytest.mark.nightly
def test_a_second_ray_up_ends_no_sweep_and_costs_no_trial_its_process(hosts: Any, sweep: Any) -> None:
    file = sweep(trials=8, epochs=30, step_s=0.5)
    hosts.run("laptop", f"{LAUNCH} {file} --name twice --no-wait --cluster {CLUSTER}")
    wait_until(lambda: journal_has(hosts, "twice", 4), or_say=lambda: log_of(hosts, "twice"))
    hosts.run("laptop", f"RAY_UP_enable_autoscaler_v2=0 ray up -y --no-config-cache {CLUSTER}")
    at = len(reported(hosts, "twice"))
    wait_until(lambda: journal_has(hosts, "twice", at + 12))
    wait_until(lambda: "8 completed" in log_of(hosts, "twice"), 200, lambda: log_of(hosts, "twice"))
    assert not [event for event in events_of(hosts, "twice") if isinstance(event, TrialRecovered)]


def test_a_stopped_study_is_resumed_to_its_end_and_runs_nothing_twice(hosts: Any, sweep: Any) -> None:
    file = sweep(trials=4, epochs=24, step_s=0.5)
    name = hosts.run("laptop", f"{LAUNCH} {file} --name stopped --no-wait --cluster {CLUSTER}").stdout.strip()
    assert name == "stopped"
    wait_until(lambda: journal_has(hosts, "stopped", 6), or_say=lambda: log_of(hosts, "stopped"))
    asked = time.monotonic()
    hosts.run("laptop", f"{LAUNCH} stop stopped --cluster {CLUSTER}")
    assert time.monotonic() - asked < 45
    state = json.loads((hosts.shared / "runs/stopped/status.json").read_text(encoding="utf-8"))
    assert (state["state"], state["exit_code"]) == ("interrupted", 130)
    done = hosts.run("laptop", f"{LAUNCH} resume stopped --cluster {CLUSTER}", timeout=200)
    assert "4 completed" in done.stdout
    epochs = [(event.trial, event.epoch) for event in reported(hosts, "stopped") if not event.again]
    assert len(epochs) == len(set(epochs)) == 96


def test_two_users_at_once_never_meet(hosts: Any, sweep: Any, tmp_path: Path) -> None:
    file = sweep(trials=3)
    both = [
        hosts.start("laptop", f"{LAUNCH} {file} --cluster {CLUSTER}", tmp_path / f"user{n}") for n in (1, 2)
    ]
    assert [each.wait(200) for each in both] == [0, 0]
    names = [re.search(r"far-\S+?(?=:)", (tmp_path / f"user{n}").read_text())[0] for n in (1, 2)]  # type: ignore[index]
    assert names[0] != names[1]
    assert all(
        len({event.trial for event in events_of(hosts, name) if isinstance(event, TrialStarted)}) == 3
        for name in names
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        ("list --cluster {cluster}", {"RAY_AUTH_TOKEN": "0" * 64}, 6, "refuses our token"),
        (
            "list --cluster {cluster}",
            {"RAY_AUTH_TOKEN_PATH": "/none"},
            6,
            "asks for a token, and we have none",
        ),
        ("check far.yaml --cluster {cluster}", {}, 0, "valid"),
        ("preflight far.yaml --cluster {cluster}", {}, 0, "no problems"),
        ("run far.yaml --cluster {cluster} --set trials=1 tracking=http://127.0.0.1:5999", {}, 0, "lacks"),
        ("list --address http://{net}.99:8265", {}, 6, "nothing answers at"),
        ("list --cluster /mnt/shared/away.yaml", {}, 6, "away.yaml: the SSH tunnel ended ("),
        ("status nothing --cluster {cluster}", {}, 6, "no sweep 'nothing' on this cluster"),
        (
            "run far.yaml --cluster {cluster} --set resources_per_trial.gpu=4",
            {},
            6,
            "asks for 1 CPU and 4 GPU",
        ),
        ("run far.yaml --cluster {cluster} --runs /proc/none", {}, 6, "cannot be written"),
        ("run far.yaml --cluster {cluster} --runs /root/mine", {}, 6, "storage: /root/mine"),
    ],
)
def test_what_cannot_be_is_one_line(
    hosts: Any, sweep: Any, arguments: Any, environment: Any, code: Any, sentence: Any
) -> None:
    sweep()
    away = (hosts.shared / "cluster.yaml").read_text(encoding="utf-8").replace(f"{NET}.10", f"{NET}.99")
    away = away.replace("cluster_name: sweeps", "cluster_name: away")
    (hosts.shared / "away.yaml").write_text(away, encoding="utf-8")
    options = arguments.format(cluster=CLUSTER, net=NET)
    done = hosts.run("laptop", f"{LAUNCH} {options}", environment, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert sentence in output
    assert "Traceback" not in output


def test_a_lost_node_costs_its_trials_nothing_but_the_epoch_they_were_in(
    hosts: Any, sweep: Any, tmp_path: Path
) -> None:
    """Last: the node does not come back."""
    command = f"{LAUNCH} {sweep(trials=6, epochs=12, step_s=0.5)} --name lost --cluster {CLUSTER}"
    follower = hosts.start("laptop", command, tmp_path / "log")
    on_it = "host-w1:"
    wait_until(
        lambda: (
            journal_has(hosts, "lost", 1)
            and any(e.worker.startswith(on_it) and e.epoch > 2 for e in reported(hosts, "lost"))
        )
    )
    hosts.kill("w1")
    assert follower.wait(300) == 0, (tmp_path / "log").read_text()
    epochs = [(event.trial, event.epoch) for event in reported(hosts, "lost") if not event.again]
    assert len(epochs) == len(set(epochs)) == 72
    assert ADDRESSES["w1"]
