"""clusters/rayjob.yaml is valid for a schema of KubeRay's fields, and for what no schema checks."""

from __future__ import annotations

import copy
import json
import subprocess
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
    found = jsonschema.Draft7Validator(SCHEMA).iter_errors(job)
    return [f"{'/'.join(map(str, each.absolute_path))}: {each.message}" for each in found]


def test_kuberay_knows_every_field() -> None:
    assert faults(JOB) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "activeDeadlineSecond"), 60),
        (("spec", "activeDeadlineSeconds"), 0),
        (("spec", "submissionMode"), "Sidecar"),
        (("spec", "deletionStrategy", "deletionRules", 0, "policy"), "DeletePods"),
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
    spec = JOB["spec"]
    assert spec["activeDeadlineSeconds"] <= 3 * 86400
    ends = {
        rule["condition"]["jobStatus"]: rule["policy"] for rule in spec["deletionStrategy"]["deletionRules"]
    }
    assert ends == {"SUCCEEDED": "DeleteCluster", "FAILED": "DeleteCluster"}
    assert [group["minReplicas"] for group in CLUSTER["workerGroupSpecs"]] == [0]
    assert "shutdownAfterJobFinishes" not in spec, "KubeRay takes the one or the other"


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
    """The entrypoint run by a shell, with a `python` that prints its arguments."""
    if there:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/study.json").touch()
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    entrypoint = JOB["spec"]["entrypoint"].replace("/home/ray/sweeps", str(tmp_path))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STUDY": "mine", "RAYSWEEP_STORAGE": str(tmp_path)}
    result = subprocess.run(["bash", "-c", entrypoint], env=environment, capture_output=True, text=True)
    assert result.stdout.split() == ["launch.py", *(word.format(runs=tmp_path) for word in expected)]
