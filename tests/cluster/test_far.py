"""A sweep on a cluster of several hosts, from a laptop: up, run, cut off, lost nodes, stop, resume, refusals.

One cluster for all: brought up by `ray up clusters/onprem.yaml`, as the docs say, over SSH.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from service.study.events import Reported, Started
from service.study.journal import read_events
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
SLOW = (REPO / "tests/study/toy.py").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(missing()), reason=f"no hosts can be made here: {missing()}"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    with Hosts(tmp_path_factory.mktemp("hosts"), VENV, REPO) as made, cluster_up(made):
        yield made


@pytest.fixture
def sweep(hosts, tmp_path):
    """Puts a sweep and the loop it names into the laptop's project; returns the file's name."""

    def write(name="far", trials=6, epochs=3, step_s=0.1):
        text = SWEEP.format(trials=trials, epochs=epochs, step_s=step_s)
        for file, content in ((f"{name}.yaml", text), ("slow.py", SLOW)):
            (hosts.shared / file).write_text(content, encoding="utf-8")
            hosts.run("laptop", f"cp {SHARED}/{file} /root/project/")
        return f"{name}.yaml"

    return write


def events_of(hosts, study):
    return list(read_events(hosts.shared / "runs" / study / "journal"))


def reported(hosts, study):
    return [event for event in events_of(hosts, study) if isinstance(event, Reported)]


def log_of(hosts, study):
    return hosts.run("laptop", f"{LAUNCH} logs {study} --cluster {CLUSTER}", check=False).stdout


def journal_has(hosts, study, epochs):
    folder = hosts.shared / "runs" / study / "journal"
    return folder.is_dir() and len(reported(hosts, study)) >= epochs


def test_a_sweep_from_the_laptop_runs_on_the_clusters_nodes_and_is_tracked_on_its_head(hosts, sweep):
    done = hosts.run("laptop", f"{LAUNCH} {sweep()} --name first --cluster {CLUSTER}", timeout=200)
    assert "6 completed" in done.stdout
    machines = {event.worker.split(":")[0] for event in reported(hosts, "first")}
    assert len(machines) >= 2
    query = (
        "import mlflow; runs = mlflow.search_runs(search_all_experiments=True, output_format='list');"
        "print(sorted(run.data.tags.get('kind', '') for run in runs if run.data.tags['study'] == 'first'))"
    )
    kinds = hosts.run("head", f'python -c "{query}"', {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}).stdout
    assert kinds.count("'trial'") == 6
    assert len(eval(kinds.strip().splitlines()[-1])) == 7


def test_a_cut_connection_leaves_the_job_running_and_the_follower_finds_it_again(hosts, sweep, tmp_path):
    log = tmp_path / "follower"
    follower = hosts.start(
        "laptop", f"{LAUNCH} {sweep(trials=8, epochs=12, step_s=0.5)} --name cut --cluster {CLUSTER}", log
    )
    wait_until(lambda: journal_has(hosts, "cut", 4))
    hosts.cut("laptop")
    before = len(reported(hosts, "cut"))
    wait_until(lambda: journal_has(hosts, "cut", before + 6))
    hosts.heal("laptop")
    assert follower.wait(200) == 0
    assert "8 completed" in log.read_text(encoding="utf-8")


def test_a_stopped_study_is_resumed_to_its_end_and_runs_nothing_twice(hosts, sweep):
    file = sweep(trials=4, epochs=20, step_s=0.5)
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
    assert len(epochs) == len(set(epochs)) == 80


def test_two_users_at_once_never_meet(hosts, sweep, tmp_path):
    file = sweep(trials=3)
    both = [
        hosts.start("laptop", f"{LAUNCH} {file} --cluster {CLUSTER}", tmp_path / f"user{n}") for n in (1, 2)
    ]
    assert [each.wait(200) for each in both] == [0, 0]
    names = [re.search(r"far-\S+?(?=:)", (tmp_path / f"user{n}").read_text())[0] for n in (1, 2)]
    assert names[0] != names[1]
    assert all(
        len({event.trial for event in events_of(hosts, name) if isinstance(event, Started)}) == 3
        for name in names
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        ("list --cluster {cluster}", {"RAY_AUTH_TOKEN": "0" * 64}, 6, "refuses our token"),
        ("list --address http://{net}.99:8265", {}, 6, "nothing answers at"),
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
def test_what_cannot_be_is_one_line(hosts, sweep, arguments, environment, code, sentence):
    sweep()
    words = arguments.format(cluster=CLUSTER, net=NET)
    done = hosts.run("laptop", f"{LAUNCH} {words}", environment, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert sentence in said
    assert "Traceback" not in said


def test_a_lost_node_costs_its_trials_nothing_but_the_epoch_they_were_in(hosts, sweep, tmp_path):
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
