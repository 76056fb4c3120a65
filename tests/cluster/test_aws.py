"""cluster.yaml through Ray's real bootstrap and node launch, against a mocked AWS."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws import config as aws_config
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import NODE_KIND_HEAD, NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

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
def instances(aws: Any) -> Any:
    """What AWS runs after the head and one worker of cluster.yaml were launched, by kind."""
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    group = aws.create_security_group(GroupName="mine", Description="mine")["GroupId"]
    image = aws.describe_images()["Images"][0]["ImageId"]
    text = text.replace("sg-REPLACE", group).replace("ami-REPLACE", image)
    config = aws_config.bootstrap_aws(prepare_config(yaml.safe_load(text)))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, kind in (("head", NODE_KIND_HEAD), ("gpu", NODE_KIND_WORKER)):
        node = copy.deepcopy(config["available_node_types"][name]["node_config"])
        provider.create_node(node, {TAG_RAY_NODE_KIND: kind, TAG_RAY_USER_NODE_TYPE: name}, 1)
    found = {}
    for reservation in aws.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
            found[tags[TAG_RAY_USER_NODE_TYPE]] = instance | {"tags": tags, "group": group}
    return found


def test_the_launched_machines_are_what_the_file_says(instances: Any, aws: Any) -> None:
    head, gpu = instances["head"], instances["gpu"]
    assert (head["InstanceType"], gpu["InstanceType"]) == ("m6i.large", "g5.xlarge")
    assert gpu["InstanceLifecycle"] == "spot"
    assert head.get("InstanceLifecycle") != "spot"
    for each in instances.values():
        assert each["tags"]["project"] == "sweeps"
        assert [group["GroupId"] for group in each["SecurityGroups"]] == [each["group"]]
        volume = each["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        disk = aws.describe_volumes(VolumeIds=[volume])["Volumes"][0]
        assert (disk["Size"], disk["VolumeType"], disk["Encrypted"]) == (100, "gp3", True)


def test_no_group_of_ours_lets_the_world_in(instances: Any, aws: Any) -> None:
    used = {group["GroupId"] for each in instances.values() for group in each["SecurityGroups"]}
    rules = aws.describe_security_groups(GroupIds=list(used))["SecurityGroups"]
    opened = [
        span["CidrIp"] for group in rules for rule in group["IpPermissions"] for span in rule["IpRanges"]
    ]
    assert "0.0.0.0/0" not in opened
