"""cluster.yaml through Ray's own preparation for AWS, against moto's imitation of it."""

import copy
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.aws.utils import client_cache, resource_cache
from ray.autoscaler._private.util import prepare_config

REPOSITORY = Path(__file__).parents[2]
REGION = "us-west-2"
MINE = "203.0.113.7/32"


@pytest.fixture
def account(tmp_path, monkeypatch):
    """An empty account and an empty home, where Ray puts a new key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for cached in (client_cache, resource_cache):
        cached.cache_clear()
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)
    for cached in (client_cache, resource_cache):
        cached.cache_clear()


def stack_outputs() -> dict[str, str]:
    formation = boto3.client("cloudformation", region_name=REGION)
    formation.create_stack(
        StackName="f2c",
        TemplateBody=(REPOSITORY / "docs" / "cluster" / "aws-stack.yaml").read_text(),
        Parameters=[{"ParameterKey": "MyAddress", "ParameterValue": MINE}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (stack,) = formation.describe_stacks(StackName="f2c")["Stacks"]
    return {found["OutputKey"]: found["OutputValue"] for found in stack["Outputs"]}


def edited(group: str, subnet: str) -> dict[str, Any]:
    text = (REPOSITORY / "cluster.yaml").read_text()
    text = text.replace("sg-00000000000000000", group).replace("subnet-00000000000000000", subnet)
    return yaml.safe_load(text)


def open_to(client: Any) -> set[str]:
    """Addresses outside that any group of the account lets in, but for moto's default groups."""
    groups = client.describe_security_groups()["SecurityGroups"]
    rules = [rule for g in groups if g["GroupName"] != "default" for rule in g["IpPermissions"]]
    return {found["CidrIp"] for rule in rules for found in rule["IpRanges"]}


def bootstrapped(config: dict[str, Any]) -> dict[str, Any]:
    return aws.bootstrap_aws(prepare_config(copy.deepcopy(config)))


def test_the_stack_and_cluster_yaml_open_ssh_to_one_address(account):
    outputs = stack_outputs()
    ready = bootstrapped(edited(outputs["Group"], outputs["Subnet"]))
    assert open_to(account) == {MINE}
    for kind in ready["available_node_types"].values():
        node = kind["node_config"]
        assert node["SecurityGroupIds"] == [outputs["Group"]]
        assert node["SubnetIds"] == [outputs["Subnet"]]
        assert node["KeyName"].startswith("ray-autoscaler")
    assert re.fullmatch(rf"s3://[\w-]+/runs\?region={REGION}", outputs["Bucket"])


def test_the_profiles_of_cluster_yaml_are_those_of_the_stack(account):
    outputs = stack_outputs()
    config = edited(outputs["Group"], outputs["Subnet"])
    made = boto3.client("iam").list_instance_profiles()["InstanceProfiles"]
    names = {profile["InstanceProfileName"] for profile in made}
    kinds = config["available_node_types"].values()
    assert {k["node_config"]["IamInstanceProfile"]["Name"] for k in kinds} == names


def test_a_group_that_ray_makes_is_open_to_everyone(account):
    """Why cluster.yaml names a group: rules in the file are added to Ray's, they replace none."""
    outputs = stack_outputs()
    config = edited(outputs["Group"], outputs["Subnet"])
    for kind in config["available_node_types"].values():
        del kind["node_config"]["SecurityGroupIds"]
    rule = {"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": MINE}]}
    config["provider"]["security_group"] = {"GroupName": "x", "IpPermissions": [rule]}
    bootstrapped(config)
    assert "0.0.0.0/0" in open_to(account)
