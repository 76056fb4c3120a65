"""clusters/rayjob.yaml is valid for a schema of KubeRay's fields, and for what no schema checks."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
JOB: dict[str, Any] = yaml.safe_load((ROOT / "clusters/rayjob.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text(encoding="utf-8"))
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = (CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"])


def faults(job: dict[str, Any]) -> list[str]:
    schema_errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(job)
    return [f"{'/'.join(map(str, each.absolute_path))}: {each.message}" for each in schema_errors]


def test_kuberay_knows_every_field() -> None:
    assert faults(JOB) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "activeDeadlineSecond"), 60),
        (("spec", "activeDeadlineSeconds"), 0),
        (("spec", "submissionMode"), "Sidecar"),
        (("spec", "ttlSecondsAfterFinished"), -1),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "tokens"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplicas"), "8"),
    ],
)
def test_a_slip_is_found(path: tuple[Any, ...], value: Any) -> None:
    job = copy.deepcopy(JOB)
    place: Any = job
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert len(faults(job)) == 1


def test_no_forgotten_sweep_costs_money() -> None:
    """However the job ends: by itself, by a failure, by its deadline, or as it cannot be submitted."""
    spec = JOB["spec"]
    assert spec["activeDeadlineSeconds"] <= 3 * 86400
    assert spec["shutdownAfterJobFinishes"]
    assert spec["ttlSecondsAfterFinished"] <= 600
    assert [group["minReplicas"] for group in CLUSTER["workerGroupSpecs"]] == [0]


def test_kuberay_can_read_the_jobs_status() -> None:
    """From the head's dashboard, which it lets listen on all interfaces unless a host is given."""
    assert "dashboard-host" not in CLUSTER["headGroupSpec"]["rayStartParams"]


def test_its_ray_is_the_one_that_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={CLUSTER['rayVersion']}\n" in pins


def test_every_volume_is_mounted_and_all_pods_share_the_studies() -> None:
    for group in GROUPS:
        pod = group["template"]["spec"]
        mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        assert mounts.keys() == {each["name"] for each in pod["volumes"]}
        assert mounts["shared"] == "/mnt/shared"
        assert pod["securityContext"]["fsGroup"] == 1000, "the user of the Dockerfile"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (False, ["run", "/config/sweep.yaml", "--name", "mine", "--address", "auto"]),
        (True, ["resume", "{runs}/mine", "--trust", "--address", "auto"]),
    ],
)
def test_applied_again_it_continues_its_study(tmp_path: Path, there: bool, expected: list[str]) -> None:
    """The entrypoint as KubeRay and Ray pass it on, with a `python` that prints its arguments.

    KubeRay writes it into a shell command, `ray job submit ... -- ENTRYPOINT`; Ray joins the words that it
    gets (`shlex.join`) for another shell.
    """
    if there:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/study.json").touch()
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    entrypoint = JOB["spec"]["entrypoint"].replace("/home/ray/sweeps", str(tmp_path))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STUDY": "mine", "RAYSWEEP_STORAGE": str(tmp_path)}
    words = f"{sys.executable} -c 'import shlex, sys; print(shlex.join(sys.argv[1:]))' {entrypoint}"
    joined = subprocess.run(["bash", "-ce", words], capture_output=True, text=True, check=True).stdout
    result = subprocess.run(joined, shell=True, env=environment, capture_output=True, text=True)
    assert result.stdout.split() == ["launch.py", *(word.format(runs=tmp_path) for word in expected)]
