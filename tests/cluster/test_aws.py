"""cluster.yaml through Ray's real bootstrap and node launch, against a mocked AWS."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws import config as aws_config
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    TAG_RAY_CLUSTER_NAME,
    TAG_RAY_NODE_KIND,
    TAG_RAY_USER_NODE_TYPE,
)

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-west-2"

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty account, and a home folder for the key that Ray makes."""
    (tmp_path / ".ssh").mkdir()
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "mock",
        "AWS_SECRET_ACCESS_KEY": "mock",
        "AWS_DEFAULT_REGION": REGION,
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws_config.time, "sleep", lambda _: None)  # "wait for propagation"
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


@pytest.fixture
def provider(aws: Any) -> Any:
    """Ray's AWS provider and node types for cluster.yaml as `ray up` leaves it on the head."""
    iam = boto3.client("iam", region_name=REGION)
    for name in ("raysweep-head", "raysweep-worker"):
        iam.create_instance_profile(InstanceProfileName=name)
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    group = aws.create_security_group(GroupName="mine", Description="mine")["GroupId"]
    image = aws.describe_images()["Images"][0]["ImageId"]
    text = text.replace("sg-REPLACE", group).replace("ami-REPLACE", image)
    config = aws_config.bootstrap_aws(prepare_config(yaml.safe_load(text)))
    kinds = {name: kind["node_config"] for name, kind in config["available_node_types"].items()}
    return AWSNodeProvider(config["provider"], config["cluster_name"]), kinds, group


def launch(provider: Any, name: str, kind: str) -> None:
    to, kinds, _ = provider
    tags = {TAG_RAY_NODE_KIND: kind, TAG_RAY_USER_NODE_TYPE: name}
    to.create_node(copy.deepcopy(kinds[name]), tags, 1)


@pytest.fixture
def instances(aws: Any, provider: Any) -> Any:
    """The AWS instances after launching the head and one worker of each kind in cluster.yaml, by kind."""
    launch(provider, "head", NODE_KIND_HEAD)
    for name in ("gpu_spot", "gpu"):
        launch(provider, name, NODE_KIND_WORKER)
    instance_types = {}
    for reservation in aws.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
            instance_types[tags[TAG_RAY_USER_NODE_TYPE]] = instance | {"tags": tags, "group": provider[2]}
    return instance_types


def test_the_launched_machines_are_what_the_file_says(instances: Any, aws: Any) -> None:
    machines = {name: each["InstanceType"] for name, each in instances.items()}
    assert machines == {"head": "m6i.large", "gpu_spot": "g5.xlarge", "gpu": "g5.xlarge"}
    spot = {name for name, each in instances.items() if each.get("InstanceLifecycle") == "spot"}
    assert spot == {"gpu_spot"}
    profiles = {
        name: each["IamInstanceProfile"]["Arn"].rpartition("/")[2] for name, each in instances.items()
    }
    assert profiles == {"head": "raysweep-head", "gpu_spot": "raysweep-worker", "gpu": "raysweep-worker"}
    for each in instances.values():
        assert each["tags"]["project"] == "sweeps"
        assert [group["GroupId"] for group in each["SecurityGroups"]] == [each["group"]]
        volume = each["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        disk = aws.describe_volumes(VolumeIds=[volume])["Volumes"][0]
        assert (disk["Size"], disk["VolumeType"], disk["Encrypted"]) == (100, "gp3", True)


def test_no_security_group_lets_the_world_in(instances: Any, aws: Any) -> None:
    used = {group["GroupId"] for each in instances.values() for group in each["SecurityGroups"]}
    rules = aws.describe_security_groups(GroupIds=list(used))["SecurityGroups"]
    opened = [
        span["CidrIp"] for group in rules for rule in group["IpPermissions"] for span in rule["IpRanges"]
    ]
    assert "0.0.0.0/0" not in opened


def allowed(action: str, call: dict[str, Any], tags: dict[str, str]) -> list[str]:
    """The statements of the head's profile that let it do this; those on tags look at these.

    Args:
        action: as in `ec2:RunInstances`.
        call: what was asked with it.
        tags: of the instances that it is about, as they are.
    """
    policy = json.loads((ROOT / "docs/aws/head-policy.json").read_text(encoding="utf-8"))
    asked = {
        tag["Key"]: tag["Value"]
        for spec in call.get("TagSpecifications", ())
        if spec["ResourceType"] == "instance"
        for tag in spec["Tags"]
    }
    known = {f"aws:RequestTag/{key}": value for key, value in asked.items()}
    known |= {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
    permitted = []
    for each in policy["Statement"]:
        actions = [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
        wanted = each.get("Condition", {}).get("StringEquals", {})
        if any(fnmatchcase(action, one) for one in actions) and wanted.items() <= known.items():
            permitted.append(each["Sid"])
    return permitted


def test_the_heads_profile_allows_what_it_needs_and_no_more(aws: Any, provider: Any) -> None:
    """A day of the autoscaler: look, launch, tag, look, end."""
    launch(provider, "head", NODE_KIND_HEAD)
    to, calls = provider[0], list[tuple[str, dict[str, Any]]]()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.append((f"{model.service_model.endpoint_prefix}:{model.name}", params))

    for client in {to.ec2.meta.client, to.ec2_fail_fast.meta.client}:
        client.meta.events.register("provide-client-params.*", note)
    launch(provider, "gpu_spot", NODE_KIND_WORKER)
    workers = to.non_terminated_nodes({TAG_RAY_USER_NODE_TYPE: "gpu_spot"})
    to.set_node_tags(workers[0], {"state": "up-to-date"})
    to.non_terminated_nodes({})
    own = dict(to.node_tags(workers[0]))
    to.terminate_node(workers[0])
    asked = {action for action, _ in calls}
    assert {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"} <= asked
    for action, call in calls:
        assert allowed(action, call, own), (action, call)
    launches = next(call for action, call in calls if action == "ec2:RunInstances")
    assert "LaunchInstancesOfThisClusterOnly" in allowed("ec2:RunInstances", launches, {})
    for action in ("ec2:TerminateInstances", "ec2:CreateTags"):
        assert allowed(action, {}, {TAG_RAY_CLUSTER_NAME: "somebody's"}) == []
    launches["TagSpecifications"] = []
    assert allowed("ec2:RunInstances", launches, {}) == ["LaunchThemFromThese"], "no instance without the tag"
