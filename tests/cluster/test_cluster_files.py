"""cluster.yaml and its siblings: what Ray accepts, and that nobody outside gets in."""

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).parents[2]
CLUSTER = REPOSITORY / "cluster.yaml"
FOLDER = REPOSITORY / "docs" / "cluster"
LAUNCHER_FILES = [CLUSTER, *(FOLDER / f"{name}.yaml" for name in ("gcp", "local"))]
ALL_FILES = [*LAUNCHER_FILES, FOLDER / "kuberay-rayjob.yaml", FOLDER / "aws-stack.yaml"]
SHIPPED = [*ALL_FILES, *FOLDER.glob("*.sh"), REPOSITORY / "Dockerfile"]
#: Where a file says what the user may change.
EDIT, END = "# ---- Edit from here", "# ---- to here"


class Lenient(yaml.SafeLoader):
    """Reads CloudFormation's tags as plain values."""


Lenient.add_multi_constructor(
    "!",
    lambda loader, suffix, node: (
        {suffix: loader.construct_sequence(node)}
        if isinstance(node, yaml.SequenceNode)
        else f"!{suffix} {node.value}"
    ),
)


def read(file: Path) -> dict[str, Any]:
    return yaml.load(file.read_text(), Loader=Lenient)


def scalars(value: Any):
    """All texts in a document, with those of keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    else:
        yield str(value)


@pytest.mark.parametrize("file", LAUNCHER_FILES, ids=lambda f: f.name)
def test_ray_itself_accepts_the_file(file):
    validate_config(prepare_config(read(file)))


@pytest.mark.parametrize("file", ALL_FILES, ids=lambda f: f.name)
def test_s16_nothing_is_open_to_everyone(file):
    """The one route outwards of the stack's network is not a way in."""
    text = file.read_text()
    inward = re.sub(r"DestinationCidrBlock: \"0\.0\.0\.0/0\".*", "", text)
    inward = inward.replace(r"AllowedPattern: '^(?!0\.0\.0\.0)", "")
    assert "0.0.0.0" not in inward
    assert "::/0" not in inward
    assert not re.search(r"\b(LoadBalancer|NodePort|--disable-security-middleware)\b", text)


@pytest.mark.parametrize("file", LAUNCHER_FILES, ids=lambda f: f.name)
def test_s16_ray_starts_with_a_token_and_a_dashboard_for_this_machine_only(file):
    config = read(file)
    (head,) = [c for c in config["head_start_ray_commands"] if "ray start" in c]
    (worker,) = [c for c in config["worker_start_ray_commands"] if "ray start" in c]
    assert "--dashboard-host=127.0.0.1" in head
    for command in (head, worker):
        assert command.index("export RAY_AUTH_MODE=token;") < command.index("ray start")
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in (FOLDER / "set_up_node.sh").read_text()


def test_s16_ray_makes_no_group_of_its_own_which_it_would_open_to_everyone():
    """Read in Ray 2.60: it adds SSH from 0.0.0.0/0 even to a group whose rules the file gives."""
    config = read(CLUSTER)
    assert "security_group" not in config["provider"]
    for name, kind in config["available_node_types"].items():
        node = kind["node_config"]
        assert len(node["SecurityGroupIds"]) == 1, name
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
        assert node["IamInstanceProfile"]["Name"].startswith("fine-to-coarse-")


def test_s16_the_stack_lets_one_address_in_by_ssh_and_the_nodes_among_themselves():
    resources = read(FOLDER / "aws-stack.yaml")["Resources"]
    (rule,) = resources["Group"]["Properties"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == (22, 22, "!Ref MyAddress")
    assert "SourceSecurityGroupId" in resources["GroupAmongNodes"]["Properties"]
    pattern = read(FOLDER / "aws-stack.yaml")["Parameters"]["MyAddress"]["AllowedPattern"]
    assert re.match(pattern, "203.0.113.7/32")
    for everyone in ("0.0.0.0/0", "0.0.0.0/32", "203.0.113.7/0", "203.0.113.7/8"):
        assert not re.match(pattern, everyone)


def test_s16_a_node_may_do_no_more_than_it_must():
    resources = read(FOLDER / "aws-stack.yaml")["Resources"]
    assert "Policies" not in resources["WorkerRole"]["Properties"]
    for role in ("WorkerRole", "HeadRole"):
        assert resources[role]["Properties"]["ManagedPolicyArns"] == ["!Ref UseBucket"]
    for statement in resources["UseBucket"]["Properties"]["PolicyDocument"]["Statement"]:
        assert "Bucket.Arn" in statement["Resource"]
    assert all(resources["Bucket"]["Properties"]["PublicAccessBlockConfiguration"].values())
    (policy,) = resources["HeadRole"]["Properties"]["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    actions = {action for statement in statements for action in statement["Action"]}
    assert not any("*" in action for action in actions)
    ends = [s for s in statements if "ec2:TerminateInstances" in s["Action"]]
    assert "ec2:ResourceTag/ray-cluster-name" in str(ends[0]["Condition"])


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.name)
def test_s16_no_secret_is_in_a_file(file):
    text = file.read_text()
    assert not re.search(
        r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|aws_secret|AIza[\w-]{30}", text
    )
    assert not re.search(r"(?i)(password|token|secret)\s*[:=]\s*['\"]?[A-Za-z0-9+/_-]{16,}", text)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.name)
def test_s19_packages_come_from_locks_only(file):
    """`pip install` and `uv pip` name a file of hashes, or the repository itself."""
    text = re.sub(r"\\\n\s*", " ", file.read_text())
    for line in text.splitlines():
        if re.search(r"pip(\"|') (install|sync)|pip (install|sync)", line):
            assert "--require-hashes" in line or "--no-deps" in line, line
        assert not re.search(r"(curl|wget)[^|]*\|\s*(ba)?sh", line), line


def test_the_siblings_run_the_very_lines_of_cluster_yaml():
    """But for what each file's user edits: the shared folder and the settings."""
    ours = read(CLUSTER)
    same = [key for key in ours if key.endswith("commands")]
    same += ["file_mounts", "file_mounts_sync_continuously", "rsync_exclude", "rsync_filter"]
    assert "head_start_ray_commands" in same
    for name in ("gcp", "local"):
        theirs = read(FOLDER / f"{name}.yaml")
        edited = {theirs["metadata"][k]: ours["metadata"][k] for k in ("shared", "settings")}
        theirs["setup_commands"] = [edited.get(line, line) for line in theirs["setup_commands"]]
        for key in same:
            assert theirs[key] == ours[key], (name, key)


@pytest.mark.parametrize("file", LAUNCHER_FILES, ids=lambda f: f.name)
def test_the_user_edits_the_top_only(file):
    """What differs from account to account stands between the two marks."""
    top, rest = file.read_text().split(END)
    assert EDIT in top
    assert not re.search(r"0{8,}|YOUR-BUCKET|your-project|192\.168|/shared/", rest)
    assert "F2C_RECIPE=table2-cars" in top


@pytest.mark.parametrize("file", [*LAUNCHER_FILES, FOLDER / "kuberay-rayjob.yaml"])
def test_the_settings_are_a_run_that_parses(file, tmp_path, monkeypatch):
    from orchestrator.flags import parse

    text = " ".join(scalars(list(yaml.safe_load_all(file.read_text()))))
    found = re.search(r"--address auto.*?bvlc_alexnet\.caffemodel", text, re.DOTALL)
    monkeypatch.setenv("F2C_FLAGS", found[0])
    monkeypatch.setenv("F2C_CACHE", str(tmp_path))
    recipe, machine = parse("table2-cars", [])
    assert (machine.address, machine.gpus_per_stage) == ("auto", 1.0)
    assert machine.copy_of is not None or str(machine.root) == "/shared/runs"
    assert recipe.data.root.endswith("/stanford_cars")
    assert recipe.model.weights.endswith("/bvlc_alexnet.caffemodel")


def test_kubernetes_gets_no_outside_address_and_no_root():
    job, policy = yaml.safe_load_all((FOLDER / "kuberay-rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] == 0
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
        assert pod["containers"][0]["image"].endswith("/fine-to-coarse:0.1.0")
    assert policy["kind"] == "NetworkPolicy"
    assert job["spec"]["shutdownAfterJobFinishes"]


def test_ray_is_the_same_version_everywhere():
    lock = (REPOSITORY / "requirements.lock").read_text()
    version = re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1]
    job = next(yaml.safe_load_all((FOLDER / "kuberay-rayjob.yaml").read_text()))
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version
    for extra in ("boto3==", "google-api-python-client=="):
        assert f"\n{extra}" in lock, "the head starts and ends workers with it"


def test_a_port_of_the_head_that_is_taken_is_named_with_who_has_it():
    """By the line that cluster.yaml has before `ray start`; in one sentence, status 2."""
    script = [sys.executable, FOLDER / "free_ports.py"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = subprocess.run(
            [*script, str(port)], check=False, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    (said,) = done.stdout.splitlines()
    assert f"port {port} is taken by " in said
    assert "(process " in said
    assert "stop that program, or change the port" in said
    free = subprocess.run([*script, str(port)], check=False, capture_output=True, text=True)
    assert (free.returncode, free.stdout) == (0, ""), free.stderr


def test_the_ports_that_are_looked_at_are_those_of_the_head():
    stop, look, start = read(CLUSTER)["head_start_ray_commands"]
    assert stop == "ray stop"
    assert look.split()[-2:] == ["6379", "8265"]
    assert f"--port={look.split()[-2]} " in start
    assert "--dashboard-port" not in start, "8265, then"


def documented_lines(command: str) -> list[str]:
    """Every line of the docs that begins with a command, with its continuations."""
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    lines = []
    for page in pages:
        text = re.sub(r"\\\n\s*", " ", page.read_text())
        lines += [line.strip() for line in text.splitlines() if command in line]
    return [line for line in lines if re.search(rf"(^|bin/|`){re.escape(command)}", line)]


def test_s17_documented_mlflow_servers_are_bound_to_this_machine_and_ask_who_it_is():
    lines = documented_lines("mlflow server")
    assert lines, "docs/cluster/README.md documents a server"
    for line in lines:
        words = shlex.split(line.strip("`"))
        assert words[words.index("--host") + 1] == "127.0.0.1"
        assert words[words.index("--app-name") + 1] == "basic-auth"
        assert "--allowed-hosts" in words
        assert "*" not in words[words.index("--allowed-hosts") + 1]
        assert "--disable-security-middleware" not in words
