"""A study on object storage: a real S3 over HTTP, real kills, and empty disks to carry on from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer

from raysweep.study.journal.events import EpochReported, TrialEnded
from raysweep.study.journal.log import Journal, read_events
from raysweep.study.storage.layout import StudyExists, StudyFolder
from raysweep.study.storage.locations import check_writable, checkpoint_lookup, download_study
from raysweep.study.storage.lock import StudyBusy
from raysweep.study.storage.object_store import ObjectStore
from raysweep.study.storage.sync import StorageSync
from tests.builders import small_sweep
from trainables.table import load_table

CLONE = Path(__file__).resolve().parents[2]
STUDY = "s3://studies/kept/small"
SWEEP = """
study_name: small
trials: 3
storage: s3://studies/kept
seed: 1
sampler: {name: optuna.samplers.RandomSampler}
max_concurrent_trials: 1
resources_per_trial: {gpu: 0}
run:
  data: trainables.data.load_digits
  criterion: torch.nn.CrossEntropyLoss
  optimizer: torch.optim.SGD
  scheduler: null
  net_config: {nodes: 16, layers: 1}
  epochs: 12
  checkpoint_config: {enabled: true, save_every_n_epochs: 1}
search_space:
  optimizer_config: {lr: {type: float, min: 1.e-3, max: 1.e-1, log: true}}
"""


HELD = """
from pathlib import Path
from time import sleep

from torch.optim.lr_scheduler import LRScheduler


class Held(LRScheduler):
    \"""A constant rate; after six epochs it waits for the gate.\"""

    def get_lr(self):
        while self.last_epoch >= 6 and not Path("{gate}").exists():
            sleep(0.05)
        return self.base_lrs
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server with one bucket; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    words = {
        "AWS_ACCESS_KEY_ID": "mock",
        "AWS_SECRET_ACCESS_KEY": "mock",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in words}
    os.environ.update(words)
    boto3.client("s3").create_bucket(Bucket="studies")
    yield words["AWS_ENDPOINT_URL"]
    server.stop()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture
def bucket(s3: str) -> None:
    """The bucket, empty."""
    client = boto3.client("s3")
    for each in client.list_objects_v2(Bucket="studies").get("Contents", ()):
        client.delete_object(Bucket="studies", Key=each["Key"])


@pytest.fixture
def study(bucket: None, tmp_path: Path) -> StudyFolder:
    folder = StudyFolder.create(tmp_path / "runs", "small", small_sweep(), "study_name: small\n", STUDY)
    Journal(folder.journal_dir, "small").close()
    return folder


def append(study: StudyFolder, t: float) -> None:
    journal = Journal(study.journal_dir, "small")
    journal.append(TrialEnded(t=t, trial="00000", outcome="failed", reason="r"))
    journal.close()


def test_an_empty_disk_gets_the_study_back(study: StudyFolder, tmp_path: Path) -> None:
    append(study, 1.0)
    with StorageSync(study):
        append(study, 2.0)  # while it is at work
    shutil.rmtree(study.path)
    again = download_study(STUDY, tmp_path / "elsewhere")
    assert (again.storage_uri, again.sweep()) == (STUDY, small_sweep())
    assert [event.t for event in read_events(again.journal_dir)] == [1.0, 2.0]


def test_a_disk_ahead_keeps_what_it_has_and_one_behind_is_brought_up(study: StudyFolder) -> None:
    with StorageSync(study):
        pass
    append(study, 1.0)
    assert len(list(read_events(download_study(STUDY, study.path.parent).journal_dir))) == 1
    with StorageSync(study):
        pass
    shutil.rmtree(study.journal_dir)
    assert len(list(read_events(download_study(STUDY, study.path.parent).journal_dir))) == 1


def test_a_study_that_continued_elsewhere_does_not_continue_here(study: StudyFolder, tmp_path: Path) -> None:
    with StorageSync(study):
        pass
    other = download_study(STUDY, tmp_path / "elsewhere")
    append(other, 1.0)
    with StorageSync(other):
        pass
    with pytest.raises(Exception, match="continued elsewhere") as raised, StorageSync(study):
        pass
    assert f"launch.py resume {STUDY}" in str(raised.value)
    journal = Journal(study.journal_dir, "small")
    journal.append(TrialEnded(t=9.0, trial="00000", outcome="failed", reason="a longer one"))
    journal.close()
    append(study, 9.0)
    with pytest.raises(Exception, match="have diverged"):
        download_study(STUDY, study.path.parent)


def test_a_stage_that_continued_elsewhere_is_noticed_too(study: StudyFolder, tmp_path: Path) -> None:
    with StorageSync(study):
        pass
    other = download_study(STUDY, tmp_path / "elsewhere")
    append(other.stage("explore"), 1.0)
    with StorageSync(other):
        pass
    with pytest.raises(StudyExists, match="continued elsewhere"), StorageSync(study):
        pass
    append(study.stage("explore"), 2.0)
    with pytest.raises(StudyExists, match="have diverged"):
        download_study(STUDY, study.path.parent)


def test_two_drivers_never_hold_one_study(study: StudyFolder, tmp_path: Path) -> None:
    with StorageSync(study):
        second = StorageSync(download_study(STUDY, tmp_path / "elsewhere"))
        with pytest.raises(StudyBusy, match="is in use by process"), second:
            pass
    with StorageSync(download_study(STUDY, tmp_path / "elsewhere")):
        pass  # let go in good order


def test_one_that_died_on_this_machine_holds_nothing(study: StudyFolder) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    depot = ObjectStore(STUDY)
    depot.claim("somebody")
    who = json.loads(depot.get("lease.json"))  # type: ignore[arg-type]
    depot.put("lease.json", json.dumps(who | {"pid": dead.pid}).encode())
    with StorageSync(study):
        pass
    depot.put("lease.json", json.dumps(who | {"host": "far-away"}).encode())
    with pytest.raises(StudyBusy, match="on far-away"), StorageSync(study):
        pass


def test_a_checkpoint_is_deleted_once_the_journal_without_it_arrived(study: StudyFolder) -> None:
    depot = ObjectStore(STUDY)
    depot.put("ray/attempt-1/00000/checkpoint_000000/model.pt", b"weights")
    sync = StorageSync(study)
    with sync:
        assert checkpoint_lookup(study)("ray/attempt-1/00000/checkpoint_000000")
        sync.discard(study.locate("ray/attempt-1/00000/checkpoint_000000"))
        assert checkpoint_lookup(study)("ray/attempt-1/00000/checkpoint_000000")
    assert not checkpoint_lookup(study)("ray/attempt-1/00000/checkpoint_000000")


def test_files_of_this_machine_stay_and_deleted_ones_go(study: StudyFolder) -> None:
    for name in ("lock", "status.tmp", "tracking.lock", "best.yaml"):
        (study.path / name).write_text("x")
    with StorageSync(study) as sync:
        (study.path / "best.yaml").unlink()
    assert sync.trouble == ""
    sent = sorted(ObjectStore(STUDY).sizes())
    assert sent == ["journal/000001.jsonl", "journal/mark", "study.json", "sweep.yaml"]


def test_a_storage_that_can_be_written_is_left_as_it_was(bucket: None) -> None:
    check_writable("s3://studies/kept")
    assert ObjectStore("s3://studies/kept").sizes() == {}


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet"])
def test_a_table_is_read_from_a_uri(bucket: None, tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0.5, 0.25, 0.125]})
    frame.to_parquet(tmp_path / name) if name.endswith("t") else frame.to_csv(tmp_path / name, index=False)
    ObjectStore("s3://studies/data").put(name, (tmp_path / name).read_bytes())
    assert len(load_table(f"s3://studies/data/{name}", "y")) == 3


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts launch.py in an empty folder, as on a machine that has nothing; none outlives the test."""

    def start(folder: Path, *words: str) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        process = started.enter_context(
            subprocess.Popen(
                [sys.executable, str(CLONE / "launch.py"), *words],
                cwd=folder,
                env=os.environ
                | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        started.callback(process.kill)
        return process

    with ExitStack() as started:
        yield start


def epochs(journal: Path) -> list[Any]:
    return [(e.trial, e.epoch) for e in read_events(journal) if isinstance(e, EpochReported) and not e.again]


@pytest.mark.faults
def test_a_killed_sweep_continues_from_the_bucket_on_an_empty_machine(
    bucket: None, tmp_path: Path, launch: Callable[..., subprocess.Popen[str]]
) -> None:
    """Checkpoints are read back from the bucket; what the killed driver had reported counts once."""
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("scheduler: null", "scheduler: held.Held"))
    (tmp_path / "held.py").write_text(HELD.format(gate=tmp_path / "gate"))
    first = launch(tmp_path / "one", "run", "--local", str(tmp_path / "sweep.yaml"))
    client, deadline = boto3.client("s3"), time.monotonic() + 120
    while True:
        try:
            kept = client.get_object(Bucket="studies", Key="kept/small/journal/000001.jsonl")["Body"].read()
        except client.exceptions.NoSuchKey:
            kept = b""
        if kept.count(b'"event":"checkpointed"') >= 3:
            break
        assert first.poll() is None, first.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (tmp_path / "gate").touch()
    (tmp_path / "one").rename(tmp_path / "lost")  # not deleted: what outlives the driver still writes there
    second = launch(tmp_path / "two", "resume", "--local", "--trust", STUDY)
    output = second.communicate(timeout=200)[0]
    assert second.returncode == 0, output
    assert "3 completed" in output
    folder = download_study(STUDY, tmp_path / "three")
    seen = epochs(folder.journal_dir)
    assert len(seen) == len(set(seen)) == 36
    lines = (folder.journal_dir / "000002.jsonl").read_text()
    started = [json.loads(line) for line in lines.splitlines() if '"reported"' in line]
    assert started[0]["epoch"] > 1, "the trial went on from its checkpoint"
